package operator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Faults of one message.
const (
	errNoBody = journal.Fault("the server lists a message and does not give it")
	errPanic  = journal.Fault("taking a message ended in a panic")
)

// next is the cursor once a message is done with.
func (s *session) next(uid uint32, aside bool) mailbox.Cursor {
	c := s.cursor
	c.UID = uid
	c.Pending = append(slices.Clone(c.Pending), mailbox.PendingMark{UID: uid, Aside: aside})
	return c
}

// take has the hub take one message. An error ends the conversation; later: the
// hub cannot take it now.
func (s *session) take(ctx context.Context, m seen) (later bool, err error) {
	if m.size > s.o.MaxMessage {
		return false, s.tooBig(ctx, m)
	}
	next := s.next(m.uid, false)
	b := &body{sum: sha256.New(), rest: s.fence.rest}
	receipt, given, taken, err := s.fetch(ctx, m, next, b)
	switch {
	case given && taken == nil:
		// It is taken, whatever happened to the connection since.
		s.passed(next, outcomeOf(receipt))
		s.o.Log.Info("message taken from an operator's box", "box", s.name, "pathway", receipt.Pathway,
			"message", receipt.Message, "held", receipt.Held, "duplicate", receipt.Duplicate, "size", m.size)
		return false, err
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && faultOf(err) != FaultProtocol && faultOf(err) != FaultServer: // lost on the way
		return false, err
	}
	var no *mailbox.Refusal
	switch {
	case err == nil && !given:
		gone, lerr := s.gone(m.uid)
		if lerr != nil {
			return false, lerr
		}
		if gone { // somebody deleted it
			next.Pending = s.cursor.Pending
			s.cursor = next
			return false, nil
		}
		taken = errNoBody
	case err == nil && errors.As(taken, &no):
		switch no.Reason {
		case mailbox.RefuseFull, mailbox.RefuseUnavailable, mailbox.RefuseUnscanned:
			s.stuck(taken)
			return true, nil
		}
		return false, s.aside(ctx, m, no.Reason, b.digest)
	}
	// A reason of its own: the server cannot give it, or not so that the client
	// understands, or the hub fails at it. It must not stop those behind it.
	if s.hopeless(m.uid, err != nil && faultOf(err) == FaultServer) {
		what := fmt.Sprintf("%d/%d", s.cursor.Validity, m.uid) // the bytes are not known
		return false, s.aside(ctx, m, "", func() [32]byte { return sha256.Sum256([]byte(what)) })
	}
	if err != nil {
		return false, err
	}
	s.stuck(taken)
	return true, nil
}

// attempts at one message.
type attempts struct {
	n     int
	since time.Time
}

// hopeless counts an attempt at a message, and reports whether to give it up. A
// server's "no" may be trouble with all of its boxes, which passes.
func (s *session) hopeless(uid uint32, refused bool) bool {
	a := s.tries[uid]
	if a.n++; a.n == 1 {
		a.since = s.o.Now()
	}
	s.tries[uid] = a
	return a.n >= mostTry && (!refused || s.o.Now().Sub(a.since) >= s.o.GiveUp)
}

// stuck notes that the hub does not take a message now.
func (s *session) stuck(why error) {
	now := s.o.Now()
	s.health.update(func(h *Status) { h.Fault, h.FaultAt = FaultHub, now })
	s.o.Log.Warn("a message of an operator's box cannot be taken now", "box", s.name, "error", why)
}

// passed moves the cursor that the hub has committed.
func (s *session) passed(next mailbox.Cursor, outcome string) {
	delete(s.tries, next.UID)
	s.cursor = next
	now := s.o.Now()
	s.health.update(func(h *Status) {
		if outcome == "aside" {
			h.Aside++
			return
		}
		h.Taken++
		h.LastTaken = now
	})
	s.o.Metrics.messages.WithLabelValues(string(s.name), outcome).Inc()
}

func outcomeOf(r mailbox.Receipt) string {
	if r.Duplicate {
		return "duplicate"
	}
	return "taken"
}

// fetch hands the bytes of one message to the hub while they come. given: the
// server gave some; taken is then what the hub said, err what became of the
// conversation.
func (s *session) fetch(ctx context.Context, m seen, next mailbox.Cursor, b *body) (receipt mailbox.Receipt, given bool, taken, err error) {
	most := s.o.MaxMessage + s.o.MaxMessage/8 + 4096 // RFC822.SIZE is often a little wrong
	s.fence.allow(s.o.Step+time.Duration(most/s.o.MinRate)*time.Second, fewAnswers, fewBytes, most)
	cmd := s.imap.Fetch(imap.UIDSetNum(imap.UID(m.uid)), &imap.FetchOptions{
		UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			section, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok || section.Literal == nil || given {
				continue
			}
			given = true
			b.r, b.left = section.Literal, section.Literal.Size()
			receipt, taken = s.intake(ctx, next, b)
			if !b.ended { // the hub may not have read all
				_, _ = io.Copy(io.Discard, b)
			}
			if b.failed {
				// imapclient goes on reading by itself then, and would read
				// again from the same bytes if asked for more: the
				// conversation is over, with nothing more asked.
				return receipt, given, taken, s.broken(errSilent, nil)
			}
		}
	}
	s.step()
	return receipt, given, taken, orServer(s.broken(cmd.Close(), errNo))
}

// intake is [mailbox.Hub.Intake], which a message must not bring down.
func (s *session) intake(ctx context.Context, next mailbox.Cursor, b *body) (receipt mailbox.Receipt, err error) {
	defer func() {
		if p := recover(); p != nil {
			journal.Recovered(s.o.Log, p, "box", s.name)
			receipt, err = mailbox.Receipt{}, errPanic
		}
	}()
	env := mailbox.Envelope{
		Via: mailbox.ViaOperator, Peer: mailbox.Peer{Where: s.where}, Size: b.left, Received: s.o.Now(),
		Fetched: &mailbox.Fetched{Next: next, Digest: b.digest},
	}
	to, err := s.o.Hub.Recipient(ctx, &env, string(s.box))
	if err != nil {
		return receipt, fmt.Errorf("finding what a box is for: %w", err)
	}
	env.Rcpts = append(env.Rcpts, to)
	return s.o.Hub.Intake(ctx, env, b)
}

// body is a message on its way. imapclient ends a literal that was cut off like
// one that is whole: the bytes are counted here.
type body struct {
	r             io.Reader
	left          int64
	sum           hash.Hash
	rest          func() // called when all have come: what follows may take its time
	ended, failed bool
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if b.failed {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.r.Read(p)
	b.sum.Write(p[:n])
	b.left -= int64(n)
	if b.left == 0 && n > 0 {
		b.rest()
	}
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	b.ended = err == io.EOF
	b.failed = err != nil && !b.ended
	return n, err
}

func (b *body) digest() [32]byte { return [32]byte(b.sum.Sum(nil)) }

// gone reports whether a message is not in the box any more.
func (s *session) gone(uid uint32) (bool, error) {
	found, err := s.span(imap.UID(uid), imap.UID(uid))
	return len(found) == 0, err
}

// tooBig passes over a message that the hub would not take, without its bytes.
// Should the box count anew, it is known by when it arrived and its size.
func (s *session) tooBig(ctx context.Context, m seen) error {
	arrived, err := s.arrived(m.uid)
	if err != nil {
		if fault := faultOf(err); fault != FaultProtocol || !s.hopeless(m.uid, false) {
			return err
		}
	}
	what := "too big|" + strconv.FormatInt(arrived.Unix(), 10) + "|" + strconv.FormatInt(m.size, 10)
	return s.setAside(ctx, m, mailbox.RefuseTooBig, arrived, func() [32]byte { return sha256.Sum256([]byte(what)) })
}

// arrived asks when a message came into the box. Dates that imapclient does not
// understand end a conversation: they are asked for only where they are needed.
func (s *session) arrived(uid uint32) (at time.Time, err error) {
	s.step()
	cmd := s.imap.Fetch(imap.UIDSetNum(imap.UID(uid)), &imap.FetchOptions{UID: true, InternalDate: true})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			if d, ok := item.(imapclient.FetchItemDataInternalDate); ok {
				at = d.Time
			}
		}
	}
	return at, orServer(s.broken(cmd.Close(), errNo))
}

func (s *session) aside(ctx context.Context, m seen, why mailbox.RefusalReason, digest func() [32]byte) error {
	return s.setAside(ctx, m, why, s.o.Now(), digest)
}

// setAside passes over a message for good.
func (s *session) setAside(ctx context.Context, m seen, why mailbox.RefusalReason, arrived time.Time, digest func() [32]byte) error {
	if arrived.IsZero() {
		arrived = s.o.Now()
	}
	folder := s.o.Settings.Aside
	if folder == "" {
		folder = s.o.Settings.Inbox
	}
	next := s.next(m.uid, true)
	err := s.o.Hub.SetAside(ctx, mailbox.Aside{
		Fetched: mailbox.Fetched{Next: next, Digest: digest}, Reason: why, Programme: s.o.Settings.Programme,
		Arrived: arrived, Size: m.size, Where: s.where, Folder: folder,
	})
	if err != nil {
		return fail(FaultHub, err)
	}
	s.passed(next, "aside")
	s.o.Log.Warn("a message of an operator's box cannot be taken and is set aside", "box", s.name, "reason", why, "size", m.size)
	return nil
}
