package mailbox

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/mailbox/directory"
	"github.com/relais-sante/relais/store"
)

// extract writes invented boxes with the columns that are needed: type,
// address, RPPS, family name, given name, structure.
func extract(lines ...string) string {
	return "Type de BAL|Adresse BAL|Identifiant PP|Nom d'exercice|Prénom d'exercice|Raison Sociale structure BAL\n" + strings.Join(lines, "\n") + "\n"
}

var national = []string{
	"PER|roux@chu.test|10100000011|ROUX|Anne|CHU CAEN",
	"PER|moreau@chu.test|10100000029|MOREAU|Inès|CHU CAEN",
	"PER|moreau@cabinet.test|10100000029|MOREAU|Inès|CABINET MOREAU",
	"PER|legoff@idel.test|10100000037|LE GOFF|Yann|CABINET DU PORT",
	"ORG|pediatrie@chu.test||||CHU CAEN",
	"ORG|cabinet@idel.test||||CABINET DU PORT",
	"PER|roy@psy.test|10100000078|PETIT-ROY|Ève|",
	"PER|bernard@kine.test|10100000045|BERNARD|Luc|",
}

// withDirectory is the house with a directory in place.
func withDirectory(t *testing.T) *house {
	h := newHouse(t)
	d := directory.Open(directory.Options{MaxShrink: 20, Dir: filepath.Join(h.dir, "directory"), Now: h.clock.now})
	t.Cleanup(func() { d.Close() })
	h.o.Directory = d
	if _, err := h.ImportDirectory(t.Context(), testActor, DirectoryImport{}, strings.NewReader(extract(national...))); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestImportDirectory(t *testing.T) {
	h := withDirectory(t)
	r, err := h.ImportDirectory(t.Context(), testActor, DirectoryImport{File: "Extraction_Correspondance_MSSante_202611010000.txt"},
		strings.NewReader(extract(append(national[:7:7], "PER|nouveau@chu.test|10100000052|ROY|Zoé|")...)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Boxes != 8 || r.Changes != (directory.Changes{Appeared: 1, Vanished: 1}) || r.Issued == nil || r.Before == nil {
		t.Errorf("report %+v", r)
	}
	if len(r.Gone) != 1 || r.Gone[0].Mailbox != "bernard@kine.test" || r.Gone[0].Members[0] != string(h.child)+".m4" {
		t.Errorf("gone: %+v", r.Gone)
	}
	_, err = h.ImportDirectory(t.Context(), testActor, DirectoryImport{}, strings.NewReader(extract(national[:4]...)))
	if got := failureCode(err); got != "directory-shrunk" {
		t.Errorf("half a directory: %s", got)
	}
	_, err = h.ImportDirectory(t.Context(), testActor, DirectoryImport{}, strings.NewReader("nom;role\n"))
	if got := failureCode(err); got != "directory-form" {
		t.Errorf("another file: %s", got)
	}
	var traces []string
	err = h.store.View(context.Background(), func(v store.View) error {
		all, err := v.Traces(store.Technical, 0, 0)
		for _, tr := range all {
			if strings.HasPrefix(tr.Action, "directory.") {
				traces = append(traces, tr.Outcome+" "+tr.Detail["boxes"]+" "+tr.Detail["reason"])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"done 8 ", "done 8 ", "refused 4 directory-shrunk", "refused 0 directory-form"}, traces); diff != "" {
		t.Errorf("traces (-want +got):\n%s", diff)
	}
}

func TestSearchDirectory(t *testing.T) {
	h := withDirectory(t)
	page, err := h.SearchDirectory(t.Context(), testActor, DirectoryQuery{Words: "ines caen"})
	if err != nil || page.Total != 1 || page.Entries[0].Mailbox != "moreau@chu.test" || !page.Imported.Equal(h.clock.now()) {
		t.Errorf("%+v, %v", page, err)
	}
	for query, want := range map[DirectoryQuery]string{
		{}:             "directory-words",
		{Words: " - "}: "directory-words",
		{RPPS: "12"}:   "rpps",
		{Words: strings.Repeat("a b c d e f g ", 2) + "h i j k l m"}: "directory-many",
	} {
		if _, err := h.SearchDirectory(t.Context(), testActor, query); failureCode(err) != want {
			t.Errorf("%+v: %v, want %s", query, err, want)
		}
	}
	h.o.Directory = nil
	if _, err := h.SearchDirectory(t.Context(), testActor, DirectoryQuery{Words: "roux"}); failureCode(err) != "directory-none" {
		t.Errorf("without a directory: %v", err)
	}
}

// TestMemberFromDirectory names members by their RPPS number, and shared boxes
// by what the directory says of them.
func TestMemberFromDirectory(t *testing.T) {
	h := withDirectory(t)
	for _, c := range []struct {
		name string
		r    MemberRequest
		want string // address, type, name and establishment, or the code of the failure
	}{
		{"one box", MemberRequest{RPPS: "10100000037", Role: "infirmier"}, "legoff@idel.test PER Yann LE GOFF, CABINET DU PORT"},
		{"the name as typed", MemberRequest{RPPS: "810100000011", Role: "oncologue", Name: "Dr A. Roux", Establishment: "CHU"}, "roux@chu.test PER Dr A. Roux, CHU"},
		{"another's number", MemberRequest{RPPS: "10100000037", Role: "infirmier", Name: "M. Yann Martin"}, "directory-other"},
		{"one of two family names", MemberRequest{RPPS: "10100000078", Role: "psychologue", Name: "Mme Ève Petit"}, "roy@psy.test PER Mme Ève Petit, "},
		{"two boxes", MemberRequest{RPPS: "10100000029", Role: "idec"}, "directory-several"},
		{"a number that nobody has", MemberRequest{RPPS: "10100000060", Role: "idec"}, "directory-rpps"},
		{"neither number nor box", MemberRequest{Name: "Mme X", Role: "idec"}, "mailbox-form"},
		{"a shared box", MemberRequest{Name: "Mme Zoé Roy", Mailbox: "Pediatrie@chu.test", Role: "pediatre"}, "pediatrie@chu.test ORG Mme Zoé Roy, "},
		{"a type that was given", MemberRequest{Name: "M. Luc Roy", Mailbox: "nouvelle@chu.test", Type: "APP", Role: "pediatre"}, "nouvelle@chu.test APP M. Luc Roy, "},
		{"a box that is in no directory", MemberRequest{Name: "Mme Eva Roy", Mailbox: "eva@roy.test", Role: "pediatre"}, "eva@roy.test PER Mme Eva Roy, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.r.Pathway = string(h.child)
			m, err := h.AddMember(t.Context(), testActor, c.r)
			got := failureCode(err)
			if err == nil {
				got = m.Mailbox + " " + m.Type + " " + m.Name + ", " + m.Establishment
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	box := "pediatrie@chu.test"
	m, err := h.UpdateMember(t.Context(), testActor, MemberUpdate{Pathway: string(h.child), Member: "m4", Mailbox: &box})
	if err != nil || m.Type != "ORG" {
		t.Errorf("moved to a shared box: %+v, %v", m, err)
	}
	list, err := h.ImportTeam(t.Context(), testActor, string(h.child), strings.NewReader("nom;role;bal;rpps\nM. Luc Bernard;kinesitherapeute;;10100000045\n"), true)
	if err != nil || list[0].Mailbox != "bernard@kine.test" {
		t.Errorf("a table with RPPS numbers: %+v, %v", list, err)
	}
	_, err = h.ImportTeam(t.Context(), testActor, string(h.child), strings.NewReader("nom;role;bal;rpps\nMme Inès Moreau;idec;;10100000029\n"), true)
	if failureCode(err) != "import-line" {
		t.Errorf("a table with two boxes: %v", err)
	}
}
