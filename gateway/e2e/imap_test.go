package e2e

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/relais-sante/relais/gateway/imap/imaptest"
)

// withIMAP are the settings of a hub that accounts read and post to by TLS.
const withIMAP = `
[submission]
listen = ["tls://127.0.0.1:0"]
[imap]
listen = ["tls://127.0.0.1:0", "starttls://127.0.0.1:0"]
password = "on"
`

// reading is a hub with the team of one child and accounts that read.
type reading struct {
	*hub
	code       string
	imap       string // TLS
	starttls   string
	submission string
}

func newReading(t *testing.T) *reading {
	t.Helper()
	return newReadingWith(t, "")
}

// newReadingWith has further sections in its settings.
func newReadingWith(t *testing.T, rest string) *reading {
	t.Helper()
	r := &reading{hub: newHub(t, settings{rest: withIMAP + rest, outbound: outboundNowhere})}
	r.start()
	r.where()
	r.code = r.include(0)
	r.member(r.code, "Dr Anne Roux", "oncologue", "roux@chu.example", "PER")
	r.member(r.code, "Mme Inès Moreau", "idec", "moreau@chu.example", "PER")
	r.member(r.code, "M. Luc Bernard", "kinesitherapeute", "bernard@kine.example", "PER")
	r.member(r.code, "Mme Julie Petit", "infirmier", "cabinet@idel.example", "ORG")
	r.member(r.code, "M. Paul Durand", "infirmier", "cabinet@idel.example", "ORG")
	return r
}

// outboundNowhere lets copies wait: nobody takes them in these tests.
const outboundNowhere = `route = "smarthost"
smarthost = "127.0.0.1:9"
tls = "none"`

// where learns the addresses of this start.
func (r *reading) where() {
	r.t.Helper()
	var s struct {
		Listeners struct{ IMAP, Submission []string }
	}
	r.ask(&s, "status")
	if len(s.Listeners.IMAP) != 2 || len(s.Listeners.Submission) != 1 {
		r.t.Fatalf("listening on %+v", s.Listeners)
	}
	r.imap, r.starttls, r.submission = s.Listeners.IMAP[0], s.Listeners.IMAP[1], s.Listeners.Submission[0]
}

// dial opens a TLS connection to the hub's IMAP server.
func (r *reading) dial() (net.Conn, error) {
	return tls.Dial("tcp", r.imap, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the hub's own test authority
}

// All 71 groups of the scripted IMAP tests, on the real store.
func TestScriptedIMAPOnTheStore(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "imaptest", "tests")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the imaptest scripts are not there: shared/imaptest beside the project")
	}
	r := newReading(t)
	defer r.stop()
	a := r.account("--mailbox", "bernard@kine.example")
	imaptest.Run(t, dir, imaptest.Target{Dial: r.dial, User: a.Username, Password: a.Password})
}
