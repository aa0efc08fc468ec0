package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// markers stand for what must never be in clear on disk; the domain, of a
// recipient, may be in the journal.
var markers = struct{ body, subject, file, family, ins, member, note, domain string }{
	body: "marqueurcorps", subject: "marqueurobjet", file: "marqueurfichier", family: "Marqueurnom",
	ins: "215036300100177", member: "Marqueurmembre", note: "marqueurmotif",
	domain: "marqueurdomaine.test",
}

func (h *hub) grep(t *testing.T, when string) {
	t.Helper()
	words := []string{markers.body, markers.subject, markers.file, markers.family, markers.ins, markers.member, markers.note}
	var forms [][]byte
	for _, w := range words {
		forms = append(forms, []byte(strings.ToLower(w)))
		for shift := range 3 { // as base64 shows it, at any place of a line
			enc := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{'x'}, shift), w...))
			enc = strings.TrimRight(enc, "=")
			forms = append(forms, []byte(strings.ToLower(enc[4:len(enc)-2])))
		}
	}
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&fs.ModeSocket != 0 {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data = bytes.ToLower(data)
		for _, f := range append(forms, []byte(markers.domain)) {
			if bytes.Contains(data, f) {
				t.Errorf("%s: %q stands in clear in %s", when, f, filepath.Base(path))
			}
			if strings.Contains(strings.ToLower(path), string(f)) {
				t.Errorf("%s: %q in a file name", when, f)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 5 {
		t.Fatalf("only %d files read", files)
	}
	journal := strings.ToLower(h.log.text())
	for _, f := range forms {
		if strings.Contains(journal, string(f)) {
			t.Errorf("%s: %q stands in the journal", when, f)
		}
	}
}

// TestNothingInClear searches the whole folder of a hub, and its journal, for
// words sent in a body, a subject, a file name, a patient's name, an INS in an
// address, the domain of a recipient: in normal running, in triage, and right after kill -9 in the middle
// of DATA.
func TestNothingInClear(t *testing.T) {
	s := newSink(t)
	h := newHub(t, settings{outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"`})
	h.start()
	var p struct{ ID string }
	h.ask(&p, "pathway", "include", "--programme", "pon", "--ins", markers.ins, "--ins-oid", "1.2.250.1.213.1.4.10",
		"--family-name", markers.family, "--given-name", "Léa", "--birth-date", "2015-03-02", "--sex", "F",
		"--establishment", "CHU Caen", "--consent", "oral", "--consent-from", "mère "+markers.family, "--consent-by", "IDEC PON")
	citizen := markers.ins + "@patient.mssante.fr"
	h.member(p.ID, "Dr "+markers.member, "oncologue", "roux@chu.test", "PER")
	h.member(p.ID, "Mme Inès Moreau", "idec", markers.member+"@"+markers.domain, "PER")
	parent := h.member(p.ID, "Mme Sophie "+markers.family, "parent", citizen, "PER") // the type is told by the address
	h.run("consent", "record", p.ID, "--kind", "oral", "--from", "mère", "--by", "IDEC", "--for", parent)

	small := markedMail("roux@chu.test", 1, 1)
	large := markedMail("roux@chu.test", 2, 200_000) // a segment file of its own
	for _, m := range [][]byte{small, large} {
		if err := h.send("roux@chu.test", p.ID+"@"+domain, m); err != nil {
			t.Fatal(err)
		}
	}
	// From the citizen's address, and held in triage from a stranger.
	if err := h.send(citizen, p.ID+"@"+domain, markedMail(citizen, 3, 1)); err != nil {
		t.Fatal(err)
	}
	if err := h.send(markers.member+"2@"+markers.domain, p.ID+"@"+domain, markedMail(markers.member+"2@"+markers.domain, 4, 200_000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the copies are sent", func() bool {
		return s.count(func(c taken) bool { return c.kind == "" && strings.HasPrefix(c.id, "<clair-") }) >= 3
	})
	m := h.thread(p.ID).Messages[0]
	h.run("message", "retract", m.ID, "--reason", markers.note)
	h.grep(t, "running")

	// Killed in the middle of DATA, small and large.
	for _, lines := range []int{10, 200_000} {
		h.beginData(t, "roux@chu.test", p.ID+"@"+domain, lines)
		h.kill()
		h.grep(t, fmt.Sprintf("killed after %d lines of DATA", lines))
		h.start()
		h.grep(t, "started again")
	}
}

// markedMail is a mail with markers everywhere, of about lines×40 bytes.
func markedMail(from string, n, lines int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s <%s>\r\nSubject: %s %d\r\nMessage-ID: <clair-%d@chu.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", markers.member, from, markers.subject, n, n)
	b.WriteString("--b\r\nContent-Type: text/plain\r\n\r\nBonjour, " + markers.body + "\r\n--b\r\n")
	b.WriteString("Content-Type: application/pdf; name=\"" + markers.file + ".pdf\"\r\nContent-Disposition: attachment; filename=\"" + markers.file + ".pdf\"\r\n\r\n")
	for range lines {
		b.WriteString("%PDF " + markers.body + " 0123456789012345\r\n")
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

// beginData opens a transaction and sends part of a message.
func (h *hub) beginData(t *testing.T, from, to string, lines int) {
	t.Helper()
	conn, err := net.Dial("tcp", h.inbound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := textproto.NewConn(conn)
	for _, step := range []struct {
		say  string
		want int
	}{{"", 220}, {"EHLO sender.test", 250}, {"MAIL FROM:<" + from + ">", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354}} {
		if step.say != "" {
			if err := c.PrintfLine("%s", step.say); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := c.ReadResponse(step.want); err != nil {
			t.Fatal(err)
		}
	}
	mail := markedMail(from, 9, lines)
	if _, err := conn.Write(mail[:len(mail)*9/10]); err != nil {
		t.Fatal(err)
	}
}
