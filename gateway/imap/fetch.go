package imap

import (
	"errors"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal"
)

// FETCH (RFC 9051 §6.4.5) goes over the messages in three ways, by the dearest
// item asked for:
//
//   - from the rows alone (flags, size, date),
//   - from the index (ENVELOPE, BODYSTRUCTURE), a batch for each call to the
//     floor below: answers pile up in the buffer meanwhile and are sent between
//     two batches,
//   - from the content: what to send of each message is located in the index,
//     then the message is opened and streamed.
//
// Rows do not move meanwhile: tell(false) keeps ghosts in their place.

// fetchItem is a kind of item.
type fetchKind uint8

const (
	itemUID fetchKind = iota
	itemFlags
	itemDate
	itemSize
	itemModSeq
	itemEmailID // from here on the index is needed
	itemThreadID
	itemSaved
	itemEnvelope
	itemBody
	itemStructure
	itemBinarySize
	itemSection // from here on the content
	itemPreview
)

// fetching is a FETCH command.
type fetching struct {
	kinds    []fetchKind
	sections []*section // of itemSection and itemBinarySize, in their order
	dearest  fetchKind
	seen     bool // content is read without PEEK: it sets \Seen
	noCTE    bool // BINARY of something nobody can decode
}

func (f *fetching) add(k fetchKind) {
	f.kinds = append(f.kinds, k)
	f.dearest = max(f.dearest, k)
}

func (f *fetching) addOnce(k fetchKind) {
	for _, have := range f.kinds {
		if have == k {
			return
		}
	}
	f.add(k)
}

// depth is how much of an index the items ask for.
func (f *fetching) depth() folder.Depth {
	for _, k := range f.kinds {
		if k >= itemBody {
			return folder.Whole
		}
	}
	// A client lists a folder once: keeping its envelopes for another time costs
	// more than reading them does, and takes their place from what is searched.
	return folder.Fields
}

func (c *conn) doFetch(p *parser) reply    { return c.fetchCommand(p, false) }
func (c *conn) doUIDFetch(p *parser) reply { return c.fetchCommand(p, true) }

func (c *conn) fetchCommand(p *parser, uid bool) reply {
	p.spaces()
	set := p.set()
	p.spaces()
	var f fetching
	if uid {
		f.add(itemUID)
	}
	p.fetchItems(&f)
	var since *uint64
	var vanished bool
	var part *partialRange
	if p.take(' ') {
		p.list(func() {
			switch p.key() {
			case "CHANGEDSINCE": // RFC 7162 §3.1.4.1
				p.spaces()
				n := p.number64()
				since = &n
			case "VANISHED": // RFC 7162 §3.2.6
				vanished = true
			case "PARTIAL": // RFC 9394 §3.2
				p.spaces()
				part = p.partialRange()
			default:
				p.fail("unknown modifier")
			}
		})
	}
	if vanished && (!uid || since == nil || !c.qresync) {
		p.fail("VANISHED needs UID, CHANGEDSINCE and QRESYNC enabled")
	}
	if !p.end() {
		return p.result()
	}
	if since != nil {
		f.addOnce(itemModSeq)
	}
	if c.qresync { // RFC 7162 §3.2.4
		f.addOnce(itemUID)
	}
	for _, k := range f.kinds {
		if k == itemModSeq && !c.cond {
			c.cond = true
			c.highest()
		}
	}
	c.tell(false)
	v := c.view
	at, r := v.places(set, uid)
	if r != nil {
		return *r
	}
	if vanished {
		c.vanishedEarlier(normal(set.spans, max(v.base.UIDNext, 2)-1), 0)
	}
	if since != nil {
		at = v.changedSince(at, *since)
	}
	if part != nil {
		at = part.of(at)
	}
	if err := c.fetch(&f, at); err != nil {
		return c.failed(err)
	}
	if f.noCTE {
		return no(codeUnknownCTE, "Codage inconnu / unknown encoding")
	}
	return v.completed(uid)
}

// highest tells the highest modseq where a command enabled CONDSTORE
// (RFC 7162 §3.1.2).
func (c *conn) highest() {
	c.text("* OK [HIGHESTMODSEQ ")
	c.number(max(c.view.base.HighestModSeq, 1))
	c.text("] Highest\r\n")
}

// changedSince keeps the places of rows that changed after a modseq.
func (v *view) changedSince(at []span, since uint64) (kept []span) {
	for _, s := range at {
		for i := s.from; i < s.to; i++ {
			if v.rows[i].ModSeq > since {
				kept = join(kept, span{i, i + 1})
			}
		}
	}
	return kept
}

// errEnough stops Each when there is something to send first.
const errEnough = journal.Fault("enough for now")

// How many messages are asked for in one call to the floor below.
const (
	indexBatch   = 1000
	contentBatch = 16
	indexBytes   = 4 * writeBuffer // of answers made in one call
)

// fetch answers for the messages at places.
func (c *conn) fetch(f *fetching, at []span) error {
	switch {
	case f.dearest >= itemSection:
		return c.fetchContent(f, at)
	case f.dearest >= itemEmailID:
		return c.fetchIndex(f, at)
	}
	c.begin()
	for _, s := range at {
		for i := s.from; i < s.to; i++ {
			c.out = c.fetchRow(c.out, f, int(i), nil, false)
			c.out = append(c.out, ")\r\n"...)
			if len(c.out) >= fullBuffer {
				if c.drain(); c.err != nil {
					return nil // there is nobody to tell
				}
			}
		}
	}
	return nil
}

// fetchIndex answers from the index.
func (c *conn) fetchIndex(f *fetching, at []span) error {
	v := c.view
	for all := uids(v.rows, at); len(all) > 0; {
		batch := all[:min(len(all), indexBatch)]
		done, place := 0, -1
		c.begin()
		err := v.each(c.ctx, batch, f.depth(), func(uid uint32, m *folder.Shown) error {
			for ; batch[done] < uid; done++ { // gone
			}
			done++
			// The next row, but for gaps: what is not asked for.
			if place++; place >= len(v.rows) || v.rows[place].UID != uid {
				place, _ = find(v.rows, uid)
			}
			c.out = c.fetchRow(c.out, f, place, m, false)
			c.out = append(c.out, ")\r\n"...)
			if len(c.out) >= indexBytes {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if err == nil {
			done = len(batch)
		}
		all = all[done:]
		if c.drain(); c.err != nil {
			break
		}
	}
	c.flush()
	return nil
}
