package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

// show writes v as JSON with --json, else has human write it for people.
func (c *cli) show(v any, human func()) error {
	if !c.json {
		human()
		return nil
	}
	b, err := encode(v)
	if err != nil {
		return err
	}
	_, err = c.out.Write(b)
	return err
}

// encode writes v in JSON as scripts want it: what is a list is a list, even
// an empty one; nothing a terminal would obey.
func encode(v any) ([]byte, error) {
	copied := reflect.New(reflect.TypeOf(v)).Elem()
	copied.Set(reflect.ValueOf(v))
	listed(copied)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(copied.Interface()); err != nil {
		return nil, err
	}
	// The encoder escapes the control characters of ASCII only. Others can
	// stand only inside strings, where an escape means the same.
	var safe strings.Builder
	for _, r := range b.String() {
		if r != '\n' && unprintable(r) {
			if r > 0xffff {
				r = unicode.ReplacementChar
			}
			fmt.Fprintf(&safe, `\u%04x`, r)
			continue
		}
		safe.WriteRune(r)
	}
	return []byte(safe.String()), nil
}

// listed makes empty lists of nil ones, down to the last.
func listed(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() && v.CanSet() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			listed(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				listed(v.Field(i))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			listed(v.Elem())
		}
	}
}

// unprintable reports what must not reach a terminal from a mail: control
// characters, and those that change the direction of writing.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// clean makes a line of s that is safe on a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unprintable(r):
			return -1
		}
		return r
	}, s)
}

// line writes one line for people.
func (c *cli) line(s string) { fmt.Fprintln(c.out, strings.TrimRight(clean(s), " ")) }

// warn writes on standard error what is done all the same.
func (c *cli) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(c.errs, texts.T(c.locale, "cli.warning", map[string]any{"text": clean(mailbox.WarningText(c.locale, w))}))
	}
}

// width is that of the terminal, else what COLUMNS says, else 80.
func (c *cli) width() int {
	if f, ok := c.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w >= 40 {
			return w
		}
	}
	if w, err := strconv.Atoi(c.getenv("COLUMNS")); err == nil && w >= 40 && w <= 1000 {
		return w
	}
	return 80
}

// terminal reports whether s is one that a person sits at.
func terminal(s any) bool {
	f, ok := s.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// table writes rows under headings. Long cells are wrapped between words, the
// widest column first. Where that does not do, each row becomes a paragraph:
// words, ids and addresses above all, are never broken.
func (c *cli) table(headings []texts.ID, rows [][]string) {
	head := make([]string, len(headings))
	for i, id := range headings {
		head[i] = texts.T(c.locale, id, nil)
	}
	if _, ok := fit(append([][]string{head}, rows...), c.width()); ok {
		c.grid(head, rows, 0)
		return
	}
	for _, row := range rows {
		c.line(row[0])
		var rest []string
		for i, cell := range row[1:] {
			if cell != "" {
				rest = append(rest, texts.T(c.locale, "cli.labelled", map[string]any{"label": head[i+1], "value": cell}))
			}
		}
		c.grid(nil, [][]string{{strings.Join(rest, " · ")}}, 2)
	}
}

const gap = 2 // spaces between columns

// grid writes rows in columns, under a head if there is one.
func (c *cli) grid(head []string, rows [][]string, indent int) {
	all := rows
	if head != nil {
		all = append([][]string{head}, rows...)
	}
	for _, row := range all {
		for i := range row {
			row[i] = clean(row[i])
		}
	}
	widths, _ := fit(all, c.width()-indent)
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", strings.Repeat(" ", gap)
	style.Format.Header = text.FormatDefault
	if head != nil {
		style.Options.SeparateHeader = true
		style.Box.MiddleHorizontal, style.Box.MiddleSeparator = "─", "─"
		t.AppendHeader(cells(head))
	}
	t.SetStyle(style)
	configs := make([]table.ColumnConfig, len(widths))
	for i, w := range widths {
		configs[i] = table.ColumnConfig{Number: i + 1, WidthMax: w, WidthMaxEnforcer: wrap}
	}
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		t.AppendRow(cells(row))
	}
	for _, line := range strings.Split(t.Render(), "\n") {
		line = strings.TrimRight(strings.Repeat(" ", indent)+line, " ")
		if strings.HasSuffix(line, "─") { // the padding of the last column
			line = strings.TrimSuffix(line, strings.Repeat("─", gap))
		}
		fmt.Fprintln(c.out, line)
	}
}

func cells(row []string) table.Row {
	r := make(table.Row, len(row))
	for i, cell := range row {
		r[i] = cell
	}
	return r
}

// wrap breaks s into lines at spaces, but not at those that French puts before
// its colons.
func wrap(s string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Split(s, " ") {
		switch {
		case line == "":
			line = word
		case text.RuneWidthWithoutEscSequences(line+" "+word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return strings.Join(append(lines, line), "\n")
}

// fit gives each column its width: what it needs, the widest giving way until
// all fit in the total. No column gets narrower than its longest word; ok says
// whether they fit.
func fit(rows [][]string, total int) (widths []int, ok bool) {
	var least []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths, least = append(widths, 1), append(least, 1)
			}
			widths[i] = max(widths[i], text.RuneWidthWithoutEscSequences(cell))
			for _, word := range strings.Split(cell, " ") {
				least[i] = max(least[i], text.RuneWidthWithoutEscSequences(word))
			}
		}
	}
	sum := gap * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	for ; sum > total; sum-- {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return widths, false
		}
		widths[widest]--
	}
	return widths, true
}

// fields writes what belongs to one thing, a label and a value a line; those
// without value are left out.
func (c *cli) fields(pairs ...any) { c.fieldsAt(0, pairs...) }

func (c *cli) fieldsAt(indent int, pairs ...any) {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := pairs[i+1].(string); value != "" {
			rows = append(rows, []string{texts.T(c.locale, pairs[i].(texts.ID), nil), value})
		}
	}
	if len(rows) > 0 {
		c.grid(nil, rows, indent)
	}
}

// copyOut writes the bytes of a mail exactly as they are.
func (c *cli) copyOut(r io.ReadCloser) error {
	defer r.Close()
	_, err := io.Copy(c.out, r)
	return err
}
