package letter

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/xml"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// A reader of its own for written archives: namespaces, schemes and forms as
// the national reference (mssante §4.2) and ebRIM ask, nothing forgiven.

type strictRequest struct {
	XMLName xml.Name       `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0 SubmitObjectsRequest"`
	Set     []strictObject `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 RegistryObjectList>RegistryPackage"`
	Docs    []strictObject `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 RegistryObjectList>ExtrinsicObject"`
	Nodes   []strictClass  `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 RegistryObjectList>Classification"`
	Members []struct {
		Type   string       `xml:"associationType,attr"`
		Source string       `xml:"sourceObject,attr"`
		Target string       `xml:"targetObject,attr"`
		Slots  []strictSlot `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Slot"`
	} `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 RegistryObjectList>Association"`
}

type strictObject struct {
	ID       string        `xml:"id,attr"`
	Media    string        `xml:"mimeType,attr"`
	Type     string        `xml:"objectType,attr"`
	Slots    []strictSlot  `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Slot"`
	Name     strictName    `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Name"`
	Classes  []strictClass `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Classification"`
	External []struct {
		Scheme string     `xml:"identificationScheme,attr"`
		Object string     `xml:"registryObject,attr"`
		Value  string     `xml:"value,attr"`
		Name   strictName `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Name"`
	} `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 ExternalIdentifier"`
}

type strictName struct {
	Text struct {
		Value string `xml:"value,attr"`
	} `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 LocalizedString"`
}

type strictSlot struct {
	Name   string   `xml:"name,attr"`
	Values []string `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 ValueList>Value"`
}

type strictClass struct {
	Scheme string       `xml:"classificationScheme,attr"`
	Node   string       `xml:"classificationNode,attr"`
	Object string       `xml:"classifiedObject,attr"`
	Code   string       `xml:"nodeRepresentation,attr"`
	Slots  []strictSlot `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Slot"`
	Name   strictName   `xml:"urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0 Name"`
}

func slotOf(slots []strictSlot, name string) []string {
	for _, s := range slots {
		if s.Name == name {
			return s.Values
		}
	}
	return nil
}

var (
	shortNames = regexp.MustCompile(`^[A-Z0-9]{1,8}\.[A-Z0-9]{1,3}$`)
	patientIDs = regexp.MustCompile(`^(\d[0-9AB]{14}\^\^\^&1\.2\.250\.1\.213\.1\.4\.\d+&ISO\^NH|[^^&]*\^\^\^&2\.25\.\d+&ISO\^PI)$`)
	persons    = regexp.MustCompile(`^(\d{9,12}(/\d+)?\^[^^]*\^[^^]*\^\^\^\^\^\^&1\.2\.250\.1\.71\.4\.2\.1&ISO\^D\^\^\^(IDNPS|EI)|\^[^^]*\^[^^]*)$`)
	places     = regexp.MustCompile(`^[^^&]+(\^\^\^\^\^&1\.2\.250\.1\.71\.4\.2\.2&ISO\^IDNST\^\^\^[^^&]+)?$`)
	dtms       = regexp.MustCompile(`^\d{4}(\d\d){0,5}$`)
)

// checkXDM reads an archive strictly.
func checkXDM(t require, archive []byte) {
	files := unzipped(t, archive)
	described := 0
	for name, text := range files {
		if !shortNames.MatchString(path.Base(name)) {
			t.Errorf("%s is no name of 8.3 capitals", name)
		}
		if strings.HasSuffix(name, ".XML") {
			wellFormed(t, name, text)
		}
		if path.Base(name) == "METADATA.XML" {
			described += checkMetadata(t, files, path.Dir(name), text)
		}
	}
	for _, name := range []string{"README.TXT", "INDEX.HTM", folder + "METADATA.XML"} {
		if files[name] == "" {
			t.Errorf("no %s", name)
		}
		delete(files, name)
	}
	for name := range files {
		if path.Base(name) == "METADATA.XML" {
			described++ // further subsets
		}
	}
	if described != len(files) {
		t.Errorf("%d documents described, %d there", described, len(files))
	}
}

func wellFormed(t require, name, text string) {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func checkMetadata(t require, files map[string]string, dir, text string) int {
	var r strictRequest
	if err := xml.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("metadata: %v", err)
	}
	if len(r.Set) != 1 || len(r.Nodes) != 1 || r.Nodes[0].Node != nodeSubmissionSet || r.Nodes[0].Object != r.Set[0].ID {
		t.Fatalf("the submission set is not said to be one")
	}
	set := r.Set[0]
	checkCodes(t, set, map[string]int{schemeSetContent: 1})
	checkExternals(t, set, map[string]string{
		schemeSetPatient: "XDSSubmissionSet.patientId", schemeSetUniqueID: "XDSSubmissionSet.uniqueId", schemeSetSource: "XDSSubmissionSet.sourceId",
	})
	if len(r.Members) != len(r.Docs) {
		t.Errorf("%d members for %d documents", len(r.Members), len(r.Docs))
	}
	for i, d := range r.Docs {
		if m := r.Members[i]; m.Type != "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember" || m.Source != set.ID || m.Target != d.ID ||
			!slices.Equal(slotOf(m.Slots, "SubmissionSetStatus"), []string{"Original"}) {
			t.Errorf("%s is no member of the set", d.ID)
		}
		checkDocument(t, files, dir, d)
	}
	ids := regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(text, -1)
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id[1]] {
			t.Errorf("two objects are %s", id[1])
		}
		seen[id[1]] = true
	}
	return len(r.Docs)
}

func checkDocument(t require, files map[string]string, dir string, d strictObject) {
	one := func(name string) string {
		if v := slotOf(d.Slots, name); len(v) == 1 {
			return v[0]
		}
		t.Errorf("%s has no single %s", d.ID, name)
		return ""
	}
	content, there := files[dir+"/"+one("URI")]
	sum := sha1.Sum([]byte(content))
	if !there || one("hash") != hex.EncodeToString(sum[:]) || one("size") != strconv.Itoa(len(content)) {
		t.Errorf("URI, hash or size of %s is wrong", d.ID)
	}
	if d.Type != objectStable || d.Media == "" || d.Name.Text.Value == "" || len(d.Name.Text.Value) > 128 {
		t.Errorf("type, media or title of %s: %q", d.ID, d.Name.Text.Value)
	}
	if one("languageCode") != "fr-FR" || !dtms.MatchString(one("creationTime")) || !patientIDs.MatchString(one("sourcePatientId")) {
		t.Errorf("language, time or patient of %s", d.ID)
	}
	info := slotOf(d.Slots, "sourcePatientInfo")
	if len(info) != 3 || !strings.HasPrefix(info[0], "PID-5|") || !strings.Contains(info[0], "^^^^^L") || info[1] != "PID-7|20150302" || info[2] != "PID-8|F" {
		t.Errorf("patient of %s: %q", d.ID, info)
	}
	for _, s := range d.Slots {
		checkValues(t, s)
		if strings.HasPrefix(s.Name, "service") && !dtms.MatchString(s.Values[0]) || s.Name == "legalAuthenticator" && !persons.MatchString(s.Values[0]) {
			t.Errorf("%s of %s: %q", s.Name, d.ID, s.Values)
		}
	}
	checkCodes(t, d, map[string]int{schemeClass: 1, schemeType: 1, schemeFormat: 1, schemeFacility: 1, schemePractice: 1, schemeConfidentiality: 4})
	checkExternals(t, d, map[string]string{schemeDocumentPatient: "XDSDocumentEntry.patientId", schemeDocumentUniqueID: "XDSDocumentEntry.uniqueId"})
}

// checkValues: a slot has values, each of at most 256 characters.
func checkValues(t require, s strictSlot) {
	if len(s.Values) == 0 {
		t.Errorf("slot %s is empty", s.Name)
	}
	for _, v := range s.Values {
		if v == "" || utf8.RuneCountInString(v) > 256 {
			t.Errorf("slot %s: a value of %d bytes", s.Name, len(v))
		}
	}
}

// checkCodes: every scheme wanted is there, at most so often, with its list and
// label; besides it only authors are.
func checkCodes(t require, o strictObject, most map[string]int) {
	count := map[string]int{}
	for _, c := range o.Classes {
		s, ok := strings.CutPrefix(c.Scheme, "urn:uuid:")
		if !ok || c.Object != o.ID {
			t.Errorf("a classification of %s is not its", o.ID)
		}
		for _, slot := range c.Slots {
			checkValues(t, slot)
		}
		if s == schemeAuthor || s == schemeSetAuthor {
			for _, v := range slotOf(c.Slots, "authorPerson") {
				if !persons.MatchString(v) {
					t.Errorf("person %q", v)
				}
			}
			for _, v := range slotOf(c.Slots, "authorInstitution") {
				if !places.MatchString(v) {
					t.Errorf("institution %q", v)
				}
			}
			continue
		}
		count[s]++
		if c.Code == "" || c.Name.Text.Value == "" || len(slotOf(c.Slots, "codingScheme")) != 1 {
			t.Errorf("scheme %s of %s: code %q of no list, or without label", s, o.ID, c.Code)
		}
	}
	for s, n := range count {
		if n > most[s] {
			t.Errorf("%d codes of scheme %s", n, s)
		}
	}
	for s := range most {
		if count[s] == 0 {
			t.Errorf("no code of scheme %s", s)
		}
	}
}

func checkExternals(t require, o strictObject, names map[string]string) {
	if len(o.External) != len(names) {
		t.Errorf("%d identifiers of %s", len(o.External), o.ID)
	}
	for _, e := range o.External {
		name := names[strings.TrimPrefix(e.Scheme, "urn:uuid:")]
		if e.Object != o.ID || name == "" || e.Name.Text.Value != name || e.Value == "" {
			t.Errorf("identifier %s of %s", e.Scheme, o.ID)
		}
		if strings.HasSuffix(name, ".patientId") && !patientIDs.MatchString(e.Value) {
			t.Errorf("patient %q", e.Value)
		}
	}
}

func TestWriteXDMStrictly(t *testing.T) { checkXDM(t, written(t, soundExport(t))) }
