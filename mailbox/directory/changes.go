package directory

import (
	"bufio"
	"fmt"
	"io"
)

// Changes counts what became of boxes from one extract to the next.
type Changes struct {
	Appeared      int64 `json:"appeared"`
	Vanished      int64 `json:"vanished"`
	TypeChanged   int64 `json:"type_changed"`
	HolderChanged int64 `json:"holder_changed"`
}

// compare reads the address tables of both side by side.
func compare(old, now *index) (c Changes, err error) {
	x, y := old.boxes(), now.boxes()
	a, b := x.next(), y.next()
	for a != nil || b != nil {
		switch {
		case b == nil || a != nil && a.address < b.address:
			c.Vanished++
			a = x.next()
		case a == nil || b.address < a.address:
			c.Appeared++
			b = y.next()
		default:
			if a.kind != b.kind {
				c.TypeChanged++
			}
			if a.holder != b.holder {
				c.HolderChanged++
			}
			a, b = x.next(), y.next()
		}
	}
	for _, t := range []*boxTable{x, y} {
		if t.err != nil {
			return c, fmt.Errorf("comparing with the directory before: %w", t.err)
		}
	}
	return c, nil
}

// boxTable gives the rows of the address table, one for each box.
type boxTable struct {
	in    *bufio.Reader
	ahead *boxRow
	err   error
}

func (in *index) boxes() *boxTable {
	at := in.foot.At
	t := &boxTable{in: bufio.NewReaderSize(io.NewSectionReader(in.f, int64(at.Addresses), int64(at.Numbers-at.Addresses)), 64<<10)}
	t.ahead = t.row()
	return t
}

// next gives the row of a box, or nil at the end. Of several holders it has
// what does not depend on their order.
func (t *boxTable) next() *boxRow {
	box := t.ahead
	if box == nil {
		return nil
	}
	for {
		t.ahead = t.row()
		if t.ahead == nil || t.ahead.address != box.address {
			return box
		}
		box.kind = min(box.kind, t.ahead.kind)
		box.holder = max(box.holder, t.ahead.holder)
	}
}

func (t *boxTable) row() *boxRow {
	var raw [boxRowSize]byte
	if _, err := io.ReadFull(t.in, raw[:]); err != nil {
		if err != io.EOF {
			t.err = err
		}
		return nil
	}
	row := parseBoxRow(raw[:])
	return &row
}
