package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Which pathway: every clue is read, in the order address, reply address,
// thread, tag, INS in documents. The first that resolves names the pathway;
// the others must not disagree.

// clueKind is where a clue to the pathway was found.
type clueKind string

const (
	clueAddress clueKind = "address"
	clueReply   clueKind = "reply"
	clueReport  clueKind = "report" // what a DSN or MDN says it is about
	clueThread  clueKind = "thread"
	clueTag     clueKind = "tag"
	clueINS     clueKind = "ins"
	clueName    clueKind = "name"
	clueGiven   clueKind = "given" // a human assigned it
)

// clue names the pathways that something in the mail points at. More than one
// only where that something is shared by them (a mail sent to two pathways).
type clue struct {
	kind     clueKind
	pathways []store.PathwayCode
}

// maxThreadIDs bounds the ids of In-Reply-To and References looked up.
const maxThreadIDs = 50

// clues reads every clue but names, which need the pathway first.
func (h *Hub) clues(v store.View, in *incoming) ([]clue, error) {
	var cs []clue
	add := func(kind clueKind, codes ...store.PathwayCode) {
		codes = slices.DeleteFunc(codes, func(c store.PathwayCode) bool { return c == "" })
		if len(codes) > 0 {
			slices.Sort(codes)
			cs = append(cs, clue{kind, slices.Compact(codes)})
		}
	}
	if in.given.pathway != "" {
		add(clueGiven, in.given.pathway)
	}
	for _, r := range in.env.Rcpts {
		kind := clueAddress
		if r.Kind == ToReply || r.Kind == ToBounce {
			kind = clueReply
		}
		add(kind, r.Pathway)
	}
	slices.SortStableFunc(cs, func(a, b clue) int { return order(a.kind) - order(b.kind) })
	replies, err := h.replyClues(v, in)
	if err != nil {
		return nil, err
	}
	add(clueReply, replies...)
	if h.toBox(in) != nil {
		reported, err := h.pathwaysOfReport(v, in)
		if err != nil {
			return nil, err
		}
		add(clueReport, reported...)
	}
	for _, id := range threadIDs(&in.idx.Envelope) {
		codes, err := h.pathwaysOfID(v, id)
		if err != nil {
			return nil, err
		}
		add(clueThread, codes...)
	}
	for _, tag := range letter.FindTags(in.idx.Envelope.Subject) {
		if !identity.CheckCode(tag.Code) {
			continue
		}
		if p, err := h.follow(v, store.PathwayCode(tag.Code)); err == nil {
			add(clueTag, p.Code)
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	for _, ins := range patientNumbers(in.documents) {
		codes, err := v.PathwaysOfPatient(ins.Matricule())
		if err != nil {
			return nil, fmt.Errorf("looking up a patient: %w", err)
		}
		if codes, err = h.ofProgramme(v, codes, in); err != nil {
			return nil, err
		}
		add(clueINS, codes...)
	}
	return cs, nil
}

func order(k clueKind) int {
	return slices.Index([]clueKind{clueGiven, clueAddress, clueReply, clueThread, clueTag, clueINS}, k)
}

// replyClues finds reply addresses of the hub among the visible recipients: an
// answer forwarded to another child's address still shows where it came from.
func (h *Hub) replyClues(v store.View, in *incoming) ([]store.PathwayCode, error) {
	var codes []store.PathwayCode
	e := &in.idx.Envelope
	for _, list := range [][]letter.Mailbox{e.To, e.Cc} {
		for i, m := range list {
			if i == 100 {
				break
			}
			addr := store.NewAddress(m.Address)
			if !strings.EqualFold(addr.Domain(), h.o.Domain) || !strings.Contains(addr.Local(), ".r-") {
				continue
			}
			r, _, err := h.resolve(v, addr)
			var no *Refusal
			if errors.As(err, &no) {
				continue
			}
			if err != nil {
				return nil, err
			}
			codes = append(codes, r.Pathway)
		}
	}
	return codes, nil
}

// threadIDs lists the ids a mail says it answers, nearest first.
func threadIDs(e *letter.Envelope) []string {
	ids := slices.Clone(e.InReplyTo)
	for _, id := range slices.Backward(e.References) {
		ids = append(ids, id)
	}
	seen := map[string]bool{}
	ids = slices.DeleteFunc(ids, func(id string) bool {
		twice := seen[id]
		seen[id] = true
		return twice || !letter.ValidID(id)
	})
	return ids[:min(len(ids), maxThreadIDs)]
}

// pathwaysOfID tells which pathways an RFC 5322 id belongs to: that of a
// message there, or the id of a conversation root.
func (h *Hub) pathwaysOfID(v store.View, id string) ([]store.PathwayCode, error) {
	if rest, ok := strings.CutPrefix(id, "parcours."); ok {
		if code, domain, ok := strings.Cut(rest, "@"); ok && strings.EqualFold(domain, h.o.Domain) && identity.CheckCode(code) {
			p, err := h.follow(v, store.PathwayCode(code))
			if errors.Is(err, store.ErrNotFound) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return []store.PathwayCode{p.Code}, nil
		}
	}
	refs, err := v.MessagesByID(id)
	if err != nil {
		return nil, fmt.Errorf("looking up a message id: %w", err)
	}
	codes := make([]store.PathwayCode, len(refs))
	for i, r := range refs {
		codes[i] = r.Pathway
		if len(refs) == 1 {
			break
		}
		// What was moved answers for where it is now: an answer to its copies
		// would bring to the wrong child what was taken from there.
		m, err := v.Message(r.Pathway, r.Message)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading message %s: %w", r.Message, err)
		}
		if m.Retracted != nil && m.Retracted.To != nil {
			codes[i] = m.Retracted.To.Pathway
		}
	}
	return codes, nil
}

// ofProgramme keeps the pathways of the programme written to (PROGRAMME@, or an
// operator's box), and those that are not over: a child followed again has an
// old pathway.
func (h *Hub) ofProgramme(v store.View, codes []store.PathwayCode, in *incoming) ([]store.PathwayCode, error) {
	programme, box := "", h.toBox(in)
	for _, r := range in.env.Rcpts {
		programme = r.Programme
	}
	var kept []store.PathwayCode
	for _, c := range codes {
		p, err := h.follow(v, c)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		switch {
		case programme != "" && p.Programme != programme, box != nil && !h.serves(box, p.Programme):
			continue
		case (programme != "" || box != nil) && p.Status == store.PathwayClosed:
			continue
		}
		kept = append(kept, p.Code)
	}
	return kept, nil
}

// patientNumbers lists the distinct INS of the documents.
func patientNumbers(docs []letter.Document) []identity.INS {
	var all []identity.INS
	for _, p := range letter.Patients(docs) {
		if !p.INS.IsZero() {
			all = append(all, p.INS)
		}
	}
	return all
}

// named gives the pathway the clues name: the first that resolves to one.
func named(cs []clue) (store.PathwayCode, bool) {
	for _, c := range cs {
		if len(c.pathways) == 1 {
			return c.pathways[0], true
		}
		if c.kind == clueINS { // one child, several pathways: a human chooses
			return "", false
		}
	}
	return "", false
}

// disagreement lists the other pathways that clues point at, the one resolved
// being code. INS disagreements are told apart: see checkPatients.
func disagreement(cs []clue, code store.PathwayCode) []store.PathwayCode {
	var others []store.PathwayCode
	for _, c := range cs {
		if c.kind == clueINS || slices.Contains(c.pathways, code) {
			continue
		}
		others = append(others, c.pathways...)
	}
	slices.Sort(others)
	return slices.Compact(others)
}

// maxNameLookups bounds how many words of a subject are looked up as names.
const maxNameLookups = 256

// otherChildren finds other followed children that the subject or a file name
// mentions by family name together with given name or birth date.
func (h *Hub) otherChildren(v store.View, in *incoming, p *store.Pathway) ([]store.PathwayCode, error) {
	texts := []string{letter.CutTag(in.idx.Envelope.Subject)}
	for i := range in.documents {
		texts = append(texts, in.documents[i].Filename)
	}
	var others []store.PathwayCode
	looked := map[string]bool{}
	for _, text := range texts {
		for _, key := range identity.NameTokens(text) {
			if looked[key+"\x00"+text] || len(looked) >= maxNameLookups {
				continue
			}
			looked[key+"\x00"+text] = true
			codes, err := v.PathwaysOfName(key)
			if err != nil {
				return nil, fmt.Errorf("looking up a name: %w", err)
			}
			for _, code := range codes {
				if code == p.Code || slices.Contains(others, code) {
					continue
				}
				other, err := v.Pathway(code)
				if err != nil {
					return nil, fmt.Errorf("reading pathway %s: %w", code, err)
				}
				if samePatient(&other.Patient, &p.Patient) || other.MergedInto == p.Code {
					continue // the same child in another programme
				}
				if identity.MentionsChild(text, distinctive(&other.Patient, &p.Patient)) {
					others = append(others, code)
				}
			}
		}
	}
	return others, nil
}

// distinctive gives the traits that tell other from child: of two children
// whose names cannot be told apart only the birth date does, of twins only the
// given name.
func distinctive(other, child *store.Patient) identity.Traits {
	t := traits(other)
	a, b := t, traits(child)
	a.Birth, b.Birth, a.Sex, b.Sex = "", "", "", ""
	named := identity.Agree(a, b) == identity.Different
	if !named {
		t.Given = ""
	}
	twins := identity.FoldName(other.FamilyName) == identity.FoldName(child.FamilyName)
	if other.BirthDate == child.BirthDate && (twins || !named) {
		t.Birth = ""
	}
	return t
}

// traits of a patient for comparing.
func traits(p *store.Patient) identity.Traits {
	return identity.Traits{Family: p.FamilyName, Given: p.GivenName, Birth: p.BirthDate, Sex: p.Sex}
}

func samePatient(a, b *store.Patient) bool {
	if a.INS != "" && b.INS != "" {
		return a.INS == b.INS
	}
	return identity.Agree(traits(a), traits(b)) == identity.Same
}
