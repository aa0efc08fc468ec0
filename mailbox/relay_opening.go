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
	// handedFor is how long a message that was just taken waits for its first copy
	// to be claimed: in a burst that takes some seconds.
	handedFor = 3 * time.Second
)

// openings are the messages whose copies are being sent about now. What their
// copies have in common is read once: the record, the index, what is kept of the
// header and, within bounds, the body. It is in memory only, and wiped when it
// was used.
//
// What was taken a moment ago needs not be opened at all: intake hands it over,
// if it is small and there is room.
//
// An opening is no right to send: it begins when a copy was claimed, its rights
// checked, and whoever uses it makes sure that the message is still there.
type openings struct {
	mu   sync.Mutex
	m    map[store.MessageID]*opening
	held int64 // bytes of messages in memory
}

// opening is one message.
type opening struct {
	all *openings
	of  store.MessageRef
	m   *store.Message // as it was when its first copy was claimed

	// Of all.mu.
	copies  int // claimed and not over
	left    int // not over, if it was handed over; else 0
	readers int
	closed  bool // no more readers
	timer   *time.Timer

	// Of reading, until they are there; then they stay as they are for as long as
	// there are readers.
	reading sync.Mutex
	idx     *letter.Index
	kept    *letter.Kept
	header  []byte // as received, if it was handed over
	body    []byte // nil: every copy reads for itself
	held    []byte // what is wiped: the body, and the header that was handed over
}

// offer hands a message over that is about to be committed with some copies. Nil:
// it was not kept, or there is no room.
func (o *openings) offer(m *store.Message, idx *letter.Index, text *handed, copies int) *opening {
	o.mu.Lock()
	defer o.mu.Unlock()
	if copies == 0 || text == nil || int64(len(text.b)) != idx.Size || o.held+idx.Size > heldMost/2 {
		return nil
	}
	all := text.take()
	p := o.begin(store.MessageRef{Pathway: m.Pathway, Message: m.ID}, handedFor)
	p.left, p.idx, p.held = copies, idx, all
	p.header, p.body = all[:idx.HeaderEnd], all[idx.HeaderEnd:]
	o.held += idx.Size
	return p
}

// withdraw takes back what was offered: it was not committed.
func (p *opening) withdraw() {
	if p == nil {
		return
	}
	p.all.mu.Lock()
	defer p.all.mu.Unlock()
	p.close()
}

// begin makes an opening that ends after some time. The caller holds mu.
func (o *openings) begin(of store.MessageRef, lasts time.Duration) *opening {
	if o.m == nil {
		o.m = map[store.MessageID]*opening{}
	}
	p := &opening{all: o, of: of}
	p.timer = time.AfterFunc(lasts, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		p.close()
	})
	o.m[of.Message] = p
	return p
}

// claimed opens a message for a copy that was claimed.
func (o *openings) claimed(m *store.Message) *opening {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.m[m.ID]
	if p == nil {
		p = o.begin(store.MessageRef{Pathway: m.Pathway, Message: m.ID}, openFor)
	}
	if p.m == nil {
		p.m = m
		p.timer.Reset(openFor)
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
	p.left--
	switch p.copies--; {
	case p.closed || p.copies > 0:
	case p.left == 0, p.readers == 0 && len(p.body) > smallBody:
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
		p.body, p.held = body, body
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
	delete(p.all.m, p.of.Message)
	if p.readers == 0 {
		p.wipe()
	}
}

func (p *opening) wipe() {
	clear(p.held)
	p.all.held -= int64(len(p.held))
	p.held, p.header, p.body = nil, nil, nil
}

// forget closes what belongs to pathways.
func (o *openings) forget(codes []store.PathwayCode) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.m {
		if slices.Contains(codes, p.of.Pathway) {
			p.close()
		}
	}
}
