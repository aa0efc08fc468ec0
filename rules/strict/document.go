package strict

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Document knows where each value of a file stands.
type Document struct {
	file string
	src  []byte
	root *node
}

// node is the place of one value. Offsets count bytes of the source.
type node struct {
	key     int // where its key stands (a value in a list: the value)
	value   int
	text    int // a string without escapes: its first character; else -1
	fields  map[string]*node
	items   []*node
	isTable bool
}

func newNode(at int) *node { return &node{key: at, value: at, text: -1, fields: map[string]*node{}} }

// index finds the place of every value of a source that is known to be valid.
func index(file string, src []byte) *Document {
	d := &Document{file: file, src: src, root: newNode(0)}
	var p unstable.Parser
	p.Reset(src)
	table := d.root
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = d.enter(d.root, e.Key(), e.Kind == unstable.ArrayTable)
		case unstable.KeyValue:
			d.keyValue(table, e)
		}
	}
	return d
}

// enter walks a table's dotted key, making what is not there yet.
func (d *Document) enter(at *node, key unstable.Iterator, list bool) *node {
	for key.Next() {
		k := key.Node()
		next := at.fields[string(k.Data)]
		if next == nil {
			next = newNode(int(k.Raw.Offset))
			next.isTable = true
			at.fields[string(k.Data)] = next
		}
		if list && key.IsLast() {
			item := newNode(int(k.Raw.Offset))
			next.items = append(next.items, item)
			return item
		}
		if n := len(next.items); n > 0 { // [a.b] after [[a]] is in the last a
			next = next.items[n-1]
		}
		at = next
	}
	return at
}

func (d *Document) keyValue(at *node, e *unstable.Node) {
	key := e.Key()
	for key.Next() {
		k := key.Node()
		next := at.fields[string(k.Data)]
		if next == nil {
			next = newNode(int(k.Raw.Offset))
			at.fields[string(k.Data)] = next
		}
		at = next
	}
	d.fill(at, e.Value())
}

func (d *Document) fill(n *node, value *unstable.Node) {
	if value.Raw.Length > 0 {
		n.value = int(value.Raw.Offset)
	}
	switch value.Kind {
	case unstable.String:
		n.text = textStart(d.src, int(value.Raw.Offset), int(value.Raw.Length))
	case unstable.Array:
		children := value.Children()
		for children.Next() {
			child := children.Node()
			at := n.value
			if child.Raw.Length > 0 {
				at = int(child.Raw.Offset)
			}
			item := newNode(at)
			d.fill(item, child)
			n.items = append(n.items, item)
		}
	case unstable.InlineTable:
		n.isTable = true
		children := value.Children()
		for children.Next() {
			d.keyValue(n, children.Node())
		}
	}
}

// textStart finds where the text inside a quoted string begins, or -1 when
// escapes make it differ from what is written.
func textStart(src []byte, offset, length int) int {
	raw := src[offset : offset+length]
	if bytes.HasPrefix(raw, []byte(`"`)) && bytes.IndexByte(raw, '\\') >= 0 {
		return -1
	}
	for _, quote := range []string{`'''`, `"""`} {
		if length >= 6 && strings.HasPrefix(string(raw[:3]), quote) {
			start := 3 // a newline right after the quotes is not part of the text
			if bytes.HasPrefix(raw[start:], []byte("\r\n")) {
				start += 2
			} else if bytes.HasPrefix(raw[start:], []byte("\n")) {
				start++
			}
			return offset + start
		}
	}
	return offset + 1
}

// find walks a path of keys (string) and positions in lists (int). It gives
// the nearest place known when the path is not there.
func (d *Document) find(path []any) (n *node, found bool) {
	n = d.root
	for _, step := range path {
		var next *node
		switch step := step.(type) {
		case string:
			next = n.fields[step]
		case int:
			if step < len(n.items) {
				next = n.items[step]
			}
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// Has reports whether the file says anything at the path.
func (d *Document) Has(path ...any) bool {
	_, found := d.find(path)
	return found
}

// Problem makes a problem at a path of keys (string) and positions in lists
// (int), or at the nearest thing above it that the file says.
func (d *Document) Problem(id TextID, args map[string]any, path ...any) Problem {
	p := Problem{File: d.file, ID: id, Args: args}
	if n, _ := d.find(path); n != d.root {
		p.Line, p.Column = d.position(n.key)
	}
	return p
}

// ProblemInText makes a problem at a character of the text at the path.
func (d *Document) ProblemInText(id TextID, args map[string]any, text string, character int, path ...any) Problem {
	p := d.Problem(id, args, path...)
	n, found := d.find(path)
	if !found {
		return p
	}
	at := n.value
	if n.text >= 0 {
		at = n.text
		offset := len(text) // past the end: something is missing there
		for i := range text {
			if character == 0 {
				offset = i
				break
			}
			character--
		}
		at += offset
	}
	p.Line, p.Column = d.position(at)
	return p
}

func (d *Document) position(offset int) (line, column int) {
	before := d.src[:min(offset, len(d.src))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
