package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// The care team. History is kept: a member who leaves keeps the id, closed in
// a period, and gets a second period on coming back. Ids are never used again.

// AddMember adds a member, or lets one come back: the same name at the same
// mailbox. Without a mailbox the directory's for the RPPS number is taken, if
// there is one and no other; see fromDirectory. A role outside the legal care team is pending until a consent is
// recorded for the member.
func (h *Hub) AddMember(ctx context.Context, by Actor, r MemberRequest) (MemberView, error) {
	typed := r.Type != ""
	if err := h.fromDirectory(&r); err != nil {
		return MemberView{}, err
	}
	var view MemberView
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := liveNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		m, warnings, err := h.join(tx, p, prog, r, typed)
		if err != nil {
			return err
		}
		if err := h.save(tx, p); err != nil {
			return err
		}
		view = h.memberView(p, prog, m)
		view.Warnings = warnings
		return h.trace(tx, by, "team.added", p.Code, string(m.ID), outcomeDone, map[string]string{"role": m.Role})
	})
	return view, err
}

// join puts a member into the team of p, which the caller saves, and makes the
// box known. If a person typed the type it must be that of the box.
func (h *Hub) join(tx store.Tx, p *store.Pathway, prog *rules.Programme, r MemberRequest, typed bool) (*store.Member, []string, error) {
	n, warnings, err := h.newMember(prog, r)
	if err != nil {
		return nil, nil, err
	}
	m, err := admit(p, n, h.o.Now())
	if err != nil {
		return nil, nil, err
	}
	box, err := h.ensureBox(tx, m, typed, r.BoxName)
	if err != nil {
		return nil, nil, err
	}
	m.Type = box.Type
	return m, append(warnings, h.teamWarnings(p, prog, m)...), nil
}

// admit lets n into the team from now on: as somebody new, or as who left and
// comes back.
func admit(p *store.Pathway, n *store.Member, now time.Time) (*store.Member, error) {
	m := sameMember(p, n)
	switch {
	case m == nil:
		n.ID = nextMember(p)
		p.Members = append(p.Members, *n)
		m = &p.Members[len(p.Members)-1]
	case m.ActiveAt(now):
		return nil, fail("member-exists", map[string]any{"member": string(m.ID), "pathway": string(p.Code)})
	default:
		n.ID, n.Periods, n.Former, n.MergedAs = m.ID, m.Periods, m.Former, m.MergedAs
		*m = *n
	}
	m.Periods = append(m.Periods, store.Period{From: now})
	return m, nil
}

// nextMember gives an id that no member of the pathway ever had.
func nextMember(p *store.Pathway) store.MemberID {
	for p.NextMember < 1 || member(p, memberID(p.NextMember)) != nil {
		p.NextMember++
	}
	id := memberID(p.NextMember)
	p.NextMember++
	return id
}

func memberID(n int) store.MemberID { return store.MemberID("m" + strconv.Itoa(n)) }

// sameMember finds the person of a record in the team, present or past: the
// same name at the same mailbox, under another id.
func sameMember(p *store.Pathway, n *store.Member) *store.Member {
	for i := range p.Members {
		m := &p.Members[i]
		if m.ID != n.ID && m.Mailbox == n.Mailbox && identity.NameKey(m.Name) == identity.NameKey(n.Name) {
			return m
		}
	}
	return nil
}

// newMember checks a request and gives the record, without id and periods.
func (h *Hub) newMember(prog *rules.Programme, r MemberRequest) (*store.Member, []string, error) {
	if err := lines("name", &r.Name, "establishment", &r.Establishment, "service", &r.Service, "box_name", &r.BoxName); err != nil {
		return nil, nil, err
	}
	if identity.NameKey(r.Name) == "" {
		return nil, nil, fail("member-name", nil)
	}
	m := &store.Member{Name: r.Name, Establishment: r.Establishment, Service: r.Service}
	var err error
	if m.Role, err = roleNamed(prog, r.Role); err != nil {
		return nil, nil, err
	}
	if m.Mailbox, err = h.outsideBox(r.Mailbox); err != nil {
		return nil, nil, err
	}
	if m.AlsoFrom, err = h.outsideBoxes(r.AlsoFrom); err != nil {
		return nil, nil, err
	}
	if m.Type, err = boxType(m.Mailbox, r.Type); err != nil {
		return nil, nil, err
	}
	if err := citizenRole(prog, m); err != nil {
		return nil, nil, err
	}
	if m.Phone, err = phoneNumber(r.Phone); err != nil {
		return nil, nil, err
	}
	var warnings []string
	m.RPPS, warnings, err = rpps(r.RPPS)
	return m, warnings, err
}

func phoneNumber(s string) (string, error) {
	n, err := identity.ParsePhone(s)
	if err != nil {
		return "", fail("phone", nil)
	}
	return n, nil
}

func rpps(s string) (string, []string, error) {
	if strings.TrimSpace(s) == "" {
		return "", nil, nil
	}
	n, err := identity.ParseRPPS(s)
	if err != nil {
		return "", nil, fail("rpps", nil)
	}
	if !n.KeyOK() {
		return string(n), []string{warnRPPS}, nil
	}
	return string(n), nil, nil
}

func roleNamed(prog *rules.Programme, id string) (string, error) {
	id = strings.ToLower(strings.TrimSpace(id))
	if prog.Role(id) == nil {
		var known []string
		for _, r := range prog.Roles {
			known = append(known, r.ID)
		}
		return "", fail("role-unknown", map[string]any{"role": id, "programme": prog.ID, "known": strings.Join(known, " ")})
	}
	return id, nil
}

// UpdateMember corrects a member. With another mailbox the member stays the
// same person: copies that wait for the old box are made anew for the new one,
// and the addresses the hub made for the old one stay good.
func (h *Hub) UpdateMember(ctx context.Context, by Actor, r MemberUpdate) (MemberView, error) {
	var view MemberView
	var listed store.BoxType
	if r.Mailbox != nil {
		listed = h.listedType(store.NewAddress(*r.Mailbox))
	}
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := liveNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		m, err := memberNamed(p, r.Member)
		if err != nil {
			return err
		}
		old := *m
		fields, warnings, err := h.amend(p, prog, m, r, listed)
		if err != nil {
			return err
		}
		if m.Mailbox != old.Mailbox {
			box, err := h.ensureBox(tx, m, false, "")
			if err != nil {
				return err
			}
			m.Type = box.Type
		}
		if err := h.save(tx, p); err != nil {
			return err
		}
		moved, err := h.followMember(tx, p, prog, m, &old)
		if err != nil {
			return err
		}
		if moved > 0 {
			warnings = append(warnings, warnRequeued+" "+strconv.Itoa(moved))
		}
		view = h.memberView(p, prog, m)
		view.Warnings = append(warnings, h.teamWarnings(p, prog, m)...)
		return h.trace(tx, by, "team.updated", p.Code, string(m.ID), outcomeDone, map[string]string{"fields": strings.Join(fields, " ")})
	})
	return view, err
}

// amend writes the given fields into m and names them.
func (h *Hub) amend(p *store.Pathway, prog *rules.Programme, m *store.Member, r MemberUpdate, listed store.BoxType) (fields, warnings []string, err error) {
	old := m.Mailbox
	for _, f := range []struct {
		name string
		to   *string
		at   *string
	}{{"name", r.Name, &m.Name}, {"establishment", r.Establishment, &m.Establishment}, {"service", r.Service, &m.Service}} {
		if f.to == nil {
			continue
		}
		if *f.at, err = line(f.name, *f.to); err != nil {
			return nil, nil, err
		}
		fields = append(fields, f.name)
	}
	if identity.NameKey(m.Name) == "" {
		return nil, nil, fail("member-name", nil)
	}
	if r.Role != nil {
		was := m.Role
		if m.Role, err = roleNamed(prog, *r.Role); err != nil {
			return nil, nil, err
		}
		if m.Role != was {
			m.Widened++ // what was filed before may be seen only now
		}
		fields = append(fields, "role")
	}
	if r.Mailbox != nil {
		if m.Mailbox, err = h.outsideBox(*r.Mailbox); err != nil {
			return nil, nil, err
		}
		if m.Type, err = boxType(m.Mailbox, string(listed)); err != nil {
			return nil, nil, err
		}
		fields = append(fields, "mailbox")
	}
	if r.AlsoFrom != nil {
		if m.AlsoFrom, err = h.outsideBoxes(*r.AlsoFrom); err != nil {
			return nil, nil, err
		}
		fields = append(fields, "also_from")
	}
	if r.RPPS != nil {
		if m.RPPS, warnings, err = rpps(*r.RPPS); err != nil {
			return nil, nil, err
		}
		fields = append(fields, "rpps")
	}
	if r.Phone != nil {
		if m.Phone, err = phoneNumber(*r.Phone); err != nil {
			return nil, nil, err
		}
		fields = append(fields, "phone")
	}
	if len(fields) == 0 {
		return nil, nil, fail("nothing-to-change", nil)
	}
	if err := citizenRole(prog, m); err != nil {
		return nil, nil, err
	}
	if other := sameMember(p, m); other != nil {
		return nil, nil, fail("member-exists", map[string]any{"member": string(other.ID), "pathway": string(p.Code)})
	}
	if m.Mailbox != old && !slices.Contains(m.Former, old) {
		m.Former = append(slices.Clone(m.Former), old)
	}
	return fields, warnings, nil
}

// followMember lets the queue follow a change of a member: copies nobody may
// receive any more are cancelled, and those cancelled because the box changed
// are queued for the new one.
func (h *Hub) followMember(tx store.Tx, p *store.Pathway, prog *rules.Programme, m, old *store.Member) (int, error) {
	var lost []store.MessageID
	if m.Mailbox != old.Mailbox {
		err := h.eachLive(tx, p.Code, func(d *store.Delivery) error {
			if d.Notice == nil && d.Mailbox == old.Mailbox && waiting(d) && slices.Contains(d.Members, m.ID) {
				lost = append(lost, d.Message)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	if _, err := h.cancelUnentitled(tx, p, "member-changed"); err != nil {
		return 0, err
	}
	queued := 0
	for _, id := range lost {
		msg, err := tx.Message(p.Code, id)
		if err != nil {
			return 0, fmt.Errorf("reading message %s: %w", id, err)
		}
		n, err := h.mailTo(tx, p, prog, msg, false, func(mem *store.Member) bool { return mem.ID == m.ID })
		if err != nil {
			return 0, err
		}
		queued += n
	}
	return queued, nil
}

// RemoveMember ends a membership. Queued copies for nobody else are cancelled
// in the same commit.
func (h *Hub) RemoveMember(ctx context.Context, by Actor, r MemberRemoval) (MemberView, error) {
	if err := lines("reason", &r.Reason); err != nil {
		return MemberView{}, err
	}
	var view MemberView
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := liveNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		m, err := memberNamed(p, r.Member)
		if err != nil {
			return err
		}
		now := h.o.Now()
		if !m.ActiveAt(now) {
			return fail("member-left", map[string]any{"member": string(m.ID), "pathway": string(p.Code)})
		}
		if r.FIN {
			if !m.Mailbox.Citizen() {
				return fail("fin-no-citizen", map[string]any{"member": string(m.ID)})
			}
			if _, err := h.endExchange(tx, p, prog, func(o *store.Member) bool { return o.ID == m.ID }); err != nil {
				return err
			}
		}
		leave(m, now, r.Reason)
		if err := h.save(tx, p); err != nil {
			return err
		}
		if _, err := h.cancelUnentitled(tx, p, "member-left"); err != nil {
			return err
		}
		view = h.memberView(p, prog, m)
		return h.trace(tx, by, "team.removed", p.Code, string(m.ID), outcomeDone, nil)
	})
	return view, err
}

// leave closes the periods of a member that last.
func leave(m *store.Member, at time.Time, reason string) {
	for i := range m.Periods {
		if m.Periods[i].To.IsZero() {
			m.Periods[i].To, m.Periods[i].Reason = at, reason
		}
	}
}
