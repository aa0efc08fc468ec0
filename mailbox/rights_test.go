package mailbox

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// drawCase draws a team of one, a pathway's consents and a message over the
// shipped programme, without any regard for what could really come about.
func drawCase(t *rapid.T, prog *rules.Programme) (*store.Pathway, *store.Member, *store.Message, time.Time) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	var roles, rubrics []string
	for _, r := range prog.Roles {
		roles = append(roles, r.ID)
	}
	for _, r := range prog.Rubrics {
		rubrics = append(rubrics, r.ID)
	}
	role, some := rapid.SampledFrom(append(roles, "unheard-of")), rapid.SliceOfNDistinct(rapid.SampledFrom(roles), 0, 4, rapid.ID[string])
	in := rapid.SliceOfNDistinct(rapid.SampledFrom(rubrics), 0, 3, rapid.ID[string])
	mem := &store.Member{ID: "m1", Role: role.Draw(t, "role"), Periods: []store.Period{{From: now.Add(-time.Hour)}}}
	if rapid.IntRange(0, 5).Draw(t, "left") == 0 {
		mem.Periods[0].To = now.Add(-time.Minute)
	}
	p := &store.Pathway{Code: "k7f3q2x", Members: []store.Member{*mem}}
	for i := range rapid.IntRange(0, 3).Draw(t, "consents") {
		c := store.Consent{At: now.Add(time.Duration(i) * time.Minute)}
		if rapid.Bool().Draw(t, "for") {
			c.For = "m1"
		}
		if rapid.IntRange(0, 3).Draw(t, "withdrawn") == 0 {
			c.Withdrawn = now
		}
		p.Consents = append(p.Consents, c)
	}
	m := &store.Message{ID: "x", Pathway: p.Code, Kind: store.KindPost}
	for _, r := range rapid.Custom(func(t *rapid.T) []string {
		return append(in.Draw(t, "more"), rapid.SampledFrom(rubrics).Draw(t, "one"))
	}).Draw(t, "rubrics") {
		m.Filings = append(m.Filings, store.Filing{Rubric: r})
	}
	a := &m.Audience
	a.All, a.To = rapid.Bool().Draw(t, "all"), some.Draw(t, "to")
	a.Limited, a.Only = rapid.Bool().Draw(t, "limited"), some.Draw(t, "only")
	a.Inherited, a.InheritedOnly = rapid.Bool().Draw(t, "inherited"), some.Draw(t, "inherited only")
	for range rapid.IntRange(0, 2).Draw(t, "grants") {
		a.Grants = append(a.Grants, store.Grant{Rule: "r", Roles: some.Draw(t, "roles"), Rubrics: in.Draw(t, "granted")})
	}
	a.HasDocs = rapid.Bool().Draw(t, "documents")
	a.Untyped = a.HasDocs && rapid.Bool().Draw(t, "untyped")
	if rapid.Bool().Draw(t, "answered") {
		a.Answered = []store.MemberID{rapid.SampledFrom([]store.MemberID{"m1", "m2"}).Draw(t, "whom")}
	}
	m.Author.Member = rapid.SampledFrom([]store.MemberID{"", "m1", "m2"}).Draw(t, "author")
	if rapid.IntRange(0, 9).Draw(t, "retracted") == 0 {
		m.Retracted = &store.Retraction{At: now}
	}
	return p, mem, m, now
}

// TestRightsAreNarrow states what may never be seen, each sentence by itself
// and from the contract, not from the code.
func TestRightsAreNarrow(t *testing.T) {
	set, _ := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Dev: true})
	prog := set.ByID("pon")
	h := New(Options{})
	rapid.Check(t, func(t *rapid.T) {
		p, mem, m, now := drawCase(t, prog)
		sees, gets := h.maySee(p, prog, mem, m, now), h.mayReceive(p, prog, mem, m, now)
		if gets.ok && !sees.ok {
			t.Fatalf("is mailed what it may not see: %+v, %+v", gets, sees)
		}
		if !sees.ok {
			if sees.why == "" {
				t.Fatal("refused without a reason")
			}
			return
		}
		role := prog.Role(mem.Role)
		own, answered := m.Author.Member == mem.ID, slices.Contains(m.Audience.Answered, mem.ID)
		consent, personal := false, false
		for _, c := range p.Consents {
			switch c.For {
			case "":
				consent = c.Withdrawn.IsZero()
			case mem.ID:
				personal = c.Withdrawn.IsZero()
			}
		}
		switch {
		case role == nil:
			t.Fatal("an unknown role sees something")
		case !mem.ActiveAt(now):
			t.Fatal("who left sees something")
		case m.Retracted != nil:
			t.Fatal("a withdrawn message is seen")
		case !consent:
			t.Fatal("seen without consent")
		case !role.CareTeam && !personal:
			t.Fatal("outside the care team, seen without a consent of their own")
		case own:
			return
		case m.Audience.Limited && !slices.Contains(m.Audience.Only, role.ID):
			t.Fatal("seen in spite of a rule's only")
		case answered && (role.CareTeam || !m.Audience.HasDocs):
			return
		case m.Audience.Inherited && !slices.Contains(m.Audience.InheritedOnly, role.ID):
			t.Fatal("an answer is seen by who may not see what it answers")
		}
		for _, id := range m.Rubrics() {
			r := prog.Rubric(id)
			if len(r.VisibleTo) > 0 && !slices.Contains(r.VisibleTo, role.ID) {
				t.Fatalf("seen in %s, which the role has not", id)
			}
		}
		if role.CareTeam {
			return
		}
		named := slices.ContainsFunc(m.Audience.Grants, func(g store.Grant) bool { return slices.Contains(g.Roles, role.ID) })
		if !named {
			t.Fatal("outside the care team, seen without a rule that names the role")
		}
		if m.Audience.Untyped {
			t.Fatal("outside the care team, an untyped document is seen")
		}
	})
}

// TestNarrowingNeverWidens: another rubric or a limit takes members away and
// gives none.
func TestNarrowingNeverWidens(t *testing.T) {
	set, _ := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Dev: true})
	prog := set.ByID("pon")
	h := New(Options{})
	rapid.Check(t, func(t *rapid.T) {
		p, mem, m, now := drawCase(t, prog)
		before := h.maySee(p, prog, mem, m, now)
		narrow := *m
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			extra := rapid.SampledFrom(prog.Rubrics).Draw(t, "extra").ID
			narrow.Filings = append(slices.Clone(m.Filings), store.Filing{Rubric: extra})
		case 1:
			narrow.Audience.HasDocs, narrow.Audience.Untyped = true, true
		case 2:
			if !m.Audience.Limited {
				narrow.Audience.Limited = true
			} else if n := len(m.Audience.Only); n > 0 {
				narrow.Audience.Only = m.Audience.Only[:n-1]
			}
		case 3:
			narrow.Audience.Grants = nil
		}
		if after := h.maySee(p, prog, mem, &narrow, now); after.ok && !before.ok {
			t.Fatalf("narrowed, and seen: %+v, before %+v", after, before)
		}
	})
}
