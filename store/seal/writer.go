package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/relais-sante/relais/store/journal"
)

// A sealed message is the body of a Symmetrically Encrypted and Integrity
// Protected Data packet, version 2 (RFC 9580, 5.13.2):
//
//	 1  version 2
//	 1  cipher 9 (AES-256)
//	 1  AEAD mode 3 (GCM)
//	 1  chunk size octet 10: 2^16 bytes
//	32  salt
//	 …  chunks of 65,536 bytes (the last may be shorter), each with its tag
//	16  final tag, over the length of everything
//
// The packet's header, 6 bytes that follow from the length, is not stored but
// put before it on the way out ([PacketHeader]): a body can be sealed while its
// length is not known yet. Inside is one literal data packet (5.9) in partial
// body lengths of 8 KiB (4.2.1.4), so that it too can be begun before its end
// is known.
const (
	chunkSize = 1 << 16
	saltSize  = 32
	bodyHead  = 4 + saltSize

	frameSize   = 1 << 13
	framePower  = 0xE0 | 13 // partial body length octet of 2^13 bytes
	literalHead = 6         // 'b', no file name, no date
	writerBuf   = chunkSize + frameSize + 2
)

var associated = [5]byte{newFormat | tagSEIPD, 2, 9, 3, 10}

const errFinished = journal.Fault("message already ended")

// SealedSize is the stored length of a message of size clear bytes.
func SealedSize(size int64) int64 {
	inner := literalSize(size)
	chunks := (inner + chunkSize - 1) / chunkSize
	return bodyHead + inner + chunks*tagSize + tagSize
}

// literalSize is the length of the literal packet around size bytes.
func literalSize(size int64) int64 {
	body := size + literalHead
	frames := body / frameSize
	rest := body % frameSize
	return 1 + frames*(1+frameSize) + lengthSize(rest) + rest
}

func lengthSize(n int64) int64 {
	if n < 192 {
		return 1
	}
	return 2 // frames are shorter than 8,384
}

// PacketHeader is what comes before a stored message of the given length to
// make it a whole packet.
func PacketHeader(length int64) [6]byte {
	h := [6]byte{newFormat | tagSEIPD, 0xFF}
	binary.BigEndian.PutUint32(h[2:], uint32(length))
	return h
}

// MaxSealed is the longest stored message: its packet length has 32 bits.
const MaxSealed = 1<<32 - 1

// Writer seals a message while its bytes arrive. Not safe for concurrent use.
type Writer struct {
	dst   io.Writer
	aead  cipher.AEAD
	nonce [nonceSize]byte
	sum   hash.Hash
	buf   []byte // clear: whole frames, then the one being filled
	used  int    // how much of buf ever held something
	frame int    // where the frame being filled begins in buf
	index uint64
	inner uint64 // bytes of the literal packet sealed so far
	size  int64
	out   int64
	done  bool
	err   error
}

var (
	writerBufs = sync.Pool{New: func() any { b := make([]byte, 0, writerBuf); return &b }}
	chunkBufs  = sync.Pool{New: func() any { b := make([]byte, 0, chunkSize+2*tagSize); return &b }}
)

// NewSession draws a session key.
func NewSession(random io.Reader) (*SessionKey, error) {
	s := new(SessionKey)
	if _, err := io.ReadFull(random, s[:]); err != nil {
		return nil, fmt.Errorf("drawing a session key: %w", err)
	}
	return s, nil
}

// NewWriter begins a message under session; sealed bytes go to dst in order.
func NewWriter(dst io.Writer, session *SessionKey, random io.Reader) (*Writer, error) {
	var head [bodyHead]byte
	copy(head[:], associated[1:])
	if _, err := io.ReadFull(random, head[4:]); err != nil {
		return nil, fmt.Errorf("beginning a message: %w", err)
	}
	w := &Writer{dst: dst, sum: sha256.New()}
	var err error
	if w.aead, w.nonce, err = messageKey(session, head[4:]); err != nil {
		return nil, fmt.Errorf("beginning a message: %w", err)
	}
	if err := w.emit(head[:]); err != nil {
		return nil, err
	}
	w.buf = (*writerBufs.Get().(*[]byte))[:0]
	w.buf = append(w.buf, newFormat|tagLiteral, framePower, 'b', 0, 0, 0, 0, 0)
	w.frame = 1
	return w, nil
}

// messageKey derives key and nonce prefix (RFC 9580, 5.13.2).
func messageKey(session *SessionKey, salt []byte) (cipher.AEAD, [nonceSize]byte, error) {
	var nonce [nonceSize]byte
	b, err := hkdf.Key(sha256.New, session[:], salt, string(associated[:]), keySize+nonceSize-8)
	if err != nil {
		return nil, nonce, err
	}
	copy(nonce[:], b[keySize:])
	aead, err := newGCM(b[:keySize])
	return aead, nonce, err
}

// Write seals p. After an error the message is lost.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.done {
		return 0, errFinished
	}
	n := 0
	for n < len(p) {
		room := w.frame + 1 + frameSize - len(w.buf)
		if room == 0 {
			// The frame is whole and more follows: it stays a partial one.
			w.frame = len(w.buf)
			w.buf = append(w.buf, framePower)
			if w.err = w.flush(); w.err != nil {
				w.release()
				return n, w.err
			}
			continue
		}
		k := min(room, len(p)-n)
		w.buf = append(w.buf, p[n:n+k]...)
		n += k
		w.size += int64(k)
	}
	return n, nil
}

// flush seals the chunk that lies wholly before the frame being filled.
func (w *Writer) flush() error {
	if w.frame < chunkSize {
		return nil
	}
	w.used = max(w.used, len(w.buf))
	if err := w.chunk(w.buf[:chunkSize], false); err != nil {
		return err
	}
	n := copy(w.buf, w.buf[chunkSize:])
	w.buf = w.buf[:n]
	w.frame -= chunkSize
	return nil
}

// chunk seals one chunk, and the final tag after the last.
func (w *Writer) chunk(clear []byte, last bool) error {
	out := chunkBufs.Get().(*[]byte)
	defer chunkBufs.Put(out)
	b := (*out)[:0]
	if len(clear) > 0 {
		binary.BigEndian.PutUint64(w.nonce[4:], w.index)
		b = w.aead.Seal(b, w.nonce[:], clear, associated[:])
		w.index++
		w.inner += uint64(len(clear))
	}
	if last {
		binary.BigEndian.PutUint64(w.nonce[4:], w.index)
		aad := binary.BigEndian.AppendUint64(associated[:len(associated):len(associated)], w.inner)
		b = w.aead.Seal(b, w.nonce[:], nil, aad)
	}
	return w.emit(b)
}

func (w *Writer) emit(b []byte) error {
	w.sum.Write(b)
	n, err := w.dst.Write(b)
	w.out += int64(n)
	if err == nil && w.out > MaxSealed {
		err = journal.Fault("message over 4 GiB")
	}
	return err
}

// Close ends the message. Closing twice does nothing.
func (w *Writer) Close() error {
	if w.done || w.err != nil {
		return w.err
	}
	w.done = true
	defer w.release()
	// A last frame that came out whole is a partial one too, and an empty one
	// ends the packet.
	if len(w.buf)-w.frame-1 == frameSize {
		w.frame = len(w.buf)
		w.buf = append(w.buf, 0)
	}
	rest := len(w.buf) - w.frame - 1
	if rest < 192 {
		w.buf[w.frame] = byte(rest)
	} else {
		w.buf = append(w.buf, 0)
		copy(w.buf[w.frame+2:], w.buf[w.frame+1:len(w.buf)-1])
		w.buf[w.frame] = byte((rest-192)>>8) + 192
		w.buf[w.frame+1] = byte(rest - 192)
	}
	clear := w.buf
	for len(clear) > chunkSize {
		if w.err = w.chunk(clear[:chunkSize], false); w.err != nil {
			return w.err
		}
		clear = clear[chunkSize:]
	}
	w.err = w.chunk(clear, true)
	return w.err
}

// Abandon gives up a message that is not wanted.
func (w *Writer) Abandon() {
	if !w.done {
		w.done = true
		w.release()
	}
}

// release wipes and returns the buffer of clear bytes. What a message did not
// reach is not wiped again: that would be most of the buffer for most of them.
func (w *Writer) release() {
	if w.buf == nil {
		return
	}
	b := w.buf[:max(w.used, len(w.buf))]
	zero(b)
	writerBufs.Put(&b)
	w.buf = nil
}

// Size is the number of clear bytes so far.
func (w *Writer) Size() int64 { return w.size }

// Length is the number of sealed bytes so far.
func (w *Writer) Length() int64 { return w.out }

// Sum is the SHA-256 of the sealed bytes, once closed.
func (w *Writer) Sum() [32]byte {
	var out [32]byte
	w.sum.Sum(out[:0])
	return out
}
