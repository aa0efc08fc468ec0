package letter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
	xunicode "golang.org/x/text/encoding/unicode"

	ident "github.com/relais-sante/relais/mailbox/identity"
)

// Invented people and places. The keys of the matricules are right.
const (
	zoeINS = "215031411800147"
	leoINS = "116051411800180"
)

// cdaText is a clinical document of an invented child; extra goes before the
// body.
func cdaText(code, ins, given, extra string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet type="text/xsl" href="http://192.0.2.1/style.xsl"?>
<!-- a comment -->
<ClinicalDocument xmlns="urn:hl7-org:v3">
  <realmCode code="FR"/>
  <id root="1.2.250.1.999.7" extension="D1"/>
  <code code="` + code + `" codeSystem="2.16.840.1.113883.6.1" displayName="x"/>
  <title>  Compte rendu
    d’imagerie </title>
  <confidentialityCode code="N"/>
  <confidentialityCode code="MASQUE_PSOCIAL"/>
  <setId root="1.2.250.1.999.7.1"/>
  <versionNumber value="2"/>
  <recordTarget><patientRole>
    <id root="1.2.250.1.999.5" extension="IPP42"/>
    <id root="` + ident.OIDTestNIR + `" extension="` + ins + `"/>
    <patient>
      <name><family qualifier="CL">Legendre</family><family qualifier="BR">LE GOFF</family>
        <given>` + given + ` ROSE</given><given qualifier="BR">` + given + `</given><given qualifier="CL">Mimi</given></name>
      <administrativeGenderCode code="F"/>
      <birthTime value="20150302"/>
      <guardian><guardianPerson><name><family>AUTRE</family><given>PARENT</given></name></guardianPerson></guardian>
    </patient>
  </patientRole></recordTarget>
  <author><time value="2026"/><assignedAuthor>
    <id root="1.2.250.1.71.4.2.1" extension="899900000011"/>
    <assignedPerson><name><prefix>DR</prefix><given>ANNE</given><family>ROUX</family></name></assignedPerson>
    <representedOrganization><id root="1.2.250.1.71.4.2.2" extension="1990000002"/><name>CHU FICTIF</name></representedOrganization>
  </assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization><name>GARDIEN</name></representedCustodianOrganization></assignedCustodian></custodian>
  <relatedDocument typeCode="RPLC"><parentDocument><id root="1.2.250.1.999.7" extension="D0"/></parentDocument></relatedDocument>
  ` + extra + `
  <component><nonXMLBody><text mediaType="application/pdf" representation="B64">JVBERi0=</text></nonXMLBody></component>
</ClinicalDocument>
`
}

func TestReadCDA(t *testing.T) {
	text := cdaText("18748-4", zoeINS, "ZOÉ", "")
	check := func(t *testing.T, text string) {
		t.Helper()
		c, err := ReadCDA(strings.NewReader(text), ArchiveLimits{})
		if err != nil {
			t.Fatal(err)
		}
		got := []string{c.ID, c.SetID, c.Version, c.Replaces, c.Code, c.CodeSystem, c.Title, strings.Join(c.Confidentiality, " "), c.Author, c.AuthorID, c.Institution, c.InstitutionID}
		want := []string{
			"1.2.250.1.999.7^D1", "1.2.250.1.999.7.1", "2", "1.2.250.1.999.7^D0", "18748-4", "2.16.840.1.113883.6.1", "Compte rendu d’imagerie",
			"N MASQUE_PSOCIAL", "DR ANNE ROUX", "899900000011", "CHU FICTIF", "1990000002",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if len(c.Patients) != 1 {
			t.Fatalf("%d patients", len(c.Patients))
		}
		p := c.Patients[0]
		wanted := ident.Traits{Family: "LE GOFF", Used: "Legendre", Given: "ZOÉ", Birth: "20150302", Sex: "F"}
		if p.INS.Matricule() != zoeINS || p.INS.OID() != ident.OIDTestNIR || !p.INS.KeyOK() || p.BadINS || p.Traits != wanted {
			t.Errorf("patient is read wrong")
		}
	}
	t.Run("plain", func(t *testing.T) { check(t, text) })
	t.Run("byte-order mark and CRLF", func(t *testing.T) { check(t, "\ufeff"+strings.ReplaceAll(text, "\n", "\r\n")) })
	t.Run("prefix and capitals", func(t *testing.T) {
		x := strings.NewReplacer("<ClinicalDocument xmlns=", "<h:ClinicalDocument xmlns:h=", "</ClinicalDocument", "</h:ClinicalDocument", "<recordTarget>", "<h:RECORDTARGET>", "</recordTarget>", "</h:RECORDTARGET>")
		check(t, x.Replace(text))
	})
	t.Run("UTF-16", func(t *testing.T) {
		enc := xunicode.UTF16(xunicode.LittleEndian, xunicode.UseBOM).NewEncoder()
		wide, err := enc.String(strings.Replace(text, `"UTF-8"`, `"utf-16"`, 1))
		if err != nil {
			t.Fatal(err)
		}
		check(t, wide)
	})
	t.Run("windows-1252", func(t *testing.T) {
		narrow, err := charmap.Windows1252.NewEncoder().String(strings.Replace(text, `"UTF-8"`, `"windows-1252"`, 1))
		if err != nil {
			t.Fatal(err)
		}
		check(t, narrow)
	})
	t.Run("broken after the header", func(t *testing.T) { check(t, text[:strings.Index(text, "JVBER")]+"<<<") })
}

func TestReadCDAPatients(t *testing.T) {
	two := cdaText("18748-4", zoeINS, "ZOÉ", `<recordTarget><patientRole><id root="`+ident.OIDTestNIR+`" extension="`+leoINS+`"/></patientRole></recordTarget>`)
	c, err := ReadCDA(strings.NewReader(two), ArchiveLimits{})
	if err != nil || len(c.Patients) != 2 {
		t.Errorf("two record targets: %d patients, %v", len(c.Patients), err)
	}
	bad, err := ReadCDA(strings.NewReader(cdaText("18748-4", "21503141180", "ZOÉ", "")), ArchiveLimits{})
	if err != nil || len(bad.Patients) != 1 || !bad.Patients[0].BadINS || !bad.Patients[0].INS.IsZero() {
		t.Errorf("a malformed INS is not told: %v", err)
	}
	none, err := ReadCDA(strings.NewReader(`<ClinicalDocument><id root="1"/><recordTarget nullFlavor="UNK"/></ClinicalDocument>`), ArchiveLimits{})
	if err != nil || len(none.Patients) != 0 {
		t.Errorf("nobody named: %v", err)
	}
}

func TestReadCDARefuses(t *testing.T) {
	entities := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>`
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", ErrNotCDA},
		{"PDF", "%PDF-1.4\n1 0 obj << /Type /Catalog >>", ErrNotCDA},
		{"other XML", "<?xml version='1.0'?><svg><g/></svg>", ErrNotCDA},
		{"other XML with a declaration", "<!DOCTYPE html><html></html>", ErrNotCDA},
		{"declaration", entities + cdaText("1", zoeINS, "ZOÉ", "")[strings.Index(cdaText("1", zoeINS, "ZOÉ", ""), "<ClinicalDocument"):], errXML},
		{"entity", `<ClinicalDocument><title>&xxe;</title></ClinicalDocument>`, errXML},
		{"cut short", cdaText("1", zoeINS, "ZOÉ", "")[:900], errXML},
		{"not well-formed", `<ClinicalDocument><a></b></ClinicalDocument>`, errXML},
		{"unknown charset", `<?xml version="1.0" encoding="x-klingon"?><ClinicalDocument/>`, ErrNotCDA},
		{"deep", `<ClinicalDocument>` + strings.Repeat("<a>", 100), errXML},
		{"long header", `<ClinicalDocument><title>` + strings.Repeat("long ", 300_000), errXML},
		{"many elements", `<ClinicalDocument>` + strings.Repeat("<a/>", maxElements+1), errXML},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ReadCDA(strings.NewReader(c.text), ArchiveLimits{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzReadCDA(f *testing.F) {
	f.Add([]byte(cdaText("18748-4", zoeINS, "ZOÉ", "")))
	f.Add([]byte("\xff\xfe<\x00C\x00"))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><ClinicalDocument>&b;</ClinicalDocument>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ReadCDA(strings.NewReader(string(b)), ArchiveLimits{HeaderBytes: 1 << 16})
		if err != nil {
			return
		}
		for _, s := range []string{c.Title, c.Author, c.Institution, c.Code, c.ID} {
			if s != cleanText(s, 4*maxName) {
				t.Errorf("%q is not clean", s)
			}
		}
		_ = fmt.Sprint(c.Patients)
	})
}
