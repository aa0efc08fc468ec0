package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
)

var bg = context.Background()

// house is a hub's store with its keys.
type house struct {
	testing.TB
	seal   seal.Options
	keys   *seal.Keys
	store  *bolt.Store
	keeper *Keeper
	posts  int
}

func newHouse(t *testing.T) *house {
	t.Helper()
	hub := make([]byte, 32)
	_, _ = rand.Read(hub)
	h := &house{TB: t, seal: seal.Options{DataDir: t.TempDir(), EpochDir: t.TempDir(), Hub: seal.Value(hex.EncodeToString(hub))}}
	if err := seal.Create(h.seal); err != nil {
		t.Fatal(err)
	}
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *house) open() {
	h.Helper()
	var err error
	if h.keys, err = seal.Open(h.seal); err != nil {
		h.Fatal(err)
	}
	h.store, err = bolt.Open(bolt.Options{Dir: h.seal.DataDir, Keys: h.keys, SegmentSize: 100 << 10, SmallMessage: 50 << 10})
	if err != nil {
		h.Fatal(err)
	}
	h.keeper = NewKeeper(h.store, h.keys)
}

func (h *house) close() {
	if h.store == nil {
		return
	}
	h.keeper.Close()
	if err := h.store.Close(); err != nil {
		h.Error(err)
	}
	h.keys.Close()
	h.store = nil
}

const marker = "MARQUEUR-ENFANT"

// post files messages, with markers in all that is somebody's.
func (h *house) post(code store.PathwayCode, n, size int) {
	h.Helper()
	owner := store.Owner{Kind: store.OwnedByPathway, ID: string(code)}
	if err := h.store.NewKey(bg, owner); err != nil {
		h.Fatal(err)
	}
	for range n {
		h.posts++
		id := store.MessageID(fmt.Sprintf("01m%023d", h.posts))
		d, err := h.store.Create(bg, 0)
		if err != nil {
			h.Fatal(err)
		}
		_, _ = d.Write([]byte(strings.Repeat(marker+string(id), size/40+1)))
		if err := d.Finish(); err != nil {
			h.Fatal(err)
		}
		err = h.store.Commit(bg, func(tx store.Tx) error {
			m := &store.Message{ID: id, Pathway: code, RFCID: marker + string(id), Subject: marker, Filings: []store.Filing{{Rubric: "r"}}}
			if err := tx.FileMessage(m, []byte(marker), d); err != nil {
				return err
			}
			return tx.Trace(store.Trace{Family: store.Application, Action: "post.filed", Pathway: code, Object: string(id)})
		})
		if err != nil {
			h.Fatal(err)
		}
	}
}

func (h *house) backup(dest string, o Options) *Report {
	h.Helper()
	r, err := Write(bg, h.keeper, dest, o)
	if err != nil {
		h.Fatalf("%v: %+v", err, r)
	}
	return r
}

// at opens a restored folder with this house's keys.
func (h *house) at(dir string) *house {
	h.Helper()
	r := &house{TB: h.TB, seal: h.seal, posts: h.posts + 1000}
	r.seal.DataDir = dir
	r.open()
	h.Cleanup(r.close)
	return r
}

// holds reads every message of a pathway back.
func (h *house) holds(code store.PathwayCode, want int) {
	h.Helper()
	var thread []*store.Message
	if err := h.store.View(bg, func(v store.View) (err error) {
		thread, err = v.Thread(code, 0, 0)
		return err
	}); err != nil {
		h.Fatal(err)
	}
	if len(thread) != want {
		h.Errorf("%d messages, want %d", len(thread), want)
	}
	for _, m := range thread {
		r, err := h.store.Open(bg, *m.Blob)
		if err != nil {
			h.Fatal(err)
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.HasPrefix(b, []byte(marker+string(m.ID))) {
			h.Errorf("message %s: %d bytes, %v", m.ID, len(b), err)
		}
	}
}

func verified(t *testing.T, o seal.Options, dir string) {
	t.Helper()
	o.DataDir, o.ReadOnly = dir, true
	k, err := seal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	v, err := bolt.Verify(bg, bolt.Options{Dir: dir, Keys: k}, bolt.VerifyOptions{})
	if err != nil || !v.OK {
		t.Fatalf("verify: %+v, %v", v, err)
	}
}

// A backup comes back whole; a later one copies what is new.
func TestBackupAndRestore(t *testing.T) {
	h, dest := newHouse(t), filepath.Join(t.TempDir(), "dest")
	h.post("b000001", 30, 3000)
	h.post("b000002", 3, 200<<10) // each a file of its own
	first := h.backup(dest, Options{})
	if first.Reused != 0 || first.Copied != first.Bytes {
		t.Errorf("the first: %+v", first)
	}
	h.post("b000001", 30, 3000)
	second := h.backup(dest, Options{})
	if second.Copied > second.Bytes-600<<10 || second.Reused < 600<<10 {
		t.Errorf("the second copied %d and reused %d of %d", second.Copied, second.Reused, second.Bytes)
	}
	h.close()
	for _, tc := range []struct {
		generation string
		want       int
	}{{"", 60}, {first.Generation, 30}} {
		dir := filepath.Join(t.TempDir(), "data")
		r, err := Restore(bg, dest, dir, RestoreOptions{Generation: tc.generation})
		if err != nil || !r.Held {
			t.Fatalf("%+v, %v", r, err)
		}
		verified(t, h.seal, dir)
		mark, err := FirstStart(dir)
		if err != nil || mark == nil {
			t.Fatalf("%+v, %v", mark, err)
		}
		back := h.at(dir)
		if !mark.Authentic(back.keys) {
			t.Error("the manifest's MAC does not fit")
		}
		back.holds("b000001", tc.want)
		back.holds("b000002", 3)
		// Life goes on in another history: the same folder still takes backups.
		if err := back.store.Renew(bg); err != nil {
			t.Fatal(err)
		}
		back.post("b000009", 5, 3000)
		back.backup(dest, Options{})
		back.close()
		again := filepath.Join(t.TempDir(), "data")
		if _, err := Restore(bg, dest, again, RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		verified(t, h.seal, again)
	}
	// What the first generations name is untouched by all that.
	for _, g := range []string{first.Generation, second.Generation} {
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := Restore(bg, dest, dir, RestoreOptions{Generation: g}); err != nil {
			t.Fatalf("generation %s: %v", g, err)
		}
	}
}

// faulty is a source that fails after so many reads.
type faulty struct {
	Source
	left atomic.Int64
}

var errCut = errors.New("cut off")

func (f *faulty) Read(ctx context.Context, id, name string, offset, length int64) (io.ReadCloser, error) {
	if f.left.Add(-1) < 0 {
		return nil, errCut
	}
	return f.Source.Read(ctx, id, name, offset, length)
}

// TestBackupKeystores: a backup carries the keys that were there and none that were
// dropped, so its keystore is shorter than the one it was made of. Restored with
// it, with the hub's own of today or with that of the next epoch, nothing is
// missing.
func TestBackupKeystores(t *testing.T) {
	for _, running := range []bool{true, false} {
		h, dest := newHouse(t), filepath.Join(t.TempDir(), "dest")
		h.post("b000001", 3, 100)
		for i := range 5 {
			o := store.Owner{Kind: store.OwnedByTriage, ID: fmt.Sprint(i)}
			if err := errors.Join(h.store.NewKey(bg, o), h.store.DropKey(bg, o)); err != nil {
				t.Fatal(err)
			}
		}
		h.post("b000002", 3, 100)
		if !running { // a backup of a hub that stands still
			h.close()
			h.open()
		}
		h.backup(dest, Options{})
		h.post("b000003", 3, 100)
		current := filepath.Join(h.seal.DataDir, "keystore")
		restored := func(keystore string) {
			t.Helper()
			dir := filepath.Join(t.TempDir(), "data")
			if _, err := Restore(bg, dest, dir, RestoreOptions{Keystore: keystore}); err != nil {
				t.Fatal(err)
			}
			verified(t, h.seal, dir)
			back := h.at(dir)
			back.holds("b000001", 3)
			back.holds("b000002", 3)
			back.close()
			verified(t, h.seal, dir)
		}
		restored("")
		restored(current)
		if _, err := h.keys.Rotate(bg); err != nil {
			t.Fatal(err)
		}
		restored(current)
		h.close()
		verified(t, h.seal, h.seal.DataDir)
		restored(current)
	}
}

// Wherever a backup is cut off, what was there stays good, and the next run goes
// on with what was copied.
func TestInterruptedBackup(t *testing.T) {
	h, dest := newHouse(t), filepath.Join(t.TempDir(), "dest")
	h.post("b000001", 40, 3000)
	h.backup(dest, Options{})
	h.post("b000001", 40, 3000)
	h.post("b000002", 2, 200<<10)
	var copied int64
	for n := int64(0); ; n++ {
		src := &faulty{Source: h.keeper}
		src.left.Store(n)
		r, err := Write(bg, src, dest, Options{})
		copied += r.Copied
		if err == nil {
			if n < 3 {
				t.Fatalf("never cut off: %d reads", n)
			}
			if r.Reused == 0 {
				t.Error("nothing was gone on with")
			}
			break
		}
		if !errors.Is(err, errCut) || r.Generation != "" {
			t.Fatalf("%v, %+v", err, r)
		}
		dir := filepath.Join(t.TempDir(), "data")
		if _, err := Restore(bg, dest, dir, RestoreOptions{}); err != nil {
			t.Fatalf("after a run cut off at %d: %v", n, err)
		}
		verified(t, h.seal, dir)
	}
	h.close()
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Restore(bg, dest, dir, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	h.at(dir).holds("b000001", 80)
}

// A restore that is cut off is marked, refused by a hub, and goes on.
func TestInterruptedRestore(t *testing.T) {
	h, dest, dir := newHouse(t), filepath.Join(t.TempDir(), "dest"), filepath.Join(t.TempDir(), "data")
	h.post("b000001", 60, 3000)
	h.post("b000002", 3, 200<<10)
	h.backup(dest, Options{})
	h.close()
	// Its very first step was cut off: the mark had not its name yet.
	if err := os.MkdirAll(filepath.Join(dir, segmentsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, unfinishedMark+freshSuffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rounds, total := 0, int64(0)
	for ; ; rounds++ {
		ctx, cancel := context.WithCancel(bg)
		steps := 0
		r, err := Restore(ctx, dest, dir, RestoreOptions{Progress: func(int64, int64) {
			if steps++; steps > rounds {
				cancel()
			}
		}})
		cancel()
		total = r.Bytes
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := Unfinished(dir); !errors.Is(err, ErrUnfinished) {
			t.Fatalf("half restored: %v", err)
		}
		if m, err := FirstStart(dir); m != nil || err != nil {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if rounds < 3 || Unfinished(dir) != nil {
		t.Errorf("%d rounds for %d bytes; %v", rounds, total, Unfinished(dir))
	}
	verified(t, h.seal, dir)
	if _, err := Restore(bg, dest, dir, RestoreOptions{}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a folder that is in use: %v", err)
	}
}

// Damage in the backup is found when it is read, and mended by the next with
// --check.
func TestDamagedBackup(t *testing.T) {
	h, dest := newHouse(t), filepath.Join(t.TempDir(), "dest")
	h.post("b000001", 60, 3000)
	r := h.backup(dest, Options{})
	files := []string{
		"segments/s-00000001.seg", "generations/" + r.Generation + "/index.db",
		"generations/" + r.Generation + "/keystore", "generations/" + r.Generation + "/manifest",
	}
	for _, name := range files {
		path := filepath.Join(dest, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(whole)
		bad[len(bad)/2] ^= 1
		if name == files[3] {
			bad = bad[:len(bad)/2]
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(bg, dest, t.TempDir(), RestoreOptions{}); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoBackup) {
			t.Errorf("%s: %v", name, err)
		}
		if name != files[0] {
			_ = os.WriteFile(path, whole, 0o600)
		}
	}
	if r := h.backup(dest, Options{Check: true}); len(r.Mended) != 1 || r.Mended[0] != files[0] {
		t.Errorf("mended %v", r.Mended)
	}
	if _, err := Restore(bg, dest, t.TempDir(), RestoreOptions{Generation: r.Generation}); err != nil {
		t.Errorf("mended: %v", err)
	}
}

func TestKeepGenerations(t *testing.T) {
	h, dest := newHouse(t), filepath.Join(t.TempDir(), "dest")
	at := time.Date(2026, 3, 2, 1, 0, 0, 0, time.UTC)
	h.keeper.now = func() time.Time { return at }
	var names []string
	for range 5 {
		h.post("b000001", 3, 60<<10)
		names = append(names, h.backup(dest, Options{Keep: 2}).Generation)
		at = at.Add(24 * time.Hour)
	}
	list, broken, err := Generations(dest)
	if err != nil || len(broken) > 0 || len(list) != 2 || list[0].Generation() != names[3] || list[1].Generation() != names[4] {
		t.Fatalf("%d generations, %v, %v", len(list), broken, err)
	}
	for _, m := range list {
		if _, err := Restore(bg, dest, t.TempDir(), RestoreOptions{Generation: m.generation}); err != nil {
			t.Error(err)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(dest, generationsDir)); len(entries) != 2 {
		t.Errorf("%d folders of generations are left", len(entries))
	}
}

// Without the keys a backup says nothing; with those of after an erasure,
// nothing of what was erased.
func TestBackupRevealsNothing(t *testing.T) {
	h, dest := newHouse(t), filepath.Join(t.TempDir(), "dest")
	h.post("b000001", 20, 3000)
	h.post("b000002", 20, 3000)
	r := h.backup(dest, Options{})
	files := 0
	err := filepath.WalkDir(dest, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, secret := range []string{marker, strings.ToLower(marker), string(h.seal.Hub.(seal.Value)), hex.EncodeToString([]byte(marker))} {
			if bytes.Contains(b, []byte(secret)) || strings.Contains(path, marker) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		return nil
	})
	if err != nil || files < 4 {
		t.Fatalf("%d files, %v", files, err)
	}
	epochs, _ := os.ReadDir(h.seal.EpochDir)
	for _, e := range epochs {
		key, _ := os.ReadFile(filepath.Join(h.seal.EpochDir, e.Name()))
		_ = filepath.WalkDir(dest, func(path string, e os.DirEntry, err error) error {
			if b, _ := os.ReadFile(path); len(key) > 100 && bytes.Contains(b, key[60:100]) {
				t.Errorf("%s holds an epoch key", path)
			}
			return err
		})
	}
	// Erased after the backup: only the current keystore opens it, and not that.
	if _, err := h.keys.Rotate(bg, store.Owner{Kind: store.OwnedByPathway, ID: "b000001"}); err != nil {
		t.Fatal(err)
	}
	keystore := filepath.Join(t.TempDir(), "keystore")
	h.close()
	b, err := os.ReadFile(filepath.Join(h.seal.DataDir, "keystore"))
	if err == nil {
		err = os.WriteFile(keystore, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "data")
	if _, err := Restore(bg, dest, old, RestoreOptions{Generation: r.Generation}); err != nil {
		t.Fatal(err)
	}
	o := h.seal
	o.DataDir = old
	if _, err := seal.Open(o); !errors.Is(err, seal.ErrNoEpoch) {
		t.Errorf("the old keystore: %v, want ErrNoEpoch", err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := Restore(bg, dest, dir, RestoreOptions{Keystore: keystore}); err != nil {
		t.Fatal(err)
	}
	back := h.at(dir)
	back.holds("b000002", 20)
	if err := back.store.View(bg, func(v store.View) error { _, err := v.Pathway("b000001"); return err }); err == nil {
		t.Error("the erased pathway is back")
	}
	other := newHouse(t)
	other.close()
	_, err = Restore(bg, dest, filepath.Join(t.TempDir(), "x"), RestoreOptions{Keystore: filepath.Join(other.seal.DataDir, "keystore")})
	if !errors.Is(err, ErrOtherKeys) {
		t.Errorf("another hub's keystore: %v", err)
	}
}

func TestWhereBackupsMayGo(t *testing.T) {
	h := newHouse(t)
	h.post("b000001", 1, 100)
	data := h.seal.DataDir
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{data, filepath.Join(data, "x"), filepath.Join(data, "x", "y"), filepath.Dir(data), filepath.Join(link, "x"), filepath.Join(h.seal.EpochDir, "b")} {
		if err := Outside(dest, data, h.seal.EpochDir); !errors.Is(err, ErrInside) {
			t.Errorf("%s: %v", dest, err)
		}
	}
	if err := Outside(filepath.Join(t.TempDir(), "dest"), data, h.seal.EpochDir); err != nil {
		t.Error(err)
	}
	dest := filepath.Join(t.TempDir(), "dest")
	h.backup(dest, Options{})
	other := newHouse(t)
	other.post("b000001", 1, 100)
	if _, err := Write(bg, other.keeper, dest, Options{}); !errors.Is(err, ErrOtherHub) {
		t.Errorf("another hub's folder: %v", err)
	}
	unlock, err := lock(dest)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := Write(bg, h.keeper, dest, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("beside another backup: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	m := &Manifest{Hub: "x", Files: []Copied{{Name: "index.db", File: "generations/a/index.db", SHA256: strings.Repeat("0", 64)}}}
	b, _ := m.encode(func([]byte) ([]byte, error) { return []byte{1, 2}, nil })
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Name) || !filepath.IsLocal(file.File) {
				t.Errorf("a file outside: %q %q", file.Name, file.File)
			}
		}
	})
}
