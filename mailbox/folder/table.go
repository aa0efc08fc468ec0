package folder

import (
	"slices"
	"sort"
	"strings"
)

// SystemFlag is a flag of RFC 9051 §2.3.2.
type SystemFlag uint8

// The system flags. \Recent is not kept: nothing is recent (RFC 9051 gives it
// up, RFC 3501 allows it).
const (
	Seen SystemFlag = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// Flags are the flags of one message for one reader.
type Flags struct {
	System SystemFlag
	// Keywords are sorted, without case-insensitive doubles, and shared: never
	// change the slice.
	Keywords []string
}

// Has reports whether f is among them.
func (f Flags) Has(s SystemFlag) bool { return f.System&s != 0 }

// Equal reports whether both are the same.
func (f Flags) Equal(g Flags) bool {
	return f.System == g.System && slices.Equal(f.Keywords, g.Keywords)
}

// FlagChange is how flags are changed.
type FlagChange uint8

// Ways to change flags.
const (
	SetFlags FlagChange = iota
	AddFlags
	RemoveFlags
)

// With gives the flags after a change.
func (f Flags) With(how FlagChange, by Flags) Flags {
	var words []string
	if how != SetFlags {
		words = slices.Clone(f.Keywords)
	}
	for _, w := range by.Keywords {
		at := slices.IndexFunc(words, func(x string) bool { return strings.EqualFold(x, w) })
		switch {
		case how == RemoveFlags && at >= 0:
			words = slices.Delete(words, at, at+1)
		case how != RemoveFlags && at < 0:
			words = append(words, w)
		}
	}
	slices.Sort(words)
	switch how {
	case AddFlags:
		f.System |= by.System
	case RemoveFlags:
		f.System &^= by.System
	default:
		f.System = by.System
	}
	f.Keywords = words
	return f
}

// Row is a message in a table.
type Row struct {
	UID      uint32
	ModSeq   uint64
	Size     int64 // bytes as shown
	Received int64 // INTERNALDATE, seconds since 1970
	Flags    Flags
}

// Table is a folder as it was at one moment, as one reader sees it.
type Table struct {
	State
	Rows     []Row    // by UID
	Keywords []string // in use, for FLAGS
}

// Find gives the place of a UID in the rows.
func (t *Table) Find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(t.Rows, uid, func(r Row, u uint32) int {
		switch {
		case r.UID < u:
			return -1
		case r.UID > u:
			return 1
		}
		return 0
	})
}

// From gives the place of the first row with a UID not below uid.
func (t *Table) From(uid uint32) int {
	return sort.Search(len(t.Rows), func(i int) bool { return t.Rows[i].UID >= uid })
}

// Delta is what is different between two tables of a folder.
type Delta struct {
	// Reset: nothing of the old table holds, UIDs included (UIDVALIDITY has
	// changed).
	Reset    bool
	Vanished []uint32 // UIDs of the old table that the new one lacks, in order
	Changed  []uint32 // UIDs in both whose flags or modseq are others, in order
	Added    []uint32 // UIDs that only the new table has, in order
}

// Empty reports whether nothing is different.
func (d *Delta) Empty() bool {
	return !d.Reset && len(d.Vanished) == 0 && len(d.Changed) == 0 && len(d.Added) == 0
}

// Diff compares two tables of one folder, at the cost of both; without the first
// nothing is different. Implementations that know what they changed do better.
func Diff(from, to *Table) Delta {
	if from == nil {
		return Delta{}
	}
	if from.UIDValidity != to.UIDValidity {
		d := Delta{Reset: true}
		for i := range to.Rows {
			d.Added = append(d.Added, to.Rows[i].UID)
		}
		return d
	}
	var d Delta
	i, j := 0, 0
	for i < len(from.Rows) || j < len(to.Rows) {
		switch {
		case j == len(to.Rows) || i < len(from.Rows) && from.Rows[i].UID < to.Rows[j].UID:
			d.Vanished = append(d.Vanished, from.Rows[i].UID)
			i++
		case i == len(from.Rows) || to.Rows[j].UID < from.Rows[i].UID:
			d.Added = append(d.Added, to.Rows[j].UID)
			j++
		default:
			if from.Rows[i].ModSeq != to.Rows[j].ModSeq {
				d.Changed = append(d.Changed, to.Rows[j].UID)
			}
			i++
			j++
		}
	}
	return d
}
