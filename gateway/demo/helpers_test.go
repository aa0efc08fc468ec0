package demo

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	stdmail "net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/mailbox/texts"
)

// TestResolver asks the name service as the hub does.
func TestResolver(t *testing.T) {
	r, err := newResolver(mailHosts())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	noise, err := net.Dial("udp4", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer noise.Close()
	if _, err := noise.Write([]byte("not a query")); err != nil {
		t.Fatal(err)
	}
	ask := outbound.NewResolver(r.address())
	for _, h := range houses {
		mx, err := ask.LookupMX(t.Context(), h.domain+".")
		if err != nil || len(mx) != 1 || mx[0].Host != h.host()+"." {
			t.Fatalf("%s: %v %v", h.domain, mx, err)
		}
		at, err := ask.LookupNetIP(t.Context(), "ip", mx[0].Host)
		if err != nil || !slices.Equal(at, []netip.Addr{h.address}) {
			t.Errorf("%s: %v %v", h.host(), at, err)
		}
		if at, err := ask.LookupNetIP(t.Context(), "ip6", mx[0].Host); err == nil {
			t.Errorf("%s: %v", h.host(), at)
		}
	}
	var none *net.DNSError
	if _, err := ask.LookupMX(t.Context(), "elsewhere.example."); !errors.As(err, &none) || !none.IsNotFound {
		t.Errorf("an unknown domain: %v", err)
	}
}

// TestDraft reads mails back: the text, the thread, the attachments.
func TestDraft(t *testing.T) {
	first := &draft{
		from: stdmail.Address{Name: "Pédiatrie", Address: boxWard}, to: "code@parcours.example",
		subject: "Été : " + strings.Repeat("très ", 30) + "long", text: "Une ligne = longue " + strings.Repeat("é", 100) + "\n.\nFrom là",
		attachments: []attachment{{"IHE_XDM.ZIP", "application/zip", bytes.Repeat([]byte{0, 1, 254}, 1000)}},
	}
	raw, id, err := first.write()
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		if len(line) > 100 || // RFC 5322 §2.1.1 would rather have 80, and allows 1000
			!bytes.HasSuffix(line, []byte("\r\n")) {
			t.Errorf("a line of %d bytes, ending in %q", len(line), line[len(line)-1:])
		}
	}
	m, err := readMail(boxDoctor, raw)
	if err != nil {
		t.Fatal(err)
	}
	if m.id() != id || m.text("Subject") != first.subject || m.parent() != "" || len(m.references()) != 0 {
		t.Errorf("id %q, subject %q, parent %q", m.id(), m.text("Subject"), m.parent())
	}
	if name, address := m.names("From"); name != "Pédiatrie" || address != boxWard {
		t.Errorf("from %q <%s>", name, address)
	}
	_, params, err := mime.ParseMediaType(m.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(bytes.NewReader(m.body), params["boundary"])
	text, err := parts.NextPart() // decodes quoted-printable
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(text); string(got) != strings.ReplaceAll(first.text, "\n", "\r\n")+"\r\n" {
		t.Errorf("text %q", got)
	}
	file, err := parts.NextPart()
	if err != nil || file.FileName() != "IHE_XDM.ZIP" {
		t.Fatalf("attachment %v", err)
	}
	if got, _ := io.ReadAll(file); string(got) != base64Lines(first.attachments[0].content) {
		t.Error("the attachment is another")
	}

	m.header["Reply-To"], m.header["References"] = []string{"<there@parcours.example>"}, []string{"<a@b>\r\n <c@d>"}
	raw, _, err = m.answer(stdmail.Address{Address: boxDoctor}, "Oui.", "Une\nquestion").write()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := readMail(boxWard, raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, to := reply.names("To"); to != "there@parcours.example" {
		t.Errorf("to %s", to)
	}
	if reply.parent() != id || !slices.Equal(reply.references(), []string{"a@b", "c@d", id}) {
		t.Errorf("answers %q after %q", reply.parent(), reply.references())
	}
	if string(reply.body) != "Oui.\r\n\r\n> Une\r\n> question\r\n" {
		t.Errorf("text %q", reply.body)
	}
}

func TestSearched(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "nothing here", "b": "\x00\x01Martin\x02", "sub/c": "martin"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if files, found, err := searched([]string{"Martin", "Lefèvre"}, dir); files != 3 || found != 1 || err != nil {
		t.Errorf("%d files, %d found, %v", files, found, err)
	}
	if _, _, err := searched([]string{"x"}, filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a place that is not there was searched")
	}
}

func TestTeller(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      Options
		tell   func(*teller)
		expect string
	}{
		{
			"wrapped below its beginning",
			Options{},
			func(t *teller) { t.lines("  → ", strings.Repeat("mot ", 25)+"fin", plain) },
			"  → " + strings.TrimRight(strings.Repeat("mot ", 19), " ") + "\n    mot mot mot mot mot mot fin\n",
		},
		{"no colour", Options{}, func(t *teller) { t.mark(true, "oui") }, "✓ oui\n"},
		{"colour", Options{Colour: true}, func(t *teller) { t.mark(false, "non") }, "✗ \x1b[31;1mnon\x1b[0m\n"},
		{"a terminal obeys nobody", Options{}, func(t *teller) { t.lines("", "a\x1b[2Jb\u202e", plain) }, "a[2Jb\n"},
		{"asides kept back", Options{}, func(t *teller) { t.aside("x") }, ""},
		{"asides", Options{Verbose: true}, func(t *teller) { t.aside("x") }, "          · x\n"},
	} {
		var b bytes.Buffer
		c.o.Out, c.o.Locale = &b, texts.French
		c.tell(newTeller(c.o))
		if b.String() != c.expect {
			t.Errorf("%s: %q, want %q", c.name, b.String(), c.expect)
		}
	}
	if got := newTeller(Options{Locale: texts.French}).seconds(1340e6) + newTeller(Options{Locale: texts.English}).seconds(70e6); got != "1,34 s0.07 s" {
		t.Errorf("times %q", got)
	}
}
