package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

// verifyPage is how many records one read transaction verifies.
const verifyPage = 1000

// VerifyTraces implements [store.Store]. It goes through both families at once,
// in the order of their numbers, a page for each read transaction. Commits and
// purges may go on meanwhile: the end is compared with the head that stands in
// the same transaction as the last page.
//
// `relais verify` asks the same of a store opened with [OpenReader].
func (s *Store) VerifyTraces(ctx context.Context, kept ...store.TraceHead) (store.TraceReport, error) {
	w := &traceWalk{s: s, kept: kept, met: make([][len(store.Families)]bool, len(kept))}
	for i := range w.resume {
		w.resume[i] = familyKeys[i : i+1]
	}
	for !w.over {
		if err := s.View(ctx, func(v store.View) error { return w.page(v.(*view)) }); err != nil {
			return w.report, fmt.Errorf("verifying traces: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return w.report, fmt.Errorf("verifying traces: %w", err)
		}
	}
	slices.SortStableFunc(w.report.Problems, func(a, b store.TraceProblem) int {
		return int(min(max(int64(a.From)-int64(b.From), -1), 1))
	})
	return w.report, nil
}

// traceWalk is a verification under way.
type traceWalk struct {
	s      *Store
	report store.TraceReport
	begun  bool
	over   bool
	at     uint64                      // last number met
	resume [len(store.Families)][]byte // keys to go on from
	ends   [len(store.Families)]walked
	kept   []store.TraceHead
	met    [][len(store.Families)]bool // which parts of kept were found
}

// walked is how far a family was read.
type walked struct {
	count uint64
	last  uint64
	hash  [32]byte
	known bool // hash is that of the last record
	hole  bool // a problem lies between the last record and the next
}

func (w *traceWalk) problem(fault store.TraceFault, f store.Family, from, to uint64) {
	if len(w.report.Problems) == store.MaxTraceProblems {
		w.report.More++
		return
	}
	w.report.Problems = append(w.report.Problems, store.TraceProblem{Fault: fault, Family: f, From: from, To: to})
}

// page verifies what comes next.
func (w *traceWalk) page(v *view) error {
	head, err := v.headRow()
	if err != nil {
		head = nil // told once, by begin
	}
	if !w.begun {
		w.begin(head)
	} else if head != nil {
		w.follow(head)
	}
	var cursors [len(store.Families)]*cursor
	var keys, rows [len(store.Families)][]byte
	for i := range cursors {
		cursors[i] = v.bucket(bucketTraces).Cursor()
		keys[i], rows[i] = cursors[i].Seek(w.resume[i])
	}
	for range verifyPage {
		next := -1
		for i, k := range keys {
			if hasPrefix(k, []byte{familyKeys[i]}) && (next < 0 || string(k[1:]) < string(keys[next][1:])) {
				next = i
			}
		}
		if next < 0 {
			w.over = true
			return w.finish(v, head)
		}
		w.record(v, next, keys[next], rows[next], head)
		w.resume[next] = append(append([]byte(nil), keys[next]...), 0)
		keys[next], rows[next] = cursors[next].Next()
	}
	return nil
}

// begin starts where retention left the chains.
func (w *traceWalk) begin(head *headRow) {
	w.begun = true
	if head == nil {
		w.problem(store.TraceHeadFault, "", 0, 0)
		return
	}
	for i := range w.ends {
		w.ends[i].known = true
	}
	w.follow(head)
	for _, after := range head.Rejoined {
		w.problem(store.TraceRejoined, "", after, after)
	}
}

// follow skips what a purge took: before the start, or since the last page.
func (w *traceWalk) follow(head *headRow) {
	for i, f := range store.Families {
		e, to := &w.ends[i], &head.Ends[i]
		if to.PurgedLast <= e.last {
			continue
		}
		*e = walked{count: to.Purged, last: to.PurgedLast, hash: to.PurgedHash, known: true}
		w.compareKept(i, e)
		for n := range w.kept { // what a head ends with may be gone by now
			if h := w.kept[n].Of(f); h.Last < e.last && h.Count < e.count {
				w.met[n][i] = true
			}
		}
	}
}

// purgedTo is up to where numbers may lack: whatever is not there may have been
// of the family that was purged further.
func purgedTo(head *headRow) uint64 {
	var to uint64
	if head != nil {
		for i := range head.Ends {
			to = max(to, head.Ends[i].PurgedLast)
		}
	}
	return to
}

// record verifies one record and its place.
func (w *traceWalk) record(v *view, family int, k, row []byte, head *headRow) {
	f, e := store.Families[family], &w.ends[family]
	w.report.Read++
	if len(k) != 9 {
		w.problem(store.TraceStray, f, e.last, e.last)
		return
	}
	seq := binary.BigEndian.Uint64(k[1:])
	if head != nil && seq <= head.Ends[family].PurgedLast {
		w.problem(store.TraceStray, f, seq, seq) // put back after a purge
		return
	}
	w.gap(seq, head)
	w.at = seq
	defer func() { e.hole = false }()
	before := e.last
	e.last, e.count = seq, e.count+1
	if head != nil && seq > head.Ends[family].Last {
		w.problem(store.TraceBehind, f, seq, seq)
	}
	clear, err := w.s.keys.OpenRow(nil, traceOwner, string(bucketTraces), k, row)
	t := new(store.Trace)
	if err == nil {
		err = decode(bucketTraces, clear, t)
	}
	if err != nil || t.Seq != seq || t.Family != f {
		w.problem(store.TraceUnreadable, f, seq, seq)
		e.known = false
		return
	}
	if e.known && !e.hole && !rejoinedAt(head, before, seq) {
		var want []byte
		if e.count > 1 {
			want = e.hash[:]
		}
		if string(t.Prev) != string(want) {
			w.problem(store.TraceBroken, f, before+1, seq)
		}
	}
	e.hash, e.known = w.s.linkOf(clear), true
	for _, code := range t.Pathways() {
		if p := v.bucket(bucketThreads).Get(v.threadKey(code, 't', k[1:])); len(p) != 2 || p[1] != familyKeys[family] {
			w.problem(store.TraceHidden, f, seq, seq)
			break
		}
	}
	w.compareKept(family, e)
}

// rejoinedAt reports whether the chain was taken up anew between two records:
// that is a problem of its own, told once.
func rejoinedAt(head *headRow, last, next uint64) bool {
	return head != nil && slices.ContainsFunc(head.Rejoined, func(after uint64) bool { return last <= after && after < next })
}

// gap reports the numbers that lack before next.
func (w *traceWalk) gap(next uint64, head *headRow) {
	from := max(w.at, purgedTo(head)) + 1
	if next <= from {
		return
	}
	w.problem(store.TraceMissing, "", from, next-1)
	for i := range w.ends {
		w.ends[i].hole = true
	}
}

// compareKept compares a record just read with the heads kept elsewhere that
// end with it.
func (w *traceWalk) compareKept(family int, e *walked) {
	for i := range w.kept {
		h := w.kept[i].Of(store.Families[family])
		if h.Last == e.last && h.Count == e.count && h.Hash == hex.EncodeToString(e.hash[:]) {
			w.met[i][family] = true
		}
	}
}

// finish compares the end with the head.
func (w *traceWalk) finish(v *view, head *headRow) error {
	if head != nil {
		w.report.Head = head.public(w.s.o.Clock())
		w.gap(head.Trace+1, head)
		for i, f := range store.Families {
			e, want := &w.ends[i], &head.Ends[i]
			switch {
			case e.last != want.Last && !e.hole:
				w.problem(store.TraceMissing, f, want.Last, want.Last)
			case e.count != want.Count && w.report.Sound():
				w.problem(store.TraceCount, f, e.last, e.last)
			case e.last == want.Last && e.known && want.Count > 0 && e.hash != want.Hash:
				w.problem(store.TraceBroken, f, e.last, e.last)
			}
		}
	}
	for i := range w.kept {
		for j, f := range store.Families {
			if h := w.kept[i].Of(f); h.Count > 0 && !w.met[i][j] {
				w.problem(store.TraceNotKept, f, h.Last, h.Last)
			}
		}
	}
	w.strays(v)
	return nil
}

// strays looks for rows that are no traces, and for pointers to traces behind
// the last: what is left where an end was cut off.
func (w *traceWalk) strays(v *view) {
	c := v.bucket(bucketTraces).Cursor()
	for k, _ := c.First(); k != nil; {
		i := bytes.IndexByte(familyKeys[:], k[0])
		if i < 0 {
			w.problem(store.TraceStray, "", 0, 0)
			k, _ = c.Next()
			continue
		}
		k, _ = c.Seek([]byte{familyKeys[i] + 1})
	}
	threads := v.bucket(bucketThreads).Cursor()
	for k, _ := threads.First(); len(k) > handleSize; {
		owner := append([]byte(nil), k[:handleSize]...)
		behind, _ := threads.Seek(joined(owner, []byte{'t'}, u64(w.at+1)))
		if hasPrefix(behind, joined(owner, []byte{'t'})) && len(behind) == handleSize+9 {
			seq := binary.BigEndian.Uint64(behind[handleSize+1:])
			w.problem(store.TraceMissing, "", seq, seq)
		}
		k, _ = threads.Seek(joined(owner, []byte{0xff}))
	}
}
