package letter

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// malformed is an invented mail, what is made of it, and one thing looked at
// more closely. LF stands for CRLF unless the mail is raw.
type malformed struct {
	name, mail string
	outline    string
	defects    string
	look       func(*Reading) any
	want       string
}

const inMixed = "Content-Type: multipart/mixed; boundary=b\n\n"

// rawMark stands before a mail whose line ends are meant as they are.
const rawMark = "\x00raw"

func raw(mail string) string { return rawMark + mail }

func TestMalformed(t *testing.T) {
	for _, c := range slices.Concat(malformedHeaders, malformedParts, malformedContent) {
		t.Run(c.name, func(t *testing.T) {
			mail, isRaw := strings.CutPrefix(c.mail, rawMark)
			if !isRaw {
				mail = crlf(mail)
			}
			r := read(t, mail)
			checkReading(t, []byte(mail), r)
			for _, n := range []int{1, 2, 3, 7} {
				sameReading(t, r, readChunks(t, []byte(mail), n, Limits{}), "it")
			}
			if got := outline(mail, &r.Index.Root); got != c.outline {
				t.Errorf("outline\n got %s\nwant %s", got, c.outline)
			}
			if got := kinds(r.Index); got != c.defects {
				t.Errorf("defects %q, want %q", got, c.defects)
			}
			if c.look == nil {
				return
			}
			if got := fmt.Sprint(c.look(r)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// outline writes the tree of a mail in one line: numbers, types and contents.
func outline(mail string, p *Part) string {
	var b strings.Builder
	if p.Number != "" {
		b.WriteString(p.Number + "=")
	}
	b.WriteString(p.Media())
	if p.Filename != "" {
		fmt.Fprintf(&b, "<%s>", p.Filename)
	}
	if p.Leaf() {
		content, _ := io.ReadAll(Decode(strings.NewReader(mail[p.BodyStart:p.BodyEnd]), p.Encoding))
		fmt.Fprintf(&b, "%q", strings.ReplaceAll(string(content), "\r\n", "/"))
		return b.String()
	}
	b.WriteByte('[')
	for i := range p.Parts {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(outline(mail, &p.Parts[i]))
	}
	b.WriteByte(']')
	return b.String()
}

// kinds lists the kinds of defects, each once.
func kinds(x *Index) string {
	var all []string
	for _, d := range x.Defects {
		if !slices.Contains(all, d.Kind) {
			all = append(all, d.Kind)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// What is looked at.
func subjectOf(r *Reading) any    { return r.Index.Envelope.Subject }
func textOf(r *Reading) any       { return r.Text }
func headerEnd(r *Reading) any    { return r.Index.HeaderEnd }
func fromOf(r *Reading) any       { return r.Index.Envelope.From }
func paramsOf(r *Reading) any     { return r.Index.Root.Params }
func noDate(r *Reading) any       { return r.Index.Envelope.Date.IsZero() }
func dateOf(r *Reading) any       { return r.Index.Envelope.Date.Unix() }
func innerSubject(r *Reading) any { return r.Index.Root.Parts[0].Message.Subject }

func idsOf(r *Reading) any {
	e := r.Index.Envelope
	return [3]any{e.MessageID, e.References, e.InReplyTo}
}

func fieldsOf(r *Reading) any {
	var b strings.Builder
	for _, f := range r.Index.Fields {
		fmt.Fprintf(&b, "%s=%s;", f.Name, f.Value)
	}
	return b.String()
}

func flagsOf(r *Reading) any {
	x := r.Index
	return fmt.Sprintf("header %d, bare %v, final %v, longest %d", x.HeaderEnd, x.BareCRLF, x.FinalCRLF, x.LongLine)
}
