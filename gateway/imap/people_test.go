package imap

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
	"github.com/relais-sante/relais/mailbox/folder"
)

// program runs a mail program of the world until it ends.
func program(t *testing.T, dir string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TERM=vt100", "LC_ALL=C.UTF-8", "FETCHMAILHOME="+dir)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// worldly is a server with two mails, and a folder with the authority's file.
func worldly(t *testing.T, programs ...string) (h *house, dir, port string) {
	t.Helper()
	peertest.Require(t, programs...)
	h = open(t, nil)
	h.user().deliver(t, folder.Inbox, "From: paul@chu.example\nSubject: one\nMessage-ID: <1@chu.example>\nDate: Mon, 1 Jun 2026 10:00:00 +0200\n\nfirst\n")
	h.user().deliver(t, folder.Inbox, "From: paul@chu.example\nSubject: two\nMessage-ID: <2@chu.example>\nDate: Mon, 1 Jun 2026 10:00:00 +0200\n\nsecond\n")
	dir = t.TempDir()
	keep(t, dir, "ca.pem", string(theAuthority().pem), 0o600)
	_, port, err := net.SplitHostPort(h.addrs)
	if err != nil {
		t.Fatal(err)
	}
	return h, dir, port
}

func keep(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestCurl(t *testing.T) {
	_, dir, port := worldly(t, "curl")
	at := "imaps://localhost:" + port
	common := []string{"-sS", "--cacert", "ca.pem", "-u", testUser + ":" + testSecret}
	if out := program(t, dir, "curl", append(common, at+"/INBOX;MAILINDEX=2")...); !strings.Contains(out, "second") {
		t.Errorf("%q", out)
	}
	if out := program(t, dir, "curl", append(common, at+"/INBOX", "-X", "UID SEARCH SUBJECT one")...); !strings.Contains(out, "* SEARCH 1") {
		t.Errorf("%q", out)
	}
	keep(t, dir, "mail", strings.ReplaceAll("Subject: three\n\nthird\n", "\n", "\r\n"), 0o600)
	program(t, dir, "curl", append(common, at+"/INBOX", "-T", "mail")...)
	if out := program(t, dir, "curl", append(common, at+"/INBOX;UID=3")...); !strings.Contains(out, "third") {
		t.Errorf("%q", out)
	}
}

func TestImaplib(t *testing.T) {
	_, dir, port := worldly(t, "python3")
	keep(t, dir, "client.py", fmt.Sprintf(`
import imaplib, ssl, time
c = imaplib.IMAP4_SSL("localhost", %s, ssl_context=ssl.create_default_context(cafile="ca.pem"))
def ok(r):
    assert r[0] == "OK", r
    return r[1]
ok(c.login(%q, %q))
ok(c.create("Perso"))
assert ok(c.select("INBOX")) == [b"2"]
assert ok(c.search(None, "SUBJECT", "two")) == [b"2"]
assert b"first" in ok(c.fetch("1", "(UID BODY[TEXT])"))[0][1]
assert b"Seen" in ok(c.fetch("1", "(FLAGS)"))[0]
ok(c.append("Perso", "\\Draft", imaplib.Time2Internaldate(time.time()), b"Subject: x\r\n\r\ny\r\n"))
ok(c.copy("1", "Perso"))
ok(c.uid("MOVE", "2", "Perso"))
ok(c.store("1", "+FLAGS", "(\\Deleted)"))
assert ok(c.expunge())[-1] == b"1"
assert b"MESSAGES 3" in ok(c.status("Perso", "(MESSAGES)"))[0]
assert ok(c.sort("(REVERSE DATE)", "UTF-8", "ALL")) in ([b""], [None])
ok(c.thread("REFERENCES", "UTF-8", "ALL"))
ok(c.namespace()); ok(c.myrights("INBOX")); ok(c.getquotaroot("INBOX")); ok(c.unselect())
ok(c.enable("UTF8=ACCEPT"))
assert c.logout()[0] == "BYE"
print("done")
`, port, testUser, testSecret), 0o600)
	if out := program(t, dir, "python3", "client.py"); strings.TrimSpace(out) != "done" {
		t.Error(out)
	}
}

func TestMbsync(t *testing.T) {
	h, dir, port := worldly(t, "mbsync")
	keep(t, dir, "rc", fmt.Sprintf(`IMAPAccount a
Host localhost
Port %s
SSLType IMAPS
CertificateFile %s/ca.pem
User %s
Pass %q

IMAPStore far
Account a

MaildirStore near
Path %s/mail/
Inbox %s/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, port, dir, testUser, testSecret, dir, dir), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	count := func(pattern string) int {
		files, _ := filepath.Glob(filepath.Join(dir, "mail", pattern))
		return len(files)
	}
	program(t, dir, "mbsync", "-c", "rc", "-a")
	if n := count("INBOX/*/*"); n < 2 {
		t.Fatalf("%d files", n)
	}
	// A flag, a message and a folder from each side.
	u := h.user()
	u.deliver(t, folder.Inbox, "Subject: three\n\nthird\n")
	box := u.boxes[folder.Inbox]
	f := &memoryFolder{user: u, box: box}
	if _, _, err := f.SetFlags(t.Context(), []uint32{1}, folder.AddFlags, folder.Flags{System: folder.Seen}, nil); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "mail", "Perso", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, dir, "mail/Perso/cur/1.local:2,S", "Subject: mine\n\nmine\n", 0o600)
	program(t, dir, "mbsync", "-c", "rc", "-a")
	if count("INBOX/cur/*:2,*S*") != 1 || count("INBOX/*/*") < 3 {
		t.Errorf("flags or mails did not come")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if perso := u.boxes["Perso"]; perso == nil || len(perso.messages) != 1 || !perso.messages[0].Flags.Has(folder.Seen) {
		t.Errorf("the folder did not go: %+v", perso)
	}
}

func TestFetchmail(t *testing.T) {
	h, dir, port := worldly(t, "fetchmail")
	keep(t, dir, "rc", fmt.Sprintf("poll localhost service %s protocol IMAP\nuser %q password %q ssl sslcertck sslcertfile \"%s/ca.pem\" keep no rewrite mda \"cat >> %s/got\"\n",
		port, testUser, testSecret, dir, dir), 0o600)
	program(t, dir, "fetchmail", "-f", "rc", "--pidfile", filepath.Join(dir, "pid"), "--idfile", filepath.Join(dir, "ids"))
	got, err := os.ReadFile(filepath.Join(dir, "got"))
	if err != nil || !strings.Contains(string(got), "first") || !strings.Contains(string(got), "second") {
		t.Errorf("%q %v", got, err)
	}
	u := h.user()
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, m := range u.boxes[folder.Inbox].messages {
		if !m.Flags.Has(folder.Seen) {
			t.Error("a mail that was fetched is not seen")
		}
	}
}

func TestMutt(t *testing.T) {
	h, dir, port := worldly(t, "mutt", "script")
	keep(t, dir, "rc", fmt.Sprintf(`set folder="imaps://localhost:%s/"
set imap_user=%q imap_pass=%q
set ssl_ca_certificates_file="%s/ca.pem" ssl_force_tls=yes certificate_file="%s/certs"
set imap_check_subscribed=no confirmappend=no confirmcreate=no delete=yes move=no copy=no header_cache="%s/cache"
set wait_key=no imap_condstore=yes imap_qresync=yes imap_idle=yes
push '<search>~s two<enter><copy-message>=Perso<enter><flag-message><tag-pattern>~s one<enter><tag-prefix><delete-message><sync-mailbox><quit>'
`, port, testUser, testSecret, dir, dir, dir), 0o600)
	program(t, dir, "timeout", "20", "script", "-qec", "mutt -F rc -f imaps://localhost:"+port+"/INBOX", "/dev/null")
	u := h.user()
	u.mu.Lock()
	defer u.mu.Unlock()
	inbox := u.boxes[folder.Inbox].messages
	if perso := u.boxes["Perso"]; perso == nil || len(perso.messages) != 1 {
		t.Errorf("not copied: %+v", perso)
	}
	if len(inbox) != 1 || !inbox[0].Flags.Has(folder.Flagged) {
		t.Errorf("not deleted, or not flagged: %d", len(inbox))
	}
}
