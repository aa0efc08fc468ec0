package mailbox

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
)

// cdaDoc is a clinical document of an invented child; Léa's where nothing else
// is said.
type cdaDoc struct {
	id, set, version, replaces string
	code                       string
	words                      []string // confidentiality
	author, institution        string   // national numbers
	ins, oid                   string
	family, given, birth       string
	text                       string // of the body
}

func (d cdaDoc) xml() string {
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3">`)
	fmt.Fprintf(&b, `<id root="2.25.77" extension="%s"/><code code="%s"/><title>%s</title>`, or(d.id, "d1"), or(d.code, "18776-5"), or(d.text, "Document"))
	for _, w := range d.words {
		fmt.Fprintf(&b, `<confidentialityCode code="%s"/>`, w)
	}
	if d.set != "" {
		fmt.Fprintf(&b, `<setId root="2.25.78" extension="%s"/><versionNumber value="%s"/>`, d.set, or(d.version, "1"))
	}
	b.WriteString(`<recordTarget><patientRole>`)
	if d.ins != "-" {
		fmt.Fprintf(&b, `<id root="%s" extension="%s"/>`, or(d.oid, identity.OIDTestNIR), or(d.ins, "279035121518989"))
	}
	if d.family != "-" {
		fmt.Fprintf(&b, `<patient><name><family qualifier="BR">%s</family><given qualifier="BR">%s</given></name><birthTime value="%s"/></patient>`,
			or(d.family, "MARTIN"), or(d.given, "LÉA"), strings.ReplaceAll(or(d.birth, "2015-03-02"), "-", ""))
	}
	b.WriteString(`</patientRole></recordTarget><author><assignedAuthor>`)
	fmt.Fprintf(&b, `<id root="1.2.250.1.71.4.2.1" extension="%s"/><representedOrganization><id root="1.2.250.1.71.4.2.2" extension="%s"/></representedOrganization>`,
		or(d.author, "899900000011"), or(d.institution, "1990000001"))
	b.WriteString(`</assignedAuthor></author>`)
	if d.replaces != "" {
		fmt.Fprintf(&b, `<relatedDocument typeCode="RPLC"><parentDocument><id root="2.25.77" extension="%s"/></parentDocument></relatedDocument>`, d.replaces)
	}
	b.WriteString(`<component><nonXMLBody><text>` + or(d.text, "x") + `</text></nonXMLBody></component></ClinicalDocument>`)
	return b.String()
}

// carrying is the content of a mail with files, given as names and contents
// alternately.
func carrying(files ...string) string {
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b\"\n\n--=_b\nContent-Type: text/plain; charset=utf-8\n\nCi-joint.\n")
	for i := 0; i < len(files); i += 2 {
		media := "application/octet-stream"
		for ext, m := range map[string]string{".xml": "text/xml", ".pdf": "application/pdf", ".zip": "application/zip"} {
			if strings.HasSuffix(strings.ToLower(files[i]), ext) {
				media = m
			}
		}
		fmt.Fprintf(&b, "--=_b\nContent-Type: %s; name=\"%s\"\nContent-Disposition: attachment; filename=\"%s\"\nContent-Transfer-Encoding: base64\n\n%s\n",
			media, files[i], files[i], wrapped(base64.StdEncoding.EncodeToString([]byte(files[i+1]))))
	}
	b.WriteString("--=_b--\n")
	return b.String()
}

// wrapped breaks a long line as RFC 2045 §6.8 asks.
func wrapped(s string) string {
	var lines []string
	for len(s) > 76 {
		lines, s = append(lines, s[:76]), s[76:]
	}
	return strings.Join(append(lines, s), "\n")
}

// titlesOf lists the titles of the documents of an archive.
func titlesOf(archive []byte) (string, error) {
	s, err := letter.ReadXDM(bytes.NewReader(archive), int64(len(archive)), letter.ArchiveLimits{})
	if err != nil {
		return "", err
	}
	var all []string
	for _, d := range s.Documents {
		all = append(all, d.Title)
	}
	return strings.Join(all, ", "), nil
}

// xdmWith is an archive whose metadata ask for an action.
func xdmWith(action string, docs ...cdaDoc) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name, content string) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	var objects strings.Builder
	for i, d := range docs {
		name := fmt.Sprintf("DOC%05d.XML", i+1)
		add("IHE_XDM/SUBSET01/"+name, d.xml())
		fmt.Fprintf(&objects, `<rim:ExtrinsicObject id="Document%02d" mimeType="text/xml"><rim:Slot name="URI"><rim:ValueList><rim:Value>%s</rim:Value></rim:ValueList></rim:Slot>`+
			`<rim:Slot name="action"><rim:ValueList><rim:Value>%s</rim:Value></rim:ValueList></rim:Slot></rim:ExtrinsicObject>`, i+1, name, action)
	}
	add("IHE_XDM/SUBSET01/METADATA.XML", `<?xml version="1.0" encoding="UTF-8"?><lcm:SubmitObjectsRequest xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" `+
		`xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"><rim:RegistryObjectList>`+objects.String()+`</rim:RegistryObjectList></lcm:SubmitObjectsRequest>`)
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
}
