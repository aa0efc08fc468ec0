package letter

import (
	"encoding/xml"
	"fmt"
	"io"
)

// METADATA.XML as it is written: ebRIM 3.0, its elements in the order of the
// schema, every scheme and attribute there.

// Object types and schemes that reading does not need.
const (
	urn                 = "urn:uuid:"
	nodeSubmissionSet   = urn + "a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
	objectStable        = urn + "7edca82f-054d-47f2-a032-9b2a5b5186c1"
	schemeSetAuthor     = "a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
	schemeSetContent    = "aa543740-bdda-424e-8c96-df4873be8500"
	schemeSetSource     = "554ac39e-e3fe-47fe-b233-965d2a147832"
	schemeFormat        = "a09d5840-386c-46f2-b5ad-9c3699a4309d"
	schemeFacility      = "f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1"
	schemePractice      = "cccf5598-8b07-4b77-a05e-ae952c785ead"
	regrep              = "urn:oasis:names:tc:ebxml-regrep:"
	objectType          = regrep + "ObjectType:RegistryObject:"
	associationMember   = regrep + "AssociationType:HasMember"
	languageOfDocuments = "fr-FR"
)

// rimObject is any element: ebRIM is regular enough that one form does.
type rimObject struct {
	XMLName xml.Name
	Attrs   []xml.Attr  `xml:",any,attr"`
	Text    string      `xml:",chardata"`
	Inside  []rimObject `xml:",any"`
}

// rim makes an element; names and values of attributes alternate.
func rim(name string, attrs []string, inside ...rimObject) rimObject {
	o := rimObject{XMLName: xml.Name{Local: name}, Inside: inside}
	for i := 0; i < len(attrs); i += 2 {
		o.Attrs = append(o.Attrs, xml.Attr{Name: xml.Name{Local: attrs[i]}, Value: attrs[i+1]})
	}
	return o
}

// slot makes a slot; none if it has no value.
func slot(name string, values ...string) []rimObject {
	var list []rimObject
	for _, v := range values {
		if v != "" {
			value := rim("rim:Value", nil)
			value.Text = v
			list = append(list, value)
		}
	}
	if list == nil {
		return nil
	}
	return []rimObject{rim("rim:Slot", []string{"name", name}, rim("rim:ValueList", nil, list...))}
}

func rimName(text string) rimObject {
	return rim("rim:Name", nil, rim("rim:LocalizedString", []string{"xml:lang", languageOfDocuments, "charset", "UTF-8", "value", text}))
}

// ebrim numbers what it writes: ids are unique within the file.
type ebrim struct{ n int }

func (b *ebrim) id(kind string) string {
	b.n++
	return fmt.Sprintf("%s%03d", kind, b.n)
}

func (b *ebrim) coded(object, scheme string, c Coded) rimObject {
	return b.classified(object, scheme, c.Code, append(slot("codingScheme", c.System), rimName(c.Label))...)
}

func (b *ebrim) classified(object, scheme, node string, inside ...rimObject) rimObject {
	return rim("rim:Classification", []string{
		"id", b.id("cl"), "objectType", objectType + "Classification", "classificationScheme", urn + scheme, "classifiedObject", object, "nodeRepresentation", node,
	}, inside...)
}

func (b *ebrim) external(object, scheme, name, value string) rimObject {
	return rim("rim:ExternalIdentifier", []string{
		"id", b.id("ei"), "objectType", objectType + "ExternalIdentifier", "identificationScheme", urn + scheme, "registryObject", object, "value", value,
	}, rimName(name))
}

func (b *ebrim) author(object, scheme string, w Writer) []rimObject {
	var slots []rimObject
	slots = append(slots, slot("authorInstitution", w.institution())...)
	slots = append(slots, slot("authorPerson", w.person())...)
	slots = append(slots, slot("authorSpecialty", w.speciality())...)
	if slots == nil {
		return nil
	}
	return []rimObject{b.classified(object, scheme, "", slots...)}
}

// writeMetadata describes the documents of one submission set.
func (e *Export) writeMetadata(w io.Writer, uniqueID string, entries []xdmEntry) error {
	b := new(ebrim)
	const set = "SubmissionSet01"
	list := []rimObject{b.set(e, set, uniqueID)}
	list = append(list, rim("rim:Classification", []string{
		"id", b.id("cl"), "objectType", objectType + "Classification", "classificationNode", nodeSubmissionSet, "classifiedObject", set,
	}))
	var members []rimObject
	for i := range entries {
		id := fmt.Sprintf("Document%02d", i+1)
		list = append(list, b.document(e, id, &entries[i]))
		members = append(members, rim("rim:Association", []string{
			"id", b.id("as"), "objectType", objectType + "Association", "associationType", associationMember, "sourceObject", set, "targetObject", id,
		}, slot("SubmissionSetStatus", "Original")...))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	x := xml.NewEncoder(w)
	x.Indent("", " ")
	err := x.Encode(rim("lcm:SubmitObjectsRequest", []string{"xmlns:lcm", regrep + "xsd:lcm:3.0", "xmlns:rim", regrep + "xsd:rim:3.0"},
		rim("rim:RegistryObjectList", nil, append(list, members...)...)))
	if err != nil {
		return err
	}
	return x.Close()
}

func (b *ebrim) set(e *Export, id, uniqueID string) rimObject {
	inside := append(slot("submissionTime", dtm(e.Time)), rimName(fitTitle(e.Title)))
	inside = append(inside, b.author(id, schemeSetAuthor, e.Author)...)
	return rim("rim:RegistryPackage", []string{"id", id, "objectType", objectType + "RegistryPackage"}, append(inside,
		b.coded(id, schemeSetContent, e.Codes.Content),
		b.external(id, schemeSetPatient, "XDSSubmissionSet.patientId", e.patientCX()),
		b.external(id, schemeSetSource, "XDSSubmissionSet.sourceId", e.SourceID),
		b.external(id, schemeSetUniqueID, "XDSSubmissionSet.uniqueId", uniqueID))...)
}

func (b *ebrim) document(e *Export, id string, d *xdmEntry) rimObject {
	var inside []rimObject
	for _, s := range []struct {
		name   string
		values []string
	}{
		{"creationTime", []string{d.created}},
		{"hash", []string{d.hash}},
		{"size", []string{fmt.Sprint(d.size)}},
		{"URI", []string{d.name}},
		{"languageCode", []string{d.language}},
		{"legalAuthenticator", []string{d.legal.person()}},
		{"serviceStartTime", []string{d.start}},
		{"serviceStopTime", []string{d.stop}},
		{"sourcePatientId", []string{e.sourceCX()}},
		{"sourcePatientInfo", e.patientInfo()},
	} {
		inside = append(inside, slot(s.name, s.values...)...)
	}
	inside = append(inside, rimName(fitTitle(d.title)))
	inside = append(inside, b.author(id, schemeAuthor, d.author)...)
	inside = append(inside, b.coded(id, schemeClass, classCoded(d.kind.Code, e.Codes.Class)))
	for _, c := range confidentialityCoded(d.secrecy) {
		inside = append(inside, b.coded(id, schemeConfidentiality, c))
	}
	return rim("rim:ExtrinsicObject", []string{"id", id, "mimeType", d.media, "objectType", objectStable}, append(inside,
		b.coded(id, schemeFormat, d.format),
		b.coded(id, schemeFacility, d.facility),
		b.coded(id, schemePractice, d.practice),
		b.coded(id, schemeType, d.kind),
		b.external(id, schemeDocumentPatient, "XDSDocumentEntry.patientId", e.patientCX()),
		b.external(id, schemeDocumentUniqueID, "XDSDocumentEntry.uniqueId", d.uniqueID))...)
}
