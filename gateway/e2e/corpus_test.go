package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oddMails are invented mails that break their format in ways met in practice.
var oddMails = map[string]string{
	"no header at all":             "Juste du texte.\n",
	"nothing":                      "\n",
	"header without end":           "Subject: a\nFrom: x",
	"line without colon":           "Subject: a\nceci n'est pas un champ\nFrom: x@y.test\n\ncorps\n",
	"mbox line":                    "From x@y.test Mon Nov 23 09:00:00 2026\nSubject: a\n\ncorps\n",
	"folded first line":            " suite de rien\nSubject: a\n\ncorps\n",
	"raw eight bit header":         "Subject: Compte-rendu d'\xe9t\xe9\n\ncorps\n",
	"multipart without boundary":   "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\ncorps\n",
	"multipart without part":       "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\ncorps\n",
	"multipart never closed":       "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b\nContent-Type: image/png\n\n\x89PNG\n",
	"boundary twice":               "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\na\n--b--\n",
	"base64 with junk":             "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n!!!!=====\nQUJD\n$\n",
	"unknown charset and encoding": "MIME-Version: 1.0\nContent-Type: text/plain; charset=klingon-1\nContent-Transfer-Encoding: x-rot13\n\nnopq\n",
	"empty fields":                 "Subject:\nFrom:\nTo:\nMessage-ID:\nDate:\nContent-Type:\n\ncorps\n",
	"strange ids":                  "Message-ID: <a b c>\nIn-Reply-To: <<>>\nReferences: <\n\ncorps\n",
	"nul bytes":                    "Subject: a\x00b\n\nc\x00d\n",
	"deep nesting":                 nested(200),
	"long line":                    "Subject: a\n\n" + strings.Repeat("x", 60_000) + "\n",
	"too long a line":              "Subject: a\n\n" + strings.Repeat("x", 70_000) + "\n",
	"dots":                         "Subject: a\n\n.\n..\n.a\n",
}

func nested(depth int) string {
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\n")
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	b.WriteString("Content-Type: text/plain\n\ncorps\n")
	return b.String()
}

// TestMalformedMail: every malformed mail is taken, or refused with a reason,
// never a fault of the hub; what is taken reads back byte for byte.
func TestMalformedMail(t *testing.T) {
	mails := map[string]string{}
	for name, m := range oddMails {
		mails[name] = m
	}
	// The public torture mails, where they lie beside the project.
	corpus := os.Getenv("RELAIS_CORPUS")
	if corpus == "" {
		corpus = "../../../shared/corpus"
	}
	_ = filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".md") {
			if data, err := os.ReadFile(path); err == nil {
				mails[path] = string(data)
			}
		}
		return nil
	})
	s := newSink(t)
	h := newHub(t, settings{outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"`})
	h.start()
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
	taken, held, refused, want := 0, 0, map[int]int{}, map[[32]byte]string{}
	seen := map[[32]byte]bool{}
	for name, m := range mails {
		// As a client would: CRLF at the end of lines, and the sender's own From
		// (another From is refused, which is not what is tested here).
		raw := canonical([]byte(m))
		raw = withFrom(raw, "roux@chu.test")
		// The same body under the same id is the same mail to the hub.
		if k := sha256.Sum256(identity(raw)); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		err := h.send("roux@chu.test", code+"@"+domain, raw)
		var reply *textproto.Error
		switch {
		case err == nil:
			taken++
			want[sha256.Sum256(raw)] = name
		case errors.As(err, &reply) && reply.Code >= 500:
			refused[reply.Code]++
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, m := range h.thread(code).Messages {
		raw := h.run("message", "show", m.ID, "--raw")
		delete(want, sha256.Sum256([]byte(raw)))
	}
	var waiting []struct{ ID, Reason string }
	h.ask(&waiting, "triage", "list")
	for _, m := range waiting {
		held++
		raw := h.run("triage", "show", m.ID, "--raw")
		delete(want, sha256.Sum256([]byte(raw)))
	}
	for _, name := range want {
		t.Errorf("%s was taken and does not read back byte for byte", name)
	}
	if faults := h.log.worst(); faults != "" {
		t.Errorf("faults of the hub:\n%s", faults)
	}
	// What was filed also goes out.
	eventually(t, time.Minute, "the queue is empty", func() bool {
		var st struct{ Queue struct{ Queued, Failed int } }
		h.ask(&st, "status")
		return st.Queue.Queued == 0
	})
	t.Logf("%d mails: %d taken (%d of them held), refused %v", len(mails), taken, held, refused)
}

// canonical ends lines with CRLF.
func canonical(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
	if len(b) == 0 || b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// identity is what tells a mail seen again: ids, date, subject, body.
func identity(b []byte) []byte {
	head, rest, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	var id []byte
	for _, l := range bytes.Split(head, []byte("\r\n")) {
		if len(l) > 11 && strings.EqualFold(string(l[:11]), "message-id:") {
			id = append(id, l...)
		}
	}
	if id == nil {
		return b
	}
	return append(id, rest...)
}

// withFrom puts a From field first and renames the mail's own.
func withFrom(b []byte, from string) []byte {
	head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		head, rest = nil, b
	}
	lines := bytes.Split(head, []byte("\r\n"))
	for i, l := range lines {
		if len(l) > 5 && strings.EqualFold(string(l[:5]), "from:") {
			lines[i] = append([]byte("X-From:"), l[5:]...)
		}
	}
	out := []byte("From: <" + from + ">\r\n")
	if ok {
		out = append(out, bytes.Join(lines, []byte("\r\n"))...)
		out = append(out, "\r\n\r\n"...)
	}
	return append(out, rest...)
}
