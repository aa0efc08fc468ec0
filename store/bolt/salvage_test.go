package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// salvage makes the index again, as a process without a daemon would.
func (p *place) salvage() *Salvaged {
	p.Helper()
	o := p.seal
	o.ReadOnly = true
	k, err := seal.Open(o)
	if err != nil {
		p.Fatal(err)
	}
	defer k.Close()
	out, err := Salvage(bg, Options{Dir: p.seal.DataDir, Keys: k}, SalvageOptions{Index: func(r io.Reader) ([]byte, error) {
		_, err := io.Copy(io.Discard, r)
		return []byte("again"), err
	}})
	if err != nil {
		p.Fatal(err)
	}
	return out
}

// portrait writes down all that a store tells of its records.
func portrait(t *testing.T, s *Store) string {
	t.Helper()
	var b strings.Builder
	note := func(v any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := encode(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x\n", c)
	}
	if err := s.View(bg, func(v store.View) error {
		pathways, err := v.Pathways("", 0)
		note(pathways, err)
		boxes, err := v.Boxes("", 0)
		note(boxes, err)
		accounts, err := v.Accounts("", 0)
		note(accounts, err)
		held, err := v.HeldList("", 0)
		note(held, err)
		for _, code := range []store.PathwayCode{"b000000", "b000001", "b000002", "bcdfghj"} {
			thread, err := v.Thread(code, 0, 0)
			note(thread, err)
			for _, m := range thread {
				copies, err := v.Deliveries(code, m.ID)
				for _, d := range copies {
					if liveness(d.State) == liveQueued {
						d.State, d.LastError, d.Item = store.OnHold, "restored", ""
					}
				}
				note(copies, err)
				refs, err := v.MessagesByID(m.RFCID)
				note(len(refs), err)
			}
			for _, rubric := range []string{"r", "coordination", "MARQUEUR"} {
				filed, err := v.Filed(code, rubric, 0, 0)
				note(filed, err)
			}
			traces, err := v.TracesOfPathway(code, 0, 0)
			note(traces, err)
		}
		for _, f := range store.Families {
			traces, err := v.Traces(f, 0, 0)
			note(traces, err)
		}
		setting, err := v.Setting("cursor")
		note(setting, err)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever became of the index, a salvage brings back every record but for the
// outcome of copies, and what it makes passes verification.
func TestSalvage(t *testing.T) {
	for _, tc := range []struct {
		name string
		lose func(index string) error
	}{
		{"lost", os.Remove},
		{"junk", func(index string) error { return os.WriteFile(index, bytes.Repeat([]byte("junk"), 10000), 0o600) }},
		{"torn", func(index string) error {
			f, err := os.OpenFile(index, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			for at := int64(2 * 4096); at < 60*4096; at += 4096 {
				if _, err := f.WriteAt(make([]byte, 2048), at); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := stocked(t)
			s := p.mustOpen(nil)
			want := portrait(t, s)
			s.Close()
			p.leave()
			if err := tc.lose(filepath.Join(p.seal.DataDir, "index.db")); err != nil {
				t.Fatal(err)
			}
			if s, err := p.open(nil); err == nil && tc.name != "torn" {
				s.Close()
				t.Fatal("a hub starts on it")
			} else if err == nil {
				s.Close()
			}
			p.leave()
			out := p.salvage()
			if out.Messages < 60 || out.HeldCopies < 60 || len(out.Unread) > 0 || out.Damaged > 0 {
				t.Errorf("%+v", out)
			}
			if v := p.verify(); !v.OK {
				t.Fatalf("what was made does not fit: %+v", v.Flaws)
			}
			s = p.mustOpen(nil)
			if have := portrait(t, s); have != want {
				for i, line := range strings.Split(have, "\n") {
					if w := strings.Split(want, "\n"); i >= len(w) || line != w[i] {
						t.Fatalf("record %d of the portrait is another", i)
					}
				}
			}
			if r, err := s.VerifyTraces(bg); err != nil || !r.Sound() {
				t.Errorf("traces: %+v, %v", r.Problems, err)
			}
			// Life goes on, twice.
			for i := range 2 {
				if err := post(s, "b000001", fmt.Sprintf("09m%d", i), []byte("new"), 1); err != nil {
					t.Fatal(err)
				}
				s.Close()
				p.leave()
				if v := p.verify(); !v.OK {
					t.Fatalf("%+v", v.Flaws)
				}
				s = p.mustOpen(nil)
			}
		})
	}
}

// A killed hub, its index gone: every message that was acknowledged comes back.
func TestSalvageAfterKill(t *testing.T) {
	p := newPlace(t)
	acked := map[store.PathwayCode]int{}
	for range 3 {
		crashRound(t, p, acked)
	}
	if err := os.Remove(filepath.Join(p.seal.DataDir, "index.db")); err != nil {
		t.Fatal(err)
	}
	p.salvage()
	s := p.mustOpen(nil)
	total := 0
	for code, want := range acked {
		var thread []*store.Message
		if err := s.View(bg, func(v store.View) (err error) { thread, err = v.Thread(code, 0, 0); return err }); err != nil {
			t.Fatal(err)
		}
		if len(thread) < want {
			t.Errorf("%s: %d messages acknowledged, %d came back", code, want, len(thread))
		}
		total += want
		for n, m := range thread {
			r, err := s.Open(bg, *m.Blob)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil || !bytes.Equal(b, crashClear(m.ID, n)) {
				t.Errorf("message %s: %d bytes, %v", m.ID, len(b), err)
			}
		}
	}
	if total == 0 {
		t.Fatal("nothing was acknowledged")
	}
}

// A damaged stretch costs what lies in it, and what was erased stays so.
func TestSalvageOfDamage(t *testing.T) {
	p := stocked(t)
	s := p.mustOpen(nil)
	if err := s.DropKey(bg, pathwayOwner("b000002")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	p.leave()
	path := p.segment("s-00000004.seg")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 5000; i < 7000; i++ {
		b[i] ^= 0x55
	}
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Remove(filepath.Join(p.seal.DataDir, "index.db"))); err != nil {
		t.Fatal(err)
	}
	out := p.salvage()
	if out.Damaged == 0 || out.Erased < 20 || out.Messages < 47 || out.Messages > 57 {
		t.Errorf("%+v", out)
	}
	s = p.mustOpen(nil)
	if err := s.View(bg, func(v store.View) error {
		if list, err := v.Thread("b000001", 0, 0); err != nil || len(list) < 15 {
			t.Errorf("%d messages, %v", len(list), err)
		}
		if _, err := v.Pathway("b000002"); err == nil {
			t.Error("the erased one is back")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// What a salvage makes fits together wherever damage lies: rows that were lost are
// not counted, and what only they led to goes with them.
func TestSalvageOfDamageFits(t *testing.T) {
	p := stocked(t)
	whole := map[string][]byte{}
	for _, f := range p.files() {
		whole[f], _ = os.ReadFile(f)
	}
	parts := []int{1}
	if os.Getenv("RELAIS_LONG") == "1" {
		parts = []int{0, 1, 2}
	}
	for f, b := range whole {
		if !strings.HasPrefix(filepath.Base(f), sharedPrefix) {
			continue
		}
		for _, part := range parts {
			for f, b := range whole {
				if err := os.WriteFile(f, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			bad := bytes.Clone(b)
			for i := len(b) * part / 3; i < min(len(b), len(b)*part/3+1500); i++ {
				bad[i] ^= 0x55
			}
			if err := errors.Join(os.WriteFile(f, bad, 0o600), os.Remove(filepath.Join(p.seal.DataDir, "index.db"))); err != nil {
				t.Fatal(err)
			}
			out := p.salvage()
			for _, flaw := range p.verify().Flaws {
				if flaw.Kind == store.FlawRecord {
					t.Errorf("%s, part %d: a row does not fit: %+v of %+v", filepath.Base(f), part, flaw, out)
				}
			}
			made, err := filepath.Glob(filepath.Join(p.seal.DataDir, "segments", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range made {
				if whole[f] == nil {
					os.Remove(f)
				}
			}
			os.RemoveAll(filepath.Join(p.seal.DataDir, "index.db"))
		}
	}
}
