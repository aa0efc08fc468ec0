package letter

import (
	_ "embed"
	"encoding/base64"
	"encoding/xml"
	"io"
	"strings"
	"text/template"

	ident "github.com/relais-sante/relais/mailbox/identity"
)

// A PDF travels in an archive as the body of a CDA document, level 1 (national
// volet "structuration minimale": nonXMLBody in base64), unchanged.

//go:embed national/cda_n1.xml
var wrapFile string

var wrapTemplate = template.Must(template.New("cda").Funcs(template.FuncMap{
	"x":    escapeXML,
	"code": codeElement,
}).Parse(wrapFile))

// wrapEnd closes what national/cda_n1.xml leaves open.
const wrapEnd = "</text>\n    </nonXMLBody>\n  </component>\n</ClinicalDocument>\n"

// escapeXML writes a text where it stands for itself.
func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder never fails
	return b.String()
}

func codeElement(name string, c Coded) string {
	if c.Code == "" {
		return "<" + name + ` nullFlavor="UNK"/>`
	}
	return "<" + name + ` code="` + escapeXML(c.Code) + `" codeSystem="` + escapeXML(c.System) + `" displayName="` + escapeXML(c.Label) + `"/>`
}

var genders = map[string]Coded{
	"F": {"F", "2.16.840.1.113883.5.1", "Féminin"},
	"M": {"M", "2.16.840.1.113883.5.1", "Masculin"},
}

// wrapping is what the header of a wrapped document says.
type wrapping struct {
	ID, SetID, Title, Time, Language string
	Type, Secrecy                    Coded
	INS, INSOID, LocalID, SourceID   string
	Patient                          ident.Traits
	Sex                              Coded
	Birth                            string
	Author, Custodian                Writer
	Facility, Practice               Coded
}

// wrapping turns the entry of a PDF into that of the CDA document around it.
func (x *xdmWriter) wrapping(d *ExportDocument, e *xdmEntry) *wrapping {
	const levelOne = "1.3.6.1.4.1.19376.1.2.20"
	e.media, e.format = "text/xml", formatCoded([]string{levelOne})
	e.start, e.legal = e.created, e.author
	h := &wrapping{
		ID: d.ID, SetID: d.SetID, Title: e.title, Time: tsHL7(d.Written), Language: e.language, Type: e.kind,
		Secrecy: confidentialityCoded(e.secrecy)[0], LocalID: cleanText(x.LocalID, maxCode), SourceID: x.SourceID,
		Patient: x.Patient.Traits, Sex: genders[x.Patient.Traits.Sex], Birth: birthHL7(x.Patient.Traits.Birth),
		Author: e.author.clean(), Custodian: x.Author.clean(), Facility: e.facility, Practice: e.practice,
	}
	for _, part := range []*string{&h.Patient.Family, &h.Patient.Given, &h.Patient.Used} {
		*part = cleanText(*part, maxPersonPart)
	}
	if ins := x.Patient.INS; !ins.IsZero() {
		h.INS, h.INSOID = ins.Matricule(), ins.OID()
	}
	return h
}

// wrap writes a PDF as a CDA document.
func wrap(w io.Writer, h *wrapping, pdf io.Reader) error {
	if err := wrapTemplate.Execute(w, h); err != nil {
		return err
	}
	lines := &lineWriter{w: w}
	coded := base64.NewEncoder(base64.StdEncoding, lines)
	if _, err := io.Copy(coded, pdf); err != nil {
		return err
	}
	if err := coded.Close(); err != nil {
		return err
	}
	_, err := io.WriteString(w, wrapEnd)
	return err
}

// lineWriter begins a new line before every 76 characters (RFC 2045 §6.8):
// editors of health records show a document that has none as one line.
type lineWriter struct {
	w  io.Writer
	at int
}

func (l *lineWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if l.at%76 == 0 {
			if _, err := io.WriteString(l.w, "\n"); err != nil {
				return n, err
			}
		}
		k := min(76-l.at%76, len(p))
		m, err := l.w.Write(p[:k])
		n, l.at = n+m, l.at+m
		if err != nil {
			return n, err
		}
		p = p[k:]
	}
	return n, nil
}
