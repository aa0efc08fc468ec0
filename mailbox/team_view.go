package mailbox

import (
	"context"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// How a team is shown, and what about it will trouble its mail.

// Team shows the members; with history also those who left.
func (h *Hub) Team(ctx context.Context, by Actor, code string, history bool) ([]MemberView, error) {
	var views []MemberView
	err := h.change(ctx, func(tx store.Tx) error {
		views = []MemberView{}
		p, err := pathwayNamed(tx, by, code)
		if err != nil {
			return err
		}
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		for i := range p.Members {
			if m := &p.Members[i]; history || m.ActiveAt(h.o.Now()) {
				views = append(views, h.memberView(p, prog, m))
			}
		}
		return h.trace(tx, by, "team.read", p.Code, "", outcomeDone, nil)
	})
	return views, err
}

// teamWarnings says what about a member will trouble the team's mail.
func (h *Hub) teamWarnings(p *store.Pathway, prog *rules.Programme, m *store.Member) []string {
	now := h.o.Now()
	var warnings []string
	for i := range p.Members {
		o := &p.Members[i]
		if o.ID == m.ID || !o.ActiveAt(now) {
			continue
		}
		switch {
		case o.Mailbox == m.Mailbox && sharedName(o.Name, m.Name):
			warnings = append(warnings, warnSameName+" "+string(o.ID))
		case o.Mailbox == m.Mailbox && m.Type == store.BoxPER:
			warnings = append(warnings, warnPersonalBox+" "+string(o.ID))
		}
		if slices.Contains(m.AlsoFrom, o.Mailbox) || slices.Contains(o.AlsoFrom, m.Mailbox) {
			warnings = append(warnings, warnAlsoBox+" "+string(o.ID))
		}
	}
	if !h.listed(m.Mailbox.Domain()) {
		warnings = append(warnings, warnUnlisted+" "+m.Mailbox.Domain())
	}
	if ins, err := identity.CitizenINS(m.Mailbox.Local()); m.Mailbox.Citizen() && p.Patient.INS != "" && (err != nil || ins.Matricule() != p.Patient.INS) {
		// Minors are written to at their own box (mssante reference, §6).
		warnings = append(warnings, warnOtherCitizen)
	}
	switch {
	case stoppedByAge(p, prog, m, now):
		warnings = append(warnings, warnOfAge)
	case h.memberState(p, prog, m) == "pending":
		warnings = append(warnings, warnPending)
	}
	return warnings
}

// sharedName reports whether one of two names could be taken for the other when
// an author is worked out: every word of the shorter is in the longer.
func sharedName(a, b string) bool {
	x, y := strings.Fields(identity.FoldName(a)), strings.Fields(identity.FoldName(b))
	if len(x) > len(y) {
		x, y = y, x
	}
	return !slices.ContainsFunc(x, func(word string) bool { return !slices.Contains(y, word) })
}

// memberState is active, pending (an own consent is missing), suspended (the
// patient is of age and has not consented) or left.
func (h *Hub) memberState(p *store.Pathway, prog *rules.Programme, m *store.Member) string {
	if !m.ActiveAt(h.o.Now()) {
		return "left"
	}
	if role := prog.Role(m.Role); role == nil || !role.CareTeam && lastConsent(p, m.ID) != consentRecorded || lastConsent(p, m.ID) == consentWithdrawn {
		return "pending"
	}
	switch now := h.o.Now(); {
	case suspendedByAge(p, prog, m, now):
		return "suspended"
	case stoppedByAge(p, prog, m, now):
		return "pending"
	}
	return "active"
}

func (h *Hub) memberView(p *store.Pathway, prog *rules.Programme, m *store.Member) MemberView {
	v := MemberView{
		Member: string(m.ID), Name: m.Name, Role: m.Role, Mailbox: h.shownBox(m.Mailbox), Type: string(m.Type),
		Establishment: m.Establishment, Service: m.Service, RPPS: m.RPPS, Phone: m.Phone, State: h.memberState(p, prog, m),
	}
	for _, a := range m.AlsoFrom {
		v.AlsoFrom = append(v.AlsoFrom, h.shownBox(a))
	}
	for i := range m.Periods {
		pv := PeriodView{From: m.Periods[i].From}
		if to := m.Periods[i].To; !to.IsZero() {
			pv.To = &to
		}
		v.Periods = append(v.Periods, pv)
	}
	return v
}
