package mailbox

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// looks counts how often the store is looked into.
type looks struct {
	store.Store
	n atomic.Int64
}

func (l *looks) View(ctx context.Context, fn func(store.View) error) error {
	l.n.Add(1)
	return l.Store.View(ctx, fn)
}

// Sessions that a post wakes look at its rubric once for all. A look serves nobody
// once anything was committed, programmes were loaded or time has passed.
func TestSessionsLookTogether(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "cabinet@idel.test", to: string(h.child) + ".coordination", id: "a1@idel.test", subject: "Un", text: "Bonjour."})
	r := h.reads("roux@chu.test", "")
	var sessions []folder.Folder
	for range 5 {
		f, _ := openFolder(t, r, h.top()+"/Coordination")
		sessions = append(sessions, f)
	}
	seen := &looks{Store: h.Hub.store}
	h.Hub.store = seen
	look := func(want int) (looked int64) {
		t.Helper()
		before := seen.n.Load()
		for i, f := range sessions {
			table, _, err := f.Sync(t.Context(), nil)
			if err != nil || table.Messages != want {
				t.Fatalf("session %d sees %v, %v; want %d messages", i, table, err, want)
			}
			if i == 0 {
				looked = seen.n.Load()
			}
		}
		if n := seen.n.Load(); n != looked {
			t.Errorf("the others looked %d times", n-looked)
		}
		return looked - before
	}
	h.post(written{from: "cabinet@idel.test", to: string(h.child) + ".coordination", id: "a2@idel.test", subject: "Deux", text: "Bonsoir."})
	if look(2) == 0 {
		t.Error("nobody looked after a post")
	}
	if look(2) != 0 {
		t.Error("looked again though nothing has changed")
	}
	h.clock.advance(together)
	if look(2) == 0 {
		t.Error("nobody looked though time has passed")
	}
	loaded := *h.o.Programmes()
	h.Hub.o.Programmes = func() *rules.Set { return &loaded }
	if look(2) == 0 {
		t.Error("nobody looked though programmes were loaded")
	}
}
