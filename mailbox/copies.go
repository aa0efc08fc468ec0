package mailbox

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// One copy per box, not per member. Everything about a copy that is not in the
// message is fixed here, when it is queued, so that every attempt to send it
// has the same bytes.

// laneOut is the lane of the copies for a domain.
// What leaves from an operator's box has lanes of its own, "out:DOMAIN/BOX".
func laneOut(d *store.Delivery) string {
	lane := lanePrefixOut + d.Mailbox.Domain()
	if d.Operator != "" {
		lane += "/" + d.Operator
	}
	return lane
}

const lanePrefixOut = "out:"

// copyPlan is what the copies of one message have in common.
type copyPlan struct {
	p      *store.Pathway
	prog   *rules.Programme
	m      *store.Message
	copyID string             // Message-ID of the copies
	under  []store.MessageRef // what stands under copyID already
	fresh  bool               // always a new Message-ID (resend)
	parent *store.Message
	now    time.Time
	xdm    bool // the original subject is one for software
	// used are the boxes that were sent something under copyID already, be it
	// for another pathway: a client would drop the second as a duplicate.
	used map[store.Address]bool
}

// findUsed fills in used.
func (c *copyPlan) findUsed(v store.View) error {
	c.used = map[store.Address]bool{}
	for _, ref := range c.under {
		ds, err := v.Deliveries(ref.Pathway, ref.Message)
		if err != nil {
			return fmt.Errorf("reading the deliveries of %s: %w", ref.Message, err)
		}
		for _, d := range ds {
			if d.Notice == nil && d.RFCID == c.copyID && d.State != store.Cancelled {
				c.used[d.Mailbox] = true
			}
		}
	}
	return nil
}

// recipients groups the members that ok accepts by box, in team order.
func recipients(p *store.Pathway, ok func(*store.Member) bool) (boxes []store.Address, of map[store.Address][]*store.Member) {
	of = map[store.Address][]*store.Member{}
	for i := range p.Members {
		m := &p.Members[i]
		if !ok(m) {
			continue
		}
		if _, known := of[m.Mailbox]; !known {
			boxes = append(boxes, m.Mailbox)
		}
		of[m.Mailbox] = append(of[m.Mailbox], m)
	}
	return boxes, of
}

// copies makes the deliveries of a message to the members that ok accepts.
func (h *Hub) copies(v store.View, c *copyPlan, ok func(*store.Member) bool) ([]*store.Delivery, error) {
	var ds []*store.Delivery
	if err := c.findUsed(v); err != nil {
		return nil, err
	}
	boxes, of := recipients(c.p, ok)
	for _, addr := range boxes {
		box, err := v.Box(addr)
		if err != nil {
			return nil, fmt.Errorf("reading a box of pathway %s: %w", c.p.Code, err)
		}
		members := of[addr]
		if addr == c.m.Author.Mailbox && !c.fresh {
			if members = h.others(c, box, members); len(members) == 0 {
				continue
			}
		}
		d, err := h.copyFor(v, c, box, members)
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	return ds, nil
}

// others are the members of the author's own box that still get a copy there:
// those of a shared box besides the author, unless the box wants none back.
func (h *Hub) others(c *copyPlan, box *store.Box, members []*store.Member) []*store.Member {
	shared := 0
	for i := range c.p.Members {
		if m := &c.p.Members[i]; m.Mailbox == box.Address && m.ActiveAt(c.now) {
			shared++
		}
	}
	if box.NoCopyBack || shared < 2 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(members), func(m *store.Member) bool { return m.ID == c.m.Author.Member })
}

// copyFor makes the delivery for one box.
func (h *Hub) copyFor(v store.View, c *copyPlan, box *store.Box, members []*store.Member) (*store.Delivery, error) {
	d := &store.Delivery{
		ID: store.DeliveryID(h.ids.next(c.now)), Pathway: c.p.Code, Message: c.m.ID, Mailbox: box.Address,
		State: store.Queued, Created: c.now, Next: c.now, Item: store.ItemID(h.ids.next(c.now)), RFCID: c.copyID,
	}
	var names []string
	for _, m := range members {
		d.Members = append(d.Members, m.ID)
		d.Seen = append(d.Seen, store.Seen{Member: m.ID, State: "no"})
		names = append(names, m.Name)
	}
	d.To, d.For, d.Rubrics = texts.List(h.o.Locale, names), names, c.m.Rubrics()
	from := h.fromOf(c.m)
	h.leave(d, c.prog)
	d.From, d.FromAddress = from.Name, from.Address
	if d.Operator != "" {
		d.FromAddress = string(d.Sender)
	}
	if c.prog.Receipts == "all" || c.prog.Receipts == "urgent" && c.m.Urgent {
		d.NotifyTo = string(d.Sender)
	}
	shared := box.Type != store.BoxPER && box.Type != store.BoxCitizen || len(members) > 1
	if c.xdm && (box.Software || box.Type == store.BoxAPP) {
		d.Subject = "" // the original field passes unchanged
	} else {
		d.Subject = h.tagged(c, names, shared)
	}
	if h.tooLargeForCitizen(box.Address, c.m) {
		d.Withheld = withheldOf(c.m)
	}
	if box.Address.Citizen() && isFIN(c.m.Subject) {
		d.Subject = finSubject // with a tag it would end nothing
	}
	if c.fresh || c.used[box.Address] {
		d.RFCID = h.newRFCID(c.now)
	}
	refs := slices.Clone(c.m.References)
	if c.parent != nil {
		id, err := h.idAt(v, c.parent, box.Address)
		if err != nil {
			return nil, err
		}
		d.InReplyTo = id
		refs = append(refs, id)
	}
	if d.RFCID != c.m.RFCID {
		refs = append(refs, c.m.RFCID)
	}
	d.References = letter.References(rootFor(c.m, d), slices.DeleteFunc(refs, func(id string) bool { return id == d.RFCID }))
	return d, nil
}

// rootFor is the first reference of a copy. A conversation that begins with
// this very post has no other root than itself.
func rootFor(m *store.Message, d *store.Delivery) string {
	if m.Root == d.RFCID {
		return ""
	}
	return m.Root
}

// maxSubject bounds the decoded subject of a copy, in bytes.
const maxSubject = 900

// tagged is the subject of a copy: the pathway's tag, once however often it is
// answered, and the subject as the author wrote it.
func (h *Hub) tagged(c *copyPlan, names []string, shared bool) string {
	tag := strings.ToUpper(c.prog.ID) + " " + string(c.p.Code)
	if label := subjectLabel(c.prog, &c.p.Patient); label != "" {
		tag += " " + label
	}
	if shared {
		tag += " " + texts.T(h.o.Locale, "copy.for", map[string]any{"names": whom(h.o.Locale, names)})
	}
	return "[" + tag + "] " + cutText(c.m.Subject, maxSubject)
}

// whom names at most three people; the To field names all.
func whom(l texts.Locale, names []string) string {
	clean := make([]string, len(names))
	for i, n := range names {
		clean[i] = strings.Map(func(r rune) rune {
			if r == '[' || r == ']' { // would end the tag
				return -1
			}
			return r
		}, n)
	}
	if len(clean) > 3 {
		clean = append(clean[:2:2], texts.T(l, "copy.others", map[string]any{"count": len(names) - 2}))
	}
	return texts.List(l, clean)
}

func cutText(s string, limit int) string {
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// subjectLabel is what of the patient the programme lets a subject say.
func subjectLabel(prog *rules.Programme, p *store.Patient) string {
	switch prog.SubjectLabel {
	case "initials":
		return initials(p.GivenName) + initials(p.FamilyName)
	case "name":
		return strings.Map(func(r rune) rune {
			if r == '[' || r == ']' {
				return -1
			}
			return r
		}, p.GivenName+" "+p.FamilyName)
	}
	return ""
}

// initials gives the first letter of a name: "L.".
func initials(name string) string {
	r, _ := utf8.DecodeRuneInString(strings.TrimSpace(name))
	if r == utf8.RuneError {
		return ""
	}
	return strings.ToUpper(string(r)) + "."
}

// fromOf is the From field of the copies of a message: the author's name and
// own address at the hub; where the person is not known, the box or service
// and the pathway's.
func (h *Hub) fromOf(m *store.Message) letter.Mailbox {
	name := m.Author.Name
	if e := m.Author.Establishment; e != "" && !strings.Contains(name, e) {
		name += " (" + e + ")"
	}
	addr := h.pathwayAddress(m.Pathway)
	if m.Author.Member != "" && (m.Author.Certainty == store.Sure || m.Author.Certainty == store.Likely) {
		addr = h.memberAddress(m.Pathway, m.Author.Member)
	}
	return letter.Mailbox{Name: name, Address: addr}
}

// noteCopies writes into a message what its copies add to it: the ids it is
// known by, and the boxes it stands in the INBOX of. It tells whether any is new.
func noteCopies(m *store.Message, ds []*store.Delivery) bool {
	was := len(m.KnownAs) + len(m.Boxes)
	for _, d := range ds {
		if d.RFCID != "" && !slices.Contains(m.KnownAs, d.RFCID) {
			m.KnownAs = append(m.KnownAs, d.RFCID)
		}
		if !slices.ContainsFunc(m.Boxes, func(b store.BoxUID) bool { return b.Box == d.Mailbox }) {
			m.Boxes = append(m.Boxes, store.BoxUID{Box: d.Mailbox})
		}
	}
	return len(m.KnownAs)+len(m.Boxes) > was
}

// put queues deliveries.
func (h *Hub) put(tx store.Tx, ds []*store.Delivery) error {
	for _, d := range ds {
		if err := tx.PutDelivery(d); err != nil {
			return fmt.Errorf("queueing a copy of %s: %w", d.Message, err)
		}
		item := store.Item{
			ID: d.Item, Lane: laneOut(d), Due: d.Next, Delivery: d.ID, Pathway: d.Pathway, Message: d.Message,
		}
		if err := tx.PutItem(item); err != nil {
			return fmt.Errorf("queueing a copy of %s: %w", d.Message, err)
		}
	}
	return nil
}

// missedDocument is a member who does not get a message because of another
// document in it, and the documents that member could have had.
type missedDocument struct {
	member    store.MemberID
	documents []int // indexes in the message's documents
}

// missed finds whom one document of a message keeps from the others.
func (h *Hub) missed(pl *plan) []missedDocument {
	docs := pl.message.Documents
	if len(docs) < 2 {
		return nil
	}
	var all []missedDocument
	for i := range pl.pathway.Members {
		mem := &pl.pathway.Members[i]
		v := pl.verdicts[mem.ID]
		role := pl.prog.Role(mem.Role)
		if v.ok || v.why != whyRubric && v.why != whyLimited || role == nil || !role.CareTeam {
			continue
		}
		miss := missedDocument{member: mem.ID}
		for j := range docs {
			rubric := docs[j].Rubric
			if rubric == "" {
				rubric = pl.prog.DefaultRubric().ID
			}
			if pl.prog.MayRole(role.ID, rubric) {
				miss.documents = append(miss.documents, j)
			}
		}
		if len(miss.documents) > 0 {
			all = append(all, miss)
		}
	}
	return all
}
