package mailbox

import (
	"slices"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Words of JDV_J08 and JDV_J110 that an export writes. What keeps a document
// from somebody here must be said in words that another system understands, or
// the document would be open there to all.
const (
	wordRestricted   = "R"
	wordNoParents    = "INVISIBLE_REPRESENTANTS_LEGAUX"
	wordNoSocial     = "MASQUE_PSOCIAL"
	wordNoThirdParty = "MASQUE_PT"
)

// socialCodes are the professions of the social and medico-social fields that
// MASQUE_PSOCIAL speaks of (TRE_R94, TRE_R85).
var socialCodes = []string{"41", "48", "49", "51", "324", "325", "326", "345"}

// confidentiality gives the words of a document, its own and those that say
// what its place here says: in a message that part of the care team may not
// see it is restricted, and kept from third persons.
func (x *export) confidentiality(m *store.Message, d *store.Document) []string {
	words := slices.Clone(d.Confidentiality)
	add := func(word string) {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	if x.prog == nil {
		add(wordRestricted)
		add(wordNoParents)
		add(wordNoThirdParty)
		return words
	}
	if secret(x.prog, m) {
		add(wordNoParents)
	}
	for i := range x.prog.Roles {
		r := &x.prog.Roles[i]
		if !r.CareTeam || roleMaySee(x.prog, r, m) {
			continue
		}
		add(wordRestricted)
		add(wordNoThirdParty)
		if slices.ContainsFunc(r.Codes, func(c string) bool { return slices.Contains(socialCodes, c) }) {
			add(wordNoSocial)
		}
	}
	return words
}

// roleMaySee reports whether a role of the care team may see a message, people
// and consent apart.
func roleMaySee(prog *rules.Programme, r *rules.Role, m *store.Message) bool {
	a := &m.Audience
	if a.Limited && !slices.Contains(a.Only, r.ID) || a.Inherited && !slices.Contains(a.InheritedOnly, r.ID) {
		return false
	}
	return !slices.ContainsFunc(m.Rubrics(), func(rubric string) bool { return !prog.MayRole(r.ID, rubric) })
}
