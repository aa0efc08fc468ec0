package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// errCrash ends a change of keys at a step, leaving the files as they are.
var errCrash = errors.New("crash")

func child(i int) store.Owner {
	return store.Owner{Kind: store.OwnedByPathway, ID: fmt.Sprintf("child%03d", i)}
}

// filled is a keystore with some owners and a row of each.
func filled(t testing.TB, o Options, n int) (*Keys, map[store.Owner][]byte) {
	t.Helper()
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	k := open(t, o)
	rows := map[store.Owner][]byte{}
	for i := range n {
		addRow(t, k, rows, child(i))
	}
	return k, rows
}

func addRow(t testing.TB, k *Keys, rows map[store.Owner][]byte, o store.Owner) {
	t.Helper()
	if err := k.NewKey(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	row, err := k.SealRow(nil, o, "b", []byte("k"), []byte(o.ID))
	if err != nil {
		t.Fatal(err)
	}
	rows[o] = row
}

// readable checks that every row opens, but that of gone.
func readable(t *testing.T, k *Keys, rows map[store.Owner][]byte, gone ...store.Owner) {
	t.Helper()
	for o, row := range rows {
		got, err := k.OpenRow(nil, o, "b", []byte("k"), row)
		lost := false
		for _, g := range gone {
			lost = lost || g == o
		}
		if lost != (err != nil) || !lost && string(got) != o.ID {
			t.Errorf("%s: %q, %v", o.ID, got, err)
		}
	}
}

func withCopies(t *testing.T, o Options, n int) Options {
	t.Helper()
	for range n {
		o.Copies = append(o.Copies, t.TempDir())
	}
	return o
}

// names lists a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestRotateForgets(t *testing.T) {
	o := withCopies(t, testOptions(t), 2)
	k, rows := filled(t, o, 5)
	before, err := os.ReadFile(keystorePath(o.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := k.Rotate(t.Context(), child(1), child(3)); err != nil || n != 2 {
		t.Fatalf("epoch %d: %v", n, err)
	}
	mac := k.Mac("use", "x")
	for round := range 2 {
		readable(t, k, rows, child(1), child(3))
		if _, ok := k.OwnerOf(k.Handle(child(1))); ok {
			t.Error("a forgotten owner is still found")
		}
		if k.Mac("use", "x") != mac {
			t.Error("the hub's own key changed")
		}
		if round == 0 {
			k.Close()
			k = open(t, o)
		}
	}
	if got := names(t, o.EpochDir); got != "epoch-00000002.key places" {
		t.Errorf("epoch_dir: %s", got)
	}
	if got := names(t, o.DataDir); got != "keystore" {
		t.Errorf("data_dir: %s", got)
	}
	for _, dir := range o.Copies {
		if got := names(t, dir); got != "epoch-00000002.key keystore" {
			t.Errorf("copy: %s", got)
		}
		// A copy opens everything there is.
		c := o
		c.DataDir, c.EpochDir, c.Copies = dir, t.TempDir(), nil
		must(t, os.Rename(epochPath(dir, 2), epochPath(c.EpochDir, 2)))
		readable(t, open(t, c), rows, child(1), child(3))
	}
	// The old keystore is of no use with any epoch key that is left.
	old := o
	old.DataDir, old.Copies = t.TempDir(), nil
	must(t, os.WriteFile(keystorePath(old.DataDir), before, 0o600))
	if _, err := Open(old); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("the keystore of before: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRotateSurvivesCrashes ends a rotation at each of its steps: at the next
// start everything that was not forgotten is readable, what was made and dropped
// meanwhile is so still, and a settled hub has one epoch, everywhere.
func TestRotateSurvivesCrashes(t *testing.T) {
	steps := []string{"epoch", "rewrap", "switch", "copy", "retire", "end"}
	for _, crashAt := range steps {
		for _, left := range []int{0, 1} { // at the first or the second time there
			t.Run(fmt.Sprintf("%s %d", crashAt, left), func(t *testing.T) {
				o := withCopies(t, testOptions(t), 2)
				k, rows := filled(t, o, 4)
				must(t, k.Settle(t.Context()))
				times := left
				extra := store.Owner{Kind: store.OwnedByTriage, ID: "made-meanwhile"}
				reached := false
				k.o.at = func(step string) error {
					if step == "rewrap" {
						// Somebody else, while the rotation is under way.
						addRow(t, k, rows, extra)
						must(t, k.DropKey(t.Context(), child(2)))
					}
					if step == crashAt {
						if times == 0 {
							reached = true
							return errCrash
						}
						times--
					}
					return nil
				}
				_, err := k.Rotate(t.Context(), child(1))
				if reached != errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				if !reached && left == 0 {
					t.Fatal("the step was not reached")
				}
				k.Close()
				k = open(t, o)
				number, _ := k.Epoch()
				gone := []store.Owner{child(1)}
				if number == 1 {
					gone = nil
				}
				if crashAt != "epoch" || !reached {
					gone = append(gone, child(2))
				} else {
					delete(rows, extra)
				}
				readable(t, k, rows, gone...)
				must(t, k.Settle(t.Context()))
				if number == 1 {
					_, err := k.Rotate(t.Context(), child(1))
					must(t, err)
					readable(t, k, rows, append(gone, child(1))...)
				}
				for _, dir := range append([]string{o.EpochDir}, o.Copies...) {
					if got := names(t, dir); !strings.HasPrefix(got, "epoch-00000002.key ") || strings.Contains(got, "epoch-00000001") {
						t.Errorf("left: %s", got)
					}
				}
				if got := names(t, o.DataDir); got != "keystore" {
					t.Errorf("data_dir: %s", got)
				}
			})
		}
	}
}

// TestRotateUnderLoad makes and drops keys while epochs change: none is lost,
// none comes back, and nobody waits for long.
func TestRotateUnderLoad(t *testing.T) {
	o := withCopies(t, testOptions(t), 1)
	k, rows := filled(t, o, 3)
	var mu sync.Mutex
	var longest time.Duration
	gone := map[store.Owner]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				owner := store.Owner{Kind: store.OwnedByTriage, ID: fmt.Sprintf("w%d-%d", w, i)}
				begin := time.Now()
				if err := k.NewKey(t.Context(), owner); err != nil {
					t.Error(err)
					return
				}
				took := time.Since(begin)
				row, err := k.SealRow(nil, owner, "b", []byte("k"), []byte(owner.ID))
				if err != nil {
					t.Error(err)
					return
				}
				drop := i%3 == 0
				if drop {
					if err := k.DropKey(t.Context(), owner); err != nil {
						t.Error(err)
					}
				}
				mu.Lock()
				rows[owner], gone[owner] = row, drop
				longest = max(longest, took)
				mu.Unlock()
			}
		})
	}
	for range 8 {
		if _, err := k.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	must(t, k.Settle(t.Context()))
	var dropped []store.Owner
	for o, d := range gone {
		if d {
			dropped = append(dropped, o)
		}
	}
	readable(t, k, rows, dropped...)
	k.Close()
	k = open(t, o)
	readable(t, k, rows, dropped...)
	t.Logf("%d keys made during 8 rotations; the longest wait for one was %s", len(rows), longest)
}

// TestPlaceAway: an epoch does not end before every copy is current, whatever
// way a place is missing, and ends by itself when it is back.
func TestPlaceAway(t *testing.T) {
	o := withCopies(t, testOptions(t), 2)
	k, _ := filled(t, o, 3)
	must(t, k.Settle(t.Context()))
	disk, mount := o.Copies[1], o.Copies[1]+"-away"
	for name, take := range map[string]func(){
		"gone":        func() { must(t, os.Rename(disk, mount)) },
		"not mounted": func() { must(t, os.Rename(disk, mount)); must(t, os.Mkdir(disk, 0o700)) },
	} {
		take()
		number, _ := k.Epoch()
		_, err := k.Rotate(t.Context(), child(1))
		var away *Away
		if !errors.As(err, &away) || away.Place != disk {
			t.Fatalf("%s: %v", name, err)
		}
		if s := k.Status(); s.Epoch != number+1 || len(s.Owed) != 1 || s.Places[1].State != PlaceAway || s.Places[0].State != PlaceCurrent {
			t.Errorf("%s: %+v", name, s)
		}
		if got := names(t, o.Copies[0]); !strings.Contains(got, epochName(number)) {
			t.Errorf("%s: the old epoch ended early: %s", name, got)
		}
		k.Close()
		k = open(t, o) // the waiting outlives a restart
		if err := k.Settle(t.Context()); !errors.As(err, &away) {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadDir(disk); err == nil && len(got) > 0 {
			t.Errorf("%s: keys were written where the disk is not", name)
		}
		_ = os.Remove(disk)
		must(t, os.Rename(mount, disk))
		must(t, k.Settle(t.Context()))
		if s := k.Status(); len(s.Owed) != 0 || s.Places[1].State != PlaceCurrent {
			t.Errorf("%s, back: %+v", name, s)
		}
		if got := names(t, disk); got != epochName(number+1)+" keystore" {
			t.Errorf("%s, back: %s", name, got)
		}
	}
}

// TestPlaceHangs: a place on a disk that hangs keeps neither the others nor the
// hub waiting, an epoch does not end meanwhile, and all is made good once the
// disk answers.
func TestPlaceHangs(t *testing.T) {
	o := withCopies(t, testOptions(t), 3)
	o.patience = 400 * time.Millisecond
	k, _ := filled(t, o, 2)
	must(t, k.Settle(t.Context()))
	hung := keystorePath(o.Copies[1])
	must(t, os.Remove(hung))
	must(t, syscall.Mkfifo(hung, 0o600)) // whoever opens it waits
	var away *Away
	number, _ := k.Epoch()
	if _, err := k.Rotate(t.Context(), child(0)); !errors.As(err, &away) || away.Place != o.Copies[1] || !errors.Is(err, errLate) {
		t.Fatal(err)
	}
	for range 2 { // the second time nobody waits: the first look has not ended
		if s := k.Status(); len(s.Owed) != 1 || s.Places[0].State != PlaceCurrent || s.Places[1].State != PlaceAway || s.Places[2].State != PlaceCurrent {
			t.Errorf("%+v", s)
		}
		if err := k.Settle(t.Context()); !errors.Is(err, errLate) {
			t.Fatal(err)
		}
	}
	if got := names(t, o.Copies[1]); !strings.Contains(got, epochName(number)) {
		t.Errorf("the old epoch ended early: %s", got)
	}
	disk, err := os.OpenFile(hung, os.O_WRONLY, 0) // it answers
	must(t, err)
	must(t, os.Remove(hung))
	must(t, disk.Close())
	must(t, os.WriteFile(hung, encodeTitle(number, k.epoch.store), 0o600)) // what was there
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if err := k.Settle(t.Context()); err == nil {
			break
		} else if !errors.As(err, &away) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if s := k.Status(); len(s.Owed) != 0 || s.Places[1].State != PlaceCurrent {
		t.Errorf("once it answers: %+v", s)
	}
	if got := names(t, o.Copies[1]); got != epochName(number+1)+" keystore" {
		t.Errorf("once it answers: %s", got)
	}
}

// TestFormerPlace: a place that was taken off the configuration loses what lies
// there; one that is lost with it holds erasures up until somebody says so.
func TestFormerPlace(t *testing.T) {
	o := withCopies(t, testOptions(t), 2)
	k, _ := filled(t, o, 2)
	must(t, k.Settle(t.Context()))
	k.Close()
	first, second := o.Copies[0], o.Copies[1]
	o.Copies = nil
	must(t, os.Rename(second, second+"-lost"))
	k = open(t, o)
	must(t, k.Settle(t.Context())) // nothing is owed
	if got := names(t, first); got != "" {
		t.Errorf("left at a former place: %s", got)
	}
	if s := k.Status(); len(s.Places) != 1 || s.Places[0].State != PlaceFormer || s.Places[0].Place != second {
		t.Errorf("%+v", s.Places)
	}
	var away *Away
	if _, err := k.Rotate(t.Context(), child(0)); !errors.As(err, &away) || away.Place != second {
		t.Fatal(err)
	}
	if err := k.ForgetPlace(t.Context(), first); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	must(t, k.ForgetPlace(t.Context(), second))
	if s := k.Status(); len(s.Owed) != 0 || len(s.Places) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestForeignPlace(t *testing.T) {
	other := withCopies(t, testOptions(t), 1)
	k, _ := filled(t, other, 1)
	must(t, k.Settle(t.Context()))
	o := testOptions(t)
	o.Copies = other.Copies
	mine, _ := filled(t, o, 1)
	if err := mine.Settle(t.Context()); !errors.Is(err, errForeign) {
		t.Error(err)
	}
	must(t, k.Settle(t.Context()))
}

// TestCopiesFollow: keys made later reach the copies, and a damaged copy is
// written anew.
func TestCopiesFollow(t *testing.T) {
	o := withCopies(t, testOptions(t), 1)
	k, rows := filled(t, o, 2)
	same := func() {
		t.Helper()
		must(t, k.Settle(t.Context()))
		a, err := os.ReadFile(keystorePath(o.DataDir))
		must(t, err)
		b, err := os.ReadFile(keystorePath(o.Copies[0]))
		must(t, err)
		if !bytes.Equal(a, b) || k.Status().Places[0].State != PlaceCurrent {
			t.Fatal("the copy is not current")
		}
	}
	same()
	addRow(t, k, rows, child(10))
	if s := k.Status().Places[0].State; s != PlaceBehind {
		t.Errorf("before the copy follows: %s", s)
	}
	same()
	must(t, os.Truncate(keystorePath(o.Copies[0]), 50))
	same()
	k.Close()
	b, err := os.ReadFile(keystorePath(o.Copies[0]))
	must(t, err)
	b[len(b)-1] ^= 1
	must(t, os.WriteFile(keystorePath(o.Copies[0]), b, 0o600))
	k = open(t, o)
	same()
}

func hubKeyFile(t *testing.T, o *Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hub.key")
	must(t, NewHubKey(path, rand.Reader))
	o.Hub = File(path)
	return path
}

func TestRotateHubByHand(t *testing.T) {
	o := withCopies(t, testOptions(t), 1)
	path := hubKeyFile(t, &o)
	k, rows := filled(t, o, 2)
	fresh := filepath.Join(t.TempDir(), "fresh.key")
	must(t, NewHubKey(fresh, k.random))
	old := k.Status().Hub
	if err := k.RotateHub(t.Context(), File(path)); !errors.Is(err, ErrSameKey) {
		t.Error(err)
	}
	must(t, k.RotateHub(t.Context(), File(fresh)))
	if s := k.Status(); s.Hub != old || s.HubNext == (KeyID{}) {
		t.Errorf("%+v", s)
	}
	_, err := k.Rotate(t.Context()) // both keys are at hand: a new epoch can be wrapped
	must(t, err)
	k.Close()
	k = open(t, o) // with the old key, which still opens
	readable(t, k, rows)
	if _, err := k.Rotate(t.Context()); !errors.Is(err, ErrHubSwitch) {
		t.Error(err)
	}
	k.Close()
	now := o
	now.Hub = File(fresh)
	k = open(t, now)
	readable(t, k, rows)
	must(t, k.Settle(t.Context()))
	if s := k.Status(); s.Hub == old || s.HubNext != (KeyID{}) {
		t.Errorf("%+v", s)
	}
	k.Close()
	if _, err := Open(o); !errors.Is(err, ErrHubKey) {
		t.Errorf("with the former key: %v", err)
	}
	c := now
	c.DataDir, c.EpochDir, c.Copies = o.Copies[0], o.Copies[0]+"/..", nil
	e, err := readEpoch(o.Copies[0], 2, k.epoch.store)
	must(t, err)
	if len(e.wraps) != 1 {
		t.Error("the copy still takes the former key")
	}
}

// TestRotateHubFile: at whatever step it ends, the file that the configuration
// names opens the hub, and the next start completes the change or undoes it.
func TestRotateHubFile(t *testing.T) {
	for _, crashAt := range []string{"", "draw", "admit", "place", "forget", "copy"} {
		t.Run(crashAt, func(t *testing.T) {
			o := withCopies(t, testOptions(t), 1)
			path := hubKeyFile(t, &o)
			before, err := os.ReadFile(path)
			must(t, err)
			k, rows := filled(t, o, 2)
			must(t, k.Settle(t.Context()))
			k.o.at = func(step string) error {
				if step == crashAt {
					return errCrash
				}
				return nil
			}
			if err := k.RotateHubFile(t.Context()); errors.Is(err, errCrash) != (crashAt != "") {
				t.Fatal(err)
			}
			k.Close()
			k = open(t, o)
			readable(t, k, rows)
			must(t, k.Settle(t.Context()))
			if s := k.Status(); s.HubNext != (KeyID{}) {
				t.Errorf("still changing: %+v", s)
			}
			after, err := os.ReadFile(path)
			must(t, err)
			if undone := crashAt == "draw" || crashAt == "admit"; undone != bytes.Equal(before, after) {
				t.Errorf("changed: %v", !bytes.Equal(before, after))
			}
			if _, err := os.Stat(path + oldSuffix); !errors.Is(err, fs.ErrNotExist) {
				t.Error("the former key is still there")
			}
			must(t, k.RotateHubFile(t.Context()))
			_, err = k.Rotate(t.Context())
			must(t, err)
			readable(t, k, rows)
		})
	}
}

func BenchmarkRotate(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := testOptions(b)
			must(b, Create(o))
			k := open(b, o)
			var wg sync.WaitGroup
			for w := range 64 {
				wg.Go(func() {
					for i := w; i < n; i += 64 {
						if err := k.NewKey(b.Context(), store.Owner{Kind: store.OwnedByPathway, ID: fmt.Sprintf("p%07d", i)}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			for b.Loop() {
				if _, err := k.Rotate(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
