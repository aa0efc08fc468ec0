package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/relais-sante/relais/store"
)

// VerifyOptions say how a verification goes about.
type VerifyOptions struct {
	// Progress, if not nil, is told how many bytes of how many were read.
	Progress func(done, total int64)
	// Gently leaves at least half of the time to others.
	Gently bool
}

// verifier reads everything once: segments from end to end, then the pages of the
// index, then its rows, each against the others. It keeps in memory what does not
// fit, and nothing of what does.
type verifier struct {
	ctx    context.Context
	s      *Store // the running one, or one that only has keys and a folder
	v      *view
	state  state
	tail   tail
	index  string // file to read
	online bool
	o      VerifyOptions
	out    store.Verification

	damaged map[spot]bool // records that do not fit, not yet reported
	flawed  map[string]bool
	keyed   map[string]map[store.MessageID]bool // by key: see hasKey
	// Rows that records ask for, and those there are, see matched.
	located, copies, filings, updates, mails matched

	rubrics rubrics     // of the pathway that is being read
	reader  readerTally // the account

	done   int64
	total  int64
	rested time.Time
}

// matched counts rows that follow from records, from both sides: each record finds
// its own there, so as many as are asked for are of nothing else.
type matched struct{ asked, there int }

// spot is where a record lies.
type spot struct {
	segment string
	offset  int64
}

const segmentsDir = "segments"

// Verify reads everything as it was at the moment of the call, while the store
// goes on.
func (s *Store) Verify(ctx context.Context, o VerifyOptions) (*store.Verification, error) {
	n, err := s.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return n.Verify(ctx, o)
}

// Verify reads everything in the snapshot.
func (n *Snapshot) Verify(ctx context.Context, o VerifyOptions) (*store.Verification, error) {
	c := &verifier{ctx: ctx, s: n.s, index: n.IndexPath(), state: n.state, tail: n.tail, online: true, o: o}
	return c.run()
}

// Verify reads everything in a folder that no process has open. The keys must be
// open for reading only.
func Verify(ctx context.Context, opt Options, o VerifyOptions) (*store.Verification, error) {
	s, err := bare(opt)
	if err != nil {
		return nil, err
	}
	c := &verifier{ctx: ctx, s: s, index: filepath.Join(opt.Dir, indexName), o: o}
	return c.run()
}

// bare gives a store that can read rows of any index under its keys, but has
// none open.
func bare(o Options) (*Store, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	s := &Store{o: o, keys: o.Keys, log: o.Logger}
	s.segs.init(filepath.Join(o.Dir, segmentsDir), o.files)
	return s, nil
}

func (c *verifier) run() (*store.Verification, error) {
	start := time.Now()
	c.damaged, c.flawed, c.rested = map[spot]bool{}, map[string]bool{}, start
	c.out = store.Verification{Online: c.online, Flaws: []store.Flaw{}}
	err := c.s.fenced(c.all)
	if errors.Is(err, errTorn) {
		c.flaw(store.FlawPage, indexName, -1, "")
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("verifying: %w", err)
	}
	for p := range c.damaged {
		c.flaw(store.FlawChanged, filepath.Join(segmentsDir, p.segment), p.offset, "")
	}
	slices.SortStableFunc(c.out.Flaws, func(a, b store.Flaw) int {
		if d := strings.Compare(a.File, b.File); d != 0 {
			return d
		}
		return int(max(-1, min(1, a.Offset-b.Offset)))
	})
	c.out.OK = c.out.Count == 0
	c.out.Took = time.Since(start)
	return &c.out, nil
}

func (c *verifier) all() error {
	c.checkKeys()
	readable, err := c.checkPages()
	if err != nil {
		return err
	}
	if !readable {
		return c.segmentsAlone()
	}
	file := &opened{files: c.s.o.files}
	var db *bolt.DB
	defer func() {
		if db == nil {
			file.letGo()
		}
	}()
	db, err = bolt.Open(c.index, 0o600, &bolt.Options{ReadOnly: true, Timeout: c.s.o.LockTimeout, NoStatistics: true, OpenFile: file.OpenFile})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("locking index: another process has it open: %w", store.ErrUnavailable)
	case err != nil:
		return fmt.Errorf("opening index: %w", fault(err))
	}
	defer db.Close()
	btx, err := db.Begin(false)
	if err != nil {
		return fmt.Errorf("opening index: %w", fault(err))
	}
	defer func() { _ = btx.Rollback() }()
	c.v = &view{s: c.s, tx: btx}
	if !c.online {
		c.s.db = db
		if err := c.s.openChain(); err != nil {
			c.flaw(store.FlawKey, "keystore", -1, "")
			return c.segmentsAlone()
		}
		if fits, err := c.behind(); err != nil || !fits {
			return errors.Join(err, c.segmentsAlone())
		}
	}
	c.out.Sequence = c.state.Seq
	if c.state.lacksKeys(c.s.keys) {
		c.flaw(store.FlawKey, "keystore", -1, "")
	}
	if err := c.segments(); err != nil {
		return err
	}
	return c.rows()
}

// behind reads what the log holds beyond an index that was not closed in order;
// false: there is no telling what state it is in.
func (c *verifier) behind() (bool, error) {
	st, err := c.v.now()
	if err != nil {
		c.flaw(store.FlawRecord, indexName, -1, "")
		return false, nil
	}
	r := &replay{s: c.s, state: *st, rows: newLevel()}
	if c.out.Unfinished = !st.Closed; c.out.Unfinished {
		err := r.run()
		switch {
		case errors.Is(err, store.ErrCorrupt):
			c.flaw(store.FlawChanged, filepath.Join(segmentsDir, sharedName(r.state.Segment)), r.state.End, "")
		case err != nil:
			return false, err
		}
	}
	c.state = r.state
	lv := &levels{active: r.rows, state: &c.state}
	c.v.over = lv
	c.s.levels.Store(lv) // for what asks the store
	return true, nil
}

// flaw reports one thing. Of a torn index the rows are not counted one by one.
func (c *verifier) flaw(kind store.FlawKind, file string, offset int64, id string) {
	c.flawed[file] = true
	c.out.Note(store.Flaw{Kind: kind, File: file, Offset: offset, ID: id})
}

func (c *verifier) checkKeys() {
	n, at, err := c.s.keys.Check()
	c.out.Keys = int64(n)
	if err != nil {
		c.flaw(store.FlawKey, "keystore", at, "")
	}
}

// checkPages checks the pages of the index; false: its rows cannot be read.
func (c *verifier) checkPages() (bool, error) {
	f, err := os.Open(c.index)
	if errors.Is(err, fs.ErrNotExist) {
		c.flaw(store.FlawMissing, indexName, -1, "")
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("opening index: %w", fault(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("opening index: %w", fault(err))
	}
	c.total = info.Size() + c.segmentBytes()
	torn := false
	var size int64
	p, err := openPages(f, info.Size(), func(f pageFault) {
		torn = torn || f.page > 1
		c.flaw(store.FlawPage, indexName, int64(f.page)*size, "")
	})
	if errors.Is(err, store.ErrCorrupt) {
		c.flaw(store.FlawPage, indexName, 0, "")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size, p.tick = p.page, func(_ uint64, b []byte) { c.read(int64(len(b))) }
	if err := p.walk(); err != nil {
		return false, err
	}
	return !torn, c.ctx.Err()
}

func (c *verifier) segmentBytes() int64 {
	var n int64
	entries, _ := os.ReadDir(c.s.segs.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// read counts bytes, tells of it, and rests as long as reading took.
func (c *verifier) read(n int64) {
	c.done += n
	c.out.Bytes += n
	const step = 4 << 20
	if c.done/step == (c.done-n)/step {
		return
	}
	if c.o.Progress != nil {
		c.o.Progress(min(c.done, c.total), c.total)
	}
	if c.o.Gently {
		wait := time.NewTimer(min(time.Since(c.rested), time.Second))
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
		}
		c.rested = time.Now()
	}
}

// id makes a text of a row's key where that is an id in clear.
func id(k []byte) string {
	for _, b := range k {
		if b < '0' || b > 'z' {
			return ""
		}
	}
	return string(k)
}
