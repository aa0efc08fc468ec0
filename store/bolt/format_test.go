package bolt

import (
	"bytes"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
)

// Commit records carry what a salvage needs, sealed.
func TestCommitRecords(t *testing.T) {
	p, thread := filled(t)
	s := p.mustOpen(nil)
	b, err := os.ReadFile(p.segment("s-00000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSegmentHead(b); err != nil {
		t.Fatal(err)
	}
	var found []store.MessageID
	kinds := map[byte]int{}
	for at := segHead; at < len(b); {
		h, ok := decodeRecordHead(b[at:])
		if !ok {
			if strings.Trim(string(b[at:]), "\x00") != "" {
				t.Fatalf("no record at %d", at)
			}
			break
		}
		payload := b[at+recHead : at+recHead+int(h.length)]
		if sha256.Sum256(payload) != h.sum {
			t.Errorf("checksum of the record at %d", at)
		}
		at += recHead + int(h.length)
		if h.kind != recCommit {
			continue
		}
		rec, before, ok := parseRecord(payload)
		if !ok {
			t.Fatalf("the record at %d does not parse", at)
		}
		if st, err := s.stateOf(&rec, before); err != nil || st.Seq != h.seq {
			t.Errorf("the state of the record at %d: %v", at, err)
		}
		for _, r := range rec.Rows {
			if r.Bucket != numThreads || !isMessageKey(r.Key) {
				kinds[r.Bucket]++
				continue
			}
			owner, ok := s.keys.OwnerOf([12]byte(r.Key[:handleSize]))
			if !ok {
				t.Fatal("owner not found by handle")
			}
			m := new(store.Message)
			if err := (&view{s: s}).open(bucketThreads, r.Key, owner, r.Row, m); err != nil {
				t.Fatal(err)
			}
			want := thread[len(found)]
			found = append(found, m.ID)
			if m.Seq != want.Seq || m.Filings[0] != want.Filings[0] || m.Blob.Segment != want.Blob.Segment {
				t.Errorf("record %d does not tell the message", len(found))
			}
		}
	}
	if n := kinds[numDeliveries]; n != len(thread) {
		t.Errorf("%d deliveries in the segment, want %d", n, len(thread))
	}
	if n := kinds[numTraces]; n != len(thread) {
		t.Errorf("%d traces in the segment, want %d", n, len(thread))
	}
	if len(found) != len(thread) {
		t.Errorf("%d commit records, want %d", len(found), len(thread))
	}
}

func FuzzSegmentRecord(f *testing.F) {
	h := recordHead{kind: recMessage, seq: 3, length: 10}
	f.Add(h.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := decodeRecordHead(b)
		if ok && !bytes.Equal(h.encode(), b[:recHead]) && bytes.Equal(b[5:8], []byte{0, 0, 0}) {
			t.Error("a record's header does not come back as it was")
		}
	})
}
