package mailbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// The one thread of a pathway, as people read it.

// Thread shows the thread in the order its messages came, the same story for
// everybody who may see it; with asMember, what that member may see of it.
func (h *Hub) Thread(ctx context.Context, by Actor, code, asMember string) (ThreadView, error) {
	var (
		p    *store.Pathway
		view ThreadView
	)
	err := h.view(ctx, func(v store.View) error {
		var err error
		p, err = pathwayNamed(v, by, code)
		return err
	})
	if err != nil {
		return view, err
	}
	see := everything
	if asMember != "" {
		if see, err = h.seenBy(p, asMember); err != nil {
			return view, err
		}
	}
	// Traced before it is shown.
	if err := h.seen(ctx, by, "thread.read", p.Code, asMember); err != nil {
		return view, err
	}
	view = ThreadView{Pathway: string(p.Code), Messages: []MessageView{}}
	var after uint64
	for {
		page := 0
		err := h.view(ctx, func(v store.View) error {
			messages, err := v.Thread(p.Code, after, listPage)
			if err != nil {
				return fmt.Errorf("reading the thread of %s: %w", p.Code, err)
			}
			page = len(messages)
			for _, m := range messages {
				after = m.Seq
				if err := h.addTo(&view, v, m, see); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return ThreadView{}, err
		}
		if page < listPage {
			break
		}
	}
	// Messages of a merged pathway were filed here long after they came.
	slices.SortStableFunc(view.Messages, func(a, b MessageView) int { return a.Received.Compare(b.Received) })
	return view, nil
}

// sight says how much of a message somebody sees.
type sight int

const (
	seesNothing  sight = iota
	seesTheEntry       // that it was there, and was withdrawn
	seesAll
)

func everything(store.View, *store.Message) (sight, error) { return seesAll, nil }

// seenBy gives what a member may see of the thread.
func (h *Hub) seenBy(p *store.Pathway, id string) (func(store.View, *store.Message) (sight, error), error) {
	mem, err := memberNamed(p, id)
	if err != nil {
		return nil, err
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return nil, err
	}
	return func(v store.View, m *store.Message) (sight, error) { return h.sightOf(v, p, prog, mem, m) }, nil
}

// sightOf asks the rights function about an entry of the thread. A report is
// for those who may see what it is about. Of a message that was withdrawn those
// who could see it see that it was; never what it said.
func (h *Hub) sightOf(v store.View, p *store.Pathway, prog *rules.Programme, mem *store.Member, m *store.Message) (sight, error) {
	now := h.o.Now()
	if m.Kind != store.KindPost {
		role := prog.Role(mem.Role)
		if m.About == nil || m.About.Pathway != p.Code {
			if role != nil && role.Coordinator && h.maySee(p, prog, mem, m, now).ok {
				return seesAll, nil
			}
			return seesNothing, nil
		}
		about, err := v.Message(p.Code, m.About.Message)
		if errors.Is(err, store.ErrNotFound) {
			return seesNothing, nil
		}
		if err != nil {
			return seesNothing, fmt.Errorf("reading message %s: %w", m.About.Message, err)
		}
		if about.Kind != store.KindPost {
			return seesNothing, nil
		}
		return h.sightOf(v, p, prog, mem, about)
	}
	if m.Retracted != nil {
		before := *m
		before.Filings = nil
		for _, rubric := range m.Rubrics() {
			before.Filings = append(before.Filings, store.Filing{Rubric: rubric})
		}
		before.Retracted = nil
		if h.maySee(p, prog, mem, &before, now).ok {
			return seesTheEntry, nil
		}
		return seesNothing, nil
	}
	if h.maySee(p, prog, mem, m, now).ok {
		return seesAll, nil
	}
	return seesNothing, nil
}

func (h *Hub) addTo(view *ThreadView, v store.View, m *store.Message, see func(store.View, *store.Message) (sight, error)) error {
	s, err := see(v, m)
	if err != nil || s == seesNothing {
		return err
	}
	mv, err := h.messageView(v, m)
	if err != nil {
		return err
	}
	if s == seesTheEntry {
		mv.Subject, mv.Documents, mv.Rules = "", []DocumentView{}, nil
	}
	view.Messages = append(view.Messages, mv)
	return nil
}

// messageView shows a message with the state of each of its deliveries, copies
// before notices.
func (h *Hub) messageView(v store.View, m *store.Message) (MessageView, error) {
	view := MessageView{
		ID: string(m.ID), MessageID: m.RFCID, Kind: string(m.Kind), Date: m.Date, Received: m.Received, Subject: m.Subject,
		Author: h.authorView(&m.Author), Rubrics: m.Rubrics(), Documents: []DocumentView{}, Deliveries: []DeliveryView{},
		Parent: string(m.Parent), Root: m.Root, Urgent: m.Urgent, Rules: m.Rules, Size: m.Size, Pathway: string(m.Pathway),
		Outcome: m.Outcome, Hidden: m.Audience.HiddenFromParents,
	}
	if view.Date.IsZero() {
		view.Date = m.Received
	}
	if view.Rubrics == nil {
		view.Rubrics = []string{}
	}
	if r := m.Retracted; r != nil {
		view.Retracted, view.Reason = &r.At, r.Reason
		if r.To != nil {
			view.MovedTo = string(r.To.Message)
		}
	}
	if m.About != nil {
		view.About, view.AboutBox = string(m.About.Message), h.shownBox(m.AboutBox)
	}
	for i := range m.Documents {
		view.Documents = append(view.Documents, documentView(&m.Documents[i]))
	}
	ds, err := v.Deliveries(m.Pathway, m.ID)
	if err != nil {
		return view, fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	view.Summary = summary(ds)
	for _, notices := range []bool{false, true} {
		for _, d := range ds {
			if (d.Notice != nil) == notices {
				view.Deliveries = append(view.Deliveries, h.deliveryView(d))
			}
		}
	}
	return view, nil
}

func (h *Hub) authorView(a *store.Author) AuthorView {
	return AuthorView{
		Name: a.Name, Role: a.Role, Mailbox: h.shownBox(a.Mailbox), Certainty: string(a.Certainty),
		Member: string(a.Member), Clue: a.Clue, CorrectedBy: a.CorrectedBy,
	}
}

func documentView(d *store.Document) DocumentView {
	return DocumentView{
		Filename: d.Filename, Type: d.Media, Code: d.Code, Size: d.Size, SHA256: hex.EncodeToString(d.SHA256),
		Title: d.Title, Rubric: d.Rubric,
		Version: d.Version, Replaces: shownRef(d.Former), ReplacedBy: shownRef(d.ReplacedBy), Deleted: timeOf(d.Deleted),
	}
}

func (h *Hub) deliveryView(d *store.Delivery) DeliveryView {
	view := DeliveryView{
		ID: string(d.ID), Mailbox: h.shownBox(d.Mailbox), Members: []string{}, State: string(d.State), Attempts: d.Attempts,
		LastError: d.LastError, Kind: deliveryKind(d), MessageID: d.RFCID, Withheld: d.Withheld, Seen: []SeenView{},
		NextAttempt: nextAttempt(d), Receipt: h.receiptView(d.Answer),
	}
	for _, id := range d.Members {
		view.Members = append(view.Members, string(id))
	}
	for i := range d.Seen {
		s := &d.Seen[i]
		sv := SeenView{Member: string(s.Member), State: s.State, By: s.By}
		if !s.At.IsZero() {
			sv.At = &s.At
		}
		view.Seen = append(view.Seen, sv)
	}
	return view
}

// summary counts boxes: of several copies for one box (sent again) the one that
// came farthest says how it stands.
func summary(ds []*store.Delivery) *SummaryView {
	type standing struct{ delivered, partial, refused, waiting, read bool }
	boxes := map[store.Address]*standing{}
	for _, d := range ds {
		if d.Notice != nil || d.State == store.Cancelled {
			continue
		}
		b := boxes[d.Mailbox]
		if b == nil {
			b = &standing{}
			boxes[d.Mailbox] = b
		}
		switch {
		case d.State == store.Failed, d.Answer != nil && d.Answer.Failed:
			b.refused = true
		case d.State == store.Sent:
			b.delivered = true
		case d.State == store.Partial:
			b.partial = true
		default:
			b.waiting = true
		}
		b.read = b.read || slices.ContainsFunc(d.Seen, func(s store.Seen) bool { return s.State != "" && s.State != "no" })
	}
	if len(boxes) == 0 {
		return nil
	}
	s := &SummaryView{Boxes: len(boxes)}
	for _, b := range boxes {
		switch {
		case b.delivered, b.partial:
			s.Delivered++
			if !b.delivered {
				s.Partial++
			}
		case b.waiting:
			s.Waiting++
		default:
			s.Refused++
		}
		if b.read {
			s.Read++
		}
	}
	return s
}

// receiptView shows what came back about a copy.
func (h *Hub) receiptView(a *store.Answer) *ReceiptView {
	if a == nil {
		return nil
	}
	v := &ReceiptView{Disposition: a.Type, Code: a.Code, At: a.At}
	if a.Failed {
		v.Disposition += "/error"
		if a.Code != "" {
			v.Text = h.errorWords(a.Code)
		}
	}
	return v
}

// deliveryKind is "copy", or the kind of a notice.
func deliveryKind(d *store.Delivery) string {
	if d.Notice == nil {
		return "copy"
	}
	return d.NoticeKind
}
