package demo

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/texts"
)

// teller writes the story: a line as it happens, with the time since the
// beginning. Safe for concurrent use.
type teller struct {
	locale  texts.Locale
	colour  bool
	verbose bool
	began   time.Time

	staying atomic.Bool // the story is over, and everything stays up

	mu  sync.Mutex
	out io.Writer
}

func newTeller(o Options) *teller {
	return &teller{locale: o.Locale, colour: o.Colour, verbose: o.Verbose, began: time.Now(), out: o.Out}
}

// Ways of writing, as terminals take them (ECMA-48 SGR).
const (
	plain = ""
	bold  = "1"
	faint = "2"
	red   = "31;1"
	blue  = "36;1"
)

// Columns of the telling.
const (
	width  = 80 // of a line
	margin = 10 // the time stands in it
)

func (t *teller) text(id texts.ID, args map[string]any) string { return texts.T(t.locale, id, args) }

func (t *teller) title(id texts.ID, args map[string]any) {
	t.lines("", t.text(id, args), bold)
}

// paragraph is text outside the story, a line left free before it.
func (t *teller) paragraph(id texts.ID, args map[string]any) {
	t.free()
	t.lines("", t.text(id, args), plain)
}

// chapter begins a chapter.
func (t *teller) chapter(n int, id texts.ID, args map[string]any) {
	t.free()
	t.lines("", strconv.Itoa(n)+". "+t.text(id, args), blue)
}

// say is something that just happened.
func (t *teller) say(id texts.ID, args map[string]any) {
	at := t.seconds(time.Since(t.began))
	t.lines(strings.Repeat(" ", max(0, margin-2-utf8.RuneCountInString(at)))+at+"  ", t.text(id, args), plain)
}

// item is a detail of what was just said.
func (t *teller) item(id texts.ID, args map[string]any) {
	t.lines(strings.Repeat(" ", margin)+"→ ", t.text(id, args), plain)
}

// mark is a point of the verdict.
func (t *teller) mark(ok bool, text string) {
	if ok {
		t.lines("✓ ", text, plain)
	} else {
		t.lines("✗ ", text, red)
	}
}

// free leaves a line free.
func (t *teller) free() { t.write("\n") }

// command is a line to type, or an address: never broken.
func (t *teller) command(line string) { t.write("  " + t.paint(bold, line) + "\n") }

// aside is what machines say to each other.
func (t *teller) aside(text string) {
	if t.verbose {
		t.write(t.paint(faint, strings.Repeat(" ", margin)+"· "+clean(text)) + "\n")
	}
}

// arrived tells, once the story is over, that a mail came to a box.
func (t *teller) arrived(m *mail) {
	if t.staying.Load() {
		t.say("demo.stay-arrived", map[string]any{"box": m.box, "subject": m.text("Subject")})
	}
}

// lines writes text after a lead, wrapped, each further line below the first.
func (t *teller) lines(lead, text, style string) {
	indent := utf8.RuneCountInString(lead)
	var b strings.Builder
	for _, paragraph := range strings.Split(text, "\n") {
		for _, line := range wrap(clean(paragraph), width-indent) {
			b.WriteString(lead + t.paint(style, line) + "\n")
			lead = strings.Repeat(" ", indent)
		}
	}
	t.write(b.String())
}

func (t *teller) write(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.out, s)
}

func (t *teller) paint(style, s string) string {
	if !t.colour || style == plain || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// seconds writes a length of time: "1,34 s", "1.34 s".
func (t *teller) seconds(d time.Duration) string {
	s := strconv.FormatFloat(d.Seconds(), 'f', 2, 64)
	if t.locale == texts.French {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s + " s"
}

// wrap breaks a line between words. A no-break space is no gap.
func wrap(s string, limit int) []string {
	var lines []string
	line, length := "", 0
	for _, word := range strings.Split(s, " ") {
		n := utf8.RuneCountInString(word)
		if length > 0 && length+1+n > limit {
			lines = append(lines, line)
			line, length = "", 0
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+n
	}
	return append(lines, line)
}

// clean takes off what a terminal would obey.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
}

// asides tells the hub's journal as it is written.
type asides struct{ *teller }

func (a asides) Write(p []byte) (int, error) {
	a.aside(fmt.Sprintf("%s %s", hubDomain, p))
	return len(p), nil
}
