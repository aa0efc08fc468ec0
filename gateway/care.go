package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/backup"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// caretaker does, for the admin API, what is about the store as a whole:
// snapshots for backups, and verification beside the work.
type caretaker struct {
	keeper *backup.Keeper
	hub    *mailbox.Hub
	store  *bolt.Store
	jobs   sync.WaitGroup

	mu      sync.Mutex
	current *verification
}

func newCaretaker(h *mailbox.Hub, s *bolt.Store, k *seal.Keys) *caretaker {
	return &caretaker{keeper: backup.NewKeeper(s, k), hub: h, store: s}
}

// run ends with ctx, and so does what is under way.
func (c *caretaker) run(ctx context.Context) error {
	err := c.keeper.Run(ctx)
	c.mu.Lock()
	if c.current != nil {
		c.current.stop()
	}
	c.mu.Unlock()
	c.jobs.Wait()
	return err
}

func (c *caretaker) Begin(ctx context.Context, _ mailbox.Actor) (*backup.Snapshot, error) {
	return c.keeper.Begin(ctx)
}

func (c *caretaker) Read(ctx context.Context, id, name string, offset, length int64) (io.ReadCloser, error) {
	return c.keeper.Read(ctx, id, name, offset, length)
}

func (c *caretaker) Digest(ctx context.Context, id, name string, length int64) ([]byte, error) {
	return c.keeper.Digest(ctx, id, name, length)
}

func (c *caretaker) Sign(ctx context.Context, id string, digest []byte) ([]byte, error) {
	return c.keeper.Sign(ctx, id, digest)
}

// End gives a snapshot up and traces the backup.
func (c *caretaker) End(ctx context.Context, by mailbox.Actor, id string, done backup.Outcome) error {
	if err := c.keeper.End(ctx, id, done); err != nil {
		return err
	}
	return c.hub.Record(ctx, by, "store.backed-up", done.Generation, done.Done, map[string]string{"bytes": strconv.FormatInt(done.Copied, 10)})
}

// verification is one under way, or one that is over and not yet told.
type verification struct {
	id          string
	stop        context.CancelFunc
	done, total int64
	asked       time.Time
	out         *store.Verification
	err         error
}

// giveUpVerifying is after how long without a question a verification ends.
const giveUpVerifying = time.Minute

// Verify begins a verification (id empty) or tells how far it is.
func (c *caretaker) Verify(ctx context.Context, by mailbox.Actor, id string) (admin.Verifying, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.current
	switch {
	case id == "" && v != nil && v.out == nil && v.err == nil && time.Since(v.asked) < giveUpVerifying:
		return admin.Verifying{}, store.ErrConflict // somebody else's
	case id == "":
		if v != nil {
			v.stop()
		}
		v = c.begin(by)
	case v == nil || v.id != id:
		return admin.Verifying{}, store.ErrNotFound
	}
	v.asked = time.Now()
	if v.err != nil {
		return admin.Verifying{}, v.err
	}
	return admin.Verifying{ID: v.id, Done: v.done, Total: v.total, Result: v.out}, ctx.Err()
}

// begin starts a verification; c.mu is held.
func (c *caretaker) begin(by mailbox.Actor) *verification {
	ctx, stop := context.WithCancel(context.Background())
	var random [8]byte
	_, _ = rand.Read(random[:])
	v := &verification{id: hex.EncodeToString(random[:]), stop: stop, asked: time.Now()}
	c.current = v
	c.jobs.Go(func() {
		defer stop()
		out, err := c.store.Verify(ctx, bolt.VerifyOptions{Gently: true, Progress: func(done, total int64) {
			c.mu.Lock()
			defer c.mu.Unlock()
			v.done, v.total = done, total
			if time.Since(v.asked) > giveUpVerifying {
				stop() // who asked is gone
			}
		}})
		if err == nil {
			err = c.hub.Record(ctx, by, "store.verified", "", out.OK, map[string]string{"flaws": strconv.FormatInt(out.Count, 10)})
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		v.out, v.err = out, err
	})
	return v
}

// takeUpRestored does what a first start after a restore has to.
func (d *daemon) takeUpRestored(ctx context.Context) error {
	dir := string(d.cfg.DataDir)
	r, err := backup.FirstStart(dir)
	if err != nil || r == nil {
		return err
	}
	if !r.Authentic(d.keys) {
		return backup.ErrForged
	}
	if err := d.store.Renew(ctx); err != nil {
		return err
	}
	about := mailbox.Restored{Action: "store.restored", Object: r.Generation, Resume: r.Resume, Detail: map[string]string{"taken": r.Taken.Format(time.RFC3339)}}
	if r.Salvaged {
		about.Action = "store.salvaged"
	}
	held, err := d.hub.TakeUpRestored(ctx, about)
	if err != nil {
		return err
	}
	d.log.Warn("this hub comes back from a copy: what happened after it was taken is not known here",
		"taken", r.Taken, "generation", journal.Word(r.Generation), "held", held)
	return backup.Started(dir)
}

// Verify reads everything of a hub that is not running, and changes nothing.
func Verify(ctx context.Context, c *configs.Config, progress func(done, total int64)) (*store.Verification, error) {
	dir := string(c.DataDir)
	if err := backup.Unfinished(dir); err != nil {
		return nil, err
	}
	keys, err := readKeys(c, dir)
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	return bolt.Verify(ctx, bolt.Options{Dir: dir, Keys: keys}, bolt.VerifyOptions{Progress: progress})
}

// readKeys opens the keystore in a folder, for reading only.
func readKeys(c *configs.Config, dir string) (*seal.Keys, error) {
	o, err := KeyOptions(c)
	if err != nil {
		return nil, err
	}
	o.DataDir, o.ReadOnly = filepath.Clean(dir), true
	k, err := seal.Open(o)
	if errors.Is(err, seal.ErrInUse) {
		return nil, ErrRunning
	}
	if err != nil {
		return nil, fmt.Errorf("opening the keystore: %w", err)
	}
	return k, nil
}
