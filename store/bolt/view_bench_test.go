package bolt

import (
	"fmt"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// BenchmarkLayers reads rows where they are in the index only, in memory only, and
// where the index holds them under a level that holds others of the same bucket.
func BenchmarkLayers(b *testing.B) {
	const n = 20000
	for _, where := range []string{"index", "memory", "both"} {
		s := newPlace(b).mustOpen(func(o *Options) { o.FlushBytes, o.FlushAge = 1<<30, time.Hour })
		code := store.PathwayCode("b000001")
		if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
			b.Fatal(err)
		}
		file := func(from, to int) {
			if err := s.Commit(bg, func(t store.Tx) error {
				for i := from; i < to; i++ {
					m := &store.Message{ID: store.MessageID(fmt.Sprintf("01m%023d", i)), Pathway: code, Filings: []store.Filing{{Rubric: "r"}}}
					if err := t.FileMessage(m, nil, nil); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		file(0, n)
		if where != "memory" {
			if err := s.flush(bg, nil); err != nil {
				b.Fatal(err)
			}
		}
		total := n
		if where == "both" {
			file(n, n+100)
			total += 100
		}
		b.Run("get/"+where, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := s.View(bg, func(v store.View) error {
					_, err := v.Locate(store.MessageID(fmt.Sprintf("01m%023d", i%n)))
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("scan/"+where, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.View(bg, func(v store.View) error {
					list, err := v.Filed(code, "r", 0, 0)
					if len(list) != total {
						b.Fatal(len(list))
					}
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("keys/"+where, func(b *testing.B) { // without opening rows
			for b.Loop() {
				if err := s.View(bg, func(v store.View) error {
					found := 0
					c := v.(*view).bucket(bucketLocated).Cursor()
					for k, _ := c.First(); k != nil; k, _ = c.Next() {
						found++
					}
					if found != total {
						b.Fatal(found)
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkView is what a View costs before it looks at anything.
func BenchmarkView(b *testing.B) {
	s := newPlace(b).mustOpen(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.View(bg, func(store.View) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
