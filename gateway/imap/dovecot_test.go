package imap

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relais-sante/relais/gateway/peertest"
)

// TestBesideDovecot puts every mail of the corpus into this server and into a
// Dovecot and compares what both say of it. The corpus is not part of the
// project: it is found beside it.
func TestBesideDovecot(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the corpus is not there: shared/corpus beside the project")
	}
	theirs := peertest.StartDovecot(t, peertest.DovecotOptions{}).Login(t, "anne@box.example")
	defer theirs.Close()
	h := open(t, nil)
	conn, err := h.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ours := peertest.Greeted(t, conn)
	ours.Do(fmt.Sprintf("LOGIN %s %q", testUser, testSecret))
	ours.Do("SELECT INBOX")
	var names []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".md") || strings.Contains(d.Name(), "LICENSE") || strings.Contains(d.Name(), "COPYING") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 || bytes.IndexByte(raw, 0) >= 0 {
			return err
		}
		raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		for _, c := range []*peertest.IMAP{ours, theirs} {
			c.Do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(raw), raw))
		}
		names = append(names, filepath.Base(filepath.Dir(path))+"/"+d.Name())
		n := len(names)
		if got := fetched(ours.Do(fmt.Sprintf("FETCH %d BODY.PEEK[]", n))); len(got.Literals) != 1 || got.Literals[0] != string(raw) {
			t.Errorf("%s: BODY[] is not what was put", names[n-1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []string{"ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[1]", "BODY.PEEK[HEADER.FIELDS (SUBJECT FROM DATE)]"} {
		differ := 0
		for i, name := range names {
			command := fmt.Sprintf("FETCH %d %s", i+1, item)
			a, b := canonical(fetched(ours.Do(command))), canonical(fetched(theirs.Do(command)))
			if a != b {
				differ++
				if os.Getenv("RELAIS_LONG") != "" {
					t.Logf("%s of %s\n ours %.1500s\ntheir %.1500s", item, name, a, b)
				}
			}
		}
		t.Logf("%s: %d of %d differ", item, differ, len(names))
	}
}

// fetched finds the FETCH among responses.
func fetched(all []peertest.Response) peertest.Response {
	for _, r := range all {
		if strings.Contains(r.Text, " FETCH ") {
			return r
		}
	}
	return peertest.Response{}
}

// canonical writes literals as quoted strings and everything in small letters.
func canonical(r peertest.Response) string {
	text := r.Text
	for _, l := range r.Literals {
		text = strings.Replace(text, "{}", fmt.Sprintf("\"%s\"", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l)), 1)
	}
	return strings.ToLower(text)
}
