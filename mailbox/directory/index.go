package directory

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// index reads the file of a directory. Whatever it finds there is checked
// before it is used: a damaged file gives [ErrCorrupt], nothing worse.
type index struct {
	f      io.ReaderAt
	close  func() error
	foot   footer
	blocks []block
}

// block is 64 words of the dictionary.
type block struct {
	first       string
	words, rows uint64 // where they begin in their sections
}

// openIndex opens a file. Its words are read when they are looked for.
func openIndex(path string) (*index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		var in *index
		if in, err = newIndex(f, info.Size()); err == nil {
			in.close = f.Close
			return in, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("opening the directory: %w", err)
}

func newIndex(f io.ReaderAt, size int64) (*index, error) {
	foot, err := readFooter(f, size)
	if err != nil {
		return nil, err
	}
	in := &index{f: f, foot: foot, close: func() error { return nil }}
	raw, err := in.section(foot.At.Blocks, foot.At.End-foot.At.Blocks)
	if err != nil {
		return nil, err
	}
	rest := string(raw)
	for rest != "" {
		var b block
		var ok bool
		if b.first, rest, ok = cutText(rest); !ok {
			return nil, ErrCorrupt
		}
		for _, to := range []*uint64{&b.words, &b.rows} {
			if *to, rest, ok = cutNumber(rest); !ok {
				return nil, ErrCorrupt
			}
		}
		if b.words > foot.At.Blocks-foot.At.Words || b.rows > foot.At.Words-foot.At.Postings {
			return nil, ErrCorrupt
		}
		if n := len(in.blocks); n > 0 && (b.first <= in.blocks[n-1].first || b.words < in.blocks[n-1].words || b.rows < in.blocks[n-1].rows) {
			return nil, ErrCorrupt
		}
		in.blocks = append(in.blocks, b)
	}
	return in, nil
}

func (in *index) Close() error { return in.close() }

func (in *index) status() Status {
	return Status{int64(in.foot.Boxes), int64(in.foot.Entries), unix(in.foot.Imported), unix(in.foot.Issued)}
}

// section reads bytes of the file; the places have been checked to lie in it.
func (in *index) section(at, length uint64) ([]byte, error) {
	b := make([]byte, length)
	if _, err := in.f.ReadAt(b, int64(at)); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrCorrupt
		}
		return nil, fmt.Errorf("reading the directory: %w", err)
	}
	return b, nil
}

// entry reads one entry.
func (in *index) entry(n uint32) (Entry, error) {
	if uint64(n) >= in.foot.Entries {
		return Entry{}, ErrCorrupt
	}
	raw, err := in.section(in.foot.At.Offsets+uint64(n)*offsetSize, 2*offsetSize)
	if err != nil {
		return Entry{}, err
	}
	from, to := binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[offsetSize:])
	if from < in.foot.At.Records || to < from || to > in.foot.At.Offsets || to-from > 2*maxLine {
		return Entry{}, ErrCorrupt
	}
	if raw, err = in.section(from, to-from); err != nil {
		return Entry{}, err
	}
	var e Entry
	if err := e.parse(raw); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// lowest finds, in a table of rows in order, the first for which reached is
// true.
func (in *index) lowest(at, rows, size uint64, reached func(row []byte) bool) (uint64, error) {
	var fault error
	n := sort.Search(int(rows), func(i int) bool {
		row, err := in.section(at+uint64(i)*size, size)
		if err != nil {
			fault = err
			return true
		}
		return reached(row)
	})
	return uint64(n), fault
}

func (in *index) byAddress(a store.Address) ([]Entry, error) {
	h := hash(string(a))
	n, err := in.lowest(in.foot.At.Addresses, in.foot.Entries, boxRowSize, func(row []byte) bool { return parseBoxRow(row).address >= h })
	var found []Entry
	for ; err == nil && n < in.foot.Entries; n++ {
		raw, fault := in.section(in.foot.At.Addresses+n*boxRowSize, boxRowSize)
		if fault != nil {
			return nil, fault
		}
		row := parseBoxRow(raw)
		if row.address != h {
			break
		}
		e, fault := in.entry(row.entry)
		if fault != nil {
			return nil, fault
		}
		if e.Mailbox == string(a) {
			found = append(found, e)
		}
	}
	return found, err
}

func (in *index) byRPPS(n identity.RPPS) ([]Entry, error) {
	number, err := strconv.ParseUint(string(n), 10, 64)
	if err != nil {
		return nil, nil
	}
	numbers, err := in.numbered(number, number+1)
	if err != nil {
		return nil, err
	}
	var found []Entry
	for _, n := range numbers {
		e, err := in.entry(n)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

// numbered gives the entries with an RPPS from one number to below another, in
// their order.
func (in *index) numbered(from, to uint64) ([]uint32, error) {
	table, rows := in.foot.At.Numbers, in.foot.Numbers
	first, err := in.lowest(table, rows, rppsSize, func(row []byte) bool { return parseRPPSRow(row).number >= from })
	if err != nil {
		return nil, err
	}
	end, err := in.lowest(table, rows, rppsSize, func(row []byte) bool { return parseRPPSRow(row).number >= to })
	if err != nil || end <= first {
		return nil, err
	}
	raw, err := in.section(table+first*rppsSize, (end-first)*rppsSize)
	if err != nil {
		return nil, err
	}
	entries := make([]uint32, 0, end-first)
	for ; len(raw) > 0; raw = raw[rppsSize:] {
		entries = append(entries, parseRPPSRow(raw).entry)
	}
	slices.Sort(entries)
	return entries, nil
}
