package letter

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxQuoteDepth bounds the marks put before quoted lines of HTML.
const maxQuoteDepth = 5

// htmlText gives what a reader sees of an HTML body, as plain text: blocks on
// lines of their own, quotations behind "> " as in a text mail, so that the
// one way of finding new text serves both. Nothing is fetched or run.
func htmlText(source string) string {
	w := htmlWriter{}
	w.out.Grow(len(source) / 4)
	z := html.NewTokenizer(strings.NewReader(source))
	z.SetMaxBuf(1 << 20)
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimRight(w.out.String(), "\n ")
		case html.TextToken:
			if w.hidden == 0 {
				w.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			w.start(atom.Lookup(name))
		case html.EndTagToken:
			name, _ := z.TagName()
			w.end(atom.Lookup(name))
		}
	}
}

// htmlWriter writes lines with their quote marks.
type htmlWriter struct {
	out    strings.Builder
	quote  int
	hidden atom.Atom // element whose text is not shown
	inLine bool      // the current line has text
	space  bool      // white space is owed before the next word
	blank  int       // line ends already written in a row
	pre    int
}

func (w *htmlWriter) text(s string) {
	for s != "" {
		i := strings.IndexAny(s, " \t\r\n\u00a0")
		switch {
		case i < 0:
			w.word(s)
			return
		case i > 0:
			w.word(s[:i])
			s = s[i:]
		case w.pre > 0 && s[0] == '\n':
			w.breakLine()
			s = s[1:]
		default:
			w.space = true
			_, n := utf8.DecodeRuneInString(s)
			s = s[n:]
		}
	}
}

func (w *htmlWriter) word(s string) {
	if !w.inLine {
		for range min(w.quote, maxQuoteDepth) {
			w.out.WriteString("> ")
		}
	} else if w.space {
		w.out.WriteByte(' ')
	}
	w.out.WriteString(s)
	w.inLine, w.space, w.blank = true, false, 0
}

// breakLine ends the line; two in a row leave an empty one.
func (w *htmlWriter) breakLine() {
	if w.blank < 2 && w.out.Len() > 0 {
		w.out.WriteByte('\n')
		w.blank++
	}
	w.inLine, w.space = false, false
}

// endBlock ends the line if it has text.
func (w *htmlWriter) endBlock() {
	if w.inLine {
		w.breakLine()
	}
}

func (w *htmlWriter) start(tag atom.Atom) {
	switch tag {
	case atom.Script, atom.Style, atom.Title, atom.Template, atom.Textarea, atom.Select:
		if w.hidden == 0 {
			w.hidden = tag
		}
	case atom.Body: // an element left open before it hides nothing
		w.hidden = 0
	case atom.Br:
		w.breakLine()
	case atom.Hr:
		w.endBlock()
		w.breakLine()
	case atom.Blockquote:
		w.endBlock()
		w.quote++
	case atom.Pre:
		w.endBlock()
		w.pre++
	case atom.Td, atom.Th:
		w.space = true
	default:
		if isBlock(tag) {
			w.endBlock()
		}
	}
}

func (w *htmlWriter) end(tag atom.Atom) {
	switch tag {
	case w.hidden:
		w.hidden = 0
	case atom.Blockquote:
		w.endBlock()
		w.quote = max(0, w.quote-1)
	case atom.Pre:
		w.endBlock()
		w.pre = max(0, w.pre-1)
	case atom.P: // an empty one is how Outlook writes an empty line
		w.breakLine()
	default:
		if isBlock(tag) {
			w.endBlock()
		}
	}
}

func isBlock(tag atom.Atom) bool {
	switch tag {
	case atom.Div, atom.Table, atom.Tr, atom.Ul, atom.Ol, atom.Li, atom.Dl, atom.Dt, atom.Dd, atom.Center,
		atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Article, atom.Section, atom.Header,
		atom.Footer, atom.Address, atom.Form, atom.P, atom.Body, atom.Html, atom.Head:
		return true
	}
	return false
}
