package mailbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// filled is a house whose pathway has many messages in Coordination, addressed
// to the oncologist.
func filled(b *testing.B, n int) (*house, *Reader) {
	h := newHouse(b)
	idx := &letter.Index{Version: letter.IndexVersion, Size: 4000, HeaderEnd: 400, Envelope: letter.Envelope{Subject: "Bilan", MessageID: "x@chu.test"}}
	indexed, err := encodeIndex(idx)
	if err != nil {
		b.Fatal(err)
	}
	for done := 0; done < n; done += 500 {
		err := h.store.Commit(context.Background(), func(tx store.Tx) error {
			for i := range 500 {
				m := &store.Message{
					ID: store.MessageID(h.ids.next(h.clock.now())), Pathway: h.child, Kind: store.KindPost, Received: h.clock.now(),
					RFCID: fmt.Sprintf("m%d@chu.test", done+i), Root: "root@parcours.test", Subject: "Bilan",
					Author: store.Author{Member: "m2", Mailbox: "moreau@chu.test"}, Audience: store.Audience{All: true},
					Filings: []store.Filing{{Rubric: "coordination"}}, Size: 4000, Shown: 4040,
					Boxes: []store.BoxUID{{Box: "roux@chu.test"}, {Box: "simon@chu.test"}},
				}
				if err := tx.FileMessage(m, indexed, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return h, h.reads("roux@chu.test", "")
}

const manyMessages = 100_000

func BenchmarkViewOfMany(b *testing.B) {
	h, r := filled(b, manyMessages)
	ctx := context.Background()
	open := func() (folder.Folder, *folder.Table) {
		f, err := r.Open(ctx, h.top()+"/Coordination", false)
		if err != nil {
			b.Fatal(err)
		}
		t, _, err := f.Sync(ctx, nil)
		if err != nil || len(t.Rows) < manyMessages {
			b.Fatal(len(t.Rows), err)
		}
		return f, t
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			h.shelves.m, h.desks.m = nil, nil
			r.desk = h.desks.get(r.a.ID)
			open()
		}
	})
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			f, _ := open()
			f.Close()
		}
	})
	b.Run("new message", func(b *testing.B) {
		f, t := open()
		for i := 0; b.Loop(); i++ {
			h.post(written{from: "moreau@chu.test", to: string(h.child), id: fmt.Sprintf("n%d@chu.test", i), subject: "Suite", text: fmt.Sprint(i)})
			now, delta, err := f.Sync(ctx, t)
			if err != nil || len(delta.Added) != 1 {
				b.Fatal(delta, err)
			}
			t = now
		}
	})
	b.Run("flag", func(b *testing.B) {
		f, t := open()
		for i := 0; b.Loop(); i++ {
			how := folder.FlagChange(1 + i%2)
			if _, _, err := f.SetFlags(ctx, []uint32{t.Rows[5].UID}, how, folder.Flags{System: folder.Seen}, nil); err != nil {
				b.Fatal(err)
			}
			now, delta, err := f.Sync(ctx, t)
			if err != nil || len(delta.Changed) != 1 {
				b.Fatal(delta, err)
			}
			t = now
		}
	})
	b.Run("index", func(b *testing.B) {
		f, t := open()
		uids := uidsOf(t)[:10_000]
		for b.Loop() {
			n := 0
			if err := f.Each(ctx, uids, folder.Fields, func(uint32, *folder.Shown) error { n++; return nil }); err != nil || n != len(uids) {
				b.Fatal(n, err)
			}
		}
		b.ReportMetric(float64(b.N*len(uids))/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("look at envelopes", func(b *testing.B) {
		f, t := open()
		uids := uidsOf(t)[:10_000]
		for b.Loop() {
			var n atomic.Int64
			err := f.Look(ctx, uids, folder.Envelope, func(uint32, *folder.Shown, folder.Content) (bool, error) { n.Add(1); return false, nil })
			if err != nil || n.Load() != int64(len(uids)) {
				b.Fatal(n.Load(), err)
			}
		}
		b.ReportMetric(float64(b.N*len(uids))/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("look at fields", func(b *testing.B) {
		f, t := open()
		uids := uidsOf(t)[:10_000]
		for b.Loop() {
			var n atomic.Int64
			err := f.Look(ctx, uids, folder.Fields, func(uint32, *folder.Shown, folder.Content) (bool, error) { n.Add(1); return false, nil })
			if err != nil || n.Load() != int64(len(uids)) {
				b.Fatal(n.Load(), err)
			}
		}
		b.ReportMetric(float64(b.N*len(uids))/b.Elapsed().Seconds(), "messages/s")
	})
}
