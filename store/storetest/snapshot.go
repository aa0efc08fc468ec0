package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/relais-sante/relais/store"
)

func snapshot(t *testing.T, b *bench) {
	b.commit(func(tx store.Tx) error { return tx.PutSetting("s", []byte("old")) })
	b.view(func(v store.View) error {
		done := make(chan error)
		go func() {
			done <- b.Commit(background(), func(tx store.Tx) error { return tx.PutSetting("s", []byte("new")) })
		}()
		if err := <-done; err != nil {
			return err
		}
		have, err := v.Setting("s")
		if string(have) != "old" {
			t.Errorf("a snapshot changed to %q", have)
		}
		return err
	})
	b.same("afterwards", got(b, func(v store.View) ([]byte, error) { return v.Setting("s") }), []byte("new"))
	stop := errors.New("stop")
	if err := b.View(t.Context(), func(store.View) error { return stop }); err != stop {
		t.Errorf("view returned %v, want the function's own error", err)
	}
}

// valuesStay: what a View gave stays as it was, whatever is done to it or to
// the store later.
func valuesStay(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	b.commit(func(tx store.Tx) error { return tx.PutSetting("s", bytes.Repeat([]byte("a"), 3000)) })
	value := got(b, func(v store.View) ([]byte, error) { return v.Setting("s") })
	mine := got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) })
	mine.Members[0].Name, mine.Members[0].AlsoFrom[0] = "changed", "changed"
	mine.Members[0].Periods[0].From = noon.AddDate(1, 0, 0)
	for i := range 50 {
		b.commit(func(tx store.Tx) error { return tx.PutSetting("s", bytes.Repeat([]byte{byte(i)}, 3000)) })
	}
	if !bytes.Equal(value, bytes.Repeat([]byte("a"), 3000)) {
		t.Error("a value changed after its view ended")
	}
	b.same("another's copy", got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) }), p)
}

func seesOwnWrites(_ *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	d := b.draft([]byte("x"))
	defer d.Discard()
	b.commit(func(tx store.Tx) error {
		if err := everything(b, tx, p, 1, d); err != nil {
			return err
		}
		if _, err := tx.Message(p.Code, messageID(1)); err != nil {
			return err
		}
		if _, err := tx.Item("i1"); err != nil {
			return err
		}
		if q, err := tx.Pathway(p.Code); err != nil || q.Revision != p.Revision {
			return fmt.Errorf("revision %d, %w", q.Revision, err)
		}
		list, err := tx.Deliveries(p.Code, messageID(1))
		if err == nil && len(list) != 1 {
			return fmt.Errorf("%d deliveries", len(list))
		}
		return err
	})
}

func reopening(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	for i := range 12 {
		d := b.draft([]byte(fmt.Sprintf("message %d", i)))
		b.commit(func(tx store.Tx) error { return everything(b, tx, p, i, d) })
		if i%4 == 3 {
			b.reopen()
		}
	}
	for i := range 12 {
		m := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, messageID(i)) })
		b.holds(m.Blob, []byte(fmt.Sprintf("message %d", i)))
	}
	st, err := b.Stats(t.Context())
	if err != nil || st.Messages != 12 || st.Queued != 12 {
		t.Errorf("figures %+v, %v", st, err)
	}
}

func concurrentCommits(t *testing.T, b *bench) {
	const writers, each = 8, 12
	for w := range writers {
		b.pathway(store.PathwayCode(fmt.Sprintf("bbbbbb%d", w)))
	}
	var wg sync.WaitGroup
	for w := range writers {
		code := store.PathwayCode(fmt.Sprintf("bbbbbb%d", w))
		wg.Go(func() {
			for i := range each {
				d, err := b.Create(background(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(d, "%s %d", code, i)
				if err = d.Finish(); err == nil {
					err = b.Commit(background(), func(tx store.Tx) error {
						p, err := tx.Pathway(code)
						if err != nil {
							return err
						}
						if err := tx.PutPathway(p); err != nil {
							return err
						}
						return tx.FileMessage(message(code, messageID(1000*w+i), "imagerie"), nil, d)
					})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for range each {
				if err := b.View(background(), func(v store.View) error {
					p, err := v.Pathway(code)
					if err != nil {
						return err
					}
					list, err := v.Thread(code, 0, 0)
					if err == nil && int(p.Revision)-1 != len(list) {
						return fmt.Errorf("revision %d beside %d messages", p.Revision, len(list))
					}
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.reopen()
	for w := range writers {
		code := store.PathwayCode(fmt.Sprintf("bbbbbb%d", w))
		for i, m := range got(b, func(v store.View) ([]*store.Message, error) { return v.Thread(code, 0, 0) }) {
			b.holds(m.Blob, []byte(fmt.Sprintf("%s %d", code, i)))
		}
	}
	if st, err := b.Stats(t.Context()); err != nil || st.Messages != writers*each {
		t.Errorf("figures %+v, %v", st, err)
	}
}
