package rules

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/relais-sante/relais/rules/strict"
)

// Problem is something wrong in a file, said so that a person can mend it.
type Problem = strict.Problem

// TextID names a text of the catalogue.
type TextID = strict.TextID

// Set is all the programmes of a hub, in the order of their files.
type Set struct{ Programmes []*Programme }

// LoadFS loads every *.toml file of a folder. The set holds the programmes that
// have no fatal problem; it must not be put to use if any has one.
func LoadFS(fsys fs.FS, dir string, o LoadOptions) (*Set, []Problem) {
	set, problems := &Set{}, []Problem(nil)
	// A folder that cannot be listed has no files: Glob says no more.
	files, _ := fs.Glob(fsys, path.Join(dir, "*.toml"))
	if len(files) == 0 {
		problems = append(problems, Problem{File: dir, ID: noProgramme})
	}
	for _, file := range files {
		src, err := fs.ReadFile(fsys, file)
		if err != nil {
			problems = append(problems, Problem{File: file, ID: Unreadable, Args: map[string]any{"error": err.Error()}})
			continue
		}
		p, found := Load(file, src, o)
		problems = append(problems, found...)
		if strict.Fatal(found) {
			continue
		}
		if other := set.ByID(p.ID); other != nil {
			problems = append(problems, Problem{File: file, ID: programmeTwice, Args: map[string]any{"id": p.ID, "file": other.File}})
			continue
		}
		set.Programmes = append(set.Programmes, p)
	}
	return set, problems
}

// ByID gives the programme, or nil.
func (s *Set) ByID(id string) *Programme {
	for _, p := range s.Programmes {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// SourceOf is a source and the programme that names it.
type SourceOf struct {
	Programme *Programme
	Source    Source
}

// ByBox gives the programmes that name a mailbox as a source: a hospital's
// record may send for the children of several.
func (s *Set) ByBox(mailbox string) []SourceOf {
	var found []SourceOf
	for _, p := range s.Programmes {
		for _, source := range p.Sources {
			if strings.EqualFold(source.Mailbox, mailbox) {
				found = append(found, SourceOf{p, source})
			}
		}
	}
	return found
}

// Role gives the role, or nil.
func (p *Programme) Role(id string) *Role {
	for i := range p.Roles {
		if p.Roles[i].ID == id {
			return &p.Roles[i]
		}
	}
	return nil
}

// Rubric gives the rubric, or nil.
func (p *Programme) Rubric(id string) *Rubric {
	for i := range p.Rubrics {
		if p.Rubrics[i].ID == id {
			return &p.Rubrics[i]
		}
	}
	return nil
}

// RubricForCode gives the rubric that claims a national document code, or nil.
func (p *Programme) RubricForCode(code string) *Rubric {
	for i := range p.Rubrics {
		if slices.Contains(p.Rubrics[i].Types, code) {
			return &p.Rubrics[i]
		}
	}
	return nil
}

// DefaultRubric gives the rubric of what nothing files elsewhere.
func (p *Programme) DefaultRubric() *Rubric {
	return p.rubricWhere(func(r *Rubric) bool { return r.Default })
}

// Unclassed gives the rubric of documents whose code no rubric claims: the one
// meant for them, else the default rubric.
func (p *Programme) Unclassed() *Rubric {
	if r := p.rubricWhere(func(r *Rubric) bool { return r.Unclassed }); r != nil {
		return r
	}
	return p.DefaultRubric()
}

func (p *Programme) rubricWhere(is func(*Rubric) bool) *Rubric {
	for i := range p.Rubrics {
		if is(&p.Rubrics[i]) {
			return &p.Rubrics[i]
		}
	}
	return nil
}

// Coordinators lists the roles that coordinate: they class, assign, are told.
func (p *Programme) Coordinators() []string {
	return p.rolesWhere(func(r *Role) bool { return r.Coordinator })
}

// CareRoles lists the roles of the legal care team (CSP L.1110-12).
func (p *Programme) CareRoles() []string {
	return p.rolesWhere(func(r *Role) bool { return r.CareTeam })
}

func (p *Programme) rolesWhere(is func(*Role) bool) []string {
	var ids []string
	for i := range p.Roles {
		if is(&p.Roles[i]) {
			ids = append(ids, p.Roles[i].ID)
		}
	}
	return ids
}

// MayRole reports whether a role may see a rubric by what the rubric says:
// visible_to, or the whole care team where that is empty. What a rule grants a
// role outside the care team is in the decision, not here. A rubric or a role
// that the programme does not know (any more) gives false.
func (p *Programme) MayRole(role, rubric string) bool {
	ro, ru := p.Role(role), p.Rubric(rubric)
	if ro == nil || ru == nil {
		return false
	}
	if len(ru.VisibleTo) == 0 {
		return ro.CareTeam
	}
	return slices.Contains(ru.VisibleTo, role)
}

// seers lists the roles that may see a rubric. One that is not known any more
// is for the coordinators: whoever could see it then, nobody else may now.
func (p *Programme) seers(rubric string) []string {
	if p.Rubric(rubric) == nil {
		return p.Coordinators()
	}
	return p.rolesWhere(func(r *Role) bool { return p.MayRole(r.ID, rubric) })
}
