package mailbox

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/relais-sante/relais/store"
)

// The boxes (BAL) behind members. Address and type never change (national
// rule); a box is known to the hub from its first member on.

// outsideBox reads a member's address: one that mail can be sent to, and never
// the hub's own domain, where copies would go round.
func (h *Hub) outsideBox(s string) (store.Address, error) {
	a := store.NewAddress(s)
	parsed, err := mail.ParseAddress(string(a))
	if err != nil || parsed.Name != "" || parsed.Address != string(a) || len(a.Local()) > 64 || len(a) > 254 ||
		!strings.Contains(a.Domain(), ".") || strings.ContainsFunc(string(a), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fail("mailbox-form", map[string]any{"mailbox": s})
	}
	if strings.EqualFold(a.Domain(), h.o.Domain) || h.ownBox(a) != nil {
		return "", fail("mailbox-own", map[string]any{"mailbox": string(a)})
	}
	return a, nil
}

func (h *Hub) outsideBoxes(list []string) ([]store.Address, error) {
	var boxes []store.Address
	for _, s := range list {
		a, err := h.outsideBox(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(boxes, a) {
			boxes = append(boxes, a)
		}
	}
	return boxes, nil
}

// boxType reads the type of a box; none given is a personal one. A citizen's
// box is told by its domain.
func boxType(a store.Address, s string) (store.BoxType, error) {
	t := store.BoxType(strings.ToUpper(strings.TrimSpace(s)))
	switch {
	case a.Citizen() && (t == "" || t == store.BoxCitizen || t == store.BoxPER): // it is personal too
		return store.BoxCitizen, nil
	case a.Citizen():
		return "", fail("box-citizen", nil)
	case t == "":
		return store.BoxPER, nil
	case t == store.BoxPER, t == store.BoxORG, t == store.BoxAPP, t == store.BoxCAB:
		return t, nil
	}
	return "", fail("box-type-unknown", map[string]any{"type": s})
}

// ensureBox gives the box of a member, made if it is new. An explicit type must
// be that of the box, for all of its members.
func (h *Hub) ensureBox(tx store.Tx, m *store.Member, explicit bool, name string) (*store.Box, error) {
	box, err := tx.Box(m.Mailbox)
	switch {
	case errors.Is(err, store.ErrNotFound):
		box = &store.Box{Address: m.Mailbox, Type: m.Type, Created: h.o.Now()}
		if m.Type != store.BoxPER && m.Type != store.BoxCitizen {
			box.Establishment = m.Establishment
		}
	case err != nil:
		return nil, fmt.Errorf("reading a box: %w", err)
	case explicit && box.Type != m.Type:
		return nil, fail("box-type", map[string]any{"mailbox": h.shownBox(m.Mailbox), "type": string(box.Type)})
	case name == "" || name == box.Name:
		return box, nil
	}
	if name != "" {
		box.Name = name
	}
	if err := tx.PutBox(box); err != nil {
		return nil, fmt.Errorf("writing a box: %w", err)
	}
	return box, nil
}

// Boxes lists the boxes behind members, in an order of no meaning (that of
// their keyed hash): after is the address of the last one seen.
func (h *Hub) Boxes(ctx context.Context, by Actor, after string, limit int) ([]BoxView, error) {
	views := []BoxView{}
	next := store.NewAddress(after)
	for limit <= 0 || len(views) < limit {
		page, want := 0, listPage
		if limit > 0 {
			want = min(want, limit-len(views))
		}
		err := h.view(ctx, func(v store.View) error {
			boxes, err := v.Boxes(next, want)
			if err != nil {
				return fmt.Errorf("listing boxes: %w", err)
			}
			page = len(boxes)
			for _, b := range boxes {
				next = b.Address
				view, err := h.boxView(v, by, b)
				if err != nil {
					return err
				}
				if by.Programmes == nil || len(view.Pathways) > 0 {
					views = append(views, view)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if page < want {
			break
		}
	}
	return views, h.seen(ctx, by, "mailbox.listed", "", "")
}

// Box shows one box.
func (h *Hub) Box(ctx context.Context, by Actor, addr string) (BoxView, error) {
	var view BoxView
	err := h.change(ctx, func(tx store.Tx) error {
		b, err := h.boxNamed(tx, addr)
		if err != nil {
			return err
		}
		if view, err = h.boxView(tx, by, b); err != nil {
			return err
		}
		if by.Programmes != nil && len(view.Pathways) == 0 {
			return by.outside()
		}
		return h.trace(tx, by, "mailbox.read", "", "", outcomeDone, map[string]string{"domain": b.Address.Domain()})
	})
	return view, err
}

// UpdateBox changes how a box is written to and shown, or takes off its mark.
func (h *Hub) UpdateBox(ctx context.Context, by Actor, r BoxUpdate) (BoxView, error) {
	var view BoxView
	err := h.change(ctx, func(tx store.Tx) error {
		b, err := h.boxNamed(tx, r.Mailbox)
		if err != nil {
			return err
		}
		if err := h.withinBox(tx, by, b.Address); err != nil {
			return err
		}
		var fields []string
		for _, f := range []struct {
			name string
			to   *string
			at   *string
		}{{"name", r.Name, &b.Name}, {"establishment", r.Establishment, &b.Establishment}} {
			if f.to == nil {
				continue
			}
			if *f.at, err = line(f.name, *f.to); err != nil {
				return err
			}
			fields = append(fields, f.name)
		}
		if r.Software != nil {
			b.Software, fields = *r.Software, append(fields, "software")
		}
		if r.CopyBack != nil {
			b.NoCopyBack, fields = !*r.CopyBack, append(fields, "copy_back")
		}
		if r.ClearMark {
			b.Mark, fields = nil, append(fields, "mark")
		}
		if len(fields) == 0 {
			return fail("nothing-to-change", nil)
		}
		if err := tx.PutBox(b); err != nil {
			return fmt.Errorf("writing a box: %w", err)
		}
		if view, err = h.boxView(tx, by, b); err != nil {
			return err
		}
		return h.trace(tx, by, "mailbox.updated", "", "", outcomeDone, map[string]string{"domain": b.Address.Domain(), "fields": strings.Join(fields, " ")})
	})
	return view, err
}

func (h *Hub) boxNamed(v store.View, addr string) (*store.Box, error) {
	a := store.NewAddress(addr)
	b, err := v.Box(a)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail("mailbox-unknown", map[string]any{"mailbox": h.shownBox(a)})
	}
	if err != nil {
		return nil, fmt.Errorf("reading a box: %w", err)
	}
	return b, nil
}

// boxView shows a box with the members behind it, as CODE.mN.
func (h *Hub) boxView(v store.View, by Actor, b *store.Box) (BoxView, error) {
	view := BoxView{
		Mailbox: h.shownBox(b.Address), Type: string(b.Type), Name: b.Name, Establishment: b.Establishment,
		Software: b.Software || b.Type == store.BoxAPP, CopyBack: !b.NoCopyBack,
	}
	if b.Mark != nil {
		view.MarkedAt, view.MarkedCode = &b.Mark.At, b.Mark.Code
	}
	codes, err := v.PathwaysOfBox(b.Address)
	if err != nil {
		return view, fmt.Errorf("looking up a box: %w", err)
	}
	for _, code := range codes {
		p, err := v.Pathway(code)
		if err != nil {
			return view, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		if !by.may(p.Programme) {
			continue
		}
		member := false
		for i := range p.Members {
			if m := &p.Members[i]; m.Mailbox == b.Address && m.ActiveAt(h.o.Now()) {
				view.Members = append(view.Members, string(code)+"."+string(m.ID))
				member = true
			}
		}
		if member {
			view.Pathways = append(view.Pathways, string(code))
		}
	}
	return view, nil
}
