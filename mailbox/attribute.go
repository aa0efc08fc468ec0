package mailbox

import (
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Who writes. The box is told by envelope sender and From, which the peer's
// certificate vouches for; the person inside a shared box by what the mail
// says, with a certainty. A guess is never passed off as knowledge.

// writer is what attribution found.
type writer struct {
	author store.Author
	// box is the member's box it came from; empty for a source.
	box store.Address
	// roles of those who may have written, for filing by role.
	roles []string
	// boxType of the sender, for the rules.
	boxType store.BoxType
	source  *rules.Source
}

// attribute works out the author. It reports false when the sender is nobody
// of the pathway.
func (h *Hub) attribute(v store.View, p *store.Pathway, prog *rules.Programme, in *incoming) (*writer, bool) {
	if in.given.member != "" {
		if m := member(p, in.given.member); m != nil {
			w := h.writerOf(v, p, []*store.Member{m})
			w.author = authorOf(m, store.Sure, "assigned")
			w.author.CorrectedBy = in.given.by.Name
			return w, true
		}
	}
	if m := accountsMember(p, in); m != nil {
		w := h.writerOf(v, p, []*store.Member{m})
		w.author = authorOf(m, store.Sure, "account")
		return w, true
	}
	byFrom := h.senders(p, in.fromAddr, in)
	byEnvelope := h.senders(p, in.env.MailFrom, in)
	if in.unproven {
		byEnvelope = byFrom
	}
	if in.outside {
		return nil, false
	}
	if len(byFrom) == 0 || len(byEnvelope) == 0 {
		return h.attributeSource(p, prog, in)
	}
	capped := len(in.idx.Envelope.From) > 1 || in.unproven
	both := intersect(byFrom, byEnvelope)
	if len(both) == 0 {
		// The box of one member, the envelope of another: From names the
		// author, but not surely.
		both, capped = byFrom, true
	}
	w := h.writerOf(v, p, both)
	if reply := replyBox(in); reply != "" && reply != w.box {
		capped = true
	}
	h.person(v, w, both, in)
	if capped && w.author.Certainty == store.Sure {
		w.author.Certainty = store.Likely
	}
	return w, true
}

// accountsMember is the member whose own account brought the message: logging in
// said who writes. An account of the box says no more than the box.
func accountsMember(p *store.Pathway, in *incoming) *store.Member {
	a := in.env.Peer.Account
	if a == nil || a.Person == "" {
		return nil
	}
	var active []*store.Member
	for i := range p.Members {
		if m := &p.Members[i]; m.ActiveAt(in.now) {
			active = append(active, m)
		}
	}
	return one(active, a.standsFor)
}

// senders lists the members an address may send for.
func (h *Hub) senders(p *store.Pathway, addr store.Address, in *incoming) []*store.Member {
	if addr == "" {
		return nil
	}
	var found []*store.Member
	for i := range p.Members {
		m := &p.Members[i]
		if m.ActiveAt(in.now) && (m.Mailbox == addr || slices.Contains(m.AlsoFrom, addr)) {
			found = append(found, m)
		}
	}
	return found
}

func intersect(a, b []*store.Member) []*store.Member {
	var both []*store.Member
	for _, m := range a {
		if slices.Contains(b, m) {
			both = append(both, m)
		}
	}
	return both
}

// replyBox is the box whose reply address was written to, if any.
func replyBox(in *incoming) store.Address {
	for _, r := range in.env.Rcpts {
		if r.Kind == ToReply {
			return r.Box
		}
	}
	return ""
}

// writerOf fills in what is known of the box itself.
func (h *Hub) writerOf(v store.View, p *store.Pathway, members []*store.Member) *writer {
	w := &writer{box: members[0].Mailbox, boxType: members[0].Type}
	for _, m := range members {
		if !slices.Contains(w.roles, m.Role) {
			w.roles = append(w.roles, m.Role)
		}
	}
	w.author = h.boxAuthor(v, p, w.box, members)
	return w
}

// boxAuthor is the author when the person is not known: the box or service,
// never a guessed member.
func (h *Hub) boxAuthor(v store.View, p *store.Pathway, box store.Address, members []*store.Member) store.Author {
	a := store.Author{Mailbox: box, Certainty: store.ByBox, Clue: "box"}
	if b, err := v.Box(box); err == nil {
		a.Name, a.Establishment = b.Name, b.Establishment
	}
	for _, m := range members {
		if a.Name == "" {
			a.Name = m.Service
		}
		if a.Establishment == "" {
			a.Establishment = m.Establishment
		}
	}
	if a.Name == "" {
		a.Name = displayBox(box)
	}
	if len(members) > 0 {
		a.Role = members[0].Role
		for _, m := range members {
			if m.Role != a.Role {
				a.Role = "" // several roles share the box
			}
		}
	}
	return a
}

// displayBox names a box by its address, which for a citizen is an identity
// and is not shown.
func displayBox(box store.Address) string {
	if box.Citizen() {
		return "boîte de l'enfant (" + identity.Mask(box.Local()) + ")"
	}
	return box.Local()
}

func authorOf(m *store.Member, c store.Certainty, clue string) store.Author {
	return store.Author{
		Member: m.ID, Name: m.Name, Role: m.Role, Mailbox: m.Mailbox,
		Establishment: m.Establishment, Certainty: c, Clue: clue,
	}
}

// person works out who of the box wrote: the line "Auteur : NAME", the display
// name of From, the signature, in this order; else nobody is named.
func (h *Hub) person(v store.View, w *writer, members []*store.Member, in *incoming) {
	text := ""
	if len(members) > 1 || letter.MayNameAuthor(in.reading.Text) {
		text = letter.NewText(in.reading.Text)
	}
	if name, ok := letter.AuthorLine(text); ok {
		// The writer says who they are. If that is no member, no other clue
		// may say otherwise.
		m := one(members, func(m *store.Member) bool { return letter.NameIn([]string{name}, m.Name) })
		if m == nil {
			m = one(members, func(m *store.Member) bool { return letter.IsFamilyName(name, m.Name) })
		}
		if m != nil {
			w.author = authorOf(m, store.Sure, "line")
		}
		return
	}
	if len(members) == 1 {
		m := members[0]
		certainty := store.Sure
		if m.Type != store.BoxPER && m.Type != store.BoxCitizen && !letter.NameIn([]string{letter.PersonShown(in.from.Name)}, m.Name) {
			// A service's box: others than the one member may write from it.
			certainty = store.Likely
		}
		w.author = authorOf(m, certainty, "only-member")
		return
	}
	shown := one(members, func(m *store.Member) bool { return letter.NameIn([]string{letter.PersonShown(in.from.Name)}, m.Name) })
	lines := letter.Signature(text)
	signed := one(members, func(m *store.Member) bool { return letter.NameIn(lines, m.Name) })
	switch {
	case shown != nil:
		w.author = authorOf(shown, store.Likely, "display-name")
		if signed == shown {
			w.author.Certainty = store.Sure
		}
	case signed != nil:
		w.author = authorOf(signed, store.Likely, "signature")
	}
}

// one gives the only member for whom ok holds, or nil.
func one(members []*store.Member, ok func(*store.Member) bool) *store.Member {
	var found *store.Member
	for _, m := range members {
		if ok(m) {
			if found != nil {
				return nil
			}
			found = m
		}
	}
	return found
}

// attributeSource lets the box of a hospital record send for any child of its
// establishment: the author is then the document's.
func (h *Hub) attributeSource(p *store.Pathway, prog *rules.Programme, in *incoming) (*writer, bool) {
	for i := range prog.Sources {
		s := &prog.Sources[i]
		box := store.NewAddress(s.Mailbox)
		if box != in.fromAddr || box != in.env.MailFrom && !in.unproven {
			continue
		}
		if !hasEstablishment(p, s.Establishment, in) {
			continue
		}
		w := &writer{source: s, boxType: store.BoxAPP}
		w.author = store.Author{
			Name: s.Name, Mailbox: box, Establishment: s.Establishment, Certainty: store.ByBox, Clue: "source",
		}
		if w.author.Name == "" {
			w.author.Name = s.Establishment
		}
		for j := range in.documents {
			if name := in.documents[j].Author; name != "" {
				w.author.Name, w.author.Certainty, w.author.Clue = name, store.Sure, "document"
				if in.unproven {
					w.author.Certainty = store.Likely
				}
				break
			}
		}
		return w, true
	}
	return nil, false
}

// hasEstablishment reports whether the child is followed at an establishment:
// it included the child, or one of its members is in the team.
func hasEstablishment(p *store.Pathway, name string, in *incoming) bool {
	same := func(other string) bool {
		return strings.TrimSpace(other) != "" && identity.FoldName(other) == identity.FoldName(name)
	}
	if same(p.Establishment) {
		return true
	}
	return slices.ContainsFunc(p.Members, func(m store.Member) bool {
		return m.ActiveAt(in.now) && same(m.Establishment)
	})
}

// filingRole is the role that decides where a plain mail is filed. When the
// person is not known and the roles that share the box file differently, the
// one with the narrowest rubric does: a psychologist's note from a shared box
// must not open to everybody because the secretary might have written it.
func (w *writer) filingRole(prog *rules.Programme) string {
	if w.author.Role != "" {
		return w.author.Role
	}
	for _, id := range w.roles {
		if role := prog.Role(id); role != nil {
			if r := prog.Rubric(role.DefaultRubric); r != nil && len(r.VisibleTo) > 0 {
				return id
			}
		}
	}
	if len(w.roles) > 0 {
		return w.roles[0]
	}
	return ""
}
