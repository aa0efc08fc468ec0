package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/gateway/peertest"
	mime "github.com/relais-sante/relais/mailbox/letter"
)

// Every mail of the corpus, filed on a pathway, is fetched byte for byte but
// for Reply-To; and what the hub says of its envelope and structure is what a
// real Dovecot says of the same bytes, for those that follow their format.
func TestCorpusOverIMAP(t *testing.T) {
	peertest.Require(t, "dovecot")
	mails := map[string]string{}
	corpus := "../../../shared/corpus"
	_ = filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".md") {
			if data, err := os.ReadFile(path); err == nil {
				mails[path] = string(data)
			}
		}
		return nil
	})
	if len(mails) == 0 {
		t.Log("no corpus beside the project: invented mails only")
	}
	for name, m := range oddMails {
		mails[name] = m
	}
	r := newReading(t)
	defer r.stop()
	want := map[string]string{} // as shown → name
	for _, name := range slices.Sorted(mapsKeys(mails)) {
		raw := withFrom(canonical([]byte(mails[name])), "roux@chu.example")
		if err := r.send("roux@chu.example", r.code+"@"+domain, raw); err == nil {
			want[r.shown(raw)] = name
		}
	}
	a := r.account("--mailbox", "moreau@chu.example")
	conn, err := r.dial()
	if err != nil {
		t.Fatal(err)
	}
	hub := peertest.Greeted(t, conn)
	defer hub.Close()
	hub.Do(fmt.Sprintf("LOGIN %q %q", a.Username, a.Password))
	hub.Do("SELECT INBOX")
	dovecot := peertest.StartDovecot(t, peertest.DovecotOptions{}).Login(t, "compare@dovecot.example")
	defer dovecot.Close()

	n := len(hub.Search("ALL"))
	if n < len(mails)*3/4 {
		t.Fatalf("%d of %d mails are there", n, len(mails))
	}
	compared, differ := 0, map[string]int{}
	for i := 1; i <= n; i++ {
		whole := fetched(hub, i, "BODY.PEEK[]")
		if len(whole.Literals) != 1 {
			t.Fatalf("message %d: %s", i, whole.Text)
		}
		bytes := whole.Literals[0]
		name, known := want[bytes]
		if !known {
			t.Errorf("message %d is not what was sent but for Reply-To:\n%.300s", i, bytes)
			continue
		}
		reading, err := mime.Read(strings.NewReader(bytes), mime.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		ours := fetched(hub, i, "(RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
		dovecot.Do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(bytes), bytes))
		dovecot.Do("NOOP")
		theirs := fetched(dovecot, len(dovecot.Search("ALL")), "(RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
		got, wanted := normal(ours), normal(theirs)
		compared++
		if loosened(got) == loosened(wanted) {
			continue
		}
		kind := "well-formed"
		if len(reading.Index.Defects) > 0 {
			kind = reading.Index.Defects[0].Kind
		}
		differ[kind]++
		if kind == "well-formed" && !excused(name) {
			t.Errorf("%s:\nhub     %s\ndovecot %s", name, got, wanted)
		} else if testing.Verbose() {
			t.Logf("%s (%s):\nhub     %s\ndovecot %s", name, kind, got, wanted)
		}
	}
	t.Logf("%d mails, %d fetched and compared with Dovecot; they differ in %v", len(mails), compared, differ)
}

func mapsKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// differences are mails without a defect the index notes of which the two say
// different things, and why the hub says what it says.
var differences = map[string]string{
	"bad-header-start.raw":             "a folded line without a field goes to the one before; Dovecot drops it",
	"folded first line":                "likewise",
	"ctype-invalid-characters.raw":     "an unreadable type is text/plain (RFC 2045 §5.2), not an empty one",
	"mime-bad-content-type.raw":        "likewise, of an attachment",
	"mime-blank-media-name.raw":        "likewise",
	"017.eml":                          "likewise",
	"unquoted-ctype-param-special.raw": "a parameter with a character that wants quotes is read whole; Dovecot cuts it there",
	"009~1.eml":                        "a word that is no address is shown as one, without a domain; Dovecot takes it for a name",
	"007~2.eml":                        "the line end before a boundary is the boundary's (RFC 2046 §5.1.1), in a message attached too",
}

func excused(name string) bool { return differences[filepath.Base(name)] != "" }

// loosened takes out what two servers may write differently and mean the same:
// case of types, the white space of folding, what stands for a missing domain.
func loosened(s string) string {
	s = strings.ReplaceAll(s, "MISSING_DOMAIN", "")
	s = spaces.ReplaceAllString(strings.ToLower(s), " ")
	return strings.ReplaceAll(s, ` " `, ` "`) // a value that began with one
}

var spaces = regexp.MustCompile(`[ \t]+`)

var replyTo = regexp.MustCompile(`(?mi)^reply-to[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*`)

// shown is a mail as a reader must get it.
func (r *reading) shown(raw []byte) string {
	head, body, found := strings.Cut(string(raw), "\r\n\r\n")
	if found {
		head += "\r\n"
	}
	head = replyTo.ReplaceAllString(head, "")
	if found {
		body = "\r\n" + body
	}
	return "Reply-To: <" + r.code + "@" + domain + ">\r\n" + head + body
}

func fetched(c *peertest.IMAP, n int, items string) peertest.Response {
	for _, r := range c.Do(fmt.Sprintf("FETCH %d %s", n, items)) {
		if strings.HasPrefix(r.Text, fmt.Sprintf("* %d FETCH ", n)) {
			return r
		}
	}
	return peertest.Response{}
}

// normal writes a FETCH response in one way: strings in quotes, atoms and NIL
// in capitals, items in order.
func normal(r peertest.Response) string {
	_, text, _ := strings.Cut(r.Text, "FETCH (")
	var out []string
	for _, item := range []string{"RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE"} {
		i := strings.Index(strings.ToUpper(text), item+" ")
		if i < 0 {
			continue
		}
		literals := r.Literals[strings.Count(text[:i], "{}"):]
		out = append(out, item+" "+value(text[i+len(item)+1:], literals))
	}
	return strings.Join(out, " ")
}

// value reads one value of a response and writes it in one way.
func value(s string, literals []string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
			b.WriteByte(c)
		case c == ')':
			if depth == 0 {
				return b.String()
			}
			depth--
			b.WriteByte(c)
		case c == '"':
			end := i + 1
			var str []byte
			for ; end < len(s) && s[end] != '"'; end++ {
				if s[end] == '\\' {
					end++
				}
				str = append(str, s[end])
			}
			fmt.Fprintf(&b, "%q", str)
			i = end
		case strings.HasPrefix(s[i:], "{}"):
			fmt.Fprintf(&b, "%q", literals[0])
			literals = literals[1:]
			i++
		case c == ' ':
			b.WriteByte(c)
		default:
			end := i
			for end < len(s) && !strings.ContainsRune(" ()", rune(s[end])) {
				end++
			}
			b.WriteString(strings.ToUpper(s[i:end]))
			i = end - 1
		}
		if depth == 0 {
			return b.String()
		}
	}
	return b.String()
}
