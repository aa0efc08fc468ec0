package bolt

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
)

// What the segments kept: the rows of every commit record, in the order of commits,
// so that of each row the last one stands.

// segmentTail is a stretch without records at the end of a segment.
type segmentTail struct {
	path string
	at   int64
}

// readSegments puts back the rows of every commit record, in order.
func (c *salvager) readSegments() error {
	entries, err := os.ReadDir(c.s.segs.dir)
	if err != nil {
		return fmt.Errorf("listing segments: %w", fault(err))
	}
	var numbers []uint32
	for _, e := range entries {
		if n, ok := sharedNumber(e.Name()); ok {
			numbers = append(numbers, n)
			if info, err := e.Info(); err == nil {
				c.total += info.Size()
			}
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := c.segment(n); err != nil {
			return fmt.Errorf("reading segment %s: %w", sharedName(n), err)
		}
		c.state.Segment = n
	}
	if c.torn != nil {
		// What follows the last record was being written: it was acknowledged to
		// nobody.
		return fault(os.Truncate(c.torn.path, c.torn.at))
	}
	return nil
}

func (c *salvager) segment(number uint32) error {
	path := c.s.segs.path(sharedName(number))
	f, err := os.Open(path)
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fault(err)
	}
	s := &scan{file: f, name: sharedName(number), end: info.Size(), tick: func(n int64) error {
		if c.done += n; c.o.Progress != nil {
			c.o.Progress(min(c.done, c.total), c.total)
		}
		return c.ctx.Err()
	}}
	end := int64(segHead)
	err = s.run(func(h recordHead, at int64, sound bool, payload []byte) error {
		end = at + int64(recHead) + h.length
		if sound && h.kind != recCommit {
			return nil
		}
		rec, _, ok := parseRecord(payload)
		if !sound || !ok {
			c.out.Damaged++
			return nil
		}
		c.state.Seq = max(c.state.Seq, h.seq)
		if d := binary.BigEndian.Uint64(h.id[:]); d > c.durable {
			c.durable = d
			maps.DeleteFunc(c.last, func(_ string, seq uint64) bool { return seq <= d })
		}
		return c.update(func(t *tx) error { return c.putBack(t, h.seq, rec.Rows) })
	})
	if err != nil {
		return err
	}
	c.torn = nil
	c.out.Damaged += int64(len(s.gaps))
	if n := len(s.gaps); n > 0 && s.gaps[n-1] >= end && end > segHead || n == 0 && info.Size() > end {
		c.torn = &segmentTail{path, end}
		if s.onlyZeros {
			c.out.Damaged-- // the room set aside
		}
	}
	c.ended = append(c.ended, segmentEnd{number, end, s.chain})
	c.state.SegmentBytes += info.Size()
	return nil
}

// putBack puts back what nothing else would tell; the rest is made again.
func (c *salvager) putBack(t *tx, seq uint64, rows []loggedRow) error {
	for _, r := range rows {
		name, key, ok := splitPlace(r.place())
		if !ok {
			c.out.Damaged++
			continue
		}
		if !standsAlone(r.Bucket, key) {
			continue
		}
		var err error
		if b := t.tx.Bucket(name); r.Row == nil {
			err = b.Delete(key)
		} else {
			err = b.Put(key, r.Row)
		}
		if err != nil {
			return err
		}
		if r.Bucket == numThreads && seq > c.durable {
			c.last[string(key)] = seq
		}
	}
	return nil
}
