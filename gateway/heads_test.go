package gateway

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// A file a day at each place that is there; a place that is away is told of
// until it is back, and is never made.
func TestHeadsAreKeptElsewhere(t *testing.T) {
	dir := t.TempDir()
	there, away := filepath.Join(dir, "there"), filepath.Join(dir, "away")
	if err := os.Mkdir(there, 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	trace := uint64(1)
	h := &heads{
		places: []string{there, away}, every: time.Hour, now: func() time.Time { return now }, log: journal.Discard(),
		written: map[string]mark{}, failing: map[string]time.Time{},
		make: func(context.Context) (mailbox.HeadView, error) {
			return mailbox.HeadView{TraceHead: store.TraceHead{Trace: trace}, Signed: "signed " + string(rune('0'+trace)) + "\n"}, nil
		},
	}
	holds := func(place, name, want string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(place, name))
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if all, _ := filepath.Glob(filepath.Join(place, "*")); len(all) == 0 {
			t.Error("nothing there")
		}
	}
	h.write(t.Context())
	holds(there, "relais-traces-2026-11-23.asc", "signed 1\n")
	if since := h.behind()[away]; len(h.behind()) != 1 || !since.Equal(now) {
		t.Errorf("behind: %v", h.behind())
	}
	trace, now = 2, now.Add(time.Hour)
	h.write(t.Context())
	holds(there, "relais-traces-2026-11-23.asc", "signed 2\n")
	if !h.behind()[away].Equal(now.Add(-time.Hour)) {
		t.Errorf("behind: %v", h.behind())
	}
	now = now.Add(24 * time.Hour)
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	h.write(t.Context())
	for _, place := range h.places {
		holds(place, "relais-traces-2026-11-24.asc", "signed 2\n")
	}
	if len(h.behind()) != 0 {
		t.Errorf("behind: %v", h.behind())
	}
	if left, _ := filepath.Glob(filepath.Join(there, ".relais*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// The last one is written when the hub stops.
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { h.run(ctx); close(done) }()
	stop()
	<-done
	holds(there, "relais-traces-2026-11-24.asc", "signed 2\n")
}
