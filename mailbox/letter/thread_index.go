package letter

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

// Outlook and Exchange sort a conversation by Thread-Index (MS-OXOMSG
// §2.2.1.3): a header of 22 bytes that the whole conversation shares, then five
// bytes for each answer.
//
//	header  6 bytes   first bytes of a FILETIME, big endian
//	       16 bytes   GUID of the conversation
//	child   5 bytes   1 bit scale, 31 bits time since the header's, 8 bits to
//	                  tell siblings apart
const (
	threadHeader   = 22
	threadChild    = 5
	threadIndexMax = threadHeader + 100*threadChild
)

// NewThreadIndex gives the index of the first message of the conversation whose
// root id is root. The GUID follows from root, so that every message of the
// conversation gets the same, whoever writes it and whenever.
func NewThreadIndex(root string, at time.Time) []byte {
	b := make([]byte, 8, threadHeader)
	binary.BigEndian.PutUint64(b, filetime(at))
	guid := sha256.Sum256([]byte("relais conversation\n" + root))
	return append(b[:6], guid[:16]...)
}

// ChildThreadIndex gives the index of an answer, made at at, to the message
// whose index is parent. After 100 levels an answer stands beside its parent
// instead of under it. A parent that is no index gives nil.
func ChildThreadIndex(parent []byte, at time.Time) []byte {
	if !validThreadIndex(parent) {
		return nil
	}
	if len(parent) == threadIndexMax {
		parent = parent[:threadIndexMax-threadChild]
	}
	var delta uint64
	if start, now := headerTime(parent), filetime(at); now > start {
		delta = now - start
	}
	// 18 bits of 100 ns are dropped (26 ms), beyond 1.7 years 23 (0.8 s).
	scaled, rest := delta>>18, byte(delta>>10)
	if delta>>49 != 0 {
		scaled, rest = min(delta>>23, 1<<31-1)|1<<31, byte(delta>>15)
	}
	child := binary.BigEndian.AppendUint32(append(make([]byte, 0, len(parent)+threadChild), parent...), uint32(scaled))
	return append(child, rest)
}

// ParseThreadIndex reads the value of a Thread-Index field. The GUID is that of
// the conversation.
func ParseThreadIndex(value string) (guid [16]byte, raw []byte, ok bool) {
	if len(value) > 2*threadIndexMax {
		return guid, nil, false
	}
	value = strings.Join(strings.Fields(value), "")
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil || !validThreadIndex(raw) {
		return guid, nil, false
	}
	copy(guid[:], raw[6:threadHeader])
	return guid, raw, true
}

func validThreadIndex(raw []byte) bool {
	return len(raw) >= threadHeader && len(raw) <= threadIndexMax &&
		(len(raw)-threadHeader)%threadChild == 0 && raw[0] == 1
}

// headerTime reads the FILETIME of an index. Its first byte is 1 in our age, as
// is the reserved byte that Exchange writes before it, dropping the last one
// instead (MS-OXOMSG, note 2).
func headerTime(index []byte) uint64 {
	var b [8]byte
	if index[1] == 1 {
		copy(b[:], index[1:6])
	} else {
		copy(b[:], index[:6])
	}
	return binary.BigEndian.Uint64(b[:])
}

// filetime counts 100 ns since 1601.
func filetime(t time.Time) uint64 {
	const epoch = 11644473600 // seconds from 1601 to 1970
	return uint64(t.Unix()+epoch)*1e7 + uint64(t.Nanosecond()/100)
}
