package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// durableSoon: what is durable soon is a commit like any other but for that:
// seen by everybody when it returns, whole or not at all, in one order with those
// that are durable at once.
func durableSoon(t *testing.T, b *bench) {
	soon := func(fn func(store.Tx) error) error { return b.CommitSoon(t.Context(), fn) }
	stop := errors.New("stop")
	if err := soon(func(tx store.Tx) error { return errors.Join(tx.PutSetting("s", []byte("x")), stop) }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the function's own error", err)
	}
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.Setting("s") })

	b.commit(func(tx store.Tx) error { return tx.PutItem(item("i1", "lane", noon)) })
	var mine []store.Item
	if err := soon(func(tx store.Tx) (err error) {
		mine, err = tx.Claim("lane", noon, time.Minute, "w", 1)
		return err
	}); err != nil || len(mine) != 1 {
		t.Fatalf("claiming: %d, %v", len(mine), err)
	}
	b.same("leased", got(b, func(v store.View) ([]store.Item, error) { return v.Leased() }), mine)
	b.commit(func(tx store.Tx) error { return tx.DropItem(mine[0]) })

	const writers, each = 8, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			name := fmt.Sprint("count", w)
			for n := range each {
				commit := b.Commit
				if (w+n)%2 == 0 {
					commit = b.CommitSoon
				}
				var before []byte
				if err := commit(t.Context(), func(tx store.Tx) error {
					before, _ = tx.Setting(name)
					return tx.PutSetting(name, append(before[:len(before):len(before)], byte(n)))
				}); err != nil || len(before) != n {
					t.Errorf("%s: number %d found %d before it, %v", name, n, len(before), err)
				}
				if err := b.View(t.Context(), func(v store.View) error {
					now, err := v.Setting(name)
					if len(now) != n+1 {
						t.Errorf("%s: %d seen after number %d", name, len(now), n)
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
		if have := got(b, func(v store.View) ([]byte, error) { return v.Setting(fmt.Sprint("count", w)) }); len(have) != each {
			t.Errorf("%d of %d are there after a restart", len(have), each)
		}
	}
	b.same("leased", got(b, func(v store.View) ([]store.Item, error) { return v.Leased() }), []store.Item(nil))
}
