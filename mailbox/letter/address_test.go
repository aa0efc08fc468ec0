package letter

import (
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseAddressList(t *testing.T) {
	one := func(name, address string) []Mailbox { return []Mailbox{{Name: name, Address: address}} }
	for _, c := range []struct {
		in   string
		want []Mailbox
	}{
		{"a@x.example", one("", "a@x.example")},
		{"<a@x.example>", one("", "a@x.example")},
		{"Anne Roux <a@x.example>", one("Anne Roux", "a@x.example")},
		{"Anne Roux<a@x.example>", one("Anne Roux", "a@x.example")},
		{`"Roux, Anne (CHU)" <a@x.example>`, one("Roux, Anne (CHU)", "a@x.example")},
		{`"Anne \"A\" Roux" <a@x.example>`, one(`Anne "A" Roux`, "a@x.example")},
		{`"'a@x.example'" <a@x.example>`, one("a@x.example", "a@x.example")},
		{"=?utf-8?Q?L=C3=A9o?= =?utf-8?Q?_Roux?= <a@x.example>", one("Léo Roux", "a@x.example")},
		{"=?iso-8859-1?Q?Roux=2C_L=E9a?= <a@x.example>, b@y.example", []Mailbox{{Name: "Roux, Léa", Address: "a@x.example"}, {Address: "b@y.example"}}},
		{"Léo <a@x.example>", one("Léo", "a@x.example")},
		{"a@x.example (Anne Roux)", one("Anne Roux", "a@x.example")},
		{"(work) Anne (b (c)) <a@x.example> (home)", one("Anne", "a@x.example")},
		{"Anne Roux a@x.example", one("Anne Roux", "a@x.example")},
		{"a@x.example Anne", one("Anne", "a@x.example")},
		{"a @ x.example", one("", "a@x.example")},
		{"Anne <a@x.example", one("Anne", "a@x.example")},
		{"Anne <a@x.example, b@y.example", []Mailbox{{Name: "Anne", Address: "a@x.example"}, {Address: "b@y.example"}}},
		{"Anne <a@x.example, b@y.example>", []Mailbox{{Name: "Anne", Address: "a@x.example"}, {Address: "b@y.example"}}},
		{"<<a@x.example>>", one("", "a@x.example")},
		{"Anne a@x.example>", one("Anne", "a@x.example")},
		{`"Anne <a@x.example>`, one("Anne", "a@x.example")},
		{"Anne (CHU <a@x.example>", one("Anne CHU", "a@x.example")},
		{"a@b@x.example", one("", "a@b@x.example")},
		{"<@r.example,@s.example:a@x.example>", one("", "a@x.example")},
		{"mailto:a@x.example", one("", "a@x.example")},
		{"<mailto:a@x.example>", one("", "a@x.example")},
		{"Anne <a@x.example> Paul <b@y.example>", []Mailbox{{Name: "Anne", Address: "a@x.example"}, {Name: "Paul", Address: "b@y.example"}}},
		{"a@x.example; b@y.example;", []Mailbox{{Address: "a@x.example"}, {Address: "b@y.example"}}},
		{",, a@x.example ,,", one("", "a@x.example")},
		{`"anne roux"@x.example`, one("", `"anne roux"@x.example`)},
		{"Anne <\"anne roux\"@x.example>", one("Anne", `"anne roux"@x.example`)},
		{"undisclosed-recipients:;", []Mailbox{{Group: "undisclosed-recipients"}}},
		{
			"Équipe: Anne <a@x.example>, b@y.example; c@z.example",
			[]Mailbox{{Name: "Anne", Address: "a@x.example", Group: "Équipe"}, {Address: "b@y.example", Group: "Équipe"}, {Address: "c@z.example"}},
		},
		{"Équipe: a@x.example", []Mailbox{{Address: "a@x.example", Group: "Équipe"}}},
		{"root", one("", "root")},
		{"Anne Roux", one("Anne Roux", "")},
		{"Anne <>", one("Anne", "")},
		{"a@x.example <>", one("", "a@x.example")},
		{"<>", nil},
		{"", nil},
		{" , ;:", []Mailbox{{}}},
		{"(nobody)", nil},
		{"a@x.example\r\nBcc: z", one("Bcc: z", "a@x.example")},
		{"A\x00B\tC <a@x.example>", one("A B C", "a@x.example")},
	} {
		got := ParseAddressList(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q:\n%s", c.in, diff)
		}
	}
	if n := len(ParseAddressList(strings.Repeat("a@x,", 5000))); n != maxAddressesInField {
		t.Errorf("%d addresses", n)
	}
}

// What a list is written from is read from it.
func TestAddressListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []Mailbox
		var written []string
		for range rapid.IntRange(1, 5).Draw(t, "n") {
			m := Mailbox{
				Name:    strings.TrimSpace(rapid.StringMatching(`[A-Za-zé,;:<>@()"' -]{0,12}`).Draw(t, "name")),
				Address: rapid.StringMatching(`[a-z.]{1,8}@[a-z]{1,8}\.example`).Draw(t, "address"),
			}
			m.Name = strings.Trim(strings.Join(strings.Fields(m.Name), " "), "'")
			m.Name = strings.TrimSpace(m.Name)
			quoted := `"` + strings.ReplaceAll(m.Name, `"`, `\"`) + `" `
			if m.Name == "" {
				quoted = ""
			}
			want = append(want, m)
			written = append(written, quoted+"<"+m.Address+">")
		}
		got := ParseAddressList(strings.Join(written, rapid.SampledFrom([]string{",", ", ", ",\r\n ", " ; "}).Draw(t, "between")))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q:\n%s", written, diff)
		}
	})
}

func FuzzAddressList(f *testing.F) {
	for _, s := range []string{"Mon, 23 Nov 2026 09:00:00 +0100", "3 Nov 2026 9:00:00 +0000 (UTC)", `"Roux, A" <a@x>, b@y (c), g: d@z;`, "=?utf-8?q?x?= <<a>,", "<@a,@b:c@d>", `"\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list := ParseAddressList(s)
		if len(list) > maxAddressesInField {
			t.Fatal("too many")
		}
		for _, m := range list {
			if strings.ContainsAny(m.Address+m.Name+m.Group, "\r\n\x00") {
				t.Errorf("control character in %+v", m)
			}
			if len(m.Address) > maxAddressBytes {
				t.Error("too long")
			}
		}
		for _, id := range ParseIDs(s) {
			if strings.ContainsAny(id, "<>\r\n \x00") || id == "" {
				t.Errorf("id %q", id)
			}
		}
		read, err := mail.ParseDate(strings.Join(strings.Fields(s[:min(len(s), 200)]), " "))
		if got := parseDate(s); err == nil && (!got.Equal(read) || got.Format(time.RFC3339) != read.Format(time.RFC3339)) {
			t.Errorf("date %q: %v, net/mail reads %v", s, got, read)
		}
		lower, may := strings.ToLower(s), false
		for _, l := range authorLabels {
			may = may || strings.Contains(lower, l)
		}
		if MayNameAuthor(s) != may {
			t.Errorf("%q may name an author: %v", s, !may)
		}
	})
}
