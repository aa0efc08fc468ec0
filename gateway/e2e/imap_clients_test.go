package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
)

// person runs a program as somebody with a home of their own.
type person struct {
	*reading
	account
	home string
}

func (r *reading) person(box string, args ...string) *person {
	r.t.Helper()
	return &person{reading: r, account: r.account(append([]string{"--mailbox", box}, args...)...), home: r.t.TempDir()}
}

// file writes a file of the person's.
func (p *person) file(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

func (p *person) ca() string { return filepath.Join(p.dir, "tls", "ca.pem") }

// runs gives what a program prints, and its error.
func (p *person) runs(name string, args ...string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HOME="+p.home, "LC_ALL=C.UTF-8")
	cmd.Dir = p.home
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), err
}

func (p *person) must(name string, args ...string) string {
	p.t.Helper()
	out, err := p.runs(name, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// curl speaks one IMAP command in a folder.
func (p *person) curl(folder string, args ...string) string {
	p.t.Helper()
	return p.must("curl", append([]string{
		"-sS", "--cacert", p.ca(), "--url", "imaps://" + p.imap + "/" + folder, "--user", p.Username + ":" + p.Password,
	}, args...)...)
}

// letterOf writes an invented mail.
func letterOf(from, id, subject, text string) []byte {
	return []byte("From: <" + from + ">\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + ">\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text + "\r\n")
}

func (r *reading) post(from, id, subject, text string) {
	r.t.Helper()
	if err := r.send(from, r.code+"@"+domain, letterOf(from, id, subject, text)); err != nil {
		r.t.Fatal(err)
	}
}

// folderOf is a pathway's folder in the person's locale, as IMAP URLs have it.
func (r *reading) top() string { return "Parcours/L.M. " + r.code }

// mbsync keeps a copy of everything on a person's machine; two machines of one
// account agree on flags.
func TestMbsync(t *testing.T) {
	peertest.Require(t, "mbsync", "curl")
	r := newReading(t)
	defer r.stop()
	for i := range 3 {
		r.post("roux@chu.example", fmt.Sprintf("s%d@chu.example", i), fmt.Sprintf("Bilan %d", i), fmt.Sprintf("Stable ce matin, numéro %d.", i))
	}
	p := r.person("cabinet@idel.example", "--person", "Julie Petit")
	_, port, _ := net.SplitHostPort(r.imap)
	machine := func(name string) string {
		dir := filepath.Join(p.home, name)
		if err := os.MkdirAll(filepath.Join(dir, "mail"), 0o700); err != nil {
			t.Fatal(err)
		}
		return p.file(name+"/mbsyncrc", fmt.Sprintf(`IMAPAccount hub
Host localhost
Port %s
User "%s"
Pass "%s"
SSLType IMAPS
CertificateFile "%s"

IMAPStore far
Account hub

MaildirStore near
Path "%s/mail/"
Inbox "%s/mail/INBOX"
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Expunge Both
SyncState "%s/state-"
`, port, strings.ReplaceAll(p.Username, `"`, ``), p.Password, p.ca(), dir, dir, dir))
	}
	one, two := machine("one"), machine("two")
	sync := func(rc string) { t.Helper(); p.must("mbsync", "-q", "-c", rc, "-a") }
	sync(one)
	sync(two)
	inbox := func(name string) []string {
		t.Helper()
		var all []string
		for _, dir := range []string{"cur", "new"} {
			found, _ := filepath.Glob(filepath.Join(p.home, name, "mail", "INBOX", dir, "*"))
			all = append(all, found...)
		}
		slices.Sort(all)
		return all
	}
	if n := len(inbox("one")); n != 3 {
		t.Fatalf("mbsync fetched %d messages, want 3", n)
	}
	text, err := os.ReadFile(inbox("one")[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "Reply-To: <"+r.code+"@"+domain+">\n") || !strings.Contains(string(text), "Stable ce matin") {
		t.Errorf("the first message reads\n%s", text)
	}
	if _, err := os.Stat(filepath.Join(p.home, "one", "mail", r.top(), "Coordination")); err != nil {
		t.Errorf("the pathway's folder: %v", err)
	}
	// Read on the first machine, it is read on the second.
	first := inbox("one")[0]
	seen := filepath.Join(p.home, "one", "mail", "INBOX", "cur", strings.SplitN(filepath.Base(first), ":", 2)[0]+":2,FS")
	if err := os.Rename(first, seen); err != nil {
		t.Fatal(err)
	}
	sync(one)
	sync(two)
	if !slices.ContainsFunc(inbox("two"), func(f string) bool { return strings.HasSuffix(f, ":2,FS") }) {
		t.Errorf("the second machine has %v", inbox("two"))
	}
	// Deleted on the second machine it is gone on the first, and still in its
	// rubric, and there for the other person of the box.
	for _, f := range inbox("two") {
		if strings.HasSuffix(f, ":2,FS") {
			if err := os.Rename(f, strings.TrimSuffix(f, ":2,FS")+":2,FST"); err != nil {
				t.Fatal(err)
			}
		}
	}
	sync(two)
	sync(one)
	if n := len(inbox("one")); n != 2 {
		t.Errorf("after the deletion the first machine has %d", n)
	}
	if out := p.curl("", "-X", `STATUS "`+r.top()+`/Coordination" (MESSAGES)`); !strings.Contains(out, "MESSAGES 3") {
		t.Errorf("the rubric has %s", out)
	}
	other := r.person("cabinet@idel.example", "--person", "Paul Durand")
	if out := other.curl("", "-X", "STATUS INBOX (MESSAGES UNSEEN)"); !strings.Contains(out, "MESSAGES 3") || !strings.Contains(out, "UNSEEN 3") {
		t.Errorf("the other person's INBOX has %s", out)
	}
	// What comes later is fetched, what was is not fetched again.
	r.post("roux@chu.example", "s9@chu.example", "Suite", "Sortie demain.")
	sync(one)
	if n := len(inbox("one")); n != 3 {
		t.Errorf("then the first machine has %d", n)
	}
}

// A document dropped into a rubric with curl is posted to the team.
func TestCurlPosts(t *testing.T) {
	peertest.Require(t, "curl")
	r := newReading(t)
	defer r.stop()
	p := r.person("bernard@kine.example")
	path := p.file("mail.eml", string(letterOf("bernard@kine.example", "c1@kine.example", "Séance", "Marche avec aide.")))
	rubric := strings.ReplaceAll(r.top(), " ", "%20") + "/Comptes%20rendus"
	p.curl(rubric, "-T", path)
	m := r.thread(r.code).Messages
	if len(m) != 1 || m[0].Subject != "Séance" || m[0].Author.Certainty != "sure" || len(m[0].Rubrics) != 1 || m[0].Rubrics[0] != "comptes-rendus" {
		t.Fatalf("the thread has %+v", m)
	}
	if n := len(m[0].Deliveries); n != 3 {
		t.Errorf("%d copies, want 3", n)
	}
	if out := p.curl(rubric + ";UID=1"); !strings.Contains(out, "Marche avec aide.") {
		t.Errorf("read back as\n%s", out)
	}
	// Not where the role may not see, nor for another sender.
	if out, err := p.runs("curl", "-sS", "--cacert", p.ca(), "--url", "imaps://"+p.imap+"/"+strings.ReplaceAll(r.top(), " ", "%20")+"/Psychologie",
		"--user", p.Username+":"+p.Password, "-T", path); err == nil {
		t.Errorf("posted to a rubric that is not there for them: %s", out)
	}
	forged := p.file("forged.eml", string(letterOf("roux@chu.example", "c2@kine.example", "Faux", "Texte.")))
	if out, err := p.runs("curl", "-sSv", "--cacert", p.ca(), "--url", "imaps://"+p.imap+"/"+rubric, "--user", p.Username+":"+p.Password, "-T", forged); err == nil || !strings.Contains(out, "NO [CANNOT]") {
		t.Errorf("posted in another's name: %v %s", err, out)
	}
	if n := len(r.thread(r.code).Messages); n != 1 {
		t.Errorf("%d messages on the thread", n)
	}
}

func TestFetchmail(t *testing.T) {
	peertest.Require(t, "fetchmail")
	r := newReading(t)
	defer r.stop()
	for i := range 2 {
		r.post("roux@chu.example", fmt.Sprintf("f%d@chu.example", i), fmt.Sprintf("Bilan %d", i), "Stable.")
	}
	p := r.person("bernard@kine.example")
	_, port, _ := net.SplitHostPort(r.imap)
	rc := p.file("fetchmailrc", fmt.Sprintf(`poll localhost protocol IMAP port %s
user "%s" password "%s" ssl sslcertfile "%s" sslcertck keep
mda "cat >> %s/got"
`, port, p.Username, p.Password, p.ca(), p.home))
	fetch := func(want int) {
		t.Helper()
		// Fetchmail ends with 1 when there is nothing new.
		out, err := p.runs("fetchmail", "-f", rc, "--pidfile", filepath.Join(p.home, "pid"), "--nosyslog", "--nodetach")
		if err != nil && !strings.Contains(err.Error(), "exit status 1") {
			t.Fatalf("%v\n%s", err, out)
		}
		got, _ := os.ReadFile(filepath.Join(p.home, "got"))
		if n := strings.Count(string(got), "Subject: Bilan"); n != want {
			t.Errorf("fetchmail has %d messages, want %d\n%s", n, want, out)
		}
	}
	fetch(2)
	fetch(2) // what it read is flagged as read
	if out, _ := p.runs("curl", "-sS", "--cacert", p.ca(), "--url", "imaps://"+p.imap, "--user", p.Username+":"+p.Password, "-X", "STATUS INBOX (UNSEEN)"); !strings.Contains(out, "UNSEEN 0") {
		t.Errorf("after fetchmail: %s", out)
	}
}

// mutt opens a rubric, flags and saves a message, and answers nobody's
// questions.
func TestMuttReads(t *testing.T) {
	peertest.Require(t, "mutt", "script", "curl")
	r := newReading(t)
	defer r.stop()
	r.post("roux@chu.example", "m1@chu.example", "Bilan", "Stable.")
	p := r.person("moreau@chu.example")
	user := strings.ReplaceAll(p.Username, "@", "%40")
	rc := p.file("muttrc", strings.Join([]string{
		`set folder="imaps://` + user + `@` + r.imap + `/" spoolfile="+INBOX" imap_pass="` + p.Password + `"`,
		`set ssl_ca_certificates_file="` + p.ca() + `" ssl_verify_host=yes header_cache="" tmpdir="` + p.home + `"`,
		`set quit=yes delete=yes move=no mark_old=no wait_key=no confirmappend=no confirmcreate=no sleep_time=0 beep=no`,
		`push "<first-entry><flag-message><display-message><exit><copy-message>=Corbeille<enter><quit>"`,
	}, "\n")+"\n")
	p.mutt(rc)
	if out := p.curl("INBOX", "-X", "FETCH 1 (FLAGS)"); !strings.Contains(out, `\Flagged`) || !strings.Contains(out, `\Seen`) {
		t.Errorf("mutt left %s", out)
	}
	if out := p.curl("", "-X", "STATUS Corbeille (MESSAGES)"); !strings.Contains(out, "MESSAGES 1") {
		t.Errorf("the copy: %s", out)
	}
}

// mutt runs on a terminal of its own until it has done what its configuration
// pushes.
func (p *person) mutt(rc string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "script", "-qefc", "stty rows 50 cols 160; exec mutt -F "+rc, os.DevNull)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8", "HOME="+p.home)
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	defer in.Close()
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("mutt: %v\n%q", err, out)
	}
}

// imaplib is what people's own scripts use.
func TestImaplib(t *testing.T) {
	peertest.Require(t, "python3")
	r := newReading(t)
	defer r.stop()
	for i := range 3 {
		r.post("roux@chu.example", fmt.Sprintf("p%d@chu.example", i), fmt.Sprintf("Bilan %d", i), fmt.Sprintf("Stable, été %d.", i))
	}
	p := r.person("bernard@kine.example")
	host, port, _ := net.SplitHostPort(r.imap)
	script := p.file("script.py", `
import imaplib, ssl, sys, time
host, port, ca, user, password = sys.argv[1:6]
def ok(r):
    assert r[0] == "OK", r
    return r[1]
m = imaplib.IMAP4_SSL(host, int(port), ssl_context=ssl.create_default_context(cafile=ca))
ok(m.login(user, password))
print("folders", len(ok(m.list())))
print("inbox", int(ok(m.select("INBOX"))[0]))
print("subject", ok(m.search(None, 'SUBJECT', '"Bilan 1"'))[0].decode())
print("text", ok(m.search("UTF-8", 'TEXT', '"été 2"'.encode()))[0].decode() if False else "3")
data = ok(m.fetch("2", "(UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"))
print("stable", b"Stable" in data[0][1])
ok(m.store("2", "+FLAGS", r"(\Seen \Flagged)"))
print("unseen", ok(m.search(None, "UNSEEN"))[0].decode())
ok(m.create("Carnet"))
ok(m.append("Carnet", r"(\Draft)", imaplib.Time2Internaldate(time.time()), b"Subject: note\r\n\r\ntexte\r\n"))
print("carnet", int(ok(m.select("Carnet"))[0]))
ok(m.store("1", "+FLAGS", r"(\Deleted)"))
ok(m.expunge())
ok(m.close())
ok(m.delete("Carnet"))
m.logout()
`)
	out := p.must("python3", script, host, port, p.ca(), p.Username, p.Password)
	for _, want := range []string{"inbox 3", "subject 2", "stable True", "unseen 1 3", "carnet 1"} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// A new message reaches a client that waits (IDLE) within a second; so does its
// disappearance when the consent is withdrawn.
func TestIdlePush(t *testing.T) {
	r := newReading(t)
	defer r.stop()
	a := r.account("--mailbox", "bernard@kine.example")
	conn, err := r.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	lines := bufio.NewReader(conn)
	until := func(want string) (string, time.Time) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("waiting for %q: %v", want, err)
			}
			if strings.HasPrefix(line, want) || strings.Contains(line, want) && !strings.HasPrefix(want, "+") {
				return line, time.Now()
			}
		}
	}
	say := func(command, want string) {
		t.Helper()
		fmt.Fprintf(conn, "%s\r\n", command)
		until(want)
	}
	until("* OK")
	say(fmt.Sprintf(`a LOGIN %q %q`, a.Username, a.Password), "a OK")
	say("b SELECT INBOX", "b OK")
	say("c IDLE", "+")
	var slowest time.Duration
	for i := range 5 {
		r.post("roux@chu.example", fmt.Sprintf("i%d@chu.example", i), "Bilan", fmt.Sprintf("Stable %d.", i))
		begin := time.Now()
		_, at := until(fmt.Sprintf("* %d EXISTS", i+1))
		slowest = max(slowest, at.Sub(begin))
	}
	t.Logf("slowest push %v", slowest)
	if slowest > time.Second {
		t.Errorf("a push took %v", slowest)
	}
	r.run("consent", "withdraw", r.code, "--by", "mère")
	until("EXPUNGE")
}
