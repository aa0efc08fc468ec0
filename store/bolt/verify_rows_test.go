package bolt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// readAndRefile leaves what comes of messages that are filed otherwise, and of
// accounts that read: marks, private folders and what changed in them.
func readAndRefile(t *testing.T, s *Store) {
	t.Helper()
	do := func(fn func(tx store.Tx) error) {
		t.Helper()
		if err := s.Commit(bg, fn); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		code, id := store.PathwayCode(fmt.Sprintf("b%06d", i%3)), store.MessageID(fmt.Sprintf("01m%023d", i))
		do(func(tx store.Tx) error {
			m, err := tx.Message(code, id)
			if err != nil {
				return err
			}
			switch i % 4 {
			case 0:
				m.Filings = append(m.Filings, store.Filing{Rubric: "autre"})
			case 1:
				m.Filings = []store.Filing{{Rubric: "autre"}}
			case 2:
				m.Filings = nil
			case 3:
				m.Filings[0].ModSeq = 0 // the same, and other to those who read
			}
			return tx.UpdateMessage(m)
		})
	}
	for _, a := range []store.AccountID{"01ad1", "01ad2"} {
		if err := s.NewKey(bg, a.Owner()); err != nil {
			t.Fatal(err)
		}
		folders := []*store.Folder{{ID: "01f1", Name: "Notes"}, {ID: "01f2", Name: "Envoyés"}, {ID: "01f3", Name: "Vide"}, {ID: "01f4", Name: "Parti"}}
		for _, f := range folders {
			do(func(tx store.Tx) error { return tx.PutFolder(a, f) })
		}
		do(func(tx store.Tx) error { return tx.DropFolder(a, "01f4") })
		for i := range 6 {
			d, err := s.Create(bg, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = d.Write([]byte("brouillon"))
			if err := d.Finish(); err != nil {
				t.Fatal(err)
			}
			mail := store.MailID(fmt.Sprintf("%sm%d", a, i))
			do(func(tx store.Tx) error {
				return tx.AddEntry(a, "01f1", &store.Entry{Mail: mail, Size: int64(10 + i)}, []byte("index"), d)
			})
			if i%2 == 0 {
				do(func(tx store.Tx) error {
					return tx.AddEntry(a, "01f2", &store.Entry{Mail: mail, Size: int64(10 + i)}, nil, nil)
				})
			}
			of := store.MessageRef{Pathway: "b000000", Message: store.MessageID(fmt.Sprintf("01m%023d", 3*i))}
			do(func(tx store.Tx) error { return tx.AddEntry(a, "01f2", &store.Entry{Of: of, Size: 5}, nil, nil) })
			for range 1 + i%2 { // made, and changed
				do(func(tx store.Tx) error {
					return tx.PutMark(a, &store.ReaderMark{Pathway: of.Pathway, Message: of.Message, System: 1})
				})
			}
		}
		for uid := range uint32(4) {
			do(func(tx store.Tx) error { return tx.UpdateEntry(a, "01f1", &store.Entry{UID: uid + 1, System: 1}) })
			if uid < 2 {
				do(func(tx store.Tx) error { return tx.UpdateEntry(a, "01f1", &store.Entry{UID: uid + 1, System: 2}) })
			}
			if uid > 0 {
				do(func(tx store.Tx) error { return tx.DropEntry(a, "01f1", uid) })
			}
		}
		do(func(tx store.Tx) error { return tx.PutReader(a, &store.Reader{Subscribed: []string{"Notes"}}) })
	}
}

// edit changes rows of the index of a closed store.
func (p *place) edit(fn func(*bolt.Tx) error) {
	p.Helper()
	db, err := bolt.Open(filepath.Join(p.seal.DataDir, "index.db"), 0o600, nil)
	if err != nil {
		p.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(fn); err != nil {
		p.Fatal(err)
	}
}

// A row that was changed, taken away or put elsewhere is found in every bucket.
func TestVerifyFindsChangedRows(t *testing.T) {
	p := stocked(t)
	index := filepath.Join(p.seal.DataDir, "index.db")
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	most := 1
	if os.Getenv("RELAIS_LONG") == "1" {
		most = 100
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, bucket := range buckets {
		var keys [][]byte
		p.edit(func(btx *bolt.Tx) error {
			return btx.Bucket(bucket).ForEach(func(k, _ []byte) error { keys = append(keys, bytes.Clone(k)); return nil })
		})
		r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, k := range keys[:min(most, len(keys))] {
			for _, what := range []string{"value changed", "key changed", "gone"} {
				if what != "value changed" && freeRow(bucket) {
					continue
				}
				p.edit(func(btx *bolt.Tx) error {
					b := btx.Bucket(bucket)
					row := bytes.Clone(b.Get(k))
					switch what {
					case "value changed":
						if len(row) == 0 {
							row = []byte{0}
						}
						row[r.IntN(len(row))] ^= 1 << r.IntN(8)
						return b.Put(k, row)
					case "key changed":
						other := bytes.Clone(k)
						other[r.IntN(len(k))] ^= 1 << r.IntN(7)
						if err := b.Put(other, row); err != nil {
							return err
						}
					}
					return b.Delete(k)
				})
				if v := p.verify(); v.OK {
					t.Errorf("%s %x: %s, and not found", bucket, k, what)
				}
				if err := os.WriteFile(index, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// freeRow tells rows that no other speaks of: their absence is no contradiction.
// What was taken from an operator's box and is not known to be is known by its
// Message-ID when it comes again; the record of an erasure is what the traces say
// as well; settings are what somebody may never have set.
func freeRow(bucket []byte) bool {
	switch string(bucket) {
	case string(bucketTaken), string(bucketErasures), string(bucketSettings):
		return true
	}
	return false
}

// TestVerifyAmidErasure: between the pages that a pathway goes in, what is left of
// it fits together.
func TestVerifyAmidErasure(t *testing.T) {
	p := stocked(t)
	s := p.mustOpen(nil)
	if err := s.Commit(bg, func(tx store.Tx) error { return tx.PutPathway(&store.Pathway{Code: "b000000"}) }); err != nil {
		t.Fatal(err)
	}
	for pages, done := 0, false; !done; pages++ {
		if err := s.Commit(bg, func(tx store.Tx) (err error) {
			done, err = tx.PurgePathway("b000000", 6)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Verify(bg, VerifyOptions{}); err != nil || !v.OK {
			t.Errorf("after %d pages: %+v, %v", pages+1, v, err)
		}
		if done && pages < 2 {
			t.Fatal("all went at once")
		}
	}
}
