package bolt

import (
	"bytes"

	"github.com/tidwall/btree"
)

// Rows that the index does not have yet are kept in memory, in the order of
// their keys: what was committed last in one level, and what is being written to
// the index in another. Both are as sealed as they are there. A copy of a level
// shares all that does not change afterwards, so that each reader has its own.

// entry is a row of any bucket.
type entry struct {
	key  []byte // place of the bucket, then the key there
	row  []byte // nil: deleted
	turn uint64 // of the Commit that wrote it
	at   int    // where that has it in its log
}

// level is an ordered set of rows.
type level struct {
	rows    *btree.BTreeG[*entry]
	bytes   int    // about what the rows take
	version uint64 // changes with every change of the order
	used    bool   // something was written, though it may be gone again
}

// levelDegree makes nodes of half a kilobyte: what a group changes is copied.
const levelDegree = 32

func newLevel() *level {
	return &level{rows: btree.NewBTreeGOptions(func(a, b *entry) bool { return bytes.Compare(a.key, b.key) < 0 }, btree.Options{Degree: levelDegree, NoLocks: true})}
}

// copied gives what the level holds now, whatever becomes of it.
func (l *level) copied() *level { return &level{rows: l.rows.Copy(), bytes: l.bytes, used: l.used} }

func (l *level) empty() bool { return l == nil || l.rows.Len() == 0 }

// entryCost is what an entry takes besides its bytes.
const entryCost = 80

func (e *entry) size() int { return len(e.key) + len(e.row) + entryCost }

// set puts an entry in and gives the one that was there.
func (l *level) set(e *entry) *entry {
	l.version++
	l.used = true
	l.bytes += e.size()
	old, was := l.rows.Set(e)
	if !was {
		return nil
	}
	l.bytes -= old.size()
	return old
}

// unset takes an entry out, and puts back the one that was there before.
func (l *level) unset(e, old *entry) {
	if old != nil {
		l.set(old)
		return
	}
	l.remove(e)
}

// remove takes an entry out.
func (l *level) remove(e *entry) {
	l.version++
	if have, was := l.rows.Delete(e); was {
		l.bytes -= have.size()
	}
}

// levels are what a reader sees over the index.
type levels struct {
	active  *level // committed since
	frozen  *level // being written to the index; nil: nothing is
	state   *state // after the last commit in active
	until   *state // after the last commit in frozen
	flushed uint64 // how often a frozen level came to be in the index
}
