package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/relais-sante/relais/store"
)

// everything puts one of each kind.
func everything(b *bench, tx store.Tx, p *store.Pathway, n int, d store.Draft) error {
	m := message(p.Code, messageID(n), "imagerie")
	m.Fingerprint = [32]byte{byte(n), 9}
	for _, err := range []error{
		tx.PutPathway(p),
		tx.PutBox(&store.Box{Address: store.Address(fmt.Sprintf("b%d@chu.example", n))}),
		tx.FileMessage(m, []byte("index"), d),
		tx.PutDelivery(&store.Delivery{ID: store.DeliveryID(fmt.Sprintf("01d%d", n)), Pathway: p.Code, Message: m.ID, State: store.Queued, Created: noon, RFCID: fmt.Sprintf("copy%d", n), Mailbox: "z@chu.example"}),
		tx.PutItem(item(store.ItemID(fmt.Sprintf("i%d", n)), "lane", noon)),
		tx.Trace(store.Trace{Family: store.Application, Action: "post.filed", Pathway: p.Code}),
		tx.PutSetting(fmt.Sprintf("s%d", n), []byte("v")),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// nothingOf checks that none of everything(n) is there.
func nothingOf(b *bench, code store.PathwayCode, n int) {
	b.Helper()
	missing(b, store.ErrNotFound, func(v store.View) (*store.Message, error) { return v.Message(code, messageID(n)) })
	missing(b, store.ErrNotFound, func(v store.View) (*store.Box, error) { return v.Box(store.Address(fmt.Sprintf("b%d@chu.example", n))) })
	missing(b, store.ErrNotFound, func(v store.View) (*store.Delivery, error) {
		return v.Delivery(store.DeliveryID(fmt.Sprintf("01d%d", n)))
	})
	missing(b, store.ErrNotFound, func(v store.View) (*store.Item, error) { return v.Item(store.ItemID(fmt.Sprintf("i%d", n))) })
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.Setting(fmt.Sprintf("s%d", n)) })
	missing(b, store.ErrNotFound, func(v store.View) (store.MessageRef, error) { return v.Duplicate([32]byte{byte(n), 9}) })
	b.same("look-up", got(b, func(v store.View) ([]store.MessageRef, error) { return v.MessagesByID(fmt.Sprintf("copy%d", n)) }), []store.MessageRef(nil))
}

func failedCommit(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	was := *p
	before, _ := b.Stats(t.Context())
	stop := errors.New("stop")
	d := b.draft([]byte("x"))
	defer d.Discard()
	err := b.Commit(t.Context(), func(tx store.Tx) error {
		if err := everything(b, tx, p, 1, d); err != nil {
			return err
		}
		return stop
	})
	if err != stop {
		t.Errorf("got %v, want the function's own error unchanged", err)
	}
	if p.Revision != was.Revision {
		t.Errorf("the caller's revision stayed at %d", p.Revision)
	}
	for range 2 {
		nothingOf(b, p.Code, 1)
		b.same("pathway", got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) }), &was)
		if st := b.rubric(p.Code, "imagerie"); st.UIDNext != 1 || st.Count != 0 {
			t.Errorf("the rubric has %+v", st)
		}
		b.same("traces", got(b, func(v store.View) ([]*store.Trace, error) { return v.Traces(store.Application, 0, 0) }), []*store.Trace(nil))
		after, _ := b.Stats(t.Context())
		after.IndexBytes = before.IndexBytes
		b.same("figures", after, before)
		b.reopen()
	}
}

// failureBeside runs failing and succeeding commits together.
func failureBeside(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	stop := errors.New("stop")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			d, err := b.Create(t.Context(), 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Discard()
			fmt.Fprintf(d, "message %d", i)
			if err := d.Finish(); err != nil {
				t.Error(err)
				return
			}
			err = b.Commit(t.Context(), func(tx store.Tx) error {
				q, err := tx.Pathway(p.Code)
				if err != nil {
					return err
				}
				if err := everything(b, tx, q, i, d); err != nil {
					return err
				}
				if i%3 == 0 {
					return stop
				}
				return nil
			})
			if (i%3 == 0) != (err == stop) || i%3 != 0 && err != nil {
				t.Errorf("commit %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	b.reopen()
	for i := range 40 {
		if i%3 == 0 {
			nothingOf(b, p.Code, i)
			continue
		}
		m := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, messageID(i)) })
		b.holds(m.Blob, []byte(fmt.Sprintf("message %d", i)))
	}
	if q := got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) }); q.Revision != 1+26 {
		t.Errorf("revision is %d, want 27", q.Revision)
	}
	if n := got(b, func(v store.View) (uint64, error) { return v.Revision(p.Code) }); n != 1+26 {
		t.Errorf("revision is said to be %d, want 27", n)
	}
	thread := got(b, func(v store.View) ([]*store.Message, error) { return v.Thread(p.Code, 0, 0) })
	for i, m := range thread {
		if m.Seq != uint64(i+1) || m.Filings[0].UID != uint32(i+1) {
			t.Errorf("place %d holds seq %d, UID %d: gaps must not be", i+1, m.Seq, m.Filings[0].UID)
		}
	}
}

func panicInside(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v in the caller, want its own panic", r)
			}
		}()
		_ = b.Commit(t.Context(), func(tx store.Tx) error {
			if err := tx.PutSetting("s", nil); err != nil {
				return err
			}
			panic("boom")
		})
	}()
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.Setting("s") })
	b.file(message(p.Code, messageID(1)), nil)
}

func goexitInside(_ *testing.T, b *bench) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = b.Commit(background(), func(tx store.Tx) error {
			if err := tx.PutSetting("s", nil); err != nil {
				return err
			}
			runtime.Goexit()
			return nil
		})
	})
	wg.Wait()
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.Setting("s") })
	b.commit(func(tx store.Tx) error { return tx.PutSetting("s", []byte("1")) })
}

func cancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	if err := b.Commit(ctx, func(store.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("commit: %v, ran %v", err, ran)
	}
	if err := b.View(ctx, func(store.View) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("view: %v, ran %v", err, ran)
	}
	if _, err := b.Create(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
	// Cancelled while it waits: either all of it happened or nothing.
	ctx, cancel = context.WithCancel(t.Context())
	var wg sync.WaitGroup
	results := make([]error, 32)
	for i := range results {
		wg.Go(func() {
			results[i] = b.Commit(ctx, func(tx store.Tx) error {
				if i == 5 {
					cancel()
				}
				return tx.PutSetting(fmt.Sprint(i), []byte("v"))
			})
		})
	}
	wg.Wait()
	cancel()
	for i, err := range results {
		_, rerr := read(b, func(v store.View) ([]byte, error) { return v.Setting(fmt.Sprint(i)) })
		if (err == nil) != (rerr == nil) {
			t.Errorf("commit %d said %v, reading says %v", i, err, rerr)
		}
	}
}

func closedStore(t *testing.T, b *bench) {
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := b.Commit(t.Context(), func(store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit: got %v, want ErrClosed", err)
	}
	if err := b.View(t.Context(), func(store.View) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("view: got %v, want ErrClosed", err)
	}
	if _, err := b.Create(t.Context(), 0); !errors.Is(err, store.ErrClosed) {
		t.Errorf("create: got %v, want ErrClosed", err)
	}
	b.Store = b.open()
}
