package mailbox

import (
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// checkPatients compares whose documents they are: one message, one child, and
// that child is the pathway's.
func (h *Hub) checkPatients(pl *plan, in *incoming) {
	if h.severalPatients(in.documents) {
		pl.hold(in, reasonTwoPatients, "")
	}
	child := &pl.pathway.Patient
	for i := range in.documents {
		d := &in.documents[i]
		if !d.Structured { // a plain attachment has no identity to check
			continue
		}
		switch h.compare(d, child) {
		case identity.Different:
			pl.hold(in, reasonWrongPatient, "")
		case identity.CannotTell:
			if pl.prog.MissingIdentity != "file" {
				pl.hold(in, reasonWrongPatient, detailNoIdentity)
			}
		}
	}
}

// compare tells whether a document is the child's: by INS where both have one,
// else by traits. Everybody the document names must be the child.
func (h *Hub) compare(d *letter.Document, child *store.Patient) identity.Verdict {
	v := identity.CannotTell
	for i := range d.Patients {
		switch h.comparePatient(&d.Patients[i], child) {
		case identity.Different:
			return identity.Different
		case identity.Same:
			v = identity.Same
		}
	}
	return v
}

func (h *Hub) comparePatient(p *letter.Patient, child *store.Patient) identity.Verdict {
	byTraits := identity.Agree(p.Traits, traits(child))
	ins, err := identity.ParseINS(child.INS, child.INSOID)
	if err != nil || ins.IsZero() || p.INS.IsZero() {
		return byTraits
	}
	// A matricule that is right with the names of somebody else is a mix-up,
	// and one that is wrong is not excused by the right names.
	if !identity.SameINS(p.INS, ins, h.o.Dev) || byTraits == identity.Different {
		return identity.Different
	}
	return identity.Same
}

// severalPatients reports whether the documents are of more than one person.
func (h *Hub) severalPatients(docs []letter.Document) bool {
	all := letter.Patients(docs)
	for i := range all {
		for j := range all[:i] {
			a, b := &all[i], &all[j]
			if !a.INS.IsZero() && !b.INS.IsZero() {
				if !identity.SameINS(a.INS, b.INS, h.o.Dev) {
					return true
				}
			} else if identity.Agree(a.Traits, b.Traits) == identity.Different {
				return true
			}
		}
	}
	return false
}
