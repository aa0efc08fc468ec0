package rules

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/relais-sante/relais/rules/strict"
)

// checker looks for what a programme file says that cannot be meant.
type checker struct {
	doc      *strict.Document
	options  LoadOptions
	p        *Programme
	problems []Problem
}

// at reports a problem at a path of keys and positions.
func (c *checker) at(id TextID, args map[string]any, path ...any) {
	if args == nil {
		args = map[string]any{}
	}
	args["key"] = strict.Key(path...)
	c.problems = append(c.problems, c.doc.Problem(id, args, path...))
}

func (c *checker) warn(id TextID, args map[string]any, path ...any) {
	c.at(id, args, path...)
	c.problems[len(c.problems)-1].Warning = true
}

func (c *checker) check() {
	c.identity()
	c.desk()
	c.roles()
	c.rubrics()
	c.rules()
	c.sources()
}

// Ids go into addresses: PROGRAMME@, CODE.RUBRIC@. Lower case, since local parts
// are compared so; at most 32, so that a local part stays below 64 (RFC 5321
// §4.5.3.1.1).
var idShape = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// reservedIDs are local parts that mean something else.
var reservedIDs = []string{"acces", "aide", "postmaster", "abuse"}

func (c *checker) identity() {
	p := c.p
	switch {
	case p.ID == "":
		c.at(missing, nil, "id")
	// A pathway code has no vowel, so an id with one is never taken for one.
	case !idShape.MatchString(p.ID), len(p.ID) < 3, !strings.ContainsAny(p.ID, "aeiouy"), slices.Contains(reservedIDs, p.ID):
		c.at(badProgrammeID, map[string]any{"id": p.ID, "reserved": strings.Join(reservedIDs, ", ")}, "id")
	}
	if strings.TrimSpace(p.Name) == "" {
		c.at(missing, nil, "name")
	}
}

// desk: somebody must answer when a message waits. A desk inside the hub would
// have the hub write to itself.
func (c *checker) desk() {
	if len(c.p.Desk) == 0 && !c.options.Dev {
		c.at(noDesk, nil, "desk")
	}
	for i, box := range c.p.Desk {
		c.box(box, "desk", i)
	}
}

// box checks the address of a mailbox outside the hub.
func (c *checker) box(address string, path ...any) {
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address {
		c.at(notAddress, map[string]any{"value": address}, path...)
		return
	}
	domain := address[strings.LastIndexByte(address, '@')+1:]
	if c.options.Domain != "" && strings.EqualFold(domain, c.options.Domain) {
		c.at(ownDomain, map[string]any{"value": address, "domain": c.options.Domain}, path...)
	}
	if slices.ContainsFunc(c.options.Boxes, func(own string) bool { return strings.EqualFold(own, address) }) {
		c.at(ownBox, map[string]any{"value": address}, path...)
	}
}

func (c *checker) roles() {
	seen := map[string]bool{}
	for i := range c.p.Roles {
		r := &c.p.Roles[i]
		c.id(r.ID, r.ID == everyone, seen, "role", i, "id")
		if strings.TrimSpace(r.Name) == "" {
			c.at(missing, nil, "role", i, "name")
		}
		if r.DefaultRubric != "" {
			c.known(c.rubricIDs(), r.DefaultRubric, "role", i, "default_rubric")
		}
		if r.Family && r.CareTeam {
			c.at(familyInside, map[string]any{"role": r.ID}, "role", i, "care_team")
		}
		if r.Coordinator && !r.CareTeam {
			c.at(coordinatorOutside, map[string]any{"role": r.ID}, "role", i, "coordinator")
		}
	}
	if len(c.p.Roles) == 0 {
		c.at(missing, nil, "role")
	} else if len(c.p.Coordinators()) == 0 {
		c.at(noCoordinator, nil)
	}
}

// id checks an id of the file: its shape, and that it comes once.
func (c *checker) id(id string, refused bool, seen map[string]bool, path ...any) {
	switch {
	case id == "":
		c.at(missing, nil, path...)
	case refused, !idShape.MatchString(id):
		c.at(badID, map[string]any{"id": id}, path...)
	case seen[id]:
		c.at(twice, map[string]any{"value": id}, path...)
	}
	seen[id] = true
}

// addressForm are local parts that mean a member (m1), a reply or a bounce
// address (r-…, b-…) after CODE.
var addressForm = regexp.MustCompile(`^(m[0-9]+|[rb]-.*)$`)

func (c *checker) rubrics() {
	ids, names, codes := map[string]bool{}, map[string]bool{}, map[string]string{}
	defaults, unclassed := 0, 0
	for i := range c.p.Rubrics {
		r := &c.p.Rubrics[i]
		c.id(r.ID, addressForm.MatchString(r.ID), ids, "rubric", i, "id")
		// The name is a folder in people's mail clients (RFC 9051 §5.1).
		folder := strings.ToLower(r.Name)
		switch {
		case strings.TrimSpace(r.Name) == "":
			c.at(missing, nil, "rubric", i, "name")
		case len(r.Name) > 64 || strings.TrimSpace(r.Name) != r.Name || strings.ContainsAny(r.Name, "/\\%*\"\x7f") || strings.IndexFunc(r.Name, isControl) >= 0:
			c.at(badFolder, map[string]any{"value": r.Name}, "rubric", i, "name")
		case names[folder]:
			c.at(twice, map[string]any{"value": r.Name}, "rubric", i, "name")
		}
		names[folder] = true
		for j, code := range r.Types {
			if other, taken := codes[code]; taken {
				c.at(codeTwice, map[string]any{"code": code, "rubric": other}, "rubric", i, "types", j)
			} else if strings.TrimSpace(code) == "" {
				c.at(missing, nil, "rubric", i, "types", j)
			}
			codes[code] = r.ID
		}
		for j, role := range r.VisibleTo {
			c.known(c.roleIDs(), role, "rubric", i, "visible_to", j)
		}
		if r.Default {
			if defaults++; defaults > 1 {
				c.at(defaultTwice, map[string]any{"rubric": c.p.DefaultRubric().ID}, "rubric", i, "default")
			}
		}
		if r.Unclassed {
			if unclassed++; unclassed > 1 {
				c.at(defaultTwice, map[string]any{"rubric": c.p.Unclassed().ID}, "rubric", i, "unclassed")
			}
		}
	}
	if len(c.p.Rubrics) == 0 {
		c.at(missing, nil, "rubric")
	} else if defaults == 0 {
		c.at(noDefault, nil)
	}
}

func isControl(r rune) bool { return r < ' ' }

func (c *checker) roleIDs() []string { return c.p.rolesWhere(func(*Role) bool { return true }) }

func (c *checker) rubricIDs() []string {
	ids := make([]string, len(c.p.Rubrics))
	for i := range c.p.Rubrics {
		ids[i] = c.p.Rubrics[i].ID
	}
	return ids
}

// known reports an id that nothing in the file has.
func (c *checker) known(ids []string, id string, path ...any) bool {
	if slices.Contains(ids, id) {
		return true
	}
	c.at(strict.NotAllowed, map[string]any{"value": id, "allowed": strings.Join(ids, ", ")}, path...)
	return false
}

func (c *checker) sources() {
	seen := map[string]bool{}
	for i, s := range c.p.Sources {
		if s.Mailbox == "" {
			c.at(missing, nil, "source", i, "mailbox")
		} else {
			c.box(s.Mailbox, "source", i, "mailbox")
		}
		if box := strings.ToLower(s.Mailbox); box != "" && seen[box] {
			c.at(twice, map[string]any{"value": s.Mailbox}, "source", i, "mailbox")
		} else {
			seen[box] = true
		}
		if strings.TrimSpace(s.Establishment) == "" {
			c.at(missing, nil, "source", i, "establishment")
		}
	}
}
