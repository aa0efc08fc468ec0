package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// heads writes signed heads of the traces to the places that the configuration
// names, a file a day that is put in place whole: what is kept there proves
// later that the traces were not cut short, even by who could replace the whole
// data folder. A place that is not there (a disk not mounted) is never made.
type heads struct {
	places []string
	every  time.Duration
	make   func(context.Context) (mailbox.HeadView, error)
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	written map[string]mark      // by place
	failing map[string]time.Time // since when
}

// mark is what was last written to a place.
type mark struct {
	trace uint64
	file  string
}

func (d *daemon) newHeads() *heads {
	h := &heads{
		every: time.Duration(d.cfg.Audit.Every), make: d.hub.SignedHead, now: time.Now, log: d.log,
		written: map[string]mark{}, failing: map[string]time.Time{},
	}
	for _, p := range d.cfg.Audit.Heads {
		h.places = append(h.places, string(p))
	}
	return h
}

// run writes at once, then at each interval, and once more at the end.
func (h *heads) run(ctx context.Context) {
	if len(h.places) == 0 {
		return
	}
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		h.write(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace/2)
			defer cancel()
			h.write(last)
			return
		}
	}
}

// write writes the head to every place that does not have it yet.
func (h *heads) write(ctx context.Context) {
	head, made := h.make(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, place := range h.places {
		err := made
		if err == nil {
			err = h.put(place, head)
		}
		if err == nil {
			delete(h.failing, place)
		} else if h.failing[place].IsZero() {
			h.failing[place] = h.now()
			h.log.Error("the head of the traces could not be kept elsewhere", "error", err)
		}
	}
}

func (h *heads) put(place string, head mailbox.HeadView) error {
	file := filepath.Join(place, "relais-traces-"+h.now().UTC().Format(time.DateOnly)+".asc")
	now := mark{head.Trace, file}
	if h.written[place] == now {
		return nil
	}
	f, err := os.CreateTemp(place, ".relais-traces-*")
	if err != nil {
		return fmt.Errorf("making a file for a head: %w", err)
	}
	_, err = f.WriteString(head.Signed)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing a head: %w", err)
	}
	h.written[place] = now
	return nil
}

// behind tells the places that have been failing, and since when.
func (h *heads) behind() map[string]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.failing)
}
