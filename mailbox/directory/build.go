package directory

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/store"
)

// builder makes the file of a directory. Entries come in the order of the
// extract and go first into a scratch file; finish brings them into the order
// of a phone book and writes the tables behind them. In memory are some 50
// bytes an entry, and the postings.
type builder struct {
	dir   string
	raw   *os.File // scratch
	out   *bufio.Writer
	at    int64 // end of raw
	kept  []kept
	seen  map[uint64]struct{}
	seed  maphash.Seed
	buf   []byte
	folds int // lines that were there already
}

// kept is where an entry lies in the scratch file.
type kept struct {
	key    [24]byte
	at     int64
	length uint32
}

func newBuilder(dir string) (*builder, error) {
	f, err := scratch(dir)
	if err != nil {
		return nil, err
	}
	return &builder{
		dir: dir, raw: f, out: bufio.NewWriterSize(f, 256<<10),
		seen: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
	}, nil
}

// add takes an entry; one that was there already is counted only.
func (b *builder) add(e *Entry) error {
	b.buf = appendEntry(b.buf[:0], e)
	// 64 bits under a seed of our own: that two lines of a million are taken
	// for one has a chance of one in 10^7.
	sum := maphash.Bytes(b.seed, b.buf)
	if _, there := b.seen[sum]; there {
		b.folds++
		return nil
	}
	b.seen[sum] = struct{}{}
	b.kept = append(b.kept, kept{sortKey(e), b.at, uint32(len(b.buf))})
	b.at += int64(len(b.buf))
	if _, err := b.out.Write(b.buf); err != nil {
		return fmt.Errorf("keeping an entry: %w", err)
	}
	return nil
}

// Close removes the scratch file.
func (b *builder) Close() {
	_ = b.raw.Close()
	_ = os.Remove(b.raw.Name())
}

// finish writes the directory to f and syncs it.
func (b *builder) finish(ctx context.Context, f *os.File, foot footer) error {
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("keeping the entries: %w", err)
	}
	b.seen = nil
	slices.SortFunc(b.kept, func(x, y kept) int {
		return cmp.Or(bytes.Compare(x.key[:], y.key[:]), cmp.Compare(x.at, y.at))
	})
	w := &writer{out: bufio.NewWriterSize(f, 256<<10), foot: foot, words: newPostings()}
	if err := w.records(ctx, b); err != nil {
		return err
	}
	w.tables()
	w.dictionary()
	w.foot.At.End = w.at
	w.write(w.foot.bytes())
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err == nil {
		w.err = f.Sync()
	}
	if w.err != nil {
		return fmt.Errorf("writing the directory: %w", w.err)
	}
	return nil
}

// writer writes the sections one after the other. The first error stays.
type writer struct {
	out  *bufio.Writer
	at   uint64
	err  error
	foot footer

	offsets []uint64
	boxes   []boxRow
	numbers []rppsRow
	words   *postings
}

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.out.Write(b)
	}
	w.at += uint64(len(b))
}

// records copies the entries in their order and gathers what leads to them.
func (w *writer) records(ctx context.Context, b *builder) error {
	w.write([]byte(magic))
	w.foot.At.Records, w.foot.Entries = w.at, uint64(len(b.kept))
	w.offsets = make([]uint64, 0, len(b.kept)+1)
	w.boxes = make([]boxRow, 0, len(b.kept))
	var raw []byte
	var e Entry
	for i, k := range b.kept {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		raw = slices.Grow(raw[:0], int(k.length))[:k.length]
		if _, err := b.raw.ReadAt(raw, k.at); err != nil {
			return fmt.Errorf("reading back an entry: %w", err)
		}
		if err := e.parse(raw); err != nil {
			return fmt.Errorf("reading back an entry: %w", err)
		}
		entry := uint32(i)
		w.offsets = append(w.offsets, w.at)
		w.write(raw)
		w.boxes = append(w.boxes, boxRow{hash(e.Mailbox), holderOf(&e), e.Type[0], entry})
		if n, err := strconv.ParseUint(e.RPPS, 10, 64); err == nil {
			w.numbers = append(w.numbers, rppsRow{n, entry})
		}
		w.words.add(entry, &e)
	}
	b.kept = nil
	w.offsets = append(w.offsets, w.at)
	return w.err
}

// holderOf tells who answers for a box: the person, or the structure of a
// shared one.
func holderOf(e *Entry) uint32 {
	who := join("|", e.RPPS, e.OtherID)
	if who == "" {
		who = join("|", e.FamilyName, e.GivenName)
	}
	if who == "" || e.Type == store.BoxORG || e.Type == store.BoxAPP {
		if who = join("|", e.FINESS, e.StructureID); who == "" {
			who = e.Structure
		}
	}
	h := hash(who)
	return uint32(h ^ h>>32)
}

// tables writes offsets, addresses and numbers.
func (w *writer) tables() {
	var row [boxRowSize]byte
	w.foot.At.Offsets = w.at
	for _, at := range w.offsets {
		binary.LittleEndian.PutUint64(row[:], at)
		w.write(row[:offsetSize])
	}
	w.offsets = nil
	w.foot.At.Addresses = w.at
	slices.SortFunc(w.boxes, func(x, y boxRow) int {
		return cmp.Or(cmp.Compare(x.address, y.address), cmp.Compare(x.entry, y.entry))
	})
	for i := range w.boxes {
		if i == 0 || w.boxes[i].address != w.boxes[i-1].address {
			w.foot.Boxes++
		}
		w.boxes[i].put(row[:])
		w.write(row[:])
	}
	w.boxes = nil
	w.foot.At.Numbers, w.foot.Numbers = w.at, uint64(len(w.numbers))
	slices.SortFunc(w.numbers, func(x, y rppsRow) int {
		return cmp.Or(cmp.Compare(x.number, y.number), cmp.Compare(x.entry, y.entry))
	})
	for i := range w.numbers {
		w.numbers[i].put(row[:])
		w.write(row[:rppsSize])
	}
	w.numbers = nil
}

// dictionary writes postings, words and blocks.
func (w *writer) dictionary() {
	w.words.texts = nil
	words := w.words.sorted()
	w.foot.At.Postings = w.at
	for _, word := range words {
		w.write(w.words.of(word).rows)
	}
	w.foot.At.Words = w.at
	var blocks, b []byte
	rows := uint64(0)
	for i, word := range words {
		if i%blockWords == 0 {
			blocks = appendText(blocks, word)
			blocks = binary.AppendUvarint(blocks, w.at-w.foot.At.Words)
			blocks = binary.AppendUvarint(blocks, rows)
			w.foot.Blocks++
		}
		p := w.words.of(word)
		b = binary.AppendUvarint(appendText(b[:0], word), uint64(len(p.rows)))
		w.write(b)
		rows += uint64(len(p.rows))
	}
	w.foot.At.Blocks = w.at
	w.write(blocks)
}

// postings are the entries of every word, as the file has them.
type postings struct {
	ids  map[string]uint32 // by the word
	all  []posting
	here []occurrence // of the entry at hand
	// texts remembers the words of texts met lately: most are those of many
	// entries, and folding is what costs most.
	texts map[text][]uint32
}

// text is one of an entry; of a name the words are not all, see eachWordIn.
type text struct {
	s  string
	in field
}

// manyTexts bounds what is remembered, to some 10 MB.
const manyTexts = 1 << 16

type posting struct {
	last uint32 // entry + 1
	rows []byte
}

type occurrence struct {
	word uint32
	in   field
}

func newPostings() *postings {
	return &postings{ids: map[string]uint32{}, texts: map[text][]uint32{}}
}

func (p *postings) of(word string) *posting { return &p.all[p.ids[word]] }

// add takes the words of an entry, whose number is above those before. A word
// that is there several times counts where it is worth most.
func (p *postings) add(entry uint32, e *Entry) {
	p.here = p.here[:0]
	eachText(e, func(s string, in field) {
		if s == "" {
			return
		}
		for _, id := range p.words(text{s, in}) {
			p.meet(id, in)
		}
	})
	for _, o := range p.here {
		row := &p.all[o.word]
		row.rows = binary.AppendUvarint(row.rows, uint64(entry+1-row.last)<<3|uint64(o.in))
		row.last = entry + 1
	}
}

// meet notes a word of the entry at hand.
func (p *postings) meet(id uint32, in field) {
	for i := range p.here {
		if o := &p.here[i]; o.word == id {
			o.in = max(o.in, in)
			return
		}
	}
	p.here = append(p.here, occurrence{id, in})
}

// words gives the words of a text.
func (p *postings) words(t text) []uint32 {
	if ids, known := p.texts[t]; known {
		return ids
	}
	var ids []uint32
	eachWordIn(t.s, t.in, func(w []byte) {
		id, known := p.ids[string(w)]
		if !known {
			id = uint32(len(p.all))
			p.ids[string(w)] = id
			p.all = append(p.all, posting{})
		}
		ids = append(ids, id)
	})
	if t.in == inAddress {
		return ids // nobody else's
	}
	if len(p.texts) == manyTexts {
		clear(p.texts)
	}
	t.s = strings.Clone(t.s) // it is part of a whole entry
	p.texts[t] = ids
	return ids
}

func (p *postings) sorted() []string {
	words := make([]string, 0, len(p.ids))
	for w := range p.ids {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}
