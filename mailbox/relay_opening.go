package mailbox

import (
	"slices"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

const (
	// smallBody is a body that is held in memory whether or not other copies of
	// its message wait already, largeBody one that is not held even then; heldMost
	// bounds all that are held. In bytes.
	smallBody = 64 << 10
	largeBody = 4 << 20
	heldMost  = 16 << 20
	// openFor is how long a message is held open for a copy that was claimed and
	// is not over; lingers is how long afterwards, if it is small: its other copies
	// may be claimed in other lanes.
	openFor = 10 * time.Second
	lingers = time.Second
)

// openings are the messages whose copies are being sent about now. What their
// copies have in common is read once: the record, the index, what is kept of the
// header and, within bounds, the body. It is in memory only, and wiped when it
// was used.
//
// An opening is no right to send: it begins when a copy was claimed, its rights
// checked, and whoever uses it makes sure that the message is still there.
type openings struct {
	mu   sync.Mutex
	m    map[store.MessageID]*opening
	held int64 // bytes of bodies in memory
}

// opening is one message.
type opening struct {
	all *openings
	m   *store.Message

	// Of all.mu.
	copies  int // claimed and not over
	readers int
	closed  bool // no more readers
	timer   *time.Timer

	// Of reading, until they are there; then they stay as they are for as long as
	// there are readers.
	reading sync.Mutex
	idx     *letter.Index
	kept    *letter.Kept
	body    []byte // nil: every copy reads for itself
}

// claimed opens a message for a copy that was claimed.
func (o *openings) claimed(m *store.Message) *opening {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.m[m.ID]
	if p == nil {
		if o.m == nil {
			o.m = map[store.MessageID]*opening{}
		}
		p = &opening{all: o, m: m}
		p.timer = time.AfterFunc(openFor, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			p.close()
		})
		o.m[m.ID] = p
	}
	p.copies++
	return p
}

// over notes that a copy has ended.
func (p *opening) over() {
	if p == nil {
		return
	}
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	switch p.copies--; {
	case p.closed || p.copies > 0:
	case p.readers == 0 && len(p.body) > smallBody:
		p.close()
	default:
		p.timer.Reset(lingers)
	}
}

// use begins to read; false: it was closed. Whoever got true calls leave.
func (p *opening) use() bool {
	if p == nil {
		return false
	}
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if !p.closed {
		p.readers++
	}
	return !p.closed
}

func (p *opening) leave() {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if p.readers--; p.closed && p.readers == 0 {
		p.wipe()
	}
}

// room gives memory for a body of n bytes, nil if it is not to be held. What
// came of it goes to hold.
func (p *opening) room(n int64) []byte {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if p.closed || n > largeBody || n > smallBody && p.copies < 2 || p.all.held+n > heldMost {
		return nil
	}
	p.all.held += n
	return make([]byte, n)
}

// hold keeps a body for all readers, if it is whole.
func (p *opening) hold(body []byte, whole bool) {
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	if whole {
		p.body = body
		return
	}
	clear(body)
	p.all.held -= int64(len(body))
}

// close ends an opening. The caller holds all.mu.
func (p *opening) close() {
	if p.closed {
		return
	}
	p.closed = true
	p.timer.Stop()
	delete(p.all.m, p.m.ID)
	if p.readers == 0 {
		p.wipe()
	}
}

func (p *opening) wipe() {
	clear(p.body)
	p.all.held -= int64(len(p.body))
	p.body = nil
}

// forget closes what belongs to pathways.
func (o *openings) forget(codes []store.PathwayCode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.m {
		if slices.Contains(codes, p.m.Pathway) {
			p.close()
		}
	}
}
