package directory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/identity"
)

// Reading the extract: a line of headings, then lines of cells between
// separators, without any quoting.

// Bounds of an extract. The real one has 536,000 lines of 170 bytes.
const (
	maxLine    = 16 << 10
	maxLines   = 8 << 20
	maxColumns = 256
)

// column is a column of the extract that is read; others are left aside.
type column int

const (
	colType column = iota
	colAddress
	colPersonIDType
	colPersonID
	colNationalID
	colStructureIDType
	colStructureID
	colService
	colTitle
	colFamilyName
	colGivenName
	colCategory
	colProfessionCode
	colProfession
	colSkillCode
	colSkill
	colPaperless
	colStructure
	colTradeName
	colPlaceInSite
	colPlaceInPost
	colNumber
	colNumberSuffix
	colStreetType
	colStreet
	colLocality
	colPostalLine
	colPostalCode
	colDepartment
	colCountry
	columnCount
)

// headings names the columns as identity.NameKey folds them: case, accents and
// apostrophes have differed over the years.
var headings = map[string]column{
	"typedebal": colType, "adressebal": colAddress,
	"typeidentifiantpp": colPersonIDType, "identifiantpp": colPersonID, "identificationnationalepp": colNationalID,
	"typeidentifiantstructure": colStructureIDType, "identificationstructure": colStructureID,
	"servicederattachement": colService,
	"civilitedexercice":     colTitle, "nomdexercice": colFamilyName, "prenomdexercice": colGivenName,
	"libelledecategorieprofession": colCategory,
	"codeprofession":               colProfessionCode, "libelleprofession": colProfession,
	"codesavoirfaire": colSkillCode, "libellesavoirfaire": colSkill,
	"dematerialisation":         colPaperless,
	"raisonsocialestructurebal": colStructure, "enseignecommercialestructurebal": colTradeName,
	"l2complementlocalisationstructurebal": colPlaceInSite, "l3complementdistributionstructurebal": colPlaceInPost,
	"l4numerovoiestructurebal": colNumber, "l4complementnumerovoiestructurebal": colNumberSuffix,
	"nl4typevoiestructurebal": colStreetType, "l4libellevoiestructurebal": colStreet,
	"l5lieuditmentionstructurebal": colLocality, "l6ligneacheminementstructurebal": colPostalLine,
	"codepostalstructurebal": colPostalCode, "departementstructurebal": colDepartment, "paysstructurebal": colCountry,
}

// needed are the columns without which a directory would be of no use: a
// renamed one must not pass for boxes without holders.
var needed = []column{colType, colAddress, colPersonID, colFamilyName, colStructure}

// extract reads the lines of an extract.
type extract struct {
	in        *bufio.Reader
	separator string
	columns   []column // of each cell of a line; -1: left aside
	line      int      // number of the last one read, from 1
	cells     [columnCount]string
}

// openExtract reads the line of headings.
func openExtract(r io.Reader) (*extract, error) {
	x := &extract{in: bufio.NewReaderSize(r, maxLine)}
	if mark, err := x.in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = x.in.Discard(len(mark))
	}
	head, err := x.next()
	if err == io.EOF || errors.Is(err, bufio.ErrBufferFull) {
		return nil, ErrNotExtract
	}
	if err != nil {
		return nil, err
	}
	for _, separator := range []string{"|", ";", "\t"} {
		if x.headed(string(head), separator) {
			return x, nil
		}
	}
	return nil, ErrNotExtract
}

// headed reads the headings and reports whether all that are needed are there.
func (x *extract) headed(head, separator string) bool {
	names := strings.Split(head, separator)
	if len(names) > maxColumns {
		return false
	}
	var has [columnCount]bool
	x.separator, x.columns = separator, make([]column, len(names))
	for i, name := range names {
		x.columns[i] = -1
		if c, known := headings[identity.NameKey(name)]; known && !has[c] {
			x.columns[i], has[c] = c, true
		}
	}
	for _, c := range needed {
		if !has[c] {
			return false
		}
	}
	return true
}

// next gives the next line without its end. A line that is too long is left
// out with bufio.ErrBufferFull.
func (x *extract) next() ([]byte, error) {
	line, err := x.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		for err == bufio.ErrBufferFull {
			_, err = x.in.ReadSlice('\n')
		}
		if err == nil || err == io.EOF {
			err = bufio.ErrBufferFull
		}
		x.line++
		return nil, err
	}
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	x.line++
	return bytes.TrimRight(line, "\r\n"), nil
}

// each calls fn with every entry, which is fn's until it returns, and bad with
// the reason why a line has none.
func (x *extract) each(ctx context.Context, fn func(*Entry) error, bad func(line int, why Reason)) error {
	var e Entry
	for {
		if x.line%4096 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		raw, err := x.next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			bad(x.line, BadLength)
			continue
		case err != nil:
			return fmt.Errorf("reading the extract: %w", err)
		case x.line > maxLines:
			return ErrTooLarge
		case len(raw) == 0:
			continue
		case !utf8.Valid(raw):
			bad(x.line, BadEncoding)
			continue
		}
		if !x.split(string(raw)) {
			bad(x.line, BadCells)
			continue
		}
		if why := e.fill(&x.cells); why != "" {
			bad(x.line, why)
			continue
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
}

// split cuts a line into its cells. There must be as many as columns; one more
// that is empty is an end of line written as a separator.
func (x *extract) split(line string) bool {
	for i, c := range x.columns {
		cell, rest, more := strings.Cut(line, x.separator)
		last := i == len(x.columns)-1
		if more == last && (!last || rest != "") {
			return false
		}
		if c >= 0 {
			x.cells[c] = tidy(cell)
		}
		line = rest
	}
	return true
}

// tidy takes spaces off a cell, and what would trouble a terminal out of it.
func tidy(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
		}
	}
	return strings.TrimSpace(s)
}
