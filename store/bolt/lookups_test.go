package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// followed is a pathway of an invented child with a team of so many boxes.
func followed(n, team int) *store.Pathway {
	p := &store.Pathway{
		Code: store.PathwayCode(fmt.Sprintf("f%06d", n)), Status: store.PathwayOpen, Programme: "pon",
		Patient: store.Patient{INS: fmt.Sprintf("2150363%08d", n), NameKey: fmt.Sprintf("NOM%d", n%50)},
	}
	for i := range team {
		p.Members = append(p.Members, store.Member{
			ID: store.MemberID(fmt.Sprintf("m%d", i+1)), Mailbox: store.Address(fmt.Sprintf("boite%d@chu.example", (n+i)%(10*team))),
		})
	}
	return p
}

func putAll(t testing.TB, s *Store, n, team int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				if err := s.NewKey(bg, pathwayOwner(followed(i, 0).Code)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := 0; i < n; i += 100 {
		if err := s.Commit(bg, func(tx store.Tx) error {
			for j := i; j < min(i+100, n); j++ {
				if err := tx.PutPathway(followed(j, team)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func codesOf(t testing.TB, s *Store, ins string) []store.PathwayCode {
	t.Helper()
	var codes []store.PathwayCode
	if err := s.View(bg, func(v store.View) (err error) {
		codes, err = v.PathwaysOfPatient(ins)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return codes
}

// TestRekeyUnderWrites: identities corrected and children included while the
// look-ups are made anew are found afterwards, former ones are not.
func TestRekeyUnderWrites(t *testing.T) {
	p := newPlace(t)
	s := p.mustOpen(nil)
	const n = 400
	putAll(t, s, n, 3)
	stop := make(chan struct{})
	is := map[int]string{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c := i * 37 % (n + n/2) // beyond n: a child of its own
			p := followed(c, 3)
			if err := s.NewKey(bg, pathwayOwner(p.Code)); err != nil {
				t.Error(err)
				return
			}
			ins := fmt.Sprintf("1140763%08d", i)
			err := s.Commit(bg, func(tx store.Tx) error {
				if old, err := tx.Pathway(p.Code); err == nil {
					p = old
				} else if !errors.Is(err, store.ErrNotFound) {
					return err
				}
				p.Patient.INS = ins
				return tx.PutPathway(p)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if codes := codesOf(t, s, ins); len(codes) != 1 || codes[0] != p.Code {
				t.Errorf("found %v", codes)
			}
			is[c] = ins
		}
	})
	for i := range 4 {
		o := triageOwner(store.HeldID(fmt.Sprint(i)))
		if err := s.NewKey(bg, o); err != nil {
			t.Error(err)
		}
		if _, err := s.Forget(bg, []store.Owner{o}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	changed := 0
	for i := range n {
		want, other := followed(i, 0).Patient.INS, is[i]
		if other != "" {
			want, other = other, want
			changed++
		}
		if codes := codesOf(t, s, want); len(codes) != 1 {
			t.Errorf("child %d: found %v", i, codes)
		}
		if other != "" && len(codesOf(t, s, other)) != 0 {
			t.Errorf("child %d is found by what was corrected", i)
		}
	}
	t.Logf("%d corrected during 4 generations", changed)
}

// TestUnfinishedGeneration: what a crash leaves of one is taken away.
func TestUnfinishedGeneration(t *testing.T) {
	p := newPlace(t)
	s := p.mustOpen(nil)
	putAll(t, s, 20, 2)
	if err := s.NewKey(bg, lookupsOwner(2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(bg, func(st store.Tx) error {
		t := st.(*tx)
		if err := t.putRaw(bucketMeta, keyLookups, joined(u32(1), u32(2))); err != nil {
			return err
		}
		return t.PutPathway(&store.Pathway{Code: "f000001", Revision: 1, Patient: store.Patient{INS: "x"}})
	}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = p.mustOpen(nil)
	if len(codesOf(t, s, "x")) != 1 || len(codesOf(t, s, followed(2, 0).Patient.INS)) != 1 || len(codesOf(t, s, followed(1, 0).Patient.INS)) != 0 {
		t.Error("look-ups were lost")
	}
	if err := s.flush(bg, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.View(bg, func(v store.View) error {
		if v.(*view).tx.Bucket(lookupsBucket(2)) != nil {
			t.Error("the unfinished generation is still there")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.rekey(bg); err != nil {
		t.Fatal(err)
	}
	if len(codesOf(t, s, "x")) != 1 {
		t.Error("look-ups were lost")
	}
}

// copyTree is a backup as anybody makes one: the files as they are, the hub
// stopped.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

// TestOldCopyAfterErasure: a copy of before an erasure, with the keys of after
// it, finds and reads every other pathway; of the erased one neither the rows
// open nor does a guess of its identity tell whether it is right.
func TestOldCopyAfterErasure(t *testing.T) {
	p := newPlace(t)
	s := p.mustOpen(nil)
	putAll(t, s, 30, 3)
	gone := followed(7, 3)
	s.Close()
	p.leave()
	old := t.TempDir()
	copyTree(t, p.seal.DataDir, old)

	s = p.mustOpen(nil)
	if err := s.Commit(bg, func(tx store.Tx) error { _, err := tx.PurgePathway(gone.Code, 10); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Forget(bg, []store.Owner{pathwayOwner(gone.Code)}); err != nil {
		t.Fatal(err)
	}
	guess(t, s, filepath.Join(old, "index.db"), gone)
	s.Close()
	p.leave()

	b, err := os.ReadFile(filepath.Join(p.seal.DataDir, "keystore"))
	if err == nil {
		err = os.WriteFile(filepath.Join(old, "keystore"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.seal.DataDir = old
	s = p.mustOpen(nil)
	for i := range 30 {
		want := followed(i, 3)
		codes := codesOf(t, s, want.Patient.INS)
		err := s.View(bg, func(v store.View) error { _, err := v.Pathway(want.Code); return err })
		if i == 7 {
			if len(codes) != 0 || !errors.Is(err, store.ErrErased) {
				t.Errorf("the erased one: found %v, %v", codes, err)
			}
			continue
		}
		if len(codes) != 1 || err != nil {
			t.Errorf("child %d: found %v, %v", i, codes, err)
		}
	}
	guess(t, s, filepath.Join(old, "index.db"), gone)
}

// guess hashes what is known of a child with every key that is left and looks
// for that in an index, rows and residues.
func guess(t *testing.T, s *Store, index string, child *store.Pathway) {
	t.Helper()
	b, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range s.keys.Owners(store.OwnedByHub) {
		f, err := s.keys.Finder(o)
		if err != nil {
			t.Fatal(err)
		}
		lists := []find{{use: "patient", what: child.Patient.INS}}
		for _, a := range addresses(child) {
			lists = append(lists, find{use: "team", what: a, suffix: (&view{s: s}).handle(child.Code)})
		}
		for i := range lists {
			if bytes.Contains(b, findKey(f, &lists[i])) {
				t.Errorf("key %s answers a guess (%s)", o.ID, lists[i].use)
			}
		}
	}
	if sum := s.keys.Lookup("patient", child.Patient.INS); bytes.Contains(b, sum[:16]) {
		t.Error("the permanent key answers a guess")
	}
}

// BenchmarkForget measures what an erasure costs where 10,000 pathways have
// 100,000 messages, and how long a commit waits meanwhile.
func BenchmarkForget(b *testing.B) {
	p := newPlace(b)
	s := p.mustOpen(nil)
	const children, each = 10_000, 10
	putAll(b, s, children, 10)
	for i := 0; i < children*each; i += 500 {
		if err := s.Commit(bg, func(tx store.Tx) error {
			for j := i; j < i+500; j++ {
				id := fmt.Sprintf("b%09d", j)
				m := &store.Message{
					ID: store.MessageID(id), Pathway: followed(j%children, 0).Code, RFCID: id + "@x",
					Filings: []store.Filing{{Rubric: "coordination"}},
				}
				if err := tx.FileMessage(m, benchIndex, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var longest time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			if err := s.Commit(bg, func(tx store.Tx) error { return tx.PutSetting("x", []byte("y")) }); err != nil {
				b.Error(err)
			}
			longest = max(longest, time.Since(begin))
		}
	})
	n := 0
	for b.Loop() {
		code := followed(n, 0).Code
		n++
		for done := false; !done; {
			if err := s.Commit(bg, func(tx store.Tx) (err error) {
				done, err = tx.PurgePathway(code, 50)
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := s.Forget(bg, []store.Owner{pathwayOwner(code)}); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	b.ReportMetric(float64(longest.Milliseconds()), "ms/longest-wait")
}
