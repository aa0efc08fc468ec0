package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/mail"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// swaks hands a mail in at the sender's operator, as it is.
func (w *world) swaks(from, to string, raw []byte) {
	w.t.Helper()
	w.swaksAt(w.at(from), from, to, raw)
}

// swaksAt hands it in at any operator.
func (w *world) swaksAt(op *operator, from, to string, raw []byte) {
	w.t.Helper()
	host, port, _ := strings.Cut(op.Submission, ":")
	raw = bytes.TrimSuffix(raw, []byte("\n")) // swaks ends the last line itself
	tool(w.t, raw, "swaks", "--server", host, "--port", port, "--helo", "poste.e2e.test",
		"--from", from, "--to", to, "--data", "-", "--hide-all")
}

// letter is a mail as a program writes it: LF at the end of lines.
func letter(from, to, subject string, more ...string) []byte {
	head := fmt.Sprintf("From: <%s>\nTo: <%s>\nSubject: %s\nDate: %s\n", from, to, subject, time.Now().Format(time.RFC1123Z))
	return []byte(head + strings.Join(more, "\n"))
}

// muttrc is a person's configuration: mail is handed in at their operator and
// read in their box.
func (w *world) muttrc(box, name string, more ...string) string {
	w.t.Helper()
	_, host, _ := strings.Cut(box, "@")
	rc := append([]string{
		`set from="` + box + `" realname="` + name + `" use_from=yes hostname="poste.` + host + `"`,
		`set smtp_url="smtp://` + w.at(box).Submission + `" ssl_starttls=no ssl_force_tls=no`,
		`set imap_user="` + box + `" imap_pass="secret" imap_authenticators="login"`,
		`set spoolfile="imap://` + w.at(box).boxes.IMAP + `/INBOX" folder="imap://` + w.at(box).boxes.IMAP + `/"`,
		`set tmpdir="` + w.t.TempDir() + `" record="" copy=no header_cache="" mbox_type=Maildir`,
		`set charset=utf-8 send_charset="us-ascii:utf-8" allow_8bit=yes`,
		// Nobody is there to answer questions.
		`set quit=yes delete=no move=no mark_old=no recall=no fast_reply=yes include=yes reply_to=yes autoedit=yes`,
		`set abort_unmodified=no abort_nosubject=no wait_key=no confirmappend=no confirmcreate=no sleep_time=0 beep=no`,
	}, more...)
	path := filepath.Join(w.t.TempDir(), "muttrc")
	if err := os.WriteFile(path, []byte(strings.Join(rc, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// mutt sends a new mail in batch mode; args come before the recipient.
func (w *world) mutt(from, name, to, subject, body string, args ...string) {
	w.t.Helper()
	args = append([]string{"mutt", "-F", w.muttrc(from, name), "-s", subject}, args...)
	tool(w.t, []byte(body), append(args, "--", to)...)
}

// press opens a box in mutt, on a terminal, and presses keys.
func (w *world) press(box, name, keys string, rc ...string) {
	w.t.Helper()
	file := w.muttrc(box, name, append(rc, `push "`+keys+`"`)...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// script gives the terminal. Its input stays open: at its end it would
	// press Ctrl-D.
	cmd := exec.CommandContext(ctx, "script", "-qefc", "stty rows 50 cols 160; exec mutt -F "+file, os.DevNull)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8", "HOME="+w.t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer in.Close()
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("mutt: %v\n%q", err, lastLines(string(out), 20))
	}
}

// tool runs a program to its end.
func tool(t *testing.T, input []byte, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=dumb")
	cmd.Stdin = bytes.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, lastLines(out.String(), 20))
	}
	return out.String()
}

// arrived is a mail in a box.
type arrived struct {
	textproto.MIMEHeader
	raw, body []byte
}

// box reads a box over IMAP.
func (w *world) box(box string) []arrived {
	w.t.Helper()
	var all []arrived
	c := w.at(box).boxes.Login(w.t, box)
	defer c.Close()
	for _, raw := range c.Mails() {
		all = append(all, parsed(w.t, raw))
	}
	return all
}

func parsed(t *testing.T, raw []byte) arrived {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("a mail arrived that cannot be read: %v", err)
	}
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return arrived{MIMEHeader: textproto.MIMEHeader(m.Header), raw: raw, body: body}
}

// awaitMail waits for a mail in a box.
func (w *world) awaitMail(box, what string, ok func(arrived) bool) arrived {
	w.t.Helper()
	var found arrived
	eventually(w.t, patience, what, func() bool {
		for _, m := range w.box(box) {
			if ok(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}
