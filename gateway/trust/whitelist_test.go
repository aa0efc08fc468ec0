package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	dnCHU   = "CN=mail.chu.example,OU=1990000010,O=CHU DE L'EXEMPLE,ST=Calvados (14),C=FR"
	dnCHU2  = "CN=mail2.chu.example,OU=1990000010,O=CHU DE L'EXEMPLE,ST=Calvados (14),C=FR"
	dnGroup = "CN=mss.groupement.example,OU=1990000028,O=GROUPEMENT D'EXEMPLE,ST=Orne (61),C=FR"
)

// national is a list as the national service writes it, with what is met in
// it: capitals, a second operator, a duplicate, an entry of no use.
const national = `<?xml version="1.0" encoding="UTF-8"?>
<ListeBlancheMSSante xmlns="https://listeblanche.mssante.fr/schema">
  <DateDeGeneration>2026-03-02T04:00:00Z</DateDeGeneration>
  <ListeDomaines>
    <Domaine><Nom>chu.example</Nom><Description>CHU &amp; annexes</Description>
      <DNCertificatOperateur>` + dnCHU + `</DNCertificatOperateur>
      <ResponsableContact>personne@chu.example</ResponsableContact><DateMAJ>2026-01-15</DateMAJ></Domaine>
    <Domaine><Nom>CHU.Example</Nom>
      <DNCertificatOperateur>C=FR, ST=Calvados (14), O=CHU DE L&apos;EXEMPLE, OU=1990000010, CN=mail2.chu.example</DNCertificatOperateur></Domaine>
    <Domaine><Nom> chg.example </Nom><DNCertificatOperateur>
      ` + dnGroup + `
    </DNCertificatOperateur></Domaine>
    <Domaine><Nom>chg.example</Nom><DNCertificatOperateur>` + dnGroup + `</DNCertificatOperateur></Domaine>
    <Domaine><Nom>cassee.example</Nom><DNCertificatOperateur>en panne</DNCertificatOperateur></Domaine>
  </ListeDomaines>
</ListeBlancheMSSante>`

func TestWhiteList(t *testing.T) {
	list, err := ReadWhiteList(strings.NewReader(national))
	if err != nil {
		t.Fatal(err)
	}
	if list.Entries != 5 || list.Skipped != 1 || list.Domains() != 2 {
		t.Errorf("%d entries, %d skipped, %d domains", list.Entries, list.Skipped, list.Domains())
	}
	if want := time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC); !list.Generated.Equal(want) {
		t.Errorf("made at %s", list.Generated)
	}
	for _, c := range []struct {
		dn, domain      string
		listed, allowed bool
	}{
		{dnCHU, "chu.example", true, true},
		{dnCHU, "CHU.EXAMPLE.", true, true},
		{dnCHU2, "chu.example", true, true},
		{dnGroup, "chu.example", true, false},
		{dnGroup, "chg.example", true, true},
		{dnCHU, "chg.example", true, false},
		{dnCHU, "sub.chu.example", false, false},
		{dnCHU, "cassee.example", false, false},
		{dnCHU, "", false, false},
	} {
		name := parsed(t, c.dn)
		if list.Listed(c.domain) != c.listed || list.SpeaksFor(name, c.domain) != c.allowed {
			t.Errorf("%s for %q: listed %v, speaks %v", c.dn, c.domain, list.Listed(c.domain), list.SpeaksFor(name, c.domain))
		}
	}
	if !list.Knows(parsed(t, dnGroup)) || list.Knows(parsed(t, "CN=inconnu,C=FR")) || list.SpeaksFor(Name{}, "chu.example") {
		t.Error("the wrong operators are known")
	}
	var none *WhiteList
	if !none.Listed("anywhere.example") || !none.SpeaksFor(Name{}, "anywhere.example") {
		t.Error("without a list not everybody is listed")
	}
}

func TestWhiteListRefused(t *testing.T) {
	for name, c := range map[string]struct {
		xml  string
		want error
	}{
		"empty file":      {"", ErrNotWhiteList},
		"other document":  {"<html><body/></html>", ErrNotWhiteList},
		"cut short":       {national[:len(national)-40], ErrListMalformed},
		"cut in an entry": {national[:700], ErrListMalformed},
		"two roots":       {national + "<ListeBlancheMSSante/>", ErrNotWhiteList},
		"no entry":        {"<ListeBlancheMSSante><ListeDomaines/></ListeBlancheMSSante>", ErrListEmpty},
		"entries elsewhere": {
			"<ListeBlancheMSSante><Autre><Domaine><Nom>a.example</Nom><DNCertificatOperateur>" + dnCHU +
				"</DNCertificatOperateur></Domaine></Autre></ListeBlancheMSSante>", ErrListEmpty,
		},
		"document type":  {strings.Replace(national, "<Liste", `<!DOCTYPE x [<!ENTITY e "chu.example">]><Liste`, 1), ErrNotWhiteList},
		"unknown entity": {strings.Replace(national, "chu.example<", "&e;<", 1), ErrListMalformed},
		"other charset":  {strings.Replace(national, "UTF-8", "UTF-7", 1), ErrListMalformed},
		"deep": {
			"<ListeBlancheMSSante>" + strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40) + "</ListeBlancheMSSante>",
			ErrNotWhiteList,
		},
	} {
		if _, err := ReadWhiteList(strings.NewReader(c.xml)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	endless := io.MultiReader(strings.NewReader("<ListeBlancheMSSante>"), &repeat{text: "<a></a>   "})
	if _, err := readWhiteList(endless, 1<<20); !errors.Is(err, ErrListTooLarge) {
		t.Errorf("an endless list: %v", err)
	}
	// A field longer than any name spoils its entry, and no more than that.
	long := strings.Replace(national, "CN=mail.chu", "CN="+strings.Repeat("m", 100_000)+".chu", 1)
	list, err := ReadWhiteList(strings.NewReader(long))
	if err != nil || list.Skipped != 2 {
		t.Errorf("a long field: %v, %d skipped", err, list.Skipped)
	}
}

func TestWhiteListWritten(t *testing.T) {
	entries := []Entry{
		{"chu.example", parsed(t, dnCHU)},
		{"chu.example", parsed(t, dnCHU2)},
		{"a&b.example", parsed(t, `CN=x,O=CLINIQUE A\, B <C>,C=FR`)},
	}
	made := time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	if err := WriteWhiteList(&out, made, entries); err != nil {
		t.Fatal(err)
	}
	list, err := ReadWhiteList(&out)
	if err != nil || !list.Generated.Equal(made) || list.Entries != 3 || list.Skipped != 0 {
		t.Fatalf("read back: %v, %+v", err, list)
	}
	for _, e := range entries {
		if !list.SpeaksFor(e.Operator, e.Domain) {
			t.Errorf("%s lost %s", e.Operator, e.Domain)
		}
	}
}

func FuzzReadWhiteList(f *testing.F) {
	f.Add([]byte(national))
	f.Add([]byte("<ListeBlancheMSSante><ListeDomaines><Domaine><Nom>a</Nom></Domaine></ListeDomaines>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ReadWhiteList(bytes.NewReader(data))
		if err == nil && list.Domains() == 0 {
			t.Fatal("an empty list was taken")
		}
	})
}

// The national list of 2026 has 8,655 entries.
func BenchmarkReadWhiteList(b *testing.B) {
	var entries []Entry
	for i := range 8655 {
		entries = append(entries, Entry{fmt.Sprintf("etab-%d.mssante.example", i), parsed(b, dnCHU)})
	}
	var out bytes.Buffer
	if err := WriteWhiteList(&out, time.Unix(0, 0), entries); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(out.Len()))
	for b.Loop() {
		if _, err := ReadWhiteList(bytes.NewReader(out.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

type repeat struct{ text, rest string }

func (r *repeat) Read(p []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// The shared sample, which is not part of the project.
func TestSampleWhiteList(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "samples", "synthetic", "listeblanche-synthetique.xml"))
	if err != nil {
		t.Skip("no shared samples here")
	}
	defer f.Close()
	list, err := ReadWhiteList(f)
	if err != nil || list == nil {
		t.Fatalf("%v", err)
	}
}
