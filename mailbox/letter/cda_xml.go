package letter

import (
	"encoding/xml"
	"io"
	"iter"
	"strings"

	"golang.org/x/text/encoding"
	xunicode "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/relais-sante/relais/store/journal"
)

// errXML says that XML is malformed, hostile, or beyond its bounds. What
// exactly is wrong is left out: the parser's messages quote the document.
const errXML journal.Fault = "malformed or oversized XML"

// Bounds of XML besides its bytes: a national header has under a thousand
// elements, some ten deep.
const (
	maxElements = 50_000
	maxDepth    = 64
)

// element is an XML element with what stands inside it. Names are local and in
// lower case: real metadata mixes prefixes and case.
type element struct {
	name     string
	attrs    []xml.Attr
	text     string // own character data, in one piece
	children []*element
}

// readElements reads at most limit bytes of XML as far as the first element
// for which stop is true, told its depth (the root's is 0) and name; that
// element, empty, is the last. A nil stop reads to the end.
//
// Nothing outside r is ever read: no entity but XML's own five is known, a
// stylesheet instruction is passed over, and a document type declaration,
// which no national document has, is refused.
func readElements(r io.Reader, limit int64, stop func(depth int, name string) bool) (*element, error) {
	source := &io.LimitedReader{R: r, N: limit + 1}
	d := xml.NewDecoder(transform.NewReader(source, xunicode.BOMOverride(encoding.Nop.NewDecoder())))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.HasPrefix(strings.ToLower(label), "utf-16") {
			return in, nil // decoded by its byte-order mark
		}
		enc, known := charsetOf(label)
		switch {
		case !known:
			return nil, errXML
		case enc == nil:
			return in, nil
		}
		return transform.NewReader(in, enc.NewDecoder()), nil
	}
	var (
		root  *element
		open  []*element
		texts []*strings.Builder
		count int
		// A declaration is refused with the element after it, so that the
		// caller learns what kind of document hides behind it.
		hostile bool
	)
	for {
		token, err := d.Token()
		if err != nil {
			if err == io.EOF && root != nil && source.N > 0 {
				return root, nil
			}
			return root, errXML
		}
		switch t := token.(type) {
		case xml.Directive:
			hostile = true
		case xml.StartElement:
			if count++; count > maxElements || len(open) >= maxDepth {
				return root, errXML
			}
			e := &element{name: strings.ToLower(t.Name.Local), attrs: t.Attr}
			if n := len(open); n > 0 {
				open[n-1].children = append(open[n-1].children, e)
			} else {
				root = e
			}
			if hostile {
				return root, errXML
			}
			if stop != nil && stop(len(open), e.name) {
				return root, nil
			}
			open, texts = append(open, e), append(texts, new(strings.Builder))
		case xml.CharData:
			if n := len(texts); n > 0 {
				texts[n-1].Write(t)
			}
		case xml.EndElement:
			n := len(open) - 1
			open[n].text = texts[n].String()
			open, texts = open[:n], texts[:n]
		}
	}
}

// attr gives an attribute without the blanks around it, name and case as
// lenient as for elements.
func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if strings.EqualFold(a.Name.Local, name) {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// value gives the character data, on one line.
func (e *element) value() string {
	if e == nil {
		return ""
	}
	return cleanText(e.text, maxName)
}

// at goes down by the first child of each name; it gives nil where there is
// none.
func (e *element) at(path ...string) *element {
	for _, name := range path {
		var next *element
		for c := range e.each(name) {
			next = c
			break
		}
		e = next
	}
	return e
}

// each gives the children of that name.
func (e *element) each(name string) iter.Seq[*element] {
	return func(yield func(*element) bool) {
		if e == nil {
			return
		}
		for _, c := range e.children {
			if c.name == name && !yield(c) {
				return
			}
		}
	}
}

// below gives the element and all under it.
func (e *element) below() iter.Seq[*element] {
	return func(yield func(*element) bool) { e.visit(yield) }
}

func (e *element) visit(yield func(*element) bool) bool {
	if e == nil {
		return true
	}
	if !yield(e) {
		return false
	}
	for _, c := range e.children {
		if !c.visit(yield) {
			return false
		}
	}
	return true
}
