package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// What a reader copies and moves: into private folders as references, back from
// the bin, and between the rubrics of one pathway, which files it anew for all.

// Copy implements [folder.Folder].
func (o *opened) Copy(ctx context.Context, uids []uint32, to string) (folder.Copied, error) {
	return o.carry(ctx, uids, to, false)
}

// Move implements [folder.Folder].
func (o *opened) Move(ctx context.Context, uids []uint32, to string) (folder.Copied, error) {
	if o.readOnly {
		return folder.Copied{}, folder.ErrReadOnly
	}
	return o.carry(ctx, uids, to, true)
}

func (o *opened) carry(ctx context.Context, uids []uint32, to string, move bool) (folder.Copied, error) {
	dest, err := o.r.find(ctx, to)
	if err != nil {
		return folder.Copied{}, err
	}
	if len(uids) > o.r.h.o.Quota.Copied {
		return folder.Copied{}, folder.ErrLimit
	}
	switch {
	case o.kind == kindSheet || dest.kind == kindSheet:
		return folder.Copied{}, folder.ErrDenied
	case dest.kind == kindPrivate:
		return o.carryPrivate(ctx, uids, dest, move)
	case o.kind == kindPrivate:
		return o.bringBack(ctx, uids, dest, move)
	}
	return o.refile(ctx, uids, dest, move)
}

// carryPrivate puts messages into a private folder: a pathway's as a reference.
func (o *opened) carryPrivate(ctx context.Context, uids []uint32, dest *opened, move bool) (folder.Copied, error) {
	var out folder.Copied
	err := o.r.h.change(ctx, func(tx store.Tx) error {
		out.UIDs = out.UIDs[:0]
		f, err := tx.Folder(o.r.a.ID, dest.private)
		if err != nil {
			return err
		}
		out.UIDValidity = f.UIDValidity
		g := &gate{r: o.r, v: tx}
		for _, uid := range uids {
			e, err := o.entryOf(g, uid)
			if errors.Is(err, errGone) {
				out.UIDs = append(out.UIDs, 0)
				continue
			}
			if err != nil {
				return err
			}
			if err := o.r.roomFor(tx, e.Size, 1); err != nil {
				return err
			}
			if err := tx.AddEntry(o.r.a.ID, dest.private, e, nil, nil); err != nil {
				return err
			}
			out.UIDs = append(out.UIDs, e.UID)
			if !move {
				continue
			}
			i, _ := o.row(uid)
			if err := o.takeAway(tx, i, false); err != nil && !errors.Is(err, errGone) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return folder.Copied{}, fmt.Errorf("copying: %w", err)
	}
	return out, nil
}

// entryOf is a new entry for a message of this folder, with its flags.
func (o *opened) entryOf(g *gate, uid uint32) (*store.Entry, error) {
	i, ok := o.row(uid)
	if !ok {
		return nil, errGone
	}
	now := o.r.h.o.Now().Unix()
	if o.kind == kindPrivate {
		e, err := g.v.Entry(o.r.a.ID, o.private, uid)
		if errors.Is(err, store.ErrNotFound) {
			return nil, errGone
		}
		if err != nil {
			return nil, err
		}
		e.Saved = now
		if e.Mail == "" {
			_, _, err = g.admit(e.Of)
		}
		return e, err
	}
	m, _, err := g.admit(store.MessageRef{Pathway: o.page.of[i].Pathway, Message: o.page.of[i].ID})
	if err != nil {
		return nil, err
	}
	mark, err := o.r.markOf(g.v, m)
	if err != nil {
		return nil, err
	}
	return &store.Entry{
		System: mark.System, Keywords: mark.Keywords, Size: m.Shown, Received: m.Received.Unix(), Saved: now,
		Of: store.MessageRef{Pathway: m.Pathway, Message: m.ID},
	}, nil
}

// roomFor keeps an account within its quota.
func (r *Reader) roomFor(v store.View, size, n int64) error {
	have, err := v.Reader(r.a.ID)
	if err != nil {
		return err
	}
	q := r.h.o.Quota
	if q.Size > 0 && have.Size+size > q.Size || q.Messages > 0 && have.Messages+n > q.Messages {
		return folder.ErrQuota
	}
	return nil
}

// bringBack takes references out of a private folder into the view they were
// hidden from: a message put in the bin by mistake. A pathway's message cannot
// go to another pathway, and a private one is posted by APPEND, not copied.
func (o *opened) bringBack(ctx context.Context, uids []uint32, dest *opened, move bool) (folder.Copied, error) {
	var out folder.Copied
	err := o.r.h.change(ctx, func(tx store.Tx) error {
		out.UIDs = out.UIDs[:0]
		g := &gate{r: o.r, v: tx}
		for _, uid := range uids {
			e, err := o.entryOf(g, uid)
			if err == nil && e.Mail != "" {
				return folder.ErrDenied
			}
			var m *store.Message
			if err == nil {
				m, _, err = g.admit(e.Of)
			}
			if errors.Is(err, errGone) {
				out.UIDs = append(out.UIDs, 0)
				continue
			}
			if err != nil {
				return err
			}
			if dest.view.code != "" && dest.view.code != m.Pathway {
				return folder.ErrElsewhere
			}
			at, _, in := dest.view.place(m, o.r.a.Mailbox)
			mark, err := o.r.markOf(tx, m)
			if err != nil {
				return err
			}
			if !in || !mark.HiddenIn(dest.view.view()) {
				return folder.ErrDenied
			}
			mark.Hidden = slices.DeleteFunc(slices.Clone(mark.Hidden), func(s string) bool { return s == dest.view.view() })
			if err := tx.PutMark(o.r.a.ID, mark); err != nil {
				return err
			}
			out.UIDs = append(out.UIDs, at)
			if i, ok := o.row(uid); ok && move {
				if err := o.takeAway(tx, i, false); err != nil && !errors.Is(err, errGone) {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return folder.Copied{}, fmt.Errorf("bringing back: %w", err)
	}
	return o.validityOf(ctx, dest, out)
}

func (o *opened) validityOf(ctx context.Context, dest *opened, out folder.Copied) (folder.Copied, error) {
	t, err := dest.current(ctx)
	if err != nil {
		return folder.Copied{}, err
	}
	out.UIDValidity = t.page.UIDValidity
	return out, nil
}

// refile files messages of a rubric in another one of the same pathway. A copy
// adds the rubric, a move takes it out of this one. Coordinators may, and the
// author of each.
func (o *opened) refile(ctx context.Context, uids []uint32, dest *opened, move bool) (folder.Copied, error) {
	switch {
	case dest.view.code == "" || o.view.code == "":
		return folder.Copied{}, folder.ErrDenied // INBOX is what was addressed to the box
	case dest.view.code != o.view.code:
		return folder.Copied{}, folder.ErrElsewhere
	}
	var ids []store.MessageID
	err := o.r.h.view(ctx, func(v store.View) error {
		ids = nil
		g := &gate{r: o.r, v: v}
		for _, i := range o.present(uids) {
			m, s, err := g.admit(store.MessageRef{Pathway: o.page.of[i].Pathway, Message: o.page.of[i].ID})
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				return err
			}
			if !o.mayRefile(s, m) {
				return folder.ErrDenied
			}
			ids = append(ids, m.ID)
		}
		return nil
	})
	if err != nil {
		return folder.Copied{}, err
	}
	by := o.r.a.actor(o.r.where)
	uidOf := map[store.MessageID]uint32{}
	for _, id := range ids {
		uid, err := o.refileOne(ctx, by, id, dest.view.rubric, move)
		if err != nil {
			return folder.Copied{}, err
		}
		uidOf[id] = uid
	}
	var out folder.Copied
	for _, uid := range uids {
		i, ok := o.row(uid)
		if !ok {
			out.UIDs = append(out.UIDs, 0)
			continue
		}
		out.UIDs = append(out.UIDs, uidOf[o.page.of[i].ID])
	}
	return o.validityOf(ctx, dest, out)
}

// mayRefile: a coordinator of the team, or the author.
func (o *opened) mayRefile(s *source, m *store.Message) bool {
	return slices.ContainsFunc(s.members, func(mem *store.Member) bool {
		role := s.prog.Role(mem.Role)
		return role != nil && role.Coordinator || m.Author.Member != "" && m.Author.Member == mem.ID
	})
}

func (o *opened) refileOne(ctx context.Context, by Actor, id store.MessageID, rubric string, move bool) (uint32, error) {
	var rubrics []string
	err := o.r.h.view(ctx, func(v store.View) error {
		m, err := v.Message(o.view.code, id)
		if err != nil {
			return err
		}
		rubrics = m.Rubrics()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading message %s: %w", id, err)
	}
	if move {
		rubrics = slices.DeleteFunc(slices.Clone(rubrics), func(r string) bool { return r == o.view.rubric })
	}
	if !slices.Contains(rubrics, rubric) {
		rubrics = append(slices.Clone(rubrics), rubric)
	}
	_, err = o.r.h.Refile(ctx, by, MessageRequest{Message: string(id), Rubrics: rubrics})
	var no *Failure
	if errors.As(err, &no) && no.Code != "nothing-to-change" {
		return 0, folder.ErrDenied
	}
	if err != nil && no == nil {
		return 0, err
	}
	var uid uint32
	err = o.r.h.view(ctx, func(v store.View) error {
		m, err := v.Message(o.view.code, id)
		if err == nil {
			uid, _, _ = viewOf{o.view.code, rubric}.place(m, "")
		}
		return err
	})
	return uid, err
}
