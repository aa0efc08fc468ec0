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
