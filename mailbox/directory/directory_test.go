package directory

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/store"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// open gives an empty directory.
func open(t testing.TB) *Directory {
	d := Open(Options{MaxShrink: 20, Dir: filepath.Join(t.TempDir(), "directory"), Now: noonClock})
	t.Cleanup(func() { d.Close() })
	return d
}

// filled gives one with these boxes.
func filled(t testing.TB, rows ...row) *Directory {
	t.Helper()
	d := open(t)
	mustImport(t, d, table(rows...))
	return d
}

func mustImport(t testing.TB, d *Directory, text string) Report {
	t.Helper()
	r, err := d.Import(t.Context(), strings.NewReader(text), Import{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found gives the addresses that a search finds, in their order.
func found(t testing.TB, d *Directory, text string) []string {
	t.Helper()
	page, err := d.Search(t.Context(), Query{Text: text, Limit: MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range page.Entries {
		list = append(list, e.Mailbox)
	}
	return list
}

var people = []row{
	per("anne.roux@chu.example", "10100000011", "ROUX", "Anne", "Médecin", "CAEN"),
	per("a.roux@cabinet.example", "10100000011", "ROUX", "Anne", "Médecin", "BAYEUX"),
	per("jp.legoff@idel.example", "10100000029", "LE GOFF-PÉRÈS", "Jean-Pierre", "Infirmier", "SAINT-LÔ"),
	per("m.legoff@idel.example", "10100000037", "LEGOFF", "Marie", "Infirmier", "VIRE NORMANDIE"),
	per("rose.martin@kine.example", "10100000045", "MARTIN", "Rose", "Masseur-Kinésithérapeute", "CAEN"),
	per("p.roselier@kine.example", "10100000052", "ROSELIER", "Paul", "Masseur-Kinésithérapeute", "CAEN"),
	org("onco-ped@chu.example", "2A0000123", "CHU DE ROUEN", "Onco-hématologie pédiatrique", "ROUEN"),
	org("accueil@ch-roux.example", "760000166", "CH ROUX", "Accueil", "ROUEN"),
}

func TestSearch(t *testing.T) {
	d := filled(t, people...)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"a family name, before a structure of that name", "Roux", []string{"a.roux@cabinet.example", "anne.roux@chu.example", "accueil@ch-roux.example"}},
		{"name and place", "roux caen", []string{"anne.roux@chu.example"}},
		{"in any order", "CAEN Anne ROUX", []string{"anne.roux@chu.example"}},
		{"without accents and hyphens", "peres saint lo", []string{"jp.legoff@idel.example"}},
		{"with accents that are not there", "márie", []string{"m.legoff@idel.example"}},
		{"beginnings", "jean-pi inf", []string{"jp.legoff@idel.example"}},
		{"written in one, or not", "legoff", []string{"m.legoff@idel.example", "jp.legoff@idel.example"}},
		{"not in one, though there", "le goff marie", []string{"m.legoff@idel.example"}},
		{"a whole given name before the beginning of a family name", "rose", []string{"rose.martin@kine.example", "p.roselier@kine.example"}},
		{"a structure", "chu rouen", []string{"onco-ped@chu.example"}},
		{"a department of it", "hematologie pediatrique", []string{"onco-ped@chu.example"}},
		{"a Corsican FINESS", "2A0000123", []string{"onco-ped@chu.example"}},
		{"a FINESS", "760000166", []string{"accueil@ch-roux.example"}},
		{"an RPPS", "10100000045", []string{"rose.martin@kine.example"}},
		{"an RPPS in its national form", "810100000045", []string{"rose.martin@kine.example"}},
		{"an RPPS by its beginning", "1010000003", []string{"m.legoff@idel.example"}},
		{"an RPPS and a place", "10100000011 bayeux", []string{"a.roux@cabinet.example"}},
		{"a profession in a département", "masseur calvados", []string{"rose.martin@kine.example", "p.roselier@kine.example"}},
		{"a postal code", "76000", []string{"accueil@ch-roux.example", "onco-ped@chu.example"}},
		{"an address", " Anne.Roux@CHU.example ", []string{"anne.roux@chu.example"}},
		{"part of an address", "onco-ped@", []string{"onco-ped@chu.example"}},
		{"one letter is no beginning", "roux b", []string{}},
		{"a word that nobody has", "roux zanzibar", []string{}},
		{"no words", " - ", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, found(t, d, c.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := d.Search(t.Context(), Query{Text: "a b c d e f g h i j k l m"}); !errors.Is(err, ErrTooManyWords) {
		t.Errorf("thirteen words: %v", err)
	}
}

func TestPages(t *testing.T) {
	d := filled(t, people...)
	all := found(t, d, "france")
	if len(all) != 0 {
		t.Errorf("found by the country, as everybody is: %v", all)
	}
	all = found(t, d, "ca")
	var paged []string
	for offset := 0; ; offset += 2 {
		page, err := d.Search(t.Context(), Query{Text: "ca", Limit: 2, Offset: offset})
		if err != nil {
			t.Fatal(err)
		}
		if page.Total != len(all) {
			t.Errorf("total %d, want %d", page.Total, len(all))
		}
		if len(page.Entries) == 0 {
			break
		}
		for _, e := range page.Entries {
			paged = append(paged, e.Mailbox)
		}
	}
	if diff := cmp.Diff(all, paged); diff != "" || len(all) < 5 {
		t.Errorf("pages (-whole +pages):\n%s", diff)
	}
	page, err := d.Search(t.Context(), Query{Text: "bayeux", RPPS: "10100000011"})
	if err != nil || page.Total != 1 || page.Entries[0].Mailbox != "a.roux@cabinet.example" {
		t.Errorf("boxes of a professional in a town: %+v, %v", page, err)
	}
}

func TestEntry(t *testing.T) {
	adeli := per("b@cab.example", "", "Bé", "Zoé", "Psychologue", "CAEN")
	adeli["Type Identifiant PP"], adeli["Identifiant PP"], adeli["Identification nationale PP"] = "0", "149300012", "0149300012"
	adeli["Type de BAL"] = "cab"
	national := per("n@cab.example", "10100000011", "Roux", "Anne", "Médecin", "CAEN")
	national["Identifiant PP"], national["Type Identifiant PP"] = "", ""
	siret := org("c@ssiad.example", "12345678900011", "SSIAD", "", "ROUEN")
	siret["Type identifiant structure"] = "3"
	d := filled(t, adeli, national, siret, people[6])
	for _, want := range []Entry{
		{
			Mailbox: "b@cab.example", Type: store.BoxCAB, OtherID: "0149300012", Title: "M", FamilyName: "Bé", GivenName: "Zoé", Category: "Civil",
			ProfessionCode: "10", Profession: "Psychologue", PostalCode: "14000", Town: "CAEN", Department: "Calvados", Country: "France", Paperless: true,
		},
		{
			Mailbox: "n@cab.example", Type: store.BoxPER, RPPS: "10100000011", Title: "M", FamilyName: "Roux", GivenName: "Anne", Category: "Civil",
			ProfessionCode: "10", Profession: "Médecin", PostalCode: "14000", Town: "CAEN", Department: "Calvados", Country: "France", Paperless: true,
		},
		{
			Mailbox: "c@ssiad.example", Type: store.BoxORG, StructureID: "12345678900011", Structure: "SSIAD", Street: "12 RUE DES LILAS",
			PostalCode: "76000", Town: "ROUEN", Department: "Seine-Maritime", Country: "France",
		},
		{
			Mailbox: "onco-ped@chu.example", Type: store.BoxORG, FINESS: "2A0000123", Structure: "CHU DE ROUEN", Service: "Onco-hématologie pédiatrique",
			Street: "12 RUE DES LILAS", PostalCode: "76000", Town: "ROUEN", Department: "Seine-Maritime", Country: "France",
		},
	} {
		got, err := d.ByAddress(store.Address(want.Mailbox))
		if diff := cmp.Diff([]Entry{want}, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", want.Mailbox, err, diff)
		}
	}
	if got, err := d.ByAddress("nobody@chu.example"); len(got) != 0 || err != nil {
		t.Errorf("an unknown box: %v, %v", got, err)
	}
	if got, err := d.ByRPPS("10100000011"); len(got) != 1 || err != nil || got[0].Name() != "M Anne Roux" {
		t.Errorf("by RPPS: %v, %v", got, err)
	}
	if got, err := d.ByRPPS("10100000012"); len(got) != 0 || err != nil {
		t.Errorf("an unknown RPPS: %v, %v", got, err)
	}
}

// TestForms reads the same boxes however they are written down.
func TestForms(t *testing.T) {
	plain := table(people...)
	zipped := func(names ...string) string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, name := range names {
			f, err := w.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "Extraction") {
				fmt.Fprint(f, plain)
			} else {
				fmt.Fprint(f, "lisez-moi")
			}
		}
		w.Close()
		return b.String()
	}
	const dated = "Extraction_Correspondance_MSSante_202601020304.txt"
	for name, text := range map[string]string{
		"as published":      plain,
		"lines of Windows":  strings.ReplaceAll(plain, "\n", "\r\n"),
		"with a byte order": "\ufeff" + plain,
		"no last line end":  strings.TrimSuffix(plain, "\n"),
		"separators at end": strings.ReplaceAll(plain, "\n", "|\n"),
		"semicolons":        strings.ReplaceAll(plain, "|", ";"),
		"other capitals":    strings.ReplaceAll(strings.ToUpper(headingLine), "É", "é") + plain[len(headingLine):],
		"lines twice":       plain + plain[len(headingLine)+1:],
		"in an archive":     zipped(dated),
		"among others":      zipped("LISEZMOI.txt", "d/"+dated, "z.txt"),
		"a path that leads": zipped("../../" + dated),
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			r := mustImport(t, d, text)
			if r.Boxes != 8 || r.Types["PER"] != 6 || r.Types["ORG"] != 2 || len(r.Faulty) > 0 {
				t.Errorf("report %+v", r)
			}
			if strings.HasPrefix(text, "PK") != (r.Issued.Format("200601021504") == "202601020304") {
				t.Errorf("issued %v", r.Issued)
			}
			if e, err := d.ByAddress("jp.legoff@idel.example"); err != nil || len(e) != 1 || e[0].FamilyName != "LE GOFF-PÉRÈS" {
				t.Errorf("%v, %v", e, err)
			}
			if left, _ := filepath.Glob(filepath.Join(d.o.Dir, "*")); len(left) != 1 {
				t.Errorf("files left: %v", left)
			}
		})
	}
}

func TestNotAnExtract(t *testing.T) {
	archive := func(name, text string) string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, _ := w.Create(name)
		fmt.Fprint(f, text)
		w.Close()
		return b.String()
	}
	plain := table(people...)
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":               {"", ErrNotExtract},
		"another table":         {"nom;prénom\nRoux;Anne\n", ErrNotExtract},
		"a column without name": {strings.Replace(plain, "Nom d'exercice", "Nom", 1), ErrNotExtract},
		"no line end at all":    {strings.Repeat("x", 5*maxLine), ErrNotExtract},
		"only headings":         {headingLine + "\n", ErrEmpty},
		"half an archive":       {archive("a.txt", plain)[:200], ErrNotExtract},
		"an archive of others":  {archive("a.pdf", plain), ErrNotExtract},
		"a broken archive":      {strings.Replace(archive("a.txt", plain), "PK\x01\x02", "PK\x01\x03", 1), ErrNotExtract},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			if _, err := d.Import(t.Context(), strings.NewReader(c.text), Import{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(d.o.Dir, "*")); len(left) != 0 {
				t.Errorf("files left: %v", left)
			}
		})
	}
}

func TestFaultyLines(t *testing.T) {
	good := make([]row, 0, 400)
	for i := range cap(good) {
		good = append(good, per(fmt.Sprintf("p%d@chu.example", i), fmt.Sprintf("101%08d", i), "Dupré", "Luc", "Médecin", "CAEN"))
	}
	with := func(cell, value string) string {
		r := per("x@chu.example", "10100000011", "Secret", "Nom", "Médecin", "CAEN")
		r[cell] = value
		return r.line() + "\n"
	}
	bad := with("Type de BAL", "MES") + with("Adresse BAL", "x") + with("Adresse BAL", "x@y@chu.example") + with("Adresse BAL", "é@chu.example") +
		with("Adresse BAL", "279035121518989@patient.mssante.fr") + with("Nom d'exercice", "Dupr\xe9") + with("Nom d'exercice", "a|b") +
		"PER|y@chu.example\n\n" + with("Service de rattachement", strings.Repeat("x", 2*maxLine))
	d := open(t)
	r := mustImport(t, d, table(good...)+bad)
	want := []Fault{{BadAddress, 3, 403}, {BadCells, 2, 408}, {BadType, 1, 402}, {BadCitizen, 1, 406}, {BadEncoding, 1, 407}, {BadLength, 1, 411}}
	if diff := cmp.Diff(want, r.Faulty); diff != "" || r.Lines != 409 || r.Boxes != 400 {
		t.Errorf("%d lines, %d boxes (-want +got):\n%s", r.Lines, r.Boxes, diff)
	}
	if found := found(t, d, "secret"); len(found) > 0 {
		t.Errorf("kept all the same: %v", found)
	}
	// Beyond one in twenty it is another file, or a damaged one.
	if _, err := d.Import(t.Context(), strings.NewReader(table(good[:100]...)+bad+bad), Import{Force: true}); !errors.Is(err, ErrFaulty) {
		t.Errorf("got %v, want %v", err, ErrFaulty)
	}
	if s := d.Status(); s.Boxes != 400 {
		t.Errorf("%d boxes after a refused import", s.Boxes)
	}
}

func TestChanges(t *testing.T) {
	d := filled(t, people...)
	next := slices.Clone(people)
	next[0] = org("anne.roux@chu.example", "760000166", "CH ROUX", "Chirurgie", "CAEN") // type and holder
	next[4] = per("rose.martin@kine.example", "10100000060", "PETIT", "Rose", "Masseur-Kinésithérapeute", "CAEN")
	next[5] = per("nouveau@kine.example", "10100000052", "ROSELIER", "Paul", "Masseur-Kinésithérapeute", "CAEN")
	r, err := d.Import(t.Context(), strings.NewReader(table(next...)), Import{
		Name:  "/srv/Extraction_Correspondance_MSSante_202607010000.txt",
		Watch: []store.Address{"p.roselier@kine.example", "never@there.example", "onco-ped@chu.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Changes{Appeared: 1, Vanished: 1, TypeChanged: 1, HolderChanged: 2}, r.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]store.Address{"p.roselier@kine.example"}, r.Gone); diff != "" {
		t.Errorf("gone (-want +got):\n%s", diff)
	}
	if r.Before.Boxes != 8 || r.Issued.Format(time.DateOnly) != "2026-07-01" {
		t.Errorf("report %+v", r)
	}
	if s := d.Status(); s.Boxes != 8 || !s.Imported.Equal(noon) || !s.Issued.Equal(r.Issued) {
		t.Errorf("status %+v", s)
	}
	if r := mustImport(t, d, table(next...)); r.Changes != (Changes{}) {
		t.Errorf("the same again: %+v", r.Changes)
	}
}

func TestShrink(t *testing.T) {
	d := filled(t, people...)
	few := table(people[:6]...) // a quarter less
	r, err := d.Import(t.Context(), strings.NewReader(few), Import{})
	if !errors.Is(err, ErrShrunk) || r.Boxes != 6 || r.Before.Boxes != 8 || r.Changes.Vanished != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := found(t, d, "rouen"); len(got) != 2 {
		t.Errorf("the old directory does not answer: %v", got)
	}
	if _, err := d.Import(t.Context(), strings.NewReader(few), Import{Force: true}); err != nil {
		t.Error(err)
	}
	if got := found(t, d, "rouen"); len(got) != 0 {
		t.Errorf("still found: %v", got)
	}
	mustImport(t, d, table(people[:5]...)) // a sixth less is no reason
}

// TestInterrupted breaks an import off at every stage: what was in use stays,
// here and after opening again, and nothing else is left.
func TestInterrupted(t *testing.T) {
	d := filled(t, people...)
	c := newCountry(3)
	var text strings.Builder
	text.WriteString(headingLine + "\n")
	for i := range 9000 {
		text.WriteString(c.line(i) + "\n")
	}
	gone := errors.New("the line was cut")
	for name, try := range map[string]func() error{
		"the sender goes away": func() error {
			_, err := d.Import(t.Context(), io.MultiReader(strings.NewReader(text.String()[:200_000]), iotest.ErrReader(gone)), Import{})
			return err
		},
		"the hub stops while reading": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			r := io.MultiReader(strings.NewReader(text.String()[:1<<20]), onRead(cancel), strings.NewReader(text.String()[1<<20:]))
			_, err := d.Import(ctx, r, Import{})
			return err
		},
		"the hub stops while writing": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			r := io.MultiReader(strings.NewReader(text.String()), onRead(cancel))
			_, err := d.Import(ctx, r, Import{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := try(); !errors.Is(err, gone) && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(d.o.Dir, "*")); len(left) != 1 {
				t.Errorf("files left: %v", left)
			}
			again := Open(d.o)
			defer again.Close()
			if a, b := found(t, d, "roux"), found(t, again, "roux"); len(a) != 3 || len(b) != 3 {
				t.Errorf("found %v, and opened again %v", a, b)
			}
		})
	}
	// A crash leaves files behind; the next start takes them away.
	left := filepath.Join(d.o.Dir, "1"+part)
	if err := os.WriteFile(left, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	Open(d.o).Close()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the scratch file stays: %v", err)
	}
}

// onRead is empty, and calls fn when that is found out.
func onRead(fn func()) io.Reader {
	return readerFunc(func([]byte) (int, error) { fn(); return 0, io.EOF })
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestImportBesideSearches replaces the directory while it answers.
func TestImportBesideSearches(t *testing.T) {
	d := filled(t, people...)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := found(t, d, "legoff"); len(got) != 2 {
					t.Errorf("found %v", got)
					return
				}
			}
		})
	}
	for range 5 {
		mustImport(t, d, table(people...))
	}
	release := make(chan struct{})
	waiting := make(chan struct{})
	wg.Go(func() {
		var once sync.Once
		slow := readerFunc(func([]byte) (int, error) { once.Do(func() { close(waiting) }); <-release; return 0, io.EOF })
		_, _ = d.Import(t.Context(), slow, Import{})
	})
	<-waiting
	if _, err := d.Import(t.Context(), strings.NewReader(""), Import{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second import: %v", err)
	}
	close(release)
	close(stop)
	wg.Wait()
	d.Close()
	if _, err := d.Search(t.Context(), Query{Text: "roux"}); !errors.Is(err, ErrNone) {
		t.Errorf("closed: %v", err)
	}
}

func TestNone(t *testing.T) {
	d := open(t)
	if s := d.Status(); s != (Status{}) {
		t.Errorf("status %+v", s)
	}
	if _, err := d.ByAddress("anne.roux@chu.example"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	if _, err := os.Stat(d.o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder for nothing: %v", err)
	}
}

func noonClock() time.Time { return noon }
