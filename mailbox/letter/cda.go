package letter

import (
	"fmt"
	"io"
	"slices"
	"strings"

	ident "github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store/journal"
)

// ErrNotCDA says that a file is something else than a clinical document.
const ErrNotCDA journal.Fault = "not a CDA document"

// OIDs of the CDA header (mssante reference, §4.2 and §5.2).
const (
	oidProfessional = "1.2.250.1.71.4.2.1"
	oidStructure    = "1.2.250.1.71.4.2.2"
)

// Bounds of what is kept of a document's own words.
const (
	maxCode   = 64
	maxOIDs   = 256 // an identifier: OID and extension
	maxLabels = 16  // confidentiality words of one document
)

// CDA is what the header of a clinical document (HL7 CDA R2, French volet
// "structuration minimale") says of it.
type CDA struct {
	ID              string // root, or root^extension, as XDS writes it
	SetID           string // common to all versions
	Version         string
	Replaces        string // id of the document that this one replaces
	Code            string // type of document
	CodeSystem      string
	Title           string
	Confidentiality []string
	Patients        []Patient // one, in a sound document
	Author          string    // for display: title, given name, family name
	AuthorID        string    // national number, prefixed by its kind
	Institution     string    // the author's, else the custodian's
	InstitutionID   string    // national number, prefixed by its kind
}

// ReadCDA reads the header of a clinical document. The body is not read: the
// header ends where component begins. It gives [ErrNotCDA] for anything that is
// not a ClinicalDocument, and a fault for one whose header is malformed or
// longer than the limits allow. Stylesheets and external entities are not
// followed, whatever the document asks.
func ReadCDA(r io.Reader, lim ArchiveLimits) (*CDA, error) {
	root, err := readCDAHeader(r, lim)
	if err != nil {
		return nil, err
	}
	return cdaOf(root), nil
}

// readCDAHeader gives the header as it stands.
func readCDAHeader(r io.Reader, lim ArchiveLimits) (*element, error) {
	root, err := readElements(r, lim.orDefault().HeaderBytes, func(depth int, name string) bool {
		return depth == 0 && name != "clinicaldocument" || depth == 1 && name == "component"
	})
	switch {
	case root == nil || root.name != "clinicaldocument":
		return nil, ErrNotCDA
	case err != nil:
		return nil, fmt.Errorf("reading the header of a CDA document: %w", err)
	}
	return root, nil
}

func cdaOf(root *element) *CDA {
	c := &CDA{
		ID:         instanceID(root.at("id")),
		SetID:      instanceID(root.at("setid")),
		Version:    cleanText(root.at("versionnumber").attr("value"), maxCode),
		Code:       code(root.at("code").attr("code")),
		CodeSystem: cleanText(root.at("code").attr("codesystem"), maxOIDs),
		Title:      root.at("title").value(),
	}
	for e := range root.each("confidentialitycode") {
		c.Confidentiality = addLabel(c.Confidentiality, e.attr("code"))
	}
	for e := range root.each("recordtarget") {
		c.Patients = addPatient(c.Patients, cdaPatient(e.at("patientrole")))
	}
	for e := range root.each("relateddocument") {
		if strings.EqualFold(e.attr("typecode"), "RPLC") {
			c.Replaces = instanceID(e.at("parentdocument", "id"))
		}
	}
	c.readAuthor(root.at("author", "assignedauthor"))
	if c.Institution == "" && c.InstitutionID == "" {
		c.readInstitution(root.at("custodian", "assignedcustodian", "representedcustodianorganization"))
	}
	return c
}

func (c *CDA) readAuthor(author *element) {
	c.AuthorID = nationalID(author, oidProfessional)
	if name := author.at("assignedperson", "name"); name != nil {
		var words []string
		for _, part := range []string{"prefix", "given", "family"} {
			if w := name.at(part).value(); w != "" {
				words = append(words, w)
			}
		}
		c.Author = strings.Join(words, " ")
	} else {
		c.Author = author.at("assignedauthoringdevice", "softwarename").value()
	}
	c.readInstitution(author.at("representedorganization"))
}

func (c *CDA) readInstitution(e *element) {
	c.Institution = e.at("name").value()
	c.InstitutionID = nationalID(e, oidStructure)
}

// nationalID gives the identifier of that kind among those of e.
func nationalID(e *element, oid string) string {
	for id := range e.each("id") {
		if id.attr("root") == oid {
			return cleanText(id.attr("extension"), maxOIDs)
		}
	}
	return ""
}

// instanceID writes an identifier as XDS does.
func instanceID(e *element) string {
	id := e.attr("root")
	if ext := e.attr("extension"); ext != "" {
		id += "^" + ext
	}
	return cleanText(id, maxOIDs)
}

// cdaPatient reads a patientRole.
func cdaPatient(role *element) Patient {
	var p Patient
	for id := range role.each("id") {
		p.addINS(id.attr("extension"), id.attr("root"))
	}
	patient := role.at("patient")
	p.Traits.Birth = cleanText(patient.at("birthtime").attr("value"), maxCode)
	p.Traits.Sex = cleanText(patient.at("administrativegendercode").attr("code"), maxCode)
	var plainFamily, plainGiven string
	for name := range patient.each("name") {
		for family := range name.each("family") {
			switch {
			case qualified(family, "BR"):
				setOnce(&p.Traits.Family, family.value())
			case family.attr("qualifier") == "":
				setOnce(&plainFamily, family.value())
			default: // CL, SP: the name in use
				setOnce(&p.Traits.Used, family.value())
			}
		}
		for given := range name.each("given") {
			switch {
			case qualified(given, "BR"):
				setOnce(&p.Traits.Given, given.value())
			case given.attr("qualifier") == "":
				setOnce(&plainGiven, given.value())
			}
		}
	}
	// Without a birth name, a name that does not say what it is stands for it.
	setOnce(&p.Traits.Family, plainFamily)
	setOnce(&p.Traits.Given, plainGiven)
	return p
}

// qualified reports whether a part of a name has that qualifier among its own.
func qualified(e *element, qualifier string) bool {
	return slices.Contains(strings.Fields(strings.ToUpper(e.attr("qualifier"))), qualifier)
}

func setOnce(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// code gives a code of a national list: a short word, else nothing.
func code(s string) string {
	if len(s) > maxCode || len(safeTokens([]string{s})) == 0 {
		return ""
	}
	return s
}

// labelNames are other names of confidentiality words: those of the flags that
// go with a transmission (MetaDMPMSS).
var labelNames = map[string]string{"INVISIBLE_REP_LEGAUX": "INVISIBLE_REPRESENTANTS_LEGAUX"}

// addLabel adds a confidentiality word.
func addLabel(labels []string, label string) []string {
	label = strings.ToUpper(code(label))
	if name := labelNames[label]; name != "" {
		label = name
	}
	if label == "" || len(labels) == maxLabels || slices.Contains(labels, label) {
		return labels
	}
	return append(labels, label)
}

// addINS takes an identifier of a patient if it is an INS. The first one
// counts; a malformed one is remembered as such.
func (p *Patient) addINS(matricule, oid string) {
	ins, err := ident.ParseINS(matricule, oid)
	switch {
	case strings.TrimSpace(oid) == "" || !ident.IsINSOID(strings.TrimPrefix(strings.TrimSpace(oid), "urn:oid:")):
		// A local number, which says nothing outside its hospital.
	case err != nil:
		p.BadINS = true
	case p.INS.IsZero():
		p.INS = ins
	}
}
