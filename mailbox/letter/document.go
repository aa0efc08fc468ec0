package letter

import (
	ident "github.com/relais-sante/relais/mailbox/identity"
)

// Document is a document that a mail carries: an entry of an IHE_XDM archive, a
// CDA file, or a plain attachment.
type Document struct {
	Part            string // IMAP section number of the part that holds it
	Entry           string // name inside an archive
	Filename        string
	Title           string
	Media           string // type/subtype
	Code            string // national type code; empty: untyped
	Class           string // national class code, where metadata give one
	Size            int64  // decoded bytes
	Sum             []byte // SHA-256 of them
	Confidentiality []string
	Author          string // for display
	AuthorID        string // national number, prefixed by its kind
	Institution     string
	InstitutionID   string // national number, prefixed by its kind
	UniqueID        string
	SetID           string
	Version         string
	Replaces        string // UniqueID of the document that it replaces
	Action          string // C (change) or D (delete), where metadata ask for it
	Structured      bool   // CDA or described by metadata: an identity is due
	// Patients are those the document names, metadata and CDA header together:
	// none, one, or two where these disagree.
	Patients []Patient
	// Copies are the parts that show the same document as PDF (ECO.2.1.1).
	Copies []string
}

// Patient is whose a document says that it is.
type Patient struct {
	INS    ident.INS
	BadINS bool // an INS was there, but malformed
	Traits ident.Traits
}

// Known reports whether the document says anything that tells a person.
func (p Patient) Known() bool {
	t := p.Traits
	return !p.INS.IsZero() || p.BadINS || t.Family != "" || t.Used != "" || t.Given != "" || t.Birth != ""
}

// Patients gives the different people that documents name. Callers still
// compare each document with the pathway's child: two documents with the same
// INS count once here, whatever their traits.
func Patients(docs []Document) []Patient {
	var all []Patient
	for _, d := range docs {
		for _, p := range d.Patients {
			all = addPatient(all, p)
		}
	}
	return all
}

// addPatient adds p unless the list has the same person, who then gets what
// was not known yet. The same INS makes the same person; without one on both
// sides, traits that do not prove otherwise do.
func addPatient(list []Patient, p Patient) []Patient {
	if !p.Known() {
		return list
	}
	for i := range list {
		q := &list[i]
		if !p.INS.IsZero() && !q.INS.IsZero() {
			if p.INS != q.INS {
				continue
			}
		} else if ident.Agree(p.Traits, q.Traits) == ident.Different {
			continue
		}
		if q.INS.IsZero() {
			q.INS = p.INS
		}
		q.BadINS = q.BadINS || p.BadINS
		setOnce(&q.Traits.Family, p.Traits.Family)
		setOnce(&q.Traits.Used, p.Traits.Used)
		setOnce(&q.Traits.Given, p.Traits.Given)
		setOnce(&q.Traits.Birth, p.Traits.Birth)
		setOnce(&q.Traits.Sex, p.Traits.Sex)
		return list
	}
	return append(list, p)
}

// withCDA fills in what the header of the document itself says. Where metadata
// disagree the header is right: metadata are often made from a template whose
// constants were never replaced. Only identity is not settled so: both stand,
// and two people make the mail a matter for a human.
func (d *Document) withCDA(c *CDA) {
	d.Structured = true
	for _, f := range []struct {
		field *string
		value string
	}{
		{&d.Title, c.Title},
		{&d.Code, c.Code},
		{&d.Author, c.Author},
		{&d.AuthorID, c.AuthorID},
		{&d.Institution, c.Institution},
		{&d.InstitutionID, c.InstitutionID},
		{&d.UniqueID, c.ID},
		{&d.SetID, c.SetID},
		{&d.Version, c.Version},
		{&d.Replaces, c.Replaces},
	} {
		if f.value != "" {
			*f.field = f.value
		}
	}
	for _, label := range c.Confidentiality {
		d.Confidentiality = addLabel(d.Confidentiality, label)
	}
	told := d.Patients
	d.Patients = c.Patients
	for _, p := range told {
		d.Patients = addPatient(d.Patients, p)
	}
}
