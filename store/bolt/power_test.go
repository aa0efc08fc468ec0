package bolt

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// The power loss test keeps a model of the disk under a store: for each file what
// was synced, and what was written since. A loss of power leaves of the latter any
// sectors, in any order, torn at any of them, and old or new sizes. Of the index
// it leaves what bbolt's order of writing allows: any sectors of the data pages,
// or all of them and any of the meta page. From every such state all that was
// acknowledged must come back whole, and nothing half.

const sector = 512

// change of a file since its last sync.
type diskChange struct {
	at   int64  // of data
	data []byte // nil: the size changes to at
}

type diskFile struct {
	safe    []byte // without the zeros at its end
	size    int64
	since   []diskChange
	settled bool // it was synced under its name, hence it is there
	was     string
}

func (f *diskFile) apply(c diskChange) {
	if c.data == nil {
		f.size = c.at
		f.safe = f.safe[:min(int64(len(f.safe)), f.size)]
		return
	}
	end := c.at + int64(len(c.data))
	if zeros(c.data) && c.at >= int64(len(f.safe)) {
		f.size = max(f.size, end)
		return
	}
	if n := end - int64(len(f.safe)); n > 0 {
		f.safe = append(f.safe, make([]byte, n)...)
	}
	copy(f.safe[c.at:], c.data)
	f.size = max(f.size, end)
}

// disk is the model, and [files] for the store.
type disk struct {
	osFiles
	mu    sync.Mutex
	files map[string]*diskFile
	names map[*os.File]string
	index *indexWrite
	dir   string
	each  func() // called now and then, where something is half done
}

// indexWrite is a write of the index: as it was before and, when over, after.
type indexWrite struct{ before, after []byte }

func (d *disk) file(name string) *diskFile {
	f := d.files[filepath.Base(name)]
	if f == nil {
		f = &diskFile{}
		d.files[filepath.Base(name)] = f
	}
	return f
}

func (d *disk) change(name string, c diskChange) {
	d.mu.Lock()
	f := d.file(name)
	f.since = append(f.since, c)
	d.mu.Unlock()
	d.each()
}

func (d *disk) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	if flag&os.O_TRUNC != 0 {
		d.change(name, diskChange{})
	}
	f, err := d.osFiles.OpenFile(name, flag, perm)
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		d.mu.Lock()
		d.names[f] = name
		d.mu.Unlock()
	}
	return f, err
}

// name is what an open file is called now.
func (d *disk) name(f *os.File) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[f]
}

func (d *disk) WriteAt(f *os.File, b []byte, off int64) (int, error) {
	d.change(d.name(f), diskChange{off, bytes.Clone(b)})
	return d.osFiles.WriteAt(f, b, off)
}

func (d *disk) Allocate(f *os.File, off, n int64) error {
	d.change(d.name(f), diskChange{at: off + n})
	return d.osFiles.Allocate(f, off, n)
}

func (d *disk) Truncate(f *os.File, size int64) error {
	d.change(d.name(f), diskChange{at: size})
	return d.osFiles.Truncate(f, size)
}

func (d *disk) Sync(f *os.File) error {
	d.mu.Lock()
	n := len(d.file(d.names[f]).since)
	d.mu.Unlock()
	d.each()
	if err := d.osFiles.Sync(f); err != nil {
		return err
	}
	d.mu.Lock()
	m := d.file(d.names[f])
	for _, c := range m.since[:n] {
		m.apply(c)
	}
	m.since, m.settled = slices.Clone(m.since[n:]), true
	d.mu.Unlock()
	d.each()
	return nil
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	f := d.file(from)
	delete(d.files, filepath.Base(from))
	f.settled, f.was = false, filepath.Base(from)
	d.files[filepath.Base(to)] = f
	for open, name := range d.names {
		if name == from {
			d.names[open] = to
		}
	}
	d.mu.Unlock()
	d.each()
	return d.osFiles.Rename(from, to)
}

// flush notes how the index was, and is.
func (d *disk) flush(begins bool) {
	b, _ := os.ReadFile(filepath.Join(d.dir, indexName))
	d.mu.Lock()
	if begins {
		d.index = &indexWrite{before: b}
	} else {
		d.index.after = b
		d.index = &indexWrite{before: b, after: b}
	}
	d.mu.Unlock()
	d.each()
}

// image is all there is at one moment.
type image struct {
	files    map[string]*diskFile
	gone     map[string]bool // removed, but that may not be durable
	index    *indexWrite
	keystore []byte
	acked    map[string]int
}

func (d *disk) image(acked map[string]int) *image {
	d.mu.Lock()
	defer d.mu.Unlock()
	im := &image{files: map[string]*diskFile{}, gone: map[string]bool{}, index: d.index, acked: acked}
	for name, f := range d.files {
		im.files[name] = &diskFile{slices.Clone(f.safe), f.size, slices.Clone(f.since), f.settled, f.was}
		if _, err := os.Stat(filepath.Join(d.dir, segmentsDir, name)); err != nil {
			im.gone[name] = true
		}
	}
	im.keystore, _ = os.ReadFile(filepath.Join(d.dir, "keystore"))
	return im
}

// lose makes one of the states that a loss of power can leave.
func (im *image) lose(r *rand.Rand, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, segmentsDir), 0o700); err != nil {
		return err
	}
	for name, f := range im.files {
		switch {
		case !f.settled && f.was != "":
			if r.IntN(2) == 0 {
				name = f.was
			}
		case im.gone[name] && r.IntN(2) == 0 || !f.settled && r.IntN(2) == 0:
			continue
		}
		g := &diskFile{safe: slices.Clone(f.safe), size: f.size}
		luck := [...]int{0, 10, 50, 90, 100}[r.IntN(5)] // percent of sectors that came
		var came []diskChange
		for _, c := range f.since {
			if c.data == nil {
				if r.IntN(2) == 0 {
					g.apply(c)
				}
				continue
			}
			if zeros(c.data) && len(c.data) > 4*sector {
				continue // what was to be blank is so, or is not: below all else
			}
			for n := int64(0); n < int64(len(c.data)); {
				to := min((c.at+n)/sector*sector+sector-c.at, int64(len(c.data)))
				if r.IntN(100) < luck {
					came = append(came, diskChange{c.at + n, c.data[n:to]})
				}
				n = to
			}
		}
		r.Shuffle(len(came), func(i, j int) { came[i], came[j] = came[j], came[i] })
		for _, c := range came {
			g.apply(c)
		}
		path := filepath.Join(dir, segmentsDir, name)
		if err := os.WriteFile(path, g.safe, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(path, g.size); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "keystore"), im.keystore, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, indexName), im.index.lose(r), 0o600)
}

// lose gives what a loss of power leaves of an index that is being written.
func (w *indexWrite) lose(r *rand.Rand) []byte {
	const page, metas = 4096, 2
	phase := r.IntN(4)
	if w.after == nil || phase == 0 {
		return w.before
	}
	if phase == 3 {
		return w.after
	}
	out := bytes.Clone(w.before)
	if len(out) < len(w.after) && (phase == 2 || r.IntN(2) == 0) {
		out = append(out, make([]byte, len(w.after)-len(out))...)
	}
	for at := 0; at < min(len(out), len(w.after)); at += sector {
		meta := at < metas*page
		if phase == 1 && !meta && r.IntN(2) == 0 || phase == 2 && (!meta || r.IntN(2) == 0) {
			copy(out[at:], w.after[at:min(at+sector, len(w.after))])
		}
	}
	return out
}

const powerWriters = 4

func powerCode(w int) store.PathwayCode { return store.PathwayCode(fmt.Sprintf("power%02d", w)) }

// powerRun works on a store, and gives images of its disk.
func powerRun(t *testing.T, p *place, r *rand.Rand, posts, images int) []*image {
	d := &disk{files: map[string]*diskFile{}, names: map[*os.File]string{}, dir: p.seal.DataDir, each: func() {}}
	s := p.mustOpen(func(o *Options) { powerOptions(o); o.files, o.flush = d, d.flush })
	for w := range powerWriters {
		if err := s.NewKey(bg, pathwayOwner(powerCode(w))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range posts {
		if err := s.NewKey(bg, triageOwner(store.HeldID(fmt.Sprint("h", i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(bg, nil); err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		acked = map[string]int{}
		out   []*image
	)
	steps, every := 0, 1+r.IntN(12)
	d.each = func() {
		mu.Lock()
		steps++
		take := len(out) < images && steps%every == 0
		now := maps.Clone(acked) // before the disk is looked at: it must hold that
		mu.Unlock()
		if take {
			im := d.image(now)
			mu.Lock()
			out = append(out, im)
			mu.Unlock()
		}
	}
	ack := func(what string, n int) {
		mu.Lock()
		defer mu.Unlock()
		acked[what] = n
	}
	var wg sync.WaitGroup
	for w := range powerWriters {
		wg.Go(func() {
			for n := range posts {
				if err := powerPost(s, w, n, ack); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// An index that is brought up to date with what is not durable yet.
	mu.Lock()
	images, every = images+4, 2
	mu.Unlock()
	for n := range 4 {
		err := s.CommitSoon(bg, func(t store.Tx) error { return t.PutSetting("soon0", u32(uint32(100+n))) })
		if err == nil {
			err = s.flush(bg, nil)
		}
		if err != nil {
			t.Error(err)
		}
	}
	d.each = func() {}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return out
}

func powerOptions(o *Options) {
	o.SmallMessage, o.SegmentSize, o.FlushBytes, o.FlushAge = 40000, 150000, 30000, 3*time.Millisecond
}

// powerPost files message n of a writer, counts it twice (soon, and with the
// message), and holds and drops something now and then.
func powerPost(s *Store, w, n int, ack func(string, int)) error {
	code := powerCode(w)
	soon, counted := fmt.Sprint("soon", w), fmt.Sprint("counted", w)
	if err := s.CommitSoon(bg, func(t store.Tx) error { return t.PutSetting(soon, u32(uint32(n+1))) }); err != nil {
		return err
	}
	clear := crashClear(store.MessageID(code), n)
	d, err := s.Create(bg, 0)
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := d.Write(clear); err != nil {
		return err
	}
	if err := d.Finish(); err != nil {
		return err
	}
	id := fmt.Sprintf("01%s%06d", code, n)
	err = s.Commit(bg, func(t store.Tx) error {
		m := &store.Message{ID: store.MessageID(id), Pathway: code, RFCID: id + "@x", Filings: []store.Filing{{Rubric: "r"}}}
		if err := t.FileMessage(m, []byte(id), d); err != nil {
			return err
		}
		if err := t.PutDelivery(&store.Delivery{ID: store.DeliveryID(id), Pathway: code, Message: m.ID, State: store.Queued}); err != nil {
			return err
		}
		if err := t.PutItem(store.Item{ID: store.ItemID(id), Lane: "out:x", Delivery: store.DeliveryID(id)}); err != nil {
			return err
		}
		if err := t.PutSetting(counted, u32(uint32(n+1))); err != nil {
			return err
		}
		return t.Trace(store.Trace{Family: store.Application, Action: "post.filed", Object: id, Pathway: code})
	})
	if err != nil {
		return err
	}
	ack(counted, n+1)
	if w != 0 {
		return nil
	}
	hold, err := s.Create(bg, 0)
	if err != nil {
		return err
	}
	defer hold.Discard()
	if _, err := hold.Write(make([]byte, 50000)); err != nil {
		return err
	}
	if err := hold.Finish(); err != nil {
		return err
	}
	h := store.HeldID(fmt.Sprint("h", n))
	if err := s.Commit(bg, func(t store.Tx) error { return t.Hold(&store.Held{ID: h}, nil, hold) }); err != nil {
		return err
	}
	ack("held", n+1)
	if n%2 == 0 {
		return nil
	}
	drop := s.Commit
	if n%4 == 1 {
		drop = s.CommitSoon
	}
	return drop(bg, func(t store.Tx) error { return t.DropHeld(h) })
}

// powerCheck opens what a loss of power left.
func powerCheck(t *testing.T, p *place, im *image) {
	t.Helper()
	if v := p.verify(); !v.OK {
		t.Errorf("verification: %+v", v.Flaws)
	}
	s, err := p.open(powerOptions)
	if err != nil {
		t.Errorf("opening: %v", err)
		return
	}
	defer s.Close()
	number := func(v store.View, name string) int {
		b, _ := v.Setting(name)
		if len(b) != 4 {
			return 0
		}
		return int(b[3])
	}
	total := 0
	for w := range powerWriters {
		code := powerCode(w)
		var thread []*store.Message
		if err := s.View(bg, func(v store.View) (err error) {
			thread, err = v.Thread(code, 0, 0)
			counted, soon := number(v, fmt.Sprint("counted", w)), number(v, fmt.Sprint("soon", w))
			if want := im.acked[fmt.Sprint("counted", w)]; counted < want || len(thread) != counted || soon < counted {
				t.Errorf("%s: %d acknowledged, %d counted, %d there, %d soon", code, want, counted, len(thread), soon)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		for n, m := range thread {
			powerWhole(t, s, m, n)
		}
		total += len(thread)
	}
	var held []*store.Held
	if err := s.View(bg, func(v store.View) (err error) { held, err = v.HeldList("", 0); return err }); err != nil {
		t.Error(err)
	}
	kept := map[store.HeldID]bool{}
	for _, h := range held {
		kept[h.ID] = true
		if n, err := drain(s, *h.Blob); err != nil || n != 50000 {
			t.Errorf("held %s: %d bytes, %v", h.ID, n, err)
		}
	}
	for n := 0; n < im.acked["held"]; n += 2 {
		if !kept[store.HeldID(fmt.Sprint("h", n))] {
			t.Errorf("held message %d is gone", n)
		}
	}
	if r, err := s.VerifyTraces(bg); err != nil || !r.Sound() || int(r.Head.Families[0].Count) != total {
		t.Errorf("traces beside %d messages: %+v, %v", total, r, err)
	}
	if st, err := s.Stats(bg); err != nil || int(st.Messages) != total || int(st.Held) != len(held) {
		t.Errorf("figures %+v, %v", st, err)
	}
	checkNoOrphans(t, s)
	if err := post(s, powerCode(0), "02after", []byte("after"), 1); err != nil {
		t.Errorf("life does not go on: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	p.leave()
	if v := p.verify(); !v.OK {
		t.Errorf("verification afterwards: %+v", v.Flaws)
	}
}

func powerWhole(t *testing.T, s *Store, m *store.Message, n int) {
	t.Helper()
	if err := s.View(bg, func(v store.View) error {
		if _, err := v.Delivery(store.DeliveryID(m.ID)); err != nil {
			return err
		}
		if _, err := v.Item(store.ItemID(m.ID)); err != nil {
			return err
		}
		refs, err := v.MessagesByID(m.RFCID)
		if err == nil && len(refs) != 1 {
			err = fmt.Errorf("%d look-ups", len(refs))
		}
		return err
	}); err != nil {
		t.Errorf("message %s is half there: %v", m.ID, err)
	}
	if k, err := drain(s, *m.Blob); err != nil || k != int64(len(crashClear(store.MessageID(m.Pathway), n))) {
		t.Errorf("message %s: %d bytes, %v", m.ID, k, err)
	}
}

func TestPowerLoss(t *testing.T) {
	runs := 5
	if os.Getenv("RELAIS_LONG") == "1" {
		runs = 300
	}
	const posts, images, states = 8, 6, 3
	for range runs {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPlace(t)
		for i, im := range powerRun(t, p, r, posts, images) {
			for n := range states {
				q := *p
				q.keys = nil
				q.seal.DataDir = t.TempDir()
				if err := im.lose(r, q.seal.DataDir); err != nil {
					t.Fatal(err)
				}
				powerCheck(t, &q, im)
				if q.keys != nil {
					q.keys.Close()
				}
				if t.Failed() {
					t.Fatalf("seed %d, image %d, state %d, acknowledged %v", seed, i, n, im.acked)
				}
				os.RemoveAll(q.seal.DataDir)
			}
		}
		p.keys.Close()
	}
}
