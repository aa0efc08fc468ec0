package mailbox

import (
	"github.com/relais-sante/relais/mailbox/letter"
)

// decodeFields reads of a stored index what a listing shows, Size and Fields,
// into idx, whose list it uses again. Decoding all of an index costs ten times
// as much, and a listing is of a hundred thousand. What is not as encodeIndex
// writes it is left to decodeIndex.
func decodeFields(stored []byte, idx *letter.Index) error {
	fields := idx.Fields[:0]
	// One string for all texts: what somebody keeps of it stays valid.
	c := cborHeads{rest: string(stored)}
	pairs := c.head(cborMap)
	*idx = letter.Index{Fields: fields}
	for ; pairs > 0 && !c.odd; pairs-- {
		switch c.head(cborUint) {
		case 1:
			idx.Version = int(c.head(cborUint))
		case 2:
			idx.Size = int64(c.head(cborUint))
		case 3:
			idx.HeaderEnd = int64(c.head(cborUint))
		case 4: // the rest is not looked at
			for n := c.head(cborArray); n > 0 && !c.odd; n-- {
				idx.Fields = append(idx.Fields, c.field())
			}
			if !c.odd {
				return nil
			}
		default:
			c.odd = true
		}
	}
	whole, err := decodeIndex(stored)
	if err != nil {
		return err
	}
	*idx = letter.Index{Version: whole.Version, Size: whole.Size, HeaderEnd: whole.HeaderEnd, Fields: append(fields, whole.Fields...)}
	return nil
}

// cborHeads reads the few kinds of CBOR items (RFC 8949 §3.1) that stand at the
// beginning of an index.
type cborHeads struct {
	rest string
	odd  bool // something else came
}

// Major types.
const (
	cborUint   = 0 << 5
	cborString = 3 << 5
	cborArray  = 4 << 5
	cborMap    = 5 << 5
)

// head reads the head of an item that must be of a major type, and gives its
// number: the value, a length, or how many items follow.
func (c *cborHeads) head(major byte) uint64 {
	if len(c.rest) == 0 || c.rest[0]&0xe0 != major {
		c.odd = true
		return 0
	}
	n := uint64(c.rest[0] & 0x1f)
	size := 0
	if n >= 24 {
		if size = 1 << (n - 24); size > 8 || len(c.rest) < 1+size {
			c.odd = true
			return 0
		}
		n = 0
		for _, b := range []byte(c.rest[1 : 1+size]) {
			n = n<<8 | uint64(b)
		}
	}
	c.rest = c.rest[1+size:]
	return n
}

func (c *cborHeads) text() string {
	n := c.head(cborString)
	if n > uint64(len(c.rest)) {
		c.odd = true
		return ""
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

func (c *cborHeads) field() (f letter.Field) {
	for pairs := c.head(cborMap); pairs > 0 && !c.odd; pairs-- {
		switch c.head(cborUint) {
		case 1:
			f.Name = c.text()
		case 2:
			f.Start = int64(c.head(cborUint))
		case 3:
			f.End = int64(c.head(cborUint))
		case 4:
			f.Value = c.text()
		default:
			c.odd = true
		}
	}
	return f
}
