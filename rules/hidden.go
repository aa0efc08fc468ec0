package rules

import "slices"

// What is marked secret for parents reaches neither them nor the child's own
// box, which they read: care that a minor asks to keep secret (CSP L.1111-5,
// L.1111-5-1), and whatever a professional marks so. Whoever answers, refiles or
// forwards it, it stays so; that is the rights function's to keep (mailbox).

// hiddenLabels are the words of a document's confidentiality (JDV_J110) that
// keep it from a family: from the patient, whose box parents hold, from the
// legal representatives, from third persons.
var hiddenLabels = []string{"INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX", "MASQUE_PT"}

// defaultSecretWords mark a message where a programme does not choose its own.
var defaultSecretWords = []string{
	"secret parents", "confidentiel parents", "ne pas montrer aux parents", "à l'insu des parents", "hidden from parents",
}

// hidden reports whether a message is marked secret for parents: by a document,
// by a rubric it is or would be filed in, by a word.
func (p *Programme) hidden(in Input, d *Decision) bool {
	for _, list := range [][]string{d.Rubrics, d.DocumentRubrics, in.Facts.Answers.Rubrics} {
		if slices.ContainsFunc(list, p.HidesFromParents) {
			return true
		}
	}
	texts := []string{in.Facts.Message.Subject, in.Text}
	for i := range in.Facts.Documents {
		doc := &in.Facts.Documents[i]
		if slices.ContainsFunc(doc.Confidentiality, func(label string) bool { return slices.Contains(hiddenLabels, label) }) {
			return true
		}
		texts = append(texts, doc.Filename)
	}
	return slices.ContainsFunc(texts, func(text string) bool { return mentionsAny(text, p.secretWords) })
}

// maskedOutside reports whether a document is hidden from third persons
// (MASQUE_PT): whatever a programme's rules say, it stays in the care team.
func maskedOutside(d DocumentFacts) bool { return slices.Contains(d.Confidentiality, "MASQUE_PT") }

// HidesFromParents reports whether a rubric is marked secret for parents.
func (p *Programme) HidesFromParents(rubric string) bool {
	r := p.Rubric(rubric)
	return r != nil && r.HiddenFromParents
}
