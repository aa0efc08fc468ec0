package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// stocked is a place whose store, closed in order, holds something of every kind.
func stocked(t *testing.T) *place {
	t.Helper()
	p := newPlace(t)
	s := p.mustOpen(func(o *Options) { o.SegmentSize = 20000 })
	fillWithMarkers(t, s, "MARQUEUR", strings.Repeat("Bonjour MARQUEUR ", 10))
	for i := range 60 {
		code := store.PathwayCode(fmt.Sprintf("b%06d", i%3))
		if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
			t.Fatal(err)
		}
		if err := post(s, code, fmt.Sprintf("01m%023d", i), bytes.Repeat([]byte("x"), i*31), 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := post(s, "b000001", "01m9", make([]byte, 2<<20), 1); err != nil {
		t.Fatal(err)
	}
	readAndRefile(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.leave()
	return p
}

// verify verifies without a daemon.
func (p *place) verify() *store.Verification {
	p.Helper()
	o := p.seal
	o.ReadOnly = true
	k, err := seal.Open(o)
	if err != nil {
		// A keystore that cannot be opened is told by its own error.
		return &store.Verification{Count: 1, Flaws: []store.Flaw{{Kind: store.FlawKey, File: "keystore"}}}
	}
	defer k.Close()
	v, err := Verify(bg, Options{Dir: p.seal.DataDir, Keys: k}, VerifyOptions{})
	if err != nil {
		p.Fatal(err)
	}
	return v
}

func (p *place) files() []string {
	p.Helper()
	segs, err := filepath.Glob(filepath.Join(p.seal.DataDir, "segments", "*"))
	if err != nil {
		p.Fatal(err)
	}
	return append(segs, filepath.Join(p.seal.DataDir, "index.db"), filepath.Join(p.seal.DataDir, "keystore"))
}

func TestVerifySound(t *testing.T) {
	p := stocked(t)
	before := map[string]string{}
	for _, f := range p.files() {
		b, _ := os.ReadFile(f)
		before[f] = string(b)
	}
	v := p.verify()
	if !v.OK || v.Messages < 60 || v.Traces < 60 || v.Segments < 4 || v.Unfinished {
		t.Fatalf("%+v", v)
	}
	for f, b := range before {
		if now, _ := os.ReadFile(f); string(now) != b {
			t.Errorf("%s was changed by looking", filepath.Base(f))
		}
	}
	s := p.mustOpen(nil)
	if v, err := s.Verify(bg, VerifyOptions{}); err != nil || !v.OK || !v.Online || v.Messages < 60 {
		t.Errorf("online: %+v, %v", v, err)
	}
}

// Any byte changed, removed or added in a message file is found, and so is any
// file that is gone or that nobody wrote.
func TestVerifyFindsTampering(t *testing.T) {
	p := stocked(t)
	rounds := 8
	if os.Getenv("RELAIS_LONG") == "1" {
		rounds = 1000
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, file := range p.files() {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if name == "index.db" {
			continue // much of it is room that nothing uses; see below
		}
		message := strings.HasSuffix(name, segSuffix)
		for i := range rounds {
			at := r.IntN(len(whole))
			var what string
			var bad []byte
			switch i % 4 {
			case 0:
				what, bad = "changed", bytes.Clone(whole)
				bad[at] ^= 1 << r.IntN(8)
			case 1:
				what, bad = "removed", append(bytes.Clone(whole[:at]), whole[at+1:]...)
			case 2:
				what, bad = "added", append(append(bytes.Clone(whole[:at]), byte(r.IntN(256))), whole[at:]...)
			case 3:
				what, bad = "cut", whole[:at]
			}
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			v := p.verify()
			if v.OK || v.Count == 0 {
				t.Errorf("%s: a byte %s at %d of %d is not found", name, what, at, len(whole))
			}
			if message && v.Flaws[0].File != filepath.Join("segments", name) {
				t.Errorf("%s: a byte %s at %d is told as %+v", name, what, at, v.Flaws[0])
			}
		}
		for _, tail := range []string{"\x00", "x", strings.Repeat("\x00", 5000)} {
			if !message {
				continue
			}
			if err := os.WriteFile(file, append(bytes.Clone(whole), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			if v := p.verify(); v.OK {
				t.Errorf("%s: %d bytes added at the end are not found", name, len(tail))
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if v := p.verify(); v.OK {
			t.Errorf("%s: not missed", name)
		}
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	foreign := filepath.Join(p.seal.DataDir, "segments", "notes.txt")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if v := p.verify(); v.OK || v.Flaws[0].Kind != store.FlawAdded {
		t.Errorf("a foreign file: %+v", v)
	}
	os.Remove(foreign)
	if v := p.verify(); !v.OK {
		t.Fatalf("mended: %+v", v.Flaws)
	}
}

// TestVerifyFindsLostKeys: after a crash, where no mark of the keystore says how
// long it was, the commits do. A start that went on would make the rows of keys
// that are lost pass for erased.
func TestVerifyFindsLostKeys(t *testing.T) {
	p := newPlace(t)
	s := p.mustOpen(nil)
	keystore := filepath.Join(p.seal.DataDir, "keystore")
	ends := []int64{}
	for i := range 3 {
		code := store.PathwayCode(fmt.Sprintf("b%06d", i))
		if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(keystore)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, info.Size())
		if err := post(s, code, fmt.Sprintf("01m%023d", i), []byte("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	crashed := map[string][]byte{}
	for _, f := range p.files() {
		crashed[f], _ = os.ReadFile(f)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.leave()
	for _, end := range ends {
		for f, b := range crashed {
			if err := os.WriteFile(f, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Truncate(keystore, end); err != nil {
			t.Fatal(err)
		}
		whole := end == ends[2]
		if v := p.verify(); v.OK != whole {
			t.Errorf("cut at %d of %d: %+v", end, ends[2], v)
		}
		s, err := p.open(nil)
		if whole != (err == nil) || !whole && !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("a start with a keystore cut at %d of %d: %v", end, ends[2], err)
		}
		if err == nil {
			s.Close()
		}
		p.leave()
	}
	// What is lost is lost; a salvage goes on with the rest.
	if err := os.Truncate(keystore, ends[1]); err != nil {
		t.Fatal(err)
	}
	o := p.seal
	if lost, err := seal.Salvage(o); err != nil || lost != 1 {
		t.Fatalf("%d stretches lost, %v", lost, err)
	}
	if out := p.salvage(); out.Messages != 2 || out.Erased == 0 {
		t.Errorf("%+v", out)
	}
	p.mustOpen(nil)
}

// Torn pages of every kind are found, and neither looking nor serving ends the
// process.
func TestVerifyFindsTornPages(t *testing.T) {
	p := stocked(t)
	index := filepath.Join(p.seal.DataDir, "index.db")
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[uint16][]uint64{metaPage: {0, 1}}
	pg, err := openPages(bytes.NewReader(whole), int64(len(whole)), func(f pageFault) { t.Error(f) })
	if err != nil {
		t.Fatal(err)
	}
	pg.tick = func(id uint64, b []byte) {
		k := native.Uint16(b[8:])
		byKind[k] = append(byKind[k], id)
	}
	if err := pg.walk(); err != nil || len(byKind[branchPage]) == 0 || len(byKind[leafPage]) < 5 {
		t.Fatalf("pages %v, %v", byKind, err)
	}
	byKind[16] = []uint64{pg.free}
	r := rand.New(rand.NewPCG(1, 2))
	for kind, list := range byKind {
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if os.Getenv("RELAIS_LONG") != "1" {
			list = list[:min(3, len(list))]
		}
		for _, id := range list {
			for _, tear := range []string{"zeros", "noise", "header"} {
				bad := bytes.Clone(whole)
				page := bad[int64(id)*pg.page : int64(id+1)*pg.page]
				switch tear {
				case "zeros": // the sectors that never came
					clear(page[:2048])
				case "noise":
					for i := range 2048 {
						page[i] = byte(r.IntN(256))
					}
				case "header":
					page[r.IntN(12)] ^= 0x11
				}
				if err := os.WriteFile(index, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if v := p.verify(); v.OK && kind != 16 {
					t.Errorf("page %d of kind %d: %s, and not found", id, kind, tear)
				}
				p.endure()
			}
		}
	}
}

// endure opens the store and does what a hub would; what cannot be done must be
// an error.
func (p *place) endure() {
	p.Helper()
	s, err := p.open(nil)
	defer p.leave()
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrUnavailable) {
			p.Errorf("opening: %v", err)
		}
		return
	}
	defer s.Close()
	read := func(fn func(store.View) error) {
		if err := s.View(bg, fn); err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNotFound) {
			p.Errorf("reading: %v", err)
		}
	}
	for _, code := range []store.PathwayCode{"b000000", "b000001", "b000002", "bcdfghj"} {
		read(func(v store.View) error { _, err := v.Pathway(code); return err })
		read(func(v store.View) error { _, err := v.Thread(code, 0, 0); return err })
	}
	read(func(v store.View) error { _, err := v.DeliveryList("", 0); return err })
	read(func(v store.View) error { _, err := v.Traces(store.Application, 0, 0); return err })
	read(func(v store.View) error { _, err := v.Boxes("", 0); return err })
	// The log may have it already, from an attempt before.
	if err := post(s, "b000001", "01mz", []byte("x"), 1); err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
		p.Errorf("a commit: %v", err)
	}
	_, _ = s.Stats(bg)
}

// FuzzPages: an index file is read without trusting it.
func FuzzPages(f *testing.F) {
	path := filepath.Join(f.TempDir(), "index.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		f.Fatal(err)
	}
	if err := db.Update(func(btx *bolt.Tx) error {
		b, err := btx.CreateBucket([]byte("b"))
		for i := range 300 {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "key %d", i), make([]byte, 30)))
		}
		return err
	}); err != nil {
		f.Fatal(err)
	}
	db.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(4096*3+10), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(whole)
		copy(b[int(at)%len(b):], patch)
		p, err := openPages(bytes.NewReader(b), int64(len(b)), func(pageFault) {})
		if err != nil {
			return
		}
		if err := p.walk(); err != nil {
			t.Error(err)
		}
	})
}
