package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/relais-sante/relais/mailbox"
)

// seen is a message of the box as a list shows it.
type seen struct {
	uid  uint32
	size int64
}

// Bounds of a list of messages.
const (
	listed   = 100     // messages kept of one list
	window   = 500     // UIDs asked for at a time where many are new
	widest   = 1 << 24 // as many where UIDs are far apart
	perLine  = 256     // bytes of a line of a list
	mostMail = 1 << 20 // messages of a box that are believed
	mostTry  = 5       // attempts at a message that fails for reasons of its own
	rushed   = 1000    // new messages from which the box is opened anew
)

// look takes everything that is new. It reports true when the hub cannot take
// the next message now.
func (s *session) look(ctx context.Context) (later bool, err error) {
	if s.count.Load() > s.selected+rushed { // so that lists stay short
		if err := s.selectInbox(); err != nil {
			return false, err
		}
	}
	for {
		found, err := s.list(s.cursor.UID)
		if err != nil {
			return false, err
		}
		s.waiting(len(found))
		if len(found) == 0 {
			return false, nil
		}
		for i, m := range found {
			if later, err = s.take(ctx, m); err != nil || later {
				break
			}
			s.waiting(len(found) - i - 1)
			if len(s.cursor.Pending) >= s.o.Batch {
				if err = s.settle(ctx); err != nil {
					break
				}
			}
		}
		if err == nil {
			err = s.settle(ctx)
		}
		if err != nil || later {
			return later, err
		}
	}
}

func (s *session) waiting(n int) { s.health.update(func(h *Status) { h.Waiting = n }) }

// list gives the first messages above a UID, in their order; none: there is
// nothing new. Where many UIDs are above, it asks for some at a time.
func (s *session) list(after uint32) ([]seen, error) {
	if after == 1<<32-1 {
		return nil, nil
	}
	for width := uint32(window); ; width = min(4*width, widest) {
		from, to := imap.UID(after+1), imap.UID(0) // 0: the last
		if s.uidNext > from && uint32(s.uidNext-from) > width {
			to = from + imap.UID(width) - 1
		}
		found, err := s.span(from, to)
		if err != nil || len(found) > 0 || to == 0 {
			return found, err
		}
		after = uint32(to)
	}
}

// span lists messages of a range of UIDs, the first ones if they are many.
func (s *session) span(from, to imap.UID) ([]seen, error) {
	most := int(min(s.count.Load(), mostMail)) + fewAnswers
	s.fence.allow(s.o.Step+time.Duration(most)*time.Millisecond, most, int64(most)*perLine+fewBytes, 0)
	var set imap.UIDSet
	set.AddRange(from, to)
	cmd := s.imap.Fetch(set, &imap.FetchOptions{UID: true, RFC822Size: true})
	var found []seen
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		var m seen
		for item := msg.Next(); item != nil; item = msg.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				m.uid = uint32(item.UID)
			case imapclient.FetchItemDataRFC822Size:
				m.size = item.Size
			}
		}
		// "4:*" also gives the last message when that is 3 (RFC 3501 §6.4.8).
		if m.uid < uint32(from) || to != 0 && m.uid > uint32(to) {
			continue
		}
		if found = append(found, m); len(found) >= 4*listed {
			found = firsts(found)
		}
	}
	if err := s.broken(cmd.Close(), errNo); err != nil {
		return nil, orServer(err)
	}
	return firsts(found), nil
}

// firsts keeps the messages with the smallest UIDs.
func firsts(found []seen) []seen {
	slices.SortFunc(found, func(a, b seen) int { return cmp.Compare(a.uid, b.uid) })
	found = slices.CompactFunc(found, func(a, b seen) bool { return a.uid == b.uid })
	return found[:min(len(found), listed)]
}

// orServer makes a failure of a "no" that nothing explains.
func orServer(err error) error {
	var known *failure
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fail(FaultServer, err)
}

// wait waits for news, or until it is time to look anyway: what a server
// promises to tell may be lost with a connection that nobody knows is dead.
func (s *session) wait(ctx context.Context, later bool) error {
	d, idle := time.Duration(s.o.Settings.Poll), false
	switch {
	case later:
		d = s.o.Retry
	case s.imap.Caps().Has(imap.CapIdle):
		d, idle = max(d, s.o.Idle), true
		d = min(d, 28*time.Minute)
	}
	if !idle {
		s.fence.allow(d+s.o.Step, fewAnswers, fewBytes, 0)
		return s.until(ctx, d)
	}
	s.step()
	cmd, err := s.imap.Idle()
	if err != nil {
		return orServer(s.broken(err, errNo))
	}
	s.fence.allow(d+s.o.Step, fewAnswers, fewBytes, 0)
	waited := s.until(ctx, d)
	if waited != nil && !errors.Is(waited, errRenewed) {
		return waited
	}
	s.step()
	err = cmd.Close()
	if err == nil {
		err = cmd.Wait()
	}
	if err = s.broken(err, errNo); err != nil {
		return orServer(err)
	}
	return waited
}

// until waits at most d for news.
func (s *session) until(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.renew:
		return errRenewed
	case <-s.imap.Closed():
		return s.broken(errSilent, nil)
	case <-s.news:
	case <-t.C:
	}
	return nil
}

// settle marks in the box what has been taken or set aside, and notes that it
// is done. What the box refuses stays to be done, up to a bound: nothing but its
// looks depend on it.
func (s *session) settle(ctx context.Context) error {
	if len(s.cursor.Pending) == 0 {
		return nil
	}
	var left []mailbox.PendingMark
	for _, aside := range []bool{false, true} {
		var uids imap.UIDSet
		var marks []mailbox.PendingMark
		for _, m := range s.cursor.Pending {
			if m.Aside == aside {
				uids.AddNum(imap.UID(m.UID))
				marks = append(marks, m)
			}
		}
		if len(marks) == 0 {
			continue
		}
		switch err := s.mark(uids, aside); {
		case errors.Is(err, errNo):
			now := s.o.Now()
			s.health.update(func(h *Status) { h.Fault, h.FaultAt = FaultMark, now })
			s.o.Log.Warn("messages taken cannot be marked in the box", "box", s.name, "messages", len(marks))
			left = append(left, marks...)
		case err != nil:
			return err
		}
	}
	next := s.cursor
	next.Pending = left[max(0, len(left)-mostPending):]
	if len(next.Pending) == len(s.cursor.Pending) {
		return nil
	}
	if err := s.o.Hub.SaveCursor(ctx, next); err != nil {
		return fail(FaultHub, fmt.Errorf("noting what was marked: %w", err))
	}
	s.cursor = next
	return nil
}

// mostPending bounds the marks a box still lacks.
const mostPending = 500
