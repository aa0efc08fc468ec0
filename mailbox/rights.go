package mailbox

import (
	"slices"
	"time"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// The one rights function. Relay, thread, IMAP, export and search ask maySee;
// the relay asks mayReceive, which is maySee and being one of those a message
// is mailed to. Both only read their arguments: the same records always give
// the same verdict. Where two readings are possible the narrower one is taken.

// why is the reason of a verdict, a word of the catalogue ("why.<word>").
type why string

// Reasons for seeing a message.
const (
	whyTeam     why = "care-team" // role of the legal care team, every rubric open to it
	whyRule     why = "rule"      // a rule names the role for these rubrics
	whyOwn      why = "own"       // its author
	whyAnswered why = "answered"  // author of what it answers
)

// Reasons for not seeing it, or not being mailed.
const (
	whyLeft         why = "left"
	whyNoConsent    why = "no-consent"
	whyWithdrawn    why = "consent-withdrawn"
	whyNoRole       why = "role-unknown"
	whyRubric       why = "rubric"
	whyLimited      why = "limited"
	whyNotNamed     why = "not-named"
	whyUntyped      why = "untyped"
	whyRetracted    why = "retracted"
	whyNotAddressed why = "not-addressed"
	whyHidden       why = "hidden-from-parents"
	whyOfAge        why = "of-age"
)

// verdict is an answer of the rights function.
type verdict struct {
	ok   bool
	why  why
	rule string // the rule that names or limits, if one does
}

// consentState is what is recorded of a consent.
type consentState int

const (
	consentNone consentState = iota
	consentRecorded
	consentWithdrawn
)

// pathwayConsent is the state of the consent given for the whole pathway.
func pathwayConsent(p *store.Pathway) consentState { return lastConsent(p, "") }

func lastConsent(p *store.Pathway, of store.MemberID) consentState {
	state := consentNone
	for _, c := range p.Consents {
		if c.For != of {
			continue
		}
		state = consentRecorded
		if !c.Withdrawn.IsZero() {
			state = consentWithdrawn
		}
	}
	return state
}

// consentFor is the state of the consent that lets a member see anything at
// all. Sharing inside the legal care team rests on the pathway's consent (CSP
// L.1110-4 III); outside it each person needs an own, explicit one. An own
// consent withdrawn counts for everybody.
func consentFor(p *store.Pathway, prog *rules.Programme, mem *store.Member) consentState {
	if s := pathwayConsent(p); s != consentRecorded {
		return s
	}
	own := lastConsent(p, mem.ID)
	if own == consentWithdrawn {
		return consentWithdrawn
	}
	if role := prog.Role(mem.Role); role != nil && role.CareTeam {
		return consentRecorded
	}
	return own
}

// maySee says whether a member may see a message at a time.
func (h *Hub) maySee(p *store.Pathway, prog *rules.Programme, mem *store.Member, m *store.Message, at time.Time) verdict {
	if m.Retracted != nil {
		return verdict{why: whyRetracted}
	}
	if v := mayAct(p, prog, mem, at); !v.ok {
		return v
	}
	return mayLook(p, prog, mem, m, at)
}

// mayLook is maySee for a message that was not withdrawn and a member who may
// act. It is there to be asked about many messages in a row, nothing else.
func mayLook(p *store.Pathway, prog *rules.Programme, mem *store.Member, m *store.Message, at time.Time) verdict {
	if hiddenFrom(p, prog, mem, m, at) {
		return verdict{why: whyHidden} // its author's own copy too: the other parent reads it
	}
	role := prog.Role(mem.Role)
	own := m.Author.Member != "" && m.Author.Member == mem.ID
	if own {
		return verdict{ok: true, why: whyOwn}
	}
	a := &m.Audience
	if a.Limited && !slices.Contains(a.Only, role.ID) {
		return verdict{why: whyLimited}
	}
	// Authors of what it answers see the answer, whatever its rubrics; outside
	// the care team only if it carries no document (or a rule names them, below).
	if slices.Contains(a.Answered, mem.ID) && (role.CareTeam || !a.HasDocs) {
		return verdict{ok: true, why: whyAnswered}
	}
	if a.Inherited && !slices.Contains(a.InheritedOnly, role.ID) {
		return verdict{why: whyLimited}
	}
	if !role.CareTeam {
		return grantedTo(prog, role, m)
	}
	for i := range m.Filings {
		if !prog.MayRole(role.ID, m.Filings[i].Rubric) {
			return verdict{why: whyRubric}
		}
	}
	return verdict{ok: true, why: whyTeam}
}

// mayAct says whether a member has any part in the pathway at a time: in the
// team, with a known role, with the consent it takes.
func mayAct(p *store.Pathway, prog *rules.Programme, mem *store.Member, at time.Time) verdict {
	if p.Status == store.PathwayErasing {
		return verdict{why: whyErasing}
	}
	if !mem.ActiveAt(at) {
		return verdict{why: whyLeft}
	}
	if prog.Role(mem.Role) == nil {
		return verdict{why: whyNoRole}
	}
	switch consentFor(p, prog, mem) {
	case consentNone:
		return verdict{why: whyNoConsent}
	case consentWithdrawn:
		return verdict{why: whyWithdrawn}
	}
	if stoppedByAge(p, prog, mem, at) {
		return verdict{why: whyOfAge}
	}
	return verdict{ok: true}
}

// grantedTo says whether a rule named a role outside the legal care team for
// every rubric a message is filed in. Never for an untyped document: nobody
// knows what it says.
func grantedTo(prog *rules.Programme, role *rules.Role, m *store.Message) verdict {
	named := ""
	for _, g := range m.Audience.Grants {
		if !slices.Contains(g.Roles, role.ID) {
			continue
		}
		named = g.Rule
		if !grantCovers(prog, role.ID, g, m.Rubrics()) {
			continue
		}
		if m.Audience.Untyped {
			return verdict{why: whyUntyped, rule: g.Rule}
		}
		return verdict{ok: true, why: whyRule, rule: g.Rule}
	}
	if named != "" {
		return verdict{why: whyRubric, rule: named}
	}
	return verdict{why: whyNotNamed}
}

func grantCovers(prog *rules.Programme, role string, g store.Grant, rubrics []string) bool {
	for _, id := range rubrics {
		rubric := prog.Rubric(id)
		if rubric == nil {
			return false
		}
		listed := slices.Contains(rubric.VisibleTo, role)
		if len(rubric.VisibleTo) > 0 && !listed {
			return false
		}
		// A rule that files somewhere names its roles for those rubrics only.
		if len(g.Rubrics) > 0 && !slices.Contains(g.Rubrics, id) && !listed {
			return false
		}
	}
	return true
}

// mayReceive says whether a message is mailed to a member: the member may see
// it and is among those it is for.
func (h *Hub) mayReceive(p *store.Pathway, prog *rules.Programme, mem *store.Member, m *store.Message, at time.Time) verdict {
	v := h.maySee(p, prog, mem, m, at)
	if !v.ok || v.why == whyAnswered || v.why == whyRule {
		return v
	}
	role := prog.Role(mem.Role)
	if m.Audience.All && role.CareTeam || slices.Contains(m.Audience.To, role.ID) || v.why == whyOwn {
		return v
	}
	return verdict{why: whyNotAddressed}
}
