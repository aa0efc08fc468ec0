package directory

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/relais-sante/relais/store"
)

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
