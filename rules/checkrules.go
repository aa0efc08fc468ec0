package rules

import (
	"slices"
	"strings"
)

// rules checks the rules and compiles their expressions.
func (c *checker) rules() {
	names := map[string]bool{}
	for i := range c.p.Rules {
		r := &c.p.Rules[i]
		r.Line = c.doc.Problem(missing, nil, "rule", i).Line
		switch {
		case strings.TrimSpace(r.Name) == "":
			c.at(missing, nil, "rule", i, "name")
		case names[r.Name]:
			c.at(twice, map[string]any{"value": r.Name}, "rule", i, "name")
		}
		names[r.Name] = true
		c.references(r, i)
		c.outsiders(r, i)
		if strings.TrimSpace(r.When) == "" {
			c.at(missing, nil, "rule", i, "when")
			continue
		}
		for _, fault := range r.compile(c.p) {
			if fault.args == nil {
				fault.args = map[string]any{}
			}
			fault.args["key"] = "rule.when"
			c.problems = append(c.problems, c.doc.ProblemInText(fault.id, fault.args, r.When, fault.at, "rule", i, "when"))
		}
		if !r.does() {
			c.warn(doesNothing, map[string]any{"rule": r.Name}, "rule", i)
		}
	}
}

func (r *Rule) does() bool {
	return len(r.File)+len(r.To)+len(r.Only)+len(r.Notify) > 0 || r.Urgent || r.Hold || r.HiddenFromParents || r.AckWithin > 0
}

func (c *checker) references(r *Rule, i int) {
	for j, id := range r.File {
		c.known(c.rubricIDs(), id, "rule", i, "file", j)
	}
	for j, id := range r.To {
		c.known(append(c.roleIDs(), everyone), id, "rule", i, "to", j)
	}
	for j, id := range r.Only {
		c.known(c.roleIDs(), id, "rule", i, "only", j)
	}
	for j, id := range r.Notify {
		c.known(c.roleIDs(), id, "rule", i, "notify", j)
	}
	// An empty list can be meant as "nobody" or as "I forgot".
	for _, key := range []string{"file", "to", "only", "notify"} {
		if c.doc.Has("rule", i, key) && len(map[string][]string{"file": r.File, "to": r.To, "only": r.Only, "notify": r.Notify}[key]) == 0 {
			c.at(emptyList, nil, "rule", i, key)
		}
	}
}

// outsiders warns of names in `to` that give nothing: a role outside the legal
// care team gets only what a rule names it for, by role and rubric; and nobody
// gets what is filed in a rubric they may not see.
func (c *checker) outsiders(r *Rule, i int) {
	for j, id := range r.To {
		role := c.p.Role(id)
		if role == nil {
			continue
		}
		if !role.CareTeam && len(r.File) == 0 {
			c.warn(outsideWithoutFile, map[string]any{"role": id}, "rule", i, "to", j)
		}
		if role.Family && (r.HiddenFromParents || slices.ContainsFunc(r.File, c.p.HidesFromParents)) {
			c.warn(secretForRole, map[string]any{"role": id}, "rule", i, "to", j)
		}
		for _, rubric := range r.File {
			ru := c.p.Rubric(rubric)
			if ru != nil && len(ru.VisibleTo) > 0 && !c.p.MayRole(id, rubric) {
				c.warn(cannotSee, map[string]any{"role": id, "rubric": rubric}, "rule", i, "to", j)
			}
		}
	}
}

// Texts of the problems this package finds.
const (
	missing            TextID = "check.missing"
	notAddress         TextID = "check.not-address"
	ownDomain          TextID = "check.own-domain"
	ownBox             TextID = "check.own-box"
	twice              TextID = "check.twice"
	badID              TextID = "check.bad-id"
	badProgrammeID     TextID = "check.bad-programme-id"
	noProgramme        TextID = "check.no-programme"
	programmeTwice     TextID = "check.programme-twice"
	noDesk             TextID = "check.no-desk"
	noCoordinator      TextID = "check.no-coordinator"
	coordinatorOutside TextID = "check.coordinator-outside"
	badFolder          TextID = "check.bad-folder"
	codeTwice          TextID = "check.code-twice"
	defaultTwice       TextID = "check.default-twice"
	noDefault          TextID = "check.no-default"
	emptyList          TextID = "check.empty-list"
	doesNothing        TextID = "check.does-nothing"
	outsideWithoutFile TextID = "check.outside-without-file"
	cannotSee          TextID = "check.cannot-see"
	secretForRole      TextID = "check.secret-for-role"
	familyInside       TextID = "check.family-inside"
	whenTooLong        TextID = "check.when-too-long"
	whenNotUnderstood  TextID = "check.when-not-understood"
	whenUnknownName    TextID = "check.when-unknown-name"
	whenNotBool        TextID = "check.when-not-bool"
	whenForbidden      TextID = "check.when-forbidden"
	whenNested         TextID = "check.when-nested"
	whenUnknownWord    TextID = "check.when-unknown-word"

	// Unreadable is of a file that cannot be opened or read.
	Unreadable TextID = "check.unreadable"
)
