package mailbox

import (
	"fmt"
	"math"
	"time"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Stored indexes, decoded. Whoever opens a message or searches through a
// thousand needs them, and the library takes ten times as long as this: it looks
// up fields by reflection and gives each text memory of its own.

// decodeIndex reads the stored index of a message. What is not as encodeIndex
// writes it is left to the library, which judges it.
func decodeIndex(b []byte) (*letter.Index, error) {
	// One string for all texts: what somebody keeps of it stays valid.
	c := cborHeads{rest: string(b)}
	idx := new(letter.Index)
	if c.index(idx); !c.odd && c.rest == "" {
		return idx, nil
	}
	idx = new(letter.Index)
	if err := indexDecoding.Unmarshal(b, idx); err != nil {
		return nil, fmt.Errorf("reading a stored index: %w", store.ErrCorrupt)
	}
	return idx, nil
}

// cborHeads reads the few kinds of CBOR items (RFC 8949 §3.1) that an index is
// made of.
type cborHeads struct {
	rest  string
	odd   bool // something else came
	depth int
}

// Major types, and values of one byte.
const (
	cborUint   = 0 << 5
	cborBytes  = 2 << 5
	cborString = 3 << 5
	cborArray  = 4 << 5
	cborMap    = 5 << 5
	cborFalse  = 0xf4
	cborTrue   = 0xf5
	cborNull   = 0xf6
)

// maxCBORDepth bounds how deep parts nest here; deeper ones are the library's.
const maxCBORDepth = 100

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

// null reads null, if it is next.
func (c *cborHeads) null() bool {
	if c.rest == "" || c.rest[0] != cborNull {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *cborHeads) number() int64 {
	n := c.head(cborUint)
	if n > math.MaxInt64 {
		c.odd = true
	}
	return int64(n)
}

func (c *cborHeads) yes() bool {
	if c.rest == "" || c.rest[0] != cborTrue && c.rest[0] != cborFalse {
		c.odd = true
		return false
	}
	is := c.rest[0] == cborTrue
	c.rest = c.rest[1:]
	return is
}

func (c *cborHeads) take(n uint64) string {
	if n > uint64(len(c.rest)) {
		c.odd = true
		return ""
	}
	s := c.rest[:n]
	c.rest = c.rest[n:]
	return s
}

func (c *cborHeads) text() string { return c.take(c.head(cborString)) }

func (c *cborHeads) bytes() []byte {
	if c.null() {
		return nil
	}
	return []byte(c.take(c.head(cborBytes)))
}

// record reads a map whose keys are numbers that rise, as encodeIndex writes
// them.
func (c *cborHeads) record(value func(key uint64)) {
	if c.depth++; c.depth > maxCBORDepth {
		c.odd = true
	}
	last := uint64(0)
	for pairs := c.head(cborMap); pairs > 0 && !c.odd; pairs-- {
		key := c.head(cborUint)
		if key <= last {
			c.odd = true
			break
		}
		last = key
		value(key)
	}
	c.depth--
}

// listOf reads an array.
func listOf[T any](c *cborHeads, item func(*T)) []T {
	if c.null() {
		return nil
	}
	n := c.head(cborArray)
	all := make([]T, 0, min(n, 32))
	for ; n > 0 && !c.odd; n-- {
		var one T
		all = append(all, one)
		item(&all[len(all)-1])
	}
	return all
}

func (c *cborHeads) texts() []string { return listOf(c, func(s *string) { *s = c.text() }) }

func (c *cborHeads) params() map[string]string {
	n := c.head(cborMap)
	m := make(map[string]string, min(n, 8))
	for ; n > 0 && !c.odd; n-- {
		name := c.text()
		if _, twice := m[name]; twice {
			c.odd = true
		}
		m[name] = c.text()
	}
	return m
}

func (c *cborHeads) time() time.Time {
	t, err := time.Parse(time.RFC3339, c.text())
	c.odd = c.odd || err != nil
	return t
}

func (c *cborHeads) index(x *letter.Index) {
	c.record(func(key uint64) {
		switch key {
		case 1:
			x.Version = int(c.number())
		case 2:
			x.Size = c.number()
		case 3:
			x.HeaderEnd = c.number()
		case 4:
			x.Fields = c.fields()
		case 5:
			c.envelope(&x.Envelope)
		case 6:
			c.part(&x.Root)
		case 7:
			x.BodySum = c.bytes()
		case 8:
			x.Defects = listOf(c, c.defect)
		case 9:
			x.EightBit = c.yes()
		case 10:
			x.LongLine = int(c.number())
		case 11:
			x.BareCRLF = c.yes()
		case 12:
			x.FinalCRLF = c.yes()
		default:
			c.odd = true
		}
	})
}

func (c *cborHeads) fields() []letter.Field {
	return listOf(c, func(f *letter.Field) { *f = c.field() })
}

// field reads one in a loop of its own: a mail has twenty.
func (c *cborHeads) field() (f letter.Field) {
	last := uint64(0)
	for pairs := c.head(cborMap); pairs > 0 && !c.odd; pairs-- {
		key := c.head(cborUint)
		c.odd = c.odd || key <= last
		switch last = key; key {
		case 1:
			f.Name = c.text()
		case 2:
			f.Start = c.number()
		case 3:
			f.End = c.number()
		case 4:
			f.Value = c.text()
		default:
			c.odd = true
		}
	}
	return f
}

func (c *cborHeads) defect(d *letter.Defect) {
	c.record(func(key uint64) {
		switch key {
		case 1:
			d.Kind = c.text()
		case 2:
			d.At = c.number()
		default:
			c.odd = true
		}
	})
}

func (c *cborHeads) envelope(e *letter.Envelope) {
	c.record(func(key uint64) {
		switch key {
		case 1:
			e.Date = c.time()
		case 2:
			e.DateText = c.text()
		case 3:
			e.Subject = c.text()
		case 4:
			e.From = c.mailboxes()
		case 5:
			e.Sender = c.mailboxes()
		case 6:
			e.ReplyTo = c.mailboxes()
		case 7:
			e.To = c.mailboxes()
		case 8:
			e.Cc = c.mailboxes()
		case 9:
			e.Bcc = c.mailboxes()
		case 10:
			e.MessageID = c.text()
		case 11:
			e.InReplyTo = c.texts()
		case 12:
			e.References = c.texts()
		default:
			c.odd = true
		}
	})
}

func (c *cborHeads) mailboxes() []letter.Mailbox {
	return listOf(c, func(m *letter.Mailbox) {
		c.record(func(key uint64) {
			switch key {
			case 1:
				m.Name = c.text()
			case 2:
				m.Address = c.text()
			case 3:
				m.Group = c.text()
			default:
				c.odd = true
			}
		})
	})
}

func (c *cborHeads) part(p *letter.Part) {
	c.record(func(key uint64) {
		switch key {
		case 1:
			p.Number = c.text()
		case 2:
			p.Type = c.text()
		case 3:
			p.Subtype = c.text()
		case 4:
			p.Params = c.params()
		case 5:
			p.Encoding = c.text()
		case 6:
			p.Disposition = c.text()
		case 7:
			p.DispParams = c.params()
		case 8:
			p.ContentID = c.text()
		case 9:
			p.Description = c.text()
		case 10:
			p.Filename = c.text()
		case 11:
			p.Language = c.texts()
		case 12:
			p.Location = c.text()
		case 13:
			p.MD5 = c.text()
		case 14:
			p.HeaderStart = c.number()
		case 15:
			p.BodyStart = c.number()
		case 16:
			p.BodyEnd = c.number()
		case 17:
			p.Lines = c.number()
		case 18:
			p.Size = c.number()
		case 19:
			p.Sum = c.bytes()
		case 20:
			p.Parts = listOf(c, c.part)
		case 21:
			p.Message = new(letter.Envelope)
			c.envelope(p.Message)
		case 22:
			p.Header = c.fields()
		default:
			c.odd = true
		}
	})
}
