package directory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox/identity"
)

// TestFolding holds the short way through plain letters to what every other
// name of the hub is folded by.
func TestFolding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 -'@.|é\u00adœÉ2")), 0, 30, -1).Draw(t, "text")
		var words []string
		eachWord(s, func(w []byte) { words = append(words, string(w)) })
		if got, want := strings.Join(words, " "), identity.FoldName(s); got != want {
			t.Fatalf("%q gives %q, want %q", s, got, want)
		}
	})
}

// crowd is a directory of many, and all of its entries.
func crowd(t *testing.T) (*Directory, []Entry) {
	d := open(t)
	c := newCountry(11)
	var text strings.Builder
	text.WriteString(headingLine + "\n")
	for i := range 3000 {
		text.WriteString(c.line(i) + "\n")
	}
	mustImport(t, d, text.String())
	var all []Entry
	err := d.read(func(in *index) error {
		for n := range in.foot.Entries {
			e, err := in.entry(uint32(n))
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, all
}

// TestFoundByAnyWord searches for entries by some of their words, cut short:
// exactly those are found that match, in an order of worth.
func TestFoundByAnyWord(t *testing.T) {
	d, all := crowd(t)
	rapid.Check(t, func(t *rapid.T) {
		e := &all[rapid.IntRange(0, len(all)-1).Draw(t, "entry")]
		var words []string
		eachText(e, func(s string, in field) {
			eachWordIn(s, in, func(w []byte) { words = append(words, string(w)) })
		})
		if e.RPPS != "" {
			words = append(words, e.RPPS)
		}
		some := rapid.Permutation(words).Draw(t, "words")[:rapid.IntRange(1, min(5, len(words))).Draw(t, "n")]
		for i, w := range some {
			least := min(2, len(w))
			if w == e.RPPS {
				least = leastNumber
			}
			some[i] = w[:rapid.IntRange(least, len(w)).Draw(t, "cut")]
			if len(some[i]) == 1 {
				some[i] = w
			}
		}
		query := strings.ToUpper(strings.Join(some, " "))
		page, err := d.Search(t.Context(), Query{Text: query, Limit: MaxLimit})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for i := range all {
			if all[i].matches(some) {
				want++
			}
		}
		if page.Total != want || len(page.Entries) != min(want, MaxLimit) {
			t.Fatalf("%q finds %d and shows %d, want %d", query, page.Total, len(page.Entries), want)
		}
		for i := range page.Entries {
			if !page.Entries[i].matches(some) {
				t.Fatalf("%q finds what does not match", query)
			}
		}
		if want <= MaxLimit && !slices.Contains(page.Entries, *e) {
			t.Fatalf("%q does not find whose words they are", query)
		}
	})
}

// TestLookUps finds every entry again by its address and RPPS.
func TestLookUps(t *testing.T) {
	d, all := crowd(t)
	for i := range all {
		e := &all[i]
		for _, c := range []struct {
			by  string
			get func() (Page, error)
		}{
			{"address", func() (Page, error) { return d.Search(t.Context(), Query{Text: e.Mailbox}) }},
			{"RPPS", func() (Page, error) { return d.Search(t.Context(), Query{RPPS: identity.RPPS(e.RPPS)}) }},
		} {
			if c.by == "RPPS" && e.RPPS == "" {
				continue
			}
			page, err := c.get()
			if err != nil || page.Total != 1 || page.Entries[0] != *e {
				t.Fatalf("entry %d by its %s: %d found, %v", i, c.by, page.Total, err)
			}
		}
	}
}

// TestShuffledColumns imports the same boxes with the columns in any order,
// and others between them: the same file.
func TestShuffledColumns(t *testing.T) {
	c := newCountry(5)
	lines := []string{headingLine}
	for i := range 200 {
		lines = append(lines, c.line(i))
	}
	imported := func(t rapid.TB, dir string, lines []string) []byte {
		d := Open(Options{MaxShrink: 20, Dir: dir, Now: noonClock})
		defer d.Close()
		if _, err := d.Import(context.Background(), strings.NewReader(strings.Join(lines, "\n")), Import{}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, current))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	dir := t.TempDir()
	want := imported(t, filepath.Join(dir, "a"), lines)
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		order := r.Perm(len(headingNames))
		strange := r.IntN(len(order))
		shuffled := make([]string, len(lines))
		for i, line := range lines {
			cells := strings.Split(line, "|")
			mixed := make([]string, len(order))
			for j, from := range order {
				mixed[j] = cells[from]
			}
			shuffled[i] = strings.Join(slices.Insert(mixed, strange, cmp.Or(map[bool]string{true: "Autre colonne"}[i == 0], "x")), ";")
		}
		if !bytes.Equal(want, imported(t, filepath.Join(dir, "b"), shuffled)) {
			t.Fatalf("order %v gives another directory", order)
		}
	})
}

// FuzzExtract reads anything as an extract. What is accepted can be searched.
func FuzzExtract(f *testing.F) {
	f.Add([]byte(table(people...)))
	f.Add([]byte(strings.ReplaceAll(table(people[:2]...), "|", ";")))
	f.Add([]byte("\ufeff" + headingLine + "\r\nPER|a@b.c" + strings.Repeat("|", 29)))
	f.Add([]byte("Type de BAL\tAdresse BAL\tIdentifiant PP\tNom d'exercice\tRaison Sociale structure BAL\nORG\ta@b.fr\t\t\tx\x00y\n"))
	f.Add([]byte("PK\x03\x04"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := Open(Options{MaxShrink: 20, Dir: dir})
		defer d.Close()
		r, err := d.Import(t.Context(), bytes.NewReader(raw), Import{Force: true})
		if err != nil {
			return
		}
		if s := d.Status(); s.Boxes != r.Boxes || s.Boxes < 1 || s.Entries != r.Entries || r.Lines != r.Entries+r.Duplicates+r.faulty() {
			t.Fatalf("status %+v of %+v", s, r)
		}
		err = d.read(func(in *index) error {
			for n := range in.foot.Entries {
				e, err := in.entry(uint32(n))
				if err != nil {
					return err
				}
				if page, err := d.Search(t.Context(), Query{Text: e.Mailbox}); err != nil || page.Total < 1 {
					t.Fatalf("entry %d is not found: %v", n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzIndex reads damaged files: an error, or an answer, and no more.
func FuzzIndex(f *testing.F) {
	dir := f.TempDir()
	d := Open(Options{MaxShrink: 20, Dir: dir})
	if _, err := d.Import(f.Context(), strings.NewReader(table(people...)), Import{}); err != nil {
		f.Fatal(err)
	}
	d.Close()
	whole, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(100), []byte{0xff, 0xff, 0xff}, "roux caen")
	f.Add(uint32(len(whole)-footerSize-30), []byte{0x80, 0x80}, "le")
	f.Add(uint32(len(whole)-footerSize-400), []byte{0}, "10100000011")
	f.Fuzz(func(t *testing.T, at uint32, with []byte, text string) {
		raw := bytes.Clone(whole)
		body := raw[:len(raw)-footerSize]
		copy(body[int(at)%len(body):], with)
		in, err := newIndex(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for _, try := range []func() error{
			func() error { _, err := in.search(t.Context(), []string{"ca"}, Query{Limit: 5}); return err },
			func() error { _, err := in.byAddress("anne.roux@chu.example"); return err },
			func() error { _, err := in.byRPPS("10100000011"); return err },
			func() error { _, err := compare(in, in); return err },
			func() error {
				words, err := wordsOf(text)
				if err == nil && len(words) > 0 {
					_, err = in.search(t.Context(), words, Query{Limit: 5})
				}
				if errors.Is(err, ErrTooManyWords) {
					err = nil
				}
				return err
			},
		} {
			if err := try(); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}

// TestDamagedFooter wants every change of the end of the file to be noticed,
// and a hub to start without the directory.
func TestDamagedFooter(t *testing.T) {
	d := filled(t, people...)
	name := filepath.Join(d.o.Dir, current)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range footerSize {
		raw := bytes.Clone(whole)
		raw[len(raw)-1-n] ^= 1
		if _, err := newIndex(bytes.NewReader(raw), int64(len(raw))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d from the end: %v", n, err)
		}
		if _, err := newIndex(bytes.NewReader(whole[:n]), int64(n)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := newIndex(io.NewSectionReader(bytes.NewReader(nil), 0, 0), int64(len(whole))); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.WriteFile(name, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	again := Open(d.o)
	defer again.Close()
	if _, err := again.Search(t.Context(), Query{Text: "roux"}); !errors.Is(err, ErrNone) {
		t.Errorf("a damaged directory answers: %v", err)
	}
	mustImport(t, again, table(people...))
	if got := found(t, again, "roux"); len(got) != 3 {
		t.Errorf("after importing again: %v", got)
	}
}
