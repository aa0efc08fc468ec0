package bolt

import (
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// benchStore has a few pathways to file into.
func benchStore(b *testing.B, pathways int) (*Store, []store.PathwayCode) {
	b.Helper()
	s := newPlace(b).mustOpen(nil)
	codes := make([]store.PathwayCode, pathways)
	for i := range codes {
		codes[i] = store.PathwayCode(fmt.Sprintf("b%06d", i))
		if err := s.NewKey(b.Context(), pathwayOwner(codes[i])); err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(b.Context(), func(t store.Tx) error { return t.PutPathway(benchPathway(codes[i])) }); err != nil {
			b.Fatal(err)
		}
	}
	return s, codes
}

func benchPathway(code store.PathwayCode) *store.Pathway {
	p := &store.Pathway{Code: code, Programme: "pon", Patient: store.Patient{INS: string(code), NameKey: string(code[3:])}}
	for i := range 8 {
		p.Members = append(p.Members, store.Member{
			ID: store.MemberID(fmt.Sprintf("m%d", i+1)), Name: "Dr Prénom Nom", Role: "oncologue",
			Mailbox: store.Address(fmt.Sprintf("box%d@chu%d.example", i, i)), Periods: []store.Period{{From: time.Unix(1e9, 0)}},
		})
	}
	return p
}

var benchIndex = make([]byte, 1500)

// post files a message for a team of n boxes, as the intake does.
func post(s *Store, code store.PathwayCode, id string, clear []byte, n int) error {
	d, err := s.Create(bg, int64(len(clear)))
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := d.Write(clear); err != nil {
		return err
	}
	if err := d.Finish(); err != nil {
		return err
	}
	if err := d.Expect(pathwayOwner(code)); err != nil {
		return err
	}
	return s.Commit(bg, func(t store.Tx) error {
		m := &store.Message{
			ID: store.MessageID(id), Pathway: code, Kind: store.KindPost, Received: time.Now(), RFCID: id + "@x.example", KnownAs: []string{id + "@x.example"},
			Subject: "Compte rendu de consultation", Fingerprint: sha256.Sum256([]byte(id)), Filings: []store.Filing{{Rubric: "coordination"}},
		}
		if err := t.FileMessage(m, benchIndex, d); err != nil {
			return err
		}
		for i := range n {
			dl := &store.Delivery{
				ID: store.DeliveryID(fmt.Sprintf("%s%02d", id, i)), Pathway: code, Message: m.ID, Mailbox: "box@chu.example", State: store.Queued,
				Members: []store.MemberID{"m1"}, Created: time.Now(), RFCID: m.RFCID, Subject: "[PON] Compte rendu de consultation",
			}
			if err := t.PutDelivery(dl); err != nil {
				return err
			}
			if err := t.PutItem(store.Item{ID: store.ItemID(dl.ID), Lane: "out:chu.example", Due: time.Now(), Delivery: dl.ID}); err != nil {
				return err
			}
		}
		return t.Trace(store.Trace{Family: store.Application, At: time.Now(), Action: "post.filed", Pathway: code, Object: id})
	})
}

func BenchmarkCommit4KB(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		for _, boxes := range []int{1, 8} {
			b.Run(fmt.Sprintf("writers=%d/boxes=%d", writers, boxes), func(b *testing.B) {
				s, codes := benchStore(b, 100)
				clear := make([]byte, 4096)
				var next atomic.Int64
				b.SetBytes(4096)
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for {
							n := next.Add(1)
							if n > int64(b.N) {
								return
							}
							if err := post(s, codes[n%100], fmt.Sprintf("01m%023d", n), clear, boxes); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

func BenchmarkCommit1MB(b *testing.B) {
	s, codes := benchStore(b, 10)
	clear := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := post(s, codes[n%10], fmt.Sprintf("01m%023d", n), clear, 8); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			s, codes := benchStore(b, 1)
			if err := post(s, codes[0], "01m00000000000000000000001", make([]byte, size), 0); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				var m *store.Message
				if err := s.View(bg, func(v store.View) (err error) {
					m, err = v.Message(codes[0], "01m00000000000000000000001")
					return err
				}); err != nil {
					b.Fatal(err)
				}
				r, err := s.Open(bg, *m.Blob)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}

func BenchmarkFiled(b *testing.B) {
	s, codes := benchStore(b, 1)
	const n = 10000
	for i := 0; i < n; i += 500 {
		if err := s.Commit(bg, func(t store.Tx) error {
			for j := range 500 {
				if err := t.FileMessage(&store.Message{ID: store.MessageID(fmt.Sprintf("01m%023d", i+j)), Pathway: codes[0], Filings: []store.Filing{{Rubric: "r"}}}, nil, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.View(bg, func(v store.View) error {
			list, err := v.Filed(codes[0], "r", 0, 0)
			if len(list) != n {
				b.Fatal(len(list))
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkClaimComplete leases 50 items at a time and drops them.
func BenchmarkClaimComplete(b *testing.B) {
	s := newPlace(b).mustOpen(nil)
	const n = 50
	put := func(base int) error {
		return s.Commit(bg, func(t store.Tx) error {
			for i := range n {
				if err := t.PutItem(store.Item{ID: store.ItemID(fmt.Sprintf("i%09d", base+i)), Lane: "out:x", Due: time.Unix(int64(base), 0)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	base := 0
	for b.Loop() {
		if err := put(base); err != nil {
			b.Fatal(err)
		}
		var mine []store.Item
		if err := s.Commit(bg, func(t store.Tx) (err error) {
			mine, err = t.Claim("out:x", time.Now(), time.Minute, "w", n)
			return err
		}); err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(bg, func(t store.Tx) error {
			for _, it := range mine {
				if err := t.DropItem(it); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		base += n
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "items/s")
}

// BenchmarkTrace tells what traces cost: in a commit that has anything else to
// do, and by themselves.
func BenchmarkTrace(b *testing.B) {
	for _, n := range []int{0, 1, 8, 500} {
		b.Run(fmt.Sprintf("traces=%d", n), func(b *testing.B) {
			s, codes := benchStore(b, 100)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				code := codes[i%100]
				i++
				if err := s.Commit(bg, func(t store.Tx) error {
					for range n {
						if err := t.Trace(store.Trace{Family: store.Application, At: time.Unix(1e9, 0), Actor: "member:m1", Action: "post.read", Pathway: code, Object: "01m00000000000000000000001", Outcome: "done"}); err != nil {
							return err
						}
					}
					return t.PutSetting("cursor", []byte("x"))
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyTraces tells how many records a second are verified.
func BenchmarkVerifyTraces(b *testing.B) {
	s, codes := benchStore(b, 100)
	const n = 20000
	for range n / 1000 {
		if err := s.Commit(bg, func(t store.Tx) error {
			for i := range 1000 {
				if err := t.Trace(store.Trace{Family: store.Families[i%2], At: time.Unix(1e9, 0), Actor: "member:m1", Action: "post.read", Pathway: codes[i%100], Outcome: "done"}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if r, err := s.VerifyTraces(bg); err != nil || !r.Sound() || r.Read != n {
			b.Fatalf("%d read, %v", r.Read, err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
