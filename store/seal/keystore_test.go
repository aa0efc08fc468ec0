package seal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/relais-sante/relais/store"
)

// kept is a keystore that was closed: keys made one by one, several by one write,
// some dropped, and by which owners it is known to be whole.
func kept(t *testing.T) (o Options, whole []byte, owners []store.Owner) {
	t.Helper()
	o = testOptions(t)
	must(t, Create(o))
	k := open(t, o)
	for i := range 3 {
		must(t, k.NewKey(t.Context(), child(i)))
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if err := k.NewKey(t.Context(), child(3+i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, k.DropKey(t.Context(), child(1)))
	must(t, k.Close())
	whole, err := os.ReadFile(keystorePath(o.DataDir))
	must(t, err)
	return o, whole, []store.Owner{hubOwner, child(0), child(2), child(3), child(4), child(5), child(6)}
}

// recordsOf takes a keystore to pieces.
func recordsOf(t *testing.T, b []byte) (head []byte, records [][]byte) {
	t.Helper()
	head, b = b[:storeHead], b[storeHead:]
	for len(b) > 0 {
		n, whole := recordLength(b)
		if !whole {
			t.Fatal("not a whole keystore")
		}
		records, b = append(records, b[:n]), b[n:]
	}
	return head, records
}

// refused checks that a keystore is not taken: neither by a start nor by a look.
func refused(t *testing.T, o Options, b []byte, what string) {
	t.Helper()
	must(t, os.WriteFile(keystorePath(o.DataDir), b, 0o600))
	for _, o.ReadOnly = range []bool{true, false} {
		k, err := Open(o)
		if err == nil {
			k.Close()
		}
		if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) {
			t.Errorf("%s: got %v, want ErrCorrupt", what, err)
		}
	}
	if after, err := os.ReadFile(keystorePath(o.DataDir)); err != nil || !bytes.Equal(after, b) {
		t.Errorf("%s: changed by a start that refused it", what)
	}
}

// TestTamperedKeystoreIsRefused: of a keystore that was closed nothing can be cut,
// left out, repeated or moved.
func TestTamperedKeystoreIsRefused(t *testing.T) {
	o, whole, _ := kept(t)
	for n := range whole {
		refused(t, o, whole[:n], fmt.Sprintf("cut at %d of %d", n, len(whole)))
	}
	head, records := recordsOf(t, whole)
	put := func(what string, records ...[]byte) {
		t.Helper()
		refused(t, o, slices.Concat(append([][]byte{head}, records...)...), what)
	}
	for i := range records {
		put(fmt.Sprintf("%d left out", i), slices.Delete(slices.Clone(records), i, i+1)...)
		put(fmt.Sprintf("%d repeated", i), slices.Insert(slices.Clone(records), i, records[i])...)
		put(fmt.Sprintf("%d repeated at the end", i), append(slices.Clone(records), records[i])...)
		for j := range i {
			swapped := slices.Clone(records)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			put(fmt.Sprintf("%d and %d swapped", i, j), swapped...)
		}
	}
	for at := range whole {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		if at < storeTitle || at >= storeHead {
			refused(t, o, bad, fmt.Sprintf("byte %d changed", at))
			continue
		}
		// One of two marks: what a crash while it was written leaves. A look tells,
		// a start goes by the other.
		must(t, os.WriteFile(keystorePath(o.DataDir), bad, 0o600))
		looking := o
		looking.ReadOnly = true
		k := open(t, looking)
		if _, _, err := k.Check(); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("byte %d of a mark changed: %v", at, err)
		}
		k.Close()
		k = open(t, o)
		if _, _, err := k.Check(); err != nil {
			t.Errorf("byte %d of a mark changed, mended: %v", at, err)
		}
		k.Close()
	}
	clear(whole[storeTitle:storeHead])
	refused(t, o, whole, "without marks")
}

// TestForkedKeystoreIsRefused: what two lives of one keystore wrote, each from the
// same copy, does not go together.
func TestForkedKeystoreIsRefused(t *testing.T) {
	o, copied, _ := kept(t)
	live := func(n int) []byte {
		must(t, os.WriteFile(keystorePath(o.DataDir), copied, 0o600))
		k := open(t, o)
		for i := range n {
			must(t, k.NewKey(t.Context(), child(10+i)))
		}
		must(t, k.Close())
		b, err := os.ReadFile(keystorePath(o.DataDir))
		must(t, err)
		return b
	}
	one, other := live(3), live(4)
	head, records := recordsOf(t, one)
	_, others := recordsOf(t, other)
	n := len(records)
	refused(t, o, slices.Concat(append([][]byte{head}, others[:n]...)...), "the marks of one, the records of the other")
	refused(t, o, slices.Concat(append([][]byte{other[:storeHead]}, append(slices.Clone(records), others[n:]...)...)...), "the end of the other")
}

// TestKeystoreSurvivesCrashes: whatever a crash leaves of a write, the keys that
// were acknowledged are there, what was not is gone whole, and the keystore goes
// on.
func TestKeystoreSurvivesCrashes(t *testing.T) {
	o, before, owners := kept(t)
	k := open(t, o)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			if err := k.NewKey(t.Context(), child(20+i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	appended, err := os.ReadFile(keystorePath(o.DataDir))
	must(t, err)
	must(t, k.Close())
	marked, err := os.ReadFile(keystorePath(o.DataDir))
	must(t, err)

	crash := func(b []byte, what string, owners []store.Owner) {
		t.Helper()
		must(t, os.WriteFile(keystorePath(o.DataDir), b, 0o600))
		k, err := Open(o)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, owner := range owners {
			if !k.Has(owner) {
				t.Errorf("%s: %s is gone", what, owner.ID)
			}
		}
		must(t, k.NewKey(t.Context(), child(30)))
		if _, _, err := k.Check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		must(t, k.Close())
	}
	step := 11
	if os.Getenv("RELAIS_LONG") == "1" {
		step = 1
	}
	_, records := recordsOf(t, appended)
	began := len(appended)
	for i := len(records) - 1; writeBegan(records[i]) == writeBegan(records[len(records)-1]); i-- {
		began -= len(records[i])
	}
	for n := began; n <= len(appended); n += step {
		crash(appended[:n], fmt.Sprintf("%d bytes of a write arrived", n-began), owners)
		holes := bytes.Clone(appended) // its length arrived before its end
		clear(holes[n:])
		crash(holes, fmt.Sprintf("%d bytes of a write, the rest zeros", n-began), owners)
		clear(holes[began:])
		copy(holes[n:], appended[n:])
		crash(holes, fmt.Sprintf("all but %d bytes of a write arrived", n-began), owners)
	}
	if len(appended) != len(marked) || bytes.Equal(appended, marked) || !bytes.Equal(before[storeHead:], marked[storeHead:len(before)]) {
		t.Fatal("closing did not write a mark and nothing else")
	}
	all := append(owners, child(20), child(21), child(22))
	for n := storeTitle; n <= storeHead; n += step {
		crash(append(bytes.Clone(marked[:n]), appended[n:]...), fmt.Sprintf("a mark written up to byte %d", n), all)
		torn := append(bytes.Clone(appended[:n]), marked[n:]...)
		crash(torn, fmt.Sprintf("a mark written from byte %d on", n), all)
	}
}

// TestMarksFollow: while the hub runs the marks follow as copies do, so that after
// a crash a cut before them is told.
func TestMarksFollow(t *testing.T) {
	o := testOptions(t)
	k, _ := filled(t, o, 4)
	must(t, k.Settle(t.Context()))
	settled := k.tip.end
	must(t, k.NewKey(t.Context(), child(9)))
	crashed, err := os.ReadFile(keystorePath(o.DataDir))
	must(t, err)
	must(t, k.Close())
	refused(t, o, crashed[:settled-1], "cut before a mark")
	must(t, os.WriteFile(keystorePath(o.DataDir), crashed[:settled], 0o600))
	if k := open(t, o); k.Has(child(9)) || !k.Has(child(3)) {
		t.Error("cut behind the last mark, as a crash does: not taken up where it was")
	}
}

// TestNumberNeverFalls, whatever becomes of a keystore: keys, new epochs that leave
// some out, restarts, and backups that are put back.
func TestNumberNeverFalls(t *testing.T) {
	o := testOptions(t)
	must(t, Create(o))
	k := open(t, o)
	r := rand.New(rand.NewPCG(3, 4))
	owner := func() store.Owner { return child(r.IntN(4)) }
	reopen := func() {
		k = open(t, o)
		if _, _, err := k.Check(); err != nil {
			t.Fatal(err)
		}
	}
	number := k.Number()
	for range 150 {
		what := []string{"make", "make", "drop", "rotate", "restart", "restore"}[r.IntN(6)]
		switch what {
		case "make":
			must(t, k.NewKey(t.Context(), owner()))
		case "drop":
			must(t, k.DropKey(t.Context(), owner()))
		case "rotate":
			gone, other := owner(), owner()
			k.o.at = func(step string) error { // somebody else, meanwhile
				if step != "rewrap" {
					return nil
				}
				return errors.Join(k.NewKey(t.Context(), gone), k.DropKey(t.Context(), other))
			}
			_, err := k.Rotate(t.Context(), gone)
			must(t, err)
			if k.Has(gone) || k.Has(other) {
				t.Fatal("left out, and there")
			}
		case "restart":
			must(t, k.Close())
			reopen()
		case "restore":
			b, err := k.Snapshot().Encode()
			must(t, err)
			must(t, k.Close())
			must(t, os.WriteFile(keystorePath(o.DataDir), b, 0o600))
			reopen()
		}
		if n := k.Number(); n < number {
			t.Fatalf("%s: from %d to %d", what, number, n)
		}
		number = k.Number()
	}
}

// TestSalvagedKeystore: what is damaged costs the keys it held and no others.
func TestSalvagedKeystore(t *testing.T) {
	o, whole, owners := kept(t)
	must(t, os.WriteFile(keystorePath(o.DataDir), whole, 0o600))
	if lost, err := Salvage(o); err != nil || lost != 0 {
		t.Errorf("a sound one: %d, %v", lost, err)
	}
	if now, _ := os.ReadFile(keystorePath(o.DataDir)); !bytes.Equal(now, whole) {
		t.Error("a sound one was written anew")
	}
	head, records := recordsOf(t, whole)
	owner := func(i int) store.Owner { // records are named in clear to who knows the layout
		return store.Owner{Kind: kindsByNumber[records[i][3]], ID: string(records[i][21 : 21+int(records[i][20])])}
	}
	salvaged := func(what string, b []byte, gone ...int) {
		t.Helper()
		refused(t, o, b, what)
		lost, err := Salvage(o)
		if err != nil || lost < 1 {
			t.Fatalf("%s: %d, %v", what, lost, err)
		}
		k := open(t, o)
		defer k.Close()
		for _, owner := range owners {
			want := !slices.ContainsFunc(gone, func(i int) bool { return child(i) == owner })
			if owner != hubOwner && k.Has(owner) != want {
				t.Errorf("%s: has %s: %v", what, owner.ID, !want)
			}
		}
		if k.Number() < uint64(len(records)) {
			t.Errorf("%s: begins again at %d", what, k.Number())
		}
	}
	for i := 1; i < len(records)-1; i++ {
		var lost []int
		for n := range 10 {
			if child(n) == owner(i) {
				lost = append(lost, n)
			}
		}
		for _, at := range []int{0, 30, len(records[i]) - 1} {
			bad := slices.Clone(records)
			bad[i] = bytes.Clone(bad[i])
			bad[i][at] ^= 1
			salvaged(fmt.Sprintf("record %d, byte %d", i, at), slices.Concat(append([][]byte{head}, bad...)...), lost...)
		}
	}
	before := len(whole) - len(records[len(records)-1])
	salvaged("cut before the last record", whole[:before])
	must(t, os.WriteFile(keystorePath(o.DataDir), whole[:before], 0o600))
	o.Hub = Value(bytes.Repeat([]byte("00"), keySize))
	if _, err := Salvage(o); !errors.Is(err, ErrHubKey) {
		t.Errorf("with another hub key: %v", err)
	}
}
