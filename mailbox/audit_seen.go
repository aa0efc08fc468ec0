package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Who has seen a child's file: the copies that were handed over, and what was
// read at the hub itself. What is read inside a box that got a copy, only the
// establishment of that box knows.

// SeenReport is the answer, for one pathway.
type SeenReport struct {
	Pathway string       `json:"pathway"`
	Boxes   []SeenBox    `json:"boxes"`
	Readers []SeenReader `json:"readers"`
	// Since is when the traces that were read begin: what retention took is not
	// in Readers.
	Since *time.Time `json:"since,omitempty"`
}

// SeenBox is what went to a box.
type SeenBox struct {
	Mailbox string   `json:"mailbox"`
	Members []string `json:"members"` // for whom: "m1 Dr Anne Roux"
	// Copies by how far they came: each counts in the furthest.
	NotReached   int `json:"not_reached"`  // not sent yet, given up, or come back
	HandedOver   int `json:"handed_over"`  // taken by the box's operator, no more is known
	ReadByBox    int `json:"read_by_box"`  // a receipt came; several share the box
	Read         int `json:"read"`         // a receipt came from the member's own box
	Acknowledged int `json:"acknowledged"` // a person said so
	// First and Last are when the operator took the first and last of them.
	First *time.Time `json:"first,omitempty"`
	Last  *time.Time `json:"last,omitempty"`
}

// SeenReader is what somebody did at the hub.
type SeenReader struct {
	Actor    string   `json:"actor"`
	Username string   `json:"username,omitempty"` // of an account that is still there
	OnBehalf string   `json:"on_behalf,omitempty"`
	Name     string   `json:"name,omitempty"` // of a member, or of those an account is of
	How      string   `json:"how"`            // downloaded opened acknowledged listed wrote changed
	Actions  []string `json:"actions"`
	// Times counts records; Messages the messages they name.
	Times    int       `json:"times"`
	Messages int       `json:"messages"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// Ways of having seen, in the order they are told.
var seenOrder = []string{"downloaded", "opened", "acknowledged", "listed", "wrote", "changed"}

// seenHow says what an action means for who has seen the file.
func seenHow(action string) string {
	_, verb, _ := strings.Cut(action, ".")
	switch verb {
	case "downloaded", "exported":
		return "downloaded"
	case "read", "explained":
		return "opened"
	case "acknowledged":
		return "acknowledged"
	case "listed", "searched":
		return "listed"
	case "post", "duplicate":
		return "wrote"
	}
	return "changed"
}

// AuditSeen tells who has seen a child's file.
func (h *Hub) AuditSeen(ctx context.Context, by Actor, code string) (SeenReport, error) {
	s := &sightings{h: h, boxes: map[store.Address]*SeenBox{}, readers: map[string]*SeenReader{}, messages: map[string]map[string]bool{}}
	c := store.PathwayCode(strings.ToLower(strings.TrimSpace(code)))
	if !identity.CheckCode(string(c)) {
		return SeenReport{}, fail("pathway-code", map[string]any{"pathway": string(c)})
	}
	if err := h.withinPathway(ctx, by, c); err != nil {
		return SeenReport{}, err
	}
	err := h.view(ctx, func(v store.View) (err error) {
		s.p, err = v.Pathway(c)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
			return s.erased(v, c)
		}
		return err
	})
	if err != nil {
		return SeenReport{}, err
	}
	if !s.gone {
		err = s.copies(ctx)
	}
	if err != nil {
		return SeenReport{}, err
	}
	if err := s.traces(ctx); err != nil {
		return SeenReport{}, err
	}
	if err := h.view(ctx, s.nameAccounts); err != nil {
		return SeenReport{}, err
	}
	return s.report(), h.seen(ctx, by, "audit.read", c, "")
}

// sightings gathers a report.
type sightings struct {
	h        *Hub
	p        *store.Pathway
	gone     bool // erased
	boxes    map[store.Address]*SeenBox
	readers  map[string]*SeenReader
	order    []*SeenReader // by their first trace
	messages map[string]map[string]bool
	since    *time.Time
}

// erased takes what is left of a pathway that is gone: its traces, and the boxes
// that the proof of its erasure names.
func (s *sightings) erased(v store.View, c store.PathwayCode) error {
	s.p, s.gone = &store.Pathway{Code: c}, true
	e, err := v.Erasure(c)
	switch {
	case err == nil:
		for _, box := range e.Boxes {
			s.boxes[box] = &SeenBox{Mailbox: s.h.shownBox(box), Members: []string{}}
		}
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("reading the erasure of %s: %w", c, err)
	}
	left, err := v.TracesOfPathway(c, 0, 1)
	if err == nil && len(left) == 0 {
		err = fail("pathway-unknown", map[string]any{"pathway": string(c)})
	}
	return err
}

// copies goes through the thread, a page at a time.
func (s *sightings) copies(ctx context.Context) error {
	for after, more := uint64(0), true; more; {
		err := s.h.view(ctx, func(v store.View) error {
			page, err := v.Thread(s.p.Code, after, listPage)
			if err != nil {
				return fmt.Errorf("reading the thread of %s: %w", s.p.Code, err)
			}
			more = len(page) == listPage
			for _, m := range page {
				after = m.Seq
				ds, err := v.Deliveries(s.p.Code, m.ID)
				if err != nil {
					return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
				}
				for _, d := range ds {
					if d.Notice == nil && d.State != store.Cancelled {
						s.copy(d)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copy counts one copy where it came furthest.
func (s *sightings) copy(d *store.Delivery) {
	b := s.boxes[d.Mailbox]
	if b == nil {
		b = &SeenBox{Mailbox: s.h.shownBox(d.Mailbox), Members: []string{}}
		s.boxes[d.Mailbox] = b
	}
	for _, id := range d.Members {
		who := string(id)
		if m := member(s.p, id); m != nil {
			who += " " + m.Name
		}
		if !slices.Contains(b.Members, who) {
			b.Members = append(b.Members, who)
		}
	}
	if d.State != store.Sent && d.State != store.Partial {
		b.NotReached++
		return
	}
	furthest := 0
	for i := range d.Seen {
		furthest = max(furthest, slices.Index([]string{"no", "box", "read", "acknowledged"}, d.Seen[i].State))
	}
	*[]*int{&b.HandedOver, &b.ReadByBox, &b.Read, &b.Acknowledged}[furthest]++
	if at := d.Ended; !at.IsZero() {
		if b.First == nil || at.Before(*b.First) {
			b.First = &at
		}
		if b.Last == nil || at.After(*b.Last) {
			b.Last = &at
		}
	}
}

func (s *sightings) traces(ctx context.Context) error {
	scan := &auditScan{code: s.p.Code, families: store.Families[:]}
	for !scan.over {
		found, _, err := scan.next(ctx, s.h.store)
		if err != nil {
			return err
		}
		for _, t := range found {
			if s.since == nil {
				s.since = &t.At
			}
			s.trace(t)
		}
	}
	return nil
}

// trace counts what a person did. The hub by itself sees nothing, what was
// refused was not seen, and traces do not tell what is in the file.
func (s *sightings) trace(t *store.Trace) {
	if t.Actor == hubActor.Name || t.Outcome != outcomeDone || strings.HasPrefix(t.Action, "audit.") {
		return
	}
	how := seenHow(t.Action)
	key := how + "\x00" + t.Actor + "\x00" + t.OnBehalf
	r := s.readers[key]
	if r == nil {
		r = &SeenReader{Actor: t.Actor, OnBehalf: t.OnBehalf, How: how, Actions: []string{}, First: t.At, Last: t.At}
		if id, ok := strings.CutPrefix(t.Actor, "member:"); ok {
			if m := member(s.p, store.MemberID(id)); m != nil {
				r.Name = m.Name
			}
		}
		s.order = append(s.order, r)
		s.readers[key], s.messages[key] = r, map[string]bool{}
	}
	if !slices.Contains(r.Actions, t.Action) {
		r.Actions = append(r.Actions, t.Action)
	}
	r.Times++
	if t.At.Before(r.First) {
		r.First = t.At
	}
	if t.At.After(r.Last) {
		r.Last = t.At
	}
	if strings.HasPrefix(t.Action, "message.") {
		for _, id := range append(slices.Clone(t.Objects), t.Object) {
			if id != "" {
				s.messages[key][id] = true
			}
		}
		r.Messages = len(s.messages[key])
	}
}

// nameAccounts says whose the accounts are: the members of this team, past ones
// too, that they stand for.
func (s *sightings) nameAccounts(v store.View) error {
	for _, r := range s.order {
		a, err := accountNamed(v, r.Actor)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		r.Username, r.Name = a.Username, a.Person
		var names []string
		for i := range s.p.Members {
			if m := &s.p.Members[i]; accountOf(a, "").standsFor(m) && !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
		if len(names) > 0 {
			r.Name = strings.Join(names, ", ")
		}
	}
	return nil
}

func (s *sightings) report() SeenReport {
	r := SeenReport{Pathway: string(s.p.Code), Boxes: []SeenBox{}, Readers: []SeenReader{}, Since: s.since}
	for _, b := range s.boxes {
		r.Boxes = append(r.Boxes, *b)
	}
	slices.SortFunc(r.Boxes, func(a, b SeenBox) int { return strings.Compare(a.Mailbox, b.Mailbox) })
	for _, x := range s.order {
		r.Readers = append(r.Readers, *x)
	}
	slices.SortStableFunc(r.Readers, func(a, b SeenReader) int { return slices.Index(seenOrder, a.How) - slices.Index(seenOrder, b.How) })
	return r
}
