package bolt

import (
	"bytes"

	"github.com/tidwall/btree"
	bolt "go.etcd.io/bbolt"
)

// cursor goes through a bucket in the order of its keys, forwards and backwards,
// as bbolt's does. Where a key is in several layers the newest counts, and what
// that says is deleted is not there. Rows may be written while it stands
// somewhere; whether it meets those is not said.
type cursor struct {
	b    *bucket
	base *bolt.Cursor // nil: the index has no such bucket
	key  []byte       // where base stands, nil: at its end
	row  []byte
	over [2]layer // levels that hold rows of the bucket, the newest first
	n    int      // how many
	at   []byte   // key it gave last, nil: at the end
	back bool     // the layers stand at or before at, not at or behind it
}

// layer is a place in one level.
type layer struct {
	l       *level
	it      btree.IterG[*entry]
	version uint64 // of the level when it was placed
	e       *entry // nil: at its end
}

// Cursor goes through the bucket.
func (b *bucket) Cursor() *cursor {
	c := &cursor{b: b}
	if base := b.index(); base != nil {
		c.base = base.Cursor()
	}
	if lv := b.v.over; lv != nil {
		for i, l := range [...]*level{lv.active, lv.frozen} {
			written := i == 0 && b.v.writes
			if l.empty() && !written {
				continue
			}
			o := &c.over[c.n]
			o.l = l
			// A level with nothing of this bucket costs nothing more, but the one
			// that is being written to may yet get something.
			if written {
				c.n++
			} else if o.seek(b, nil); o.e != nil {
				c.n++
			}
		}
	}
	return c
}

// seek places a layer at the first key from key on.
func (o *layer) seek(b *bucket, key []byte) {
	p := &b.v.pivot
	p.key = append(append(p.key[:0], b.place...), key...)
	o.it.Release()
	o.it.Init(o.l.rows, false)
	o.version = o.l.version
	o.stand(b, o.it.Seek(p))
}

// seekBack places a layer at the last key before key, or at the last of all if
// key is nil.
func (o *layer) seekBack(b *bucket, key []byte) {
	p := &b.v.pivot
	p.key = append(append(p.key[:0], b.place...), key...)
	if key == nil {
		p.key[len(b.place)-1]++ // no place ends in 0xff
		for i := len(b.place) - 1; i > 0 && p.key[i] == 0; i-- {
			p.key[i-1]++
		}
	}
	o.it.Release()
	o.it.Init(o.l.rows, false)
	o.version = o.l.version
	if o.it.Seek(p) {
		o.stand(b, o.it.Prev())
	} else {
		o.stand(b, o.it.Last())
	}
}

// stand takes the entry that the iterator is at, if it is of the bucket.
func (o *layer) stand(b *bucket, ok bool) {
	o.e = nil
	if ok {
		if e := o.it.Item(); bytes.HasPrefix(e.key, b.place) {
			o.e = e
		}
	}
}

// step goes on from the key the layer stands at.
func (o *layer) step(b *bucket, back bool) {
	switch {
	case o.version != o.l.version: // the tree was changed under the iterator
		key := o.e.key[len(b.place):]
		if back {
			o.seekBack(b, key)
		} else if o.seek(b, key); o.e != nil && bytes.Equal(o.e.key[len(b.place):], key) {
			o.stand(b, o.it.Next())
		}
	case back:
		o.stand(b, o.it.Prev())
	default:
		o.stand(b, o.it.Next())
	}
}

// First goes to the first key.
func (c *cursor) First() ([]byte, []byte) {
	if c.n == 0 {
		return c.plain((*bolt.Cursor).First)
	}
	if c.base != nil {
		c.key, c.row = c.base.First()
	}
	for i := range c.n {
		c.over[i].seek(c.b, nil)
	}
	c.back = false
	return c.settle()
}

// Seek goes to a key or, if it is not there, to the next one.
func (c *cursor) Seek(key []byte) ([]byte, []byte) {
	if c.n == 0 {
		if c.base == nil {
			return nil, nil
		}
		return c.base.Seek(key)
	}
	c.seek(key)
	return c.settle()
}

func (c *cursor) seek(key []byte) {
	if c.base != nil {
		c.key, c.row = c.base.Seek(key)
	}
	for i := range c.n {
		c.over[i].seek(c.b, key)
	}
	c.back = false
}

// Last goes to the last key.
func (c *cursor) Last() ([]byte, []byte) {
	if c.n == 0 {
		return c.plain((*bolt.Cursor).Last)
	}
	c.seekBack(nil)
	return c.settle()
}

// seekBack places all layers before key; nil: at their ends.
func (c *cursor) seekBack(key []byte) {
	switch {
	case c.base == nil:
	case key == nil:
		c.key, c.row = c.base.Last()
	default:
		if k, _ := c.base.Seek(key); k == nil {
			c.key, c.row = c.base.Last()
		} else {
			c.key, c.row = c.base.Prev()
		}
	}
	for i := range c.n {
		c.over[i].seekBack(c.b, key)
	}
	c.back = true
}

// Next goes on to the next key.
func (c *cursor) Next() ([]byte, []byte) {
	if c.n == 0 {
		return c.plain((*bolt.Cursor).Next)
	}
	if c.at == nil {
		return nil, nil
	}
	if c.back {
		c.seek(c.at)
	}
	c.leave()
	return c.settle()
}

// Prev goes back to the key before.
func (c *cursor) Prev() ([]byte, []byte) {
	if c.n == 0 {
		return c.plain((*bolt.Cursor).Prev)
	}
	if c.at == nil {
		return nil, nil
	}
	if !c.back {
		c.seekBack(c.at)
	} else {
		c.leave()
	}
	return c.settle()
}

func (c *cursor) plain(step func(*bolt.Cursor) ([]byte, []byte)) ([]byte, []byte) {
	if c.base == nil {
		return nil, nil
	}
	return step(c.base)
}

// leave goes on in every layer that stands at the current key.
func (c *cursor) leave() {
	if c.key != nil && bytes.Equal(c.key, c.at) {
		if c.back {
			c.key, c.row = c.base.Prev()
		} else {
			c.key, c.row = c.base.Next()
		}
	}
	for i := range c.n {
		if o := &c.over[i]; o.e != nil && bytes.Equal(o.e.key[len(c.b.place):], c.at) {
			o.step(c.b, c.back)
		}
	}
}

// settle finds the layer whose key comes next.
func (c *cursor) settle() (key, row []byte) {
	for {
		key, row = c.key, c.row
		for i := c.n - 1; i >= 0; i-- {
			e := c.over[i].e
			if e == nil {
				continue
			}
			k := e.key[len(c.b.place):]
			d := -1
			if key != nil {
				d = bytes.Compare(k, key)
			}
			if c.back && key != nil {
				d = -d
			}
			if d <= 0 {
				key, row = k, e.row
			}
		}
		if c.at = key; key == nil || row != nil {
			return key, row
		}
		c.leave() // deleted
	}
}
