package letter

import (
	"io"
	"slices"
	"strings"
)

// Schemes of ebRIM classifications and external identifiers (XDS, mssante
// reference §4.2), without their "urn:uuid:".
const (
	schemeAuthor           = "93606bcf-9494-43ec-9b4e-a7748d1a838d"
	schemeClass            = "41a5887f-8865-4c09-adf7-e362475b143a"
	schemeType             = "f0306f51-975f-434e-a61c-c59651d33983"
	schemeConfidentiality  = "f4f85eac-e6cb-4883-b524-f2705394840f"
	schemeDocumentPatient  = "58a6f841-87b3-4a3e-92fd-a8ffeff98427"
	schemeDocumentUniqueID = "2e82c1f6-a085-4c72-9da3-8640a32e42ab"
	schemeSetPatient       = "6b5aea1a-874d-4603-a4bc-96a0a7b38446"
	schemeSetUniqueID      = "96fdda7c-d067-4183-912e-bf5ee74998a8"
)

// metadata is one METADATA.XML: a submission set and its documents.
type metadata struct {
	uniqueID string
	patient  Patient // of the submission set
	action   string
	labels   []string // confidentiality words of all its documents
	docs     []metadataDoc
}

// metadataDoc is what metadata say of a document: Entry is their URI, yet to
// be found in the archive.
type metadataDoc struct {
	Document
	id string // within the metadata
}

// readMetadata reads ebRIM as leniently as its content lets it: names and
// prefixes in any case, blanks anywhere, classifications inside their object
// or beside it, associations there or not. Sizes and hashes are not believed:
// national templates leave constants in their place.
func readMetadata(r io.Reader, lim ArchiveLimits) (*metadata, error) {
	root, err := readElements(r, lim.MetadataBytes, nil)
	if err != nil {
		return nil, err
	}
	m := new(metadata)
	byID := make(map[string]int)
	for e := range root.below() {
		switch e.name {
		case "registrypackage":
			m.readSet(e)
		case "extrinsicobject":
			d := metadataDoc{id: e.attr("id")}
			d.Structured = true
			d.Media = strings.ToLower(cleanText(e.attr("mimetype"), maxName))
			d.Title = e.at("name", "localizedstring").attr("value")
			d.Title = cleanText(d.Title, maxName)
			var p Patient
			for c := range e.below() {
				d.read(c, &p)
			}
			d.Patients = addPatient(nil, p)
			if _, twice := byID[d.id]; !twice && d.id != "" {
				byID[d.id] = len(m.docs)
			}
			m.docs = append(m.docs, d)
		}
	}
	// What stands beside the objects and points at them.
	for e := range root.below() {
		if e.name != "registryobjectlist" {
			continue
		}
		for _, c := range e.children {
			switch c.name {
			case "classification":
				if i, ok := byID[c.attr("classifiedobject")]; ok {
					m.docs[i].read(c, new(Patient))
				}
			case "association":
				if i, ok := byID[c.attr("sourceobject")]; ok && strings.HasSuffix(strings.ToUpper(c.attr("associationtype")), ":RPLC") {
					m.docs[i].Replaces = cleanText(c.attr("targetobject"), maxOIDs)
				}
			}
		}
	}
	return m, nil
}

// readSet reads the submission set.
func (m *metadata) readSet(set *element) {
	for e := range set.below() {
		switch e.name {
		case "externalidentifier":
			switch externalKind(e) {
			case schemeSetPatient, schemeDocumentPatient:
				m.patient.addCX(e.attr("value"))
			case schemeSetUniqueID:
				m.uniqueID = cleanText(e.attr("value"), maxOIDs)
			}
		case "slot":
			if a := action(e); a != "" {
				m.action = a
			}
			m.labels = addFlag(m.labels, e)
		}
	}
}

// read takes in one element below an ExtrinsicObject, whose patient is p.
func (d *metadataDoc) read(e *element, p *Patient) {
	switch e.name {
	case "slot":
		switch name := strings.ToLower(e.attr("name")); {
		case name == "uri":
			setOnce(&d.Entry, firstValue(e))
		case name == "sourcepatientinfo":
			for v := range values(e) {
				p.addPID(v)
			}
		default:
			setOnce(&d.Action, action(e))
			d.Confidentiality = addFlag(d.Confidentiality, e)
		}
	case "externalidentifier":
		switch externalKind(e) {
		case schemeDocumentPatient, schemeSetPatient:
			p.addCX(e.attr("value"))
		case schemeDocumentUniqueID:
			d.UniqueID = cleanText(e.attr("value"), maxOIDs)
		}
	case "classification":
		node := e.attr("noderepresentation")
		switch scheme(e.attr("classificationscheme")) {
		case schemeType:
			setOnce(&d.Code, code(node))
		case schemeClass:
			setOnce(&d.Class, code(node))
		case schemeConfidentiality:
			d.Confidentiality = addLabel(d.Confidentiality, node)
		case schemeAuthor:
			for slot := range e.each("slot") {
				d.readAuthor(slot)
			}
		}
	}
}

// readAuthor reads a slot of an author: a person as XCN, or an institution as
// XON, of HL7 v2.
func (d *metadataDoc) readAuthor(slot *element) {
	f := components(firstValue(slot))
	switch strings.ToLower(slot.attr("name")) {
	case "authorperson":
		setOnce(&d.AuthorID, f(0))
		setOnce(&d.Author, strings.TrimSpace(f(2)+" "+f(1)))
	case "authorinstitution":
		setOnce(&d.Institution, f(0))
		setOnce(&d.InstitutionID, f(9))
	}
}

// externalKind tells which identifier this is: by its name, which naive
// generators get right, else by its scheme, which they copy.
func externalKind(e *element) string {
	name := e.at("name", "localizedstring").attr("value")
	switch strings.ToLower(name) {
	case "xdssubmissionset.patientid":
		return schemeSetPatient
	case "xdssubmissionset.uniqueid":
		return schemeSetUniqueID
	case "xdsdocumententry.patientid":
		return schemeDocumentPatient
	case "xdsdocumententry.uniqueid":
		return schemeDocumentUniqueID
	}
	return scheme(e.attr("identificationscheme"))
}

func scheme(s string) string { return strings.TrimPrefix(strings.ToLower(s), "urn:uuid:") }

// action reads the slot that asks for a change or a deletion. The national
// text does not name it; its name is, or ends in, "action".
func action(slot *element) string {
	if !strings.HasSuffix(strings.ToLower(slot.attr("name")), "action") {
		return ""
	}
	switch v := strings.ToUpper(firstValue(slot)); v {
	case "C", "D":
		return v
	}
	return ""
}

// addFlag reads a slot named like a word of JDV_J110 that says yes: the flags
// of a transmission, which some generators copy into the metadata.
func addFlag(labels []string, slot *element) []string {
	name := strings.ToUpper(strings.TrimSpace(slot.attr("name")))
	if full := labelNames[name]; full != "" {
		name = full
	}
	if !slices.Contains(visibility, name) {
		return labels
	}
	switch strings.ToUpper(strings.TrimSpace(firstValue(slot))) {
	case "Y", "YES", "O", "OUI", "TRUE", "1":
		return addLabel(labels, name)
	}
	return labels
}

// values gives the values of a slot.
func values(slot *element) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for e := range slot.below() {
			if e.name == "value" && !yield(e.value()) {
				return
			}
		}
	}
}

func firstValue(slot *element) string {
	for v := range values(slot) {
		return v
	}
	return ""
}

// components gives the components of an HL7 v2 field by their index, their
// escapes undone.
func components(field string) func(int) string {
	f := strings.Split(field, "^")
	return func(i int) string {
		if i >= len(f) {
			return ""
		}
		return hl7Plain.Replace(strings.TrimSpace(f[i]))
	}
}

// addCX reads an identifier written as CX: matricule^^^&OID&ISO^type.
func (p *Patient) addCX(value string) {
	f := components(value)
	authority := strings.Split(f(3), "&")
	if len(authority) > 1 {
		p.addINS(f(0), strings.TrimSpace(authority[1]))
	}
}

// addPID reads a line of sourcePatientInfo: "PID-5|NOM^Prénom^^^^^L". A name
// of type D is the one in use.
func (p *Patient) addPID(line string) {
	field, value, _ := strings.Cut(line, "|")
	switch strings.ToUpper(strings.TrimSpace(field)) {
	case "PID-5":
		for name := range strings.SplitSeq(value, "~") {
			f := components(name)
			if strings.EqualFold(f(6), "D") {
				setOnce(&p.Traits.Used, f(0))
				continue
			}
			setOnce(&p.Traits.Family, f(0))
			setOnce(&p.Traits.Given, f(1))
		}
	case "PID-7":
		setOnce(&p.Traits.Birth, strings.TrimSpace(value))
	case "PID-8":
		setOnce(&p.Traits.Sex, strings.TrimSpace(value))
	}
}
