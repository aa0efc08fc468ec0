package rules

import (
	"slices"
	"time"

	"github.com/expr-lang/expr/vm"
)

// heldByMixed is what [Decision.HeldBy] says where `mixed = "hold"` holds.
const heldByMixed = "mixed"

// Decide says what the programme makes of one message. Where the contract is
// silent it reads as follows, always narrower in doubt.
//
// Filing, the first that applies: written to a rubric (CODE.RUBRIC@); an answer,
// in the rubrics of what it answers; the union of `file` over the rules that
// match; the rubrics of the typed documents; the default rubric of the author's
// role; the default rubric. Rules change neither of the first two. Untyped
// documents add no rubric where another document has one.
//
// Narrowing is never lost on the way: where a typed document is filed apart
// from the rubric of its type, or an answer apart from what it answers, only
// the roles that may see that rubric may see the message.
//
// A rule that fails on some message cannot be said not to match: the message is
// held for a human.
func (p *Programme) Decide(in Input) Decision {
	d := Decision{DocumentRubrics: make([]string, len(in.Facts.Documents)), Trail: make([]Outcome, len(p.Rules))}
	facts := in.Facts
	facts.Documents = slices.Clone(in.Facts.Documents)
	for i := range facts.Documents {
		doc := &facts.Documents[i]
		doc.Type = p.typeOf(doc.Code)
		d.DocumentRubrics[i] = doc.Type
	}
	d.Urgent = facts.Message.Urgent

	var file []string
	toNamed := false
	machine := vm.VM{MemoryBudget: memoryBudget}
	for i := range p.Rules {
		r, o := &p.Rules[i], &d.Trail[i]
		o.Rule, o.File, o.Line = r.Name, p.File, r.Line
		matched, err := r.matches(&machine, &facts)
		if err != nil {
			o.Error = "failed"
			d.hold(r.Name)
			continue
		}
		if o.Matched = matched; !matched {
			continue
		}
		file = append(file, r.File...)
		toNamed = toNamed || len(r.To) > 0
		d.apply(r)
	}
	d.All = d.All || !toNamed

	d.Rubrics, d.Filed = p.file(in, &d, file)
	p.keepNarrow(in, &d)
	d.HiddenFromParents = d.HiddenFromParents || p.hidden(in, &d)
	if slices.ContainsFunc(facts.Documents, maskedOutside) {
		d.limit(p.CareRoles())
	}
	if p.Mixed == mixedHold && p.differ(d.DocumentRubrics) {
		d.hold(heldByMixed)
	}
	d.To, d.Notify = p.roles(d.To), p.roles(d.Notify)
	return d
}

// typeOf gives the rubric a document code belongs to, "" for none.
func (p *Programme) typeOf(code string) string {
	if code == "" {
		return ""
	}
	if r := p.RubricForCode(code); r != nil {
		return r.ID
	}
	return p.Unclassed().ID
}

// apply adds what a matched rule says.
func (d *Decision) apply(r *Rule) {
	var named []string
	for _, role := range r.To {
		if role == everyone {
			d.All = true
		} else {
			named = append(named, role)
		}
	}
	if len(named) > 0 {
		d.To = append(d.To, named...)
		d.Grants = append(d.Grants, Grant{Rule: r.Name, Roles: named, Rubrics: slices.Clone(r.File)})
	}
	if len(r.Only) > 0 {
		d.limit(r.Only)
	}
	if r.Hold {
		d.hold(r.Name)
	}
	d.HiddenFromParents = d.HiddenFromParents || r.HiddenFromParents
	d.Urgent = d.Urgent || r.Urgent
	d.Notify = append(d.Notify, r.Notify...)
	d.AckWithin = shorter(d.AckWithin, r.AckWithin)
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// hold keeps the message for a human; the first to ask is named.
func (d *Decision) hold(by string) {
	if !d.Hold {
		d.Hold, d.HeldBy = true, by
	}
}

// limit narrows who may see the message at all.
func (d *Decision) limit(roles []string) {
	if !d.Limited {
		d.Limited, d.Only = true, slices.Clone(roles)
		return
	}
	d.Only = slices.DeleteFunc(d.Only, func(role string) bool { return !slices.Contains(roles, role) })
}

// file says where the message is filed, and by what.
func (p *Programme) file(in Input, d *Decision, byRule []string) (rubrics []string, by string) {
	if rubrics = p.rubrics(in.Rubrics); len(rubrics) > 0 {
		return rubrics, "address"
	}
	if in.Answers && !in.Replaces {
		if rubrics = p.rubrics(in.Facts.Answers.Rubrics); len(rubrics) > 0 {
			return rubrics, "answer"
		}
	}
	if rubrics = p.rubrics(byRule); len(rubrics) > 0 {
		return rubrics, "rule"
	}
	if rubrics = p.rubrics(d.DocumentRubrics); len(rubrics) > 0 {
		return rubrics, "type"
	}
	if role := p.Role(in.Facts.Sender.Role); role != nil && role.DefaultRubric != "" {
		return []string{role.DefaultRubric}, "default-rubric"
	}
	return []string{p.DefaultRubric().ID}, "default"
}

// keepNarrow limits the message to who may see the rubrics it would have been
// in, had it not been filed elsewhere.
func (p *Programme) keepNarrow(in Input, d *Decision) {
	kept := func(rubric string) {
		if !slices.Contains(d.Rubrics, rubric) {
			d.limit(p.seers(rubric))
		}
	}
	for _, rubric := range d.DocumentRubrics {
		if rubric != "" {
			kept(rubric)
		}
	}
	if in.Answers {
		for _, rubric := range in.Facts.Answers.Rubrics {
			kept(rubric)
		}
	}
	d.Only = p.roles(d.Only)
}

// differ reports whether documents of one message belong to rubrics that not
// the same roles may see.
func (p *Programme) differ(rubrics []string) bool {
	first := ""
	for _, rubric := range rubrics {
		switch {
		case rubric == "" || rubric == first:
		case first == "":
			first = rubric
		case !slices.Equal(p.seers(first), p.seers(rubric)):
			return true
		}
	}
	return false
}

// rubrics puts ids in the programme's order, each once; unknown ones fall out.
// So the order of rules and documents makes no difference.
func (p *Programme) rubrics(ids []string) []string {
	var in []string
	for i := range p.Rubrics {
		if id := p.Rubrics[i].ID; slices.Contains(ids, id) {
			in = append(in, id)
		}
	}
	return in
}

func (p *Programme) roles(ids []string) []string {
	if len(ids) == 0 {
		return ids
	}
	return p.rolesWhere(func(r *Role) bool { return slices.Contains(ids, r.ID) })
}

// Reach lists the roles that the decision would mail to, as far as the
// programme alone can say: before team, consent, and what authors see of their
// own threads. A role outside the care team needs a rule that names it and every
// rubric the message is filed in.
func (p *Programme) Reach(d Decision) []string {
	return p.rolesWhere(func(r *Role) bool {
		if !(d.All && r.CareTeam) && !slices.Contains(d.To, r.ID) || d.Limited && !slices.Contains(d.Only, r.ID) ||
			d.HiddenFromParents && r.Family {
			return false
		}
		for _, rubric := range d.Rubrics {
			if !d.mayIn(p, r, rubric) {
				return false
			}
		}
		return true
	})
}

func (d *Decision) mayIn(p *Programme, r *Role, rubric string) bool {
	if r.CareTeam {
		return p.MayRole(r.ID, rubric)
	}
	if ru := p.Rubric(rubric); len(ru.VisibleTo) > 0 && !p.MayRole(r.ID, rubric) {
		return false
	}
	return slices.ContainsFunc(d.Grants, func(g Grant) bool {
		return slices.Contains(g.Roles, r.ID) && slices.Contains(g.Rubrics, rubric)
	})
}
