package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// View: the structured mailbox read as somebody. What an account sees is what
// the rights function says of the members it stands for, asked again whenever
// anything it rests on has changed; see the rules of package folder.

// view_ files: names of folders; shelves, what is known of messages; desks, what
// is known of an account; tables; what is read; what is changed; what is put in.

// Reader is an account that reads. It implements [folder.User]; close it when
// the session is over.
type Reader struct {
	h         *Hub
	a         *Account
	where     string
	desk      *desk
	gone      <-chan struct{}
	stop      func()
	lastFound store.FolderID // private, see folderNamed
}

var _ folder.User = (*Reader)(nil)

// Read opens the structured mailbox for an account. where is its network
// address, for traces.
func (h *Hub) Read(ctx context.Context, a *Account, where string) (*Reader, error) {
	gone, stop, err := h.AccountGone(ctx, a)
	if err != nil {
		return nil, err
	}
	r := &Reader{h: h, a: a, where: where, desk: h.desks.get(a.ID), gone: gone, stop: stop}
	if err := r.furnish(ctx); err != nil {
		stop()
		return nil, err
	}
	if err := r.emptyDropped(ctx); err != nil {
		stop()
		return nil, err
	}
	return r, nil
}

// Close ends the session.
func (r *Reader) Close() error {
	r.stop()
	select {
	case <-r.gone: // what was read between that and now
		r.h.forgetReader(r.a.ID)
	default:
	}
	return nil
}

// Name implements [folder.User].
func (r *Reader) Name() string { return r.a.Username }

// Gone implements [folder.User].
func (r *Reader) Gone() <-chan struct{} { return r.gone }

// Wake implements [folder.User].
func (r *Reader) Wake() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	return c, r.h.store.Watch(c, r.a.ID.Topic(), r.a.Mailbox.Topic())
}

// furnish makes the folders every reader has, at the first login.
func (r *Reader) furnish(ctx context.Context) error {
	var have *store.Reader
	err := r.h.view(ctx, func(v store.View) (err error) {
		have, err = v.Reader(r.a.ID)
		return err
	})
	if err != nil || have.Folders > 0 {
		return err
	}
	return r.h.change(ctx, func(tx store.Tx) error {
		have, err := tx.Reader(r.a.ID)
		if err != nil || have.Folders > 0 {
			return err
		}
		for _, f := range standardFolders {
			if err := r.newFolder(tx, f.name, f.use); err != nil {
				return err
			}
			have.Subscribed = append(have.Subscribed, f.name)
		}
		return tx.PutReader(r.a.ID, have)
	})
}

func (r *Reader) newFolder(tx store.Tx, name string, use folder.Use) error {
	now := r.h.o.Now()
	err := tx.PutFolder(r.a.ID, &store.Folder{ID: store.FolderID(r.h.ids.next(now)), Name: name, Use: string(use), Created: now})
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	return nil
}

// source is a pathway as the reader has to do with it.
type source struct {
	p       *store.Pathway
	prog    *rules.Programme
	ever    []*store.Member // the account's, whether or not they may act now
	members []*store.Member // those who may act now; none: only changes count
	now     time.Time
	on      onShelf
}

// sources gives the pathways of the account's box: one of them, or all. Those
// of which the account is no longer a member are among them without members.
func (r *Reader) sources(ctx context.Context, only store.PathwayCode) ([]source, error) {
	var all []source
	err := r.h.view(ctx, func(v store.View) error {
		var err error
		all, err = r.pathways(v, only)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if s := &all[i]; len(s.members) > 0 {
			if s.on, err = r.h.shelf(ctx, s.p.Code); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// pathways is sources without what is on the shelves.
func (r *Reader) pathways(v store.View, only store.PathwayCode) ([]source, error) {
	codes := []store.PathwayCode{only}
	if only == "" {
		var err error
		if codes, err = v.PathwaysOfBox(r.a.Mailbox); err != nil {
			return nil, fmt.Errorf("looking up a box: %w", err)
		}
		slices.Sort(codes)
	}
	var all []source
	for _, code := range codes {
		p, err := v.Pathway(code)
		if errors.Is(err, store.ErrErased) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		s := source{p: p, prog: r.h.o.Programmes().ByID(p.Programme), now: r.h.o.Now()}
		alive := s.prog != nil && p.MergedInto == "" && p.Status != store.PathwayErasing
		for i := range p.Members {
			m := &p.Members[i]
			if !r.a.standsFor(m) {
				continue
			}
			s.ever = append(s.ever, m)
			if alive && mayAct(p, s.prog, m, s.now).ok {
				s.members = append(s.members, m)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// sees asks the rights function for the members the account stands for.
func (s *source) sees(m *store.Message) bool {
	if m.Retracted != nil {
		return false
	}
	for _, mem := range s.members {
		if mayLook(s.p, s.prog, mem, m, s.now).ok {
			return true
		}
	}
	return false
}

// openings counts what may have let the account see in a pathway what was there
// before: a consent given again, a return to the team, another role. It is part
// of UIDVALIDITY: what becomes visible late would otherwise lie below UIDs that
// clients know already, and be missed.
func (s *source) openings() uint32 {
	n := uint32(0)
	given := map[store.MemberID]bool{}
	for _, c := range s.p.Consents {
		mine := c.For == "" || slices.ContainsFunc(s.ever, func(m *store.Member) bool { return m.ID == c.For })
		if mine && given[c.For] {
			n++
		}
		given[c.For] = true
	}
	for _, m := range s.ever {
		n += m.Widened + uint32(max(0, len(m.Periods)-1))
	}
	return n
}
