package mailbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/relais-sante/relais/store"
)

// counted counts the messages that are opened.
type counted struct {
	store.Store
	opened atomic.Int64
}

func (c *counted) Open(ctx context.Context, b store.Blob) (io.ReadCloser, error) {
	c.opened.Add(1)
	return c.Store.Open(ctx, b)
}

// twoCopies posts a mail of about so many bytes and claims its copies to
// chu.test, which are two.
func twoCopies(t *testing.T, size int) (*house, *counted, []Job) {
	t.Helper()
	h := newHouse(t)
	h.post(written{
		from: "cabinet@idel.test", to: string(h.child), id: "a1@idel.test", subject: "Scanner",
		content: attachment("scanner.pdf", "application/pdf", strings.Repeat("QUJDREVGR0hJSktM\n", size/17)),
	})
	c := &counted{Store: h.Hub.store}
	h.Hub.store = c
	return h, c, claimTwo(t, h)
}

func claimTwo(t *testing.T, h *house) []Job {
	t.Helper()
	jobs, err := h.ClaimDeliveries(t.Context(), "out:chu.test", 2)
	if err != nil || len(jobs) != 2 {
		t.Fatalf("%d claimed: %v", len(jobs), err)
	}
	return jobs
}

// Copies that are sent together open their message once, and have the bytes they
// have alone; afterwards nothing of it is left in memory.
func TestCopiesShareAnOpening(t *testing.T) {
	h, c, jobs := twoCopies(t, 300<<10)
	p := jobs[0].opening
	var bodies [2]string
	var wg sync.WaitGroup
	for i, j := range jobs {
		wg.Go(func() { bodies[i] = h.read(j).raw })
	}
	wg.Wait()
	if n := c.opened.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	body := p.body
	if len(body) < 300<<10 || h.openings.held != int64(len(body)) {
		t.Fatalf("%d bytes in memory, %d counted", len(body), h.openings.held)
	}
	for i, j := range jobs {
		j.opening = nil
		if alone := h.read(j).raw; alone != bodies[i] {
			t.Errorf("copy %d has other bytes alone", i)
		}
	}
	for _, j := range jobs {
		if err := h.Finish(t.Context(), []Result{{Job: j, Outcome: Outcome{Kind: OutcomeSent}}}); err != nil {
			t.Fatal(err)
		}
	}
	if h.openings.held != 0 || len(h.openings.m) != 0 || len(bytes.Trim(body, "\x00")) != 0 {
		t.Errorf("left in memory: %d bytes of %d messages, wiped %v", h.openings.held, len(h.openings.m), len(bytes.Trim(body, "\x00")) == 0)
	}
}

// A body is not wiped under who reads it, however the opening ends.
func TestOpeningEndsUnderItsReader(t *testing.T) {
	h, _, jobs := twoCopies(t, 100<<10)
	out, err := h.Open(t.Context(), jobs[0])
	if err != nil {
		t.Fatal(err)
	}
	h.openings.forget([]store.PathwayCode{h.child})
	raw, err := io.ReadAll(out)
	if err != nil || int64(len(raw)) != out.Size || bytes.IndexByte(raw, 0) >= 0 {
		t.Errorf("%d bytes of %d, %v", len(raw), out.Size, err)
	}
	out.Close()
	out.Close()
	if h.openings.held != 0 || jobs[0].opening.body != nil {
		t.Error("the body is in memory still")
	}
	if raw := h.read(jobs[1]).raw; int64(len(raw)) < 100<<10 {
		t.Error("the other copy is not sent")
	}
}

// What is in memory opens no way around an erasure: not once the message is
// gone, not once its key is.
func TestOpeningIsNoRightToSend(t *testing.T) {
	for name, erase := range map[string]func(*house) error{
		"purged": func(h *house) error {
			return h.store.Commit(t.Context(), func(tx store.Tx) error {
				_, err := tx.PurgePathway(h.child, 100)
				return err
			})
		},
		"key dropped": func(h *house) error {
			return h.store.DropKey(t.Context(), store.Owner{Kind: store.OwnedByPathway, ID: string(h.child)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _, jobs := twoCopies(t, 1000)
			h.read(jobs[0])
			if err := erase(h); err != nil {
				t.Fatal(err)
			}
			_, err := h.Open(t.Context(), jobs[1])
			if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrErased) {
				t.Errorf("opened: %v", err)
			}
		})
	}
}

// Bodies in memory are bounded, one by one and together.
func TestOpeningsAreBounded(t *testing.T) {
	var o openings
	open := func(id store.MessageID, copies int) *opening {
		p := o.claimed(&store.Message{ID: id})
		for range copies - 1 {
			o.claimed(&store.Message{ID: id})
		}
		return p
	}
	one, two := open("one", 1), open("two", 2)
	for _, tt := range []struct {
		p    *opening
		size int64
		held bool
	}{{one, smallBody + 1, false}, {one, smallBody, true}, {two, largeBody + 1, false}, {two, largeBody, true}} {
		if body := tt.p.room(tt.size); (body != nil) != tt.held {
			t.Errorf("%d bytes: %v", tt.size, body != nil)
		}
	}
	for two.room(largeBody) != nil {
	}
	if o.held > heldMost || o.held+largeBody <= heldMost {
		t.Errorf("%d bytes are held, of %d", o.held, heldMost)
	}
	for _, p := range []*opening{one, two} {
		p.timer.Stop()
	}
}
