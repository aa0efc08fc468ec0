package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/relais-sante/relais/store"
)

// Replay brings back, at a start after a crash, what the log holds beyond the
// index: groups of records, each whole (a commit record that fits its messages
// and the records before it), numbered on from the state of the index. The first
// that is not ends the log. What lies behind that was acknowledged to nobody: a
// group is only written when the one before is, and only acknowledged when it is
// durable with all before it. Each commit record says up to which group the log
// was durable when it was made; where one lies behind the end and vouches for
// what is not there, or where an index that was closed in order has anything
// behind it, acknowledged data is damaged or the index is not of these segments:
// that needs a salvage, not a start.
type replay struct {
	s     *Store
	state state  // after the last group
	rows  *level // of all groups
	// anew: another generation of look-ups came into use. It was made in the index
	// directly; should the index be an old copy, it is not there.
	anew bool
}

// maxReplay bounds the rows kept in memory: many times what a store lets gather.
const maxReplay = 1 << 30

// errEnd is where the log ends.
var errEnd = errors.New("end of the log")

// run reads the log from where the index ends.
func (r *replay) run() error {
	closed := r.state.Closed
	for {
		err := r.next()
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the log behind the index: %w", err)
		}
		if closed {
			return fmt.Errorf("segment %s goes on after the index was closed, salvage it: %w", sharedName(r.state.Segment), store.ErrCorrupt)
		}
		if r.rows.bytes > maxReplay {
			return fmt.Errorf("the index is much older than its segments, salvage it: %w", store.ErrCorrupt)
		}
	}
	return r.refuseLater(closed)
}

// next takes the next group, where the last one ended or at the beginning of
// another segment that says where that is.
func (r *replay) next() error {
	if r.state.Segment > 0 {
		f, size, err := r.open(r.state.Segment)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("segment %s is missing: %w", sharedName(r.state.Segment), store.ErrCorrupt)
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if size < r.state.End {
			return fmt.Errorf("segment %s is shorter than the index says: %w", sharedName(r.state.Segment), store.ErrCorrupt)
		}
		st, rec, err := r.group(f, r.state.Segment, r.state.End, size, r.state.Chain)
		if err == nil {
			return r.take(st, rec)
		}
		if !errors.Is(err, errEnd) {
			return err
		}
	}
	f, size, err := r.open(r.state.Segment + 1)
	if errors.Is(err, fs.ErrNotExist) {
		return errEnd
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, segHead)
	if n, _ := f.ReadAt(head, 0); checkSegmentHead(head[:n]) != nil {
		return errEnd // the crash came before it was whole
	}
	st, rec, err := r.group(f, r.state.Segment+1, segHead, size, [32]byte{})
	if err != nil {
		return err
	}
	if r.state.Segment > 0 && !r.endsHere(rec) {
		return errEnd
	}
	return r.take(st, rec)
}

// open opens a shared segment. It is opened anew for each group: there are few.
func (r *replay) open(number uint32) (*os.File, int64, error) {
	name := sharedName(number)
	f, err := r.s.o.files.OpenFile(r.s.segs.path(name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	if err != nil {
		return nil, 0, fmt.Errorf("opening segment %s: %w", name, fault(err))
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("opening segment %s: %w", name, fault(err))
	}
	return f, fi.Size(), nil
}

// group reads the group that begins at a place: the state that comes of it, and
// its commit record.
func (r *replay) group(f io.ReaderAt, number uint32, start, size int64, chain [32]byte) (*state, *commitRecord, error) {
	head := make([]byte, recHead)
	for at := start; ; {
		n, err := f.ReadAt(head, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, fmt.Errorf("reading segment %s: %w", sharedName(number), fault(err))
		}
		h, ok := decodeRecordHead(head[:n])
		if !ok || h.seq != r.state.Seq+1 || h.length > size-at-int64(recHead) {
			return nil, nil, errEnd
		}
		payload := io.NewSectionReader(f, at+int64(recHead), h.length)
		at += int64(recHead) + h.length
		switch {
		case h.kind == recMessage:
			sum := sha256.New()
			if _, err := io.Copy(sum, payload); err != nil {
				return nil, nil, fmt.Errorf("reading segment %s: %w", sharedName(number), fault(err))
			}
			if [32]byte(sum.Sum(nil)) != h.sum {
				return nil, nil, errEnd
			}
			chain = chained(chain, [][]byte{head})
			continue
		case h.kind != recCommit || h.length > maxCommit:
			return nil, nil, errEnd
		}
		b := make([]byte, h.length)
		if _, err := io.ReadFull(payload, b); err != nil {
			return nil, nil, fmt.Errorf("reading segment %s: %w", sharedName(number), fault(err))
		}
		if sha256.Sum256(b) != h.sum {
			return nil, nil, errEnd
		}
		rec, before, ok := parseRecord(b)
		if !ok {
			return nil, nil, errEnd
		}
		st, err := r.s.stateOf(&rec, before)
		if err != nil {
			return nil, nil, err // whole, and not made by this store
		}
		if st.Seq != h.seq || st.Segment != number || st.End != start || st.Chain != chain {
			return nil, nil, errEnd // of a group that was taken back
		}
		st.Chain = chained(chain, [][]byte{head})
		st.SegmentBytes += at - start
		st.End = at
		return st, &rec, nil
	}
}

// endsHere tells whether a record says that the segment before ends where the
// last group did.
func (r *replay) endsHere(rec *commitRecord) bool {
	key := u32(r.state.Segment)
	for i := range rec.Rows {
		row := &rec.Rows[i]
		if row.Bucket != numSegments || !bytes.Equal(row.Key, key) {
			continue
		}
		clear, err := r.s.keys.OpenRow(nil, hubOwner, string(bucketSegments), key, row.Row)
		var e segmentEnd
		return err == nil && decode(bucketSegments, clear, &e) == nil && e == segmentEnd{r.state.Segment, r.state.End, r.state.Chain}
	}
	return false
}

// take puts the rows of a group in.
func (r *replay) take(st *state, rec *commitRecord) error {
	for i := range rec.Rows {
		row := &rec.Rows[i]
		e := &entry{key: row.place(), row: row.Row}
		r.rows.set(e)
		r.anew = r.anew || row.Bucket == numMeta
	}
	r.state = *st
	return nil
}

// refuseLater refuses a log that goes on behind its end.
func (r *replay) refuseLater(closed bool) error {
	entries, err := os.ReadDir(r.s.segs.dir)
	if err != nil {
		return fmt.Errorf("listing segments: %w", fault(err))
	}
	for _, e := range entries {
		number, shared := sharedNumber(e.Name())
		if !shared || number < r.state.Segment {
			continue
		}
		from := int64(segHead)
		if number == r.state.Segment {
			from = r.state.End
		}
		f, size, err := r.open(number)
		if err != nil {
			return err
		}
		later, err := r.vouched(f, from, size, closed)
		f.Close()
		if err != nil {
			return fmt.Errorf("reading segment %s: %w", e.Name(), fault(err))
		}
		if later {
			return fmt.Errorf("segment %s goes on after the index ends, salvage it: %w", e.Name(), store.ErrCorrupt)
		}
	}
	return nil
}

// vouched looks for a record that was made when the next group was durable, or,
// behind an index closed in order, was made after more than one.
func (r *replay) vouched(f io.ReaderAt, from, size int64, closed bool) (bool, error) {
	const window = 1 << 20
	b := make([]byte, window+recHead)
	for at := from; at < size; at += window {
		n, err := f.ReadAt(b[:min(int64(len(b)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		for rest := b[:n]; ; {
			i := bytes.Index(rest, []byte(recMagic))
			if i < 0 {
				break
			}
			h, ok := decodeRecordHead(rest[i:])
			rest = rest[i+1:]
			if !ok {
				continue
			}
			if h.kind == recCommit && binary.BigEndian.Uint64(h.id[:]) > r.state.Seq || closed && h.seq > r.state.Seq+1 {
				return true, nil
			}
		}
	}
	return false, nil
}

// orphans lists what nothing names: shared segments that were begun for a group
// that never came, one that was prepared, and large ones that are drafts a crash
// left.
func (s *Store) orphans(v *view) ([]string, error) {
	entries, err := os.ReadDir(s.segs.dir)
	if err != nil {
		return nil, fmt.Errorf("listing segments: %w", fault(err))
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		number, shared := sharedNumber(name)
		if shared && number > s.state.Segment || name == spareName || strings.HasPrefix(name, largePrefix) && v.bucket(bucketLarge).Get([]byte(name)) == nil {
			out = append(out, name)
		}
	}
	return out, nil
}
