package e2e

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPeers is the hub among real programs: Postfix as the hospitals' operators
// on both sides, Dovecot holding their boxes, swaks and mutt writing and
// reading. Certificates are demanded everywhere, and checked.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("real peers are not part of the short form")
	}
	w := newWorld(t)
	for _, story := range []struct {
		name string
		play func(*world)
	}{
		{"mails", mailsOfAllKinds},
		{"thread", oneThread},
		{"trust", onlyTheTrusted},
		{"away", operatorAway},
		{"bounce", boxesThatAreNot},
	} {
		t.Run(story.name, func(t *testing.T) {
			begin := time.Now()
			now, h := *w, *w.hub
			now.t, now.hub, h.t = t, &h, t
			story.play(&now)
			t.Logf("%s took %s", story.name, time.Since(begin).Round(100*time.Millisecond))
		})
	}
}

// big is the size of the large attachment: 18 MiB of base64 is just below
// the 25 MiB that the hub takes.
const big = 18 << 20

// mailsOfAllKinds: each kind from each side; each arrives once at each box, and
// nobody changed a byte of what the hub had received.
func mailsOfAllKinds(w *world) {
	m := w.newTeam(0, "courrier")
	dir := w.t.TempDir()
	attachment, archive := filepath.Join(dir, "scanner.dcm"), filepath.Join(dir, "IHE_XDM.ZIP")
	save(w.t, attachment, noise(big))
	save(w.t, archive, xdm(w.t, children[0].ins))
	signed := newSigner(w.t, dir)

	// From the university hospital, byte for byte by swaks.
	sent := map[string][]byte{}
	swaks := func(subject string, more ...string) {
		raw := letter(m.doctor, m.address(), subject, more...)
		sent[subject] = raw
		w.swaks(m.doctor, m.address(), raw)
	}
	swaks("swaks simple", "", "Bonjour,", ".", "..", "-- ", "Dr Anne Roux", "")
	swaks("swaks html", "MIME-Version: 1.0", "Content-Type: text/html; charset=us-ascii", "",
		"<p>"+strings.Repeat("Le traitement est bien support&eacute;. ", 60)+"</p>", "")
	swaks("swaks 8 bits", "MIME-Version: 1.0", "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit", "",
		"R\xe9sultats : num\xe9ration \xe0 contr\xf4ler.", "")
	swaks("swaks joint", multipart("scanner.dcm", "application/dicom", noise(big))...)
	swaks("swaks xdm", multipart("IHE_XDM.ZIP", "application/x-zip-compressed", xdm(w.t, children[0].ins))...)
	swaks("swaks signature", signed.sign("Le protocole est =C3=A0 suivre.")...)

	// From the general hospital's shared box, as mutt writes them.
	mutt := func(subject, body string, args ...string) {
		w.mutt(m.ward, "Karine Leroy", m.address(), subject, body, args...)
	}
	mutt("mutt simple", "Bonjour,\n\nFrom nobody\n.\nLe pansement est refait.\n")
	mutt("mutt html", "<p>Le pansement est <b>refait</b>.</p>\n", "-e", "set content_type=text/html")
	mutt("mutt 8 bits", "Pansement refait à 8 h, plaie propre.\n")
	mutt("mutt joint", "Scanner joint.\n", "-a", attachment)
	mutt("mutt xdm", "Compte rendu joint.\n", "-a", archive)
	raw := letter(m.ward, m.address(), "ward signature", signed.sign("Le protocole est suivi.")...)
	sent["ward signature"] = raw
	w.swaks(m.ward, m.address(), raw)

	eventually(w.t, patience, "the hub has all", func() bool { return len(w.hub.thread(m.code).Messages) == 12 })
	w.settled()
	boxes := map[string][]arrived{}
	for _, box := range m.boxes() {
		boxes[box] = w.box(box)
	}
	copies := 0
	for _, post := range w.hub.thread(m.code).Messages {
		received := parsed(w.t, []byte(w.hub.run("message", "show", post.ID, "--raw")))
		// What was handed in reached the hub unchanged, but for the HTML: its one
		// line is longer than RFC 5321's 998, and the sender's Postfix breaks it
		// (smtp_line_length_limit) with CRLF and a space.
		body := bytes.ReplaceAll(received.body, []byte("\r\n "), nil)
		if raw, ok := sent[post.Subject]; ok && !bytes.Equal(body, parsed(w.t, canonical(raw)).body) {
			w.t.Errorf("%s: the hub did not get the body that was handed in", post.Subject)
		}
		if strings.Contains(post.Subject, "8 bits") && bytes.IndexFunc(received.body, func(r rune) bool { return r > 127 }) < 0 {
			w.t.Errorf("%s: no 8-bit byte reached the hub", post.Subject)
		}
		if strings.HasSuffix(post.Subject, "xdm") && !slices.Contains(post.Rubrics, "imagerie") {
			w.t.Errorf("%s: filed under %v", post.Subject, post.Rubrics)
		}
		author := m.ward
		if strings.HasPrefix(post.Subject, "swaks") {
			author = m.doctor
		}
		for _, box := range m.boxes() {
			want := 1
			if box == author && box != m.ward { // a colleague reads the shared box
				want = 0
			}
			n := 0
			for _, c := range boxes[box] {
				if !strings.HasSuffix(c.Get("Subject"), post.Subject) {
					continue
				}
				n++
				copies++
				if !bytes.Equal(c.body, received.body) {
					w.t.Errorf("%s at %s: another body than the hub received", post.Subject, box)
				}
				if strings.Contains(post.Subject, "signature") {
					signed.verify(c.raw)
				}
			}
			if n != want {
				w.t.Errorf("%s arrived %d times at %s, want %d", post.Subject, n, box, want)
			}
		}
	}
	for _, box := range m.boxes() {
		want := 12
		if box == m.doctor {
			want = 6
		}
		if n := len(boxes[box]); n != want {
			w.t.Errorf("%d mails in all at %s, want %d", n, box, want)
		}
	}
	w.t.Logf("12 mails, %d copies, each once and unchanged; %d signatures verified", copies, signed.verified)
}

// noise is an attachment that does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{'s', 'c', 'a', 'n'}).Read(b)
	return b
}

func save(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// multipart is a text with a file, from its MIME-Version field on.
func multipart(name, media string, data []byte) []string {
	lines := []string{
		"MIME-Version: 1.0", `Content-Type: multipart/mixed; boundary="limite"`, "",
		"--limite", "Content-Type: text/plain; charset=us-ascii", "", "Ci-joint.", "",
		"--limite", "Content-Type: " + media + `; name="` + name + `"`, `Content-Disposition: attachment; filename="` + name + `"`,
		"Content-Transfer-Encoding: base64", "",
	}
	for enc := base64.StdEncoding.EncodeToString(data); enc != ""; {
		n := min(76, len(enc))
		lines, enc = append(lines, enc[:n]), enc[n:]
	}
	return append(lines, "--limite--", "")
}

// xdm is an IHE XDM archive with one document of the child's.
func xdm(t *testing.T, ins string) []byte {
	t.Helper()
	metadata, err := os.ReadFile("testdata/METADATA.XML")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{
		"README.TXT": "Dossier d'essai.\r\n", "INDEX.HTM": "<html><body>Dossier d'essai</body></html>\r\n",
		"IHE_XDM/SUBSET01/METADATA.XML": strings.ReplaceAll(string(metadata), "@INS@", ins),
		"IHE_XDM/SUBSET01/DOC00001.PDF": "%PDF-1.4\n% essai\n",
	} {
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
