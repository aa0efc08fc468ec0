package letter

import (
	_ "embed"
	"strings"
)

// National code lists that a written archive needs. They are data files of
// ours (national/*.tsv), made from the published lists.
var (
	//go:embed national/types.tsv
	typesFile string
	//go:embed national/classes.tsv
	classesFile string
	//go:embed national/formats.tsv
	formatsFile string

	classOfType   = column(typesFile, 1)
	labelOfType   = column(typesFile, 2)
	labelOfClass  = column(classesFile, 1)
	formatOfModel = column(formatsFile, 1)
	labelOfFormat = column(formatsFile, 2)
)

// Coding systems of the metadata (mssante reference, §4.2, 4.3 and 4.5).
const (
	systemLOINC      = "2.16.840.1.113883.6.1"
	systemType       = "1.2.250.1.213.1.1.4.12" // TRE_A05: types that LOINC has not
	systemClass      = "1.2.250.1.213.1.1.4.1"  // TRE_A03
	systemSecrecy    = "2.16.840.1.113883.5.25" // N, R, V of HL7
	systemVisibility = "1.2.250.1.213.1.1.4.13" // who must not see it
	systemIHEFormat  = "1.3.6.1.4.1.19376.1.2.3"
	systemFormat     = "1.2.250.1.213.1.1.4.2.282"
	systemActSector  = "1.2.250.1.213.2.2"
	systemFacility   = "1.2.250.1.71.4.2.4"
	systemPractice   = "1.2.250.1.213.1.1.4.9"
	systemSpeciality = "1.2.250.1.213.1.1.4.5"
	formatUnprofiled = "urn:asipSante:modelesHorsProfils:2011"
)

// Coded is a code of a list.
type Coded struct {
	Code, System, Label string
}

// XDMCodes are values that an archive must have and that no document of a hub
// says. Which ones a receiver expects is a local agreement.
type XDMCodes struct {
	Content  Coded  // activity that the submission comes from
	Facility Coded  // kind of place of care (JDV_J02), where a document names none
	Practice Coded  // setting of care (JDV_J04), likewise
	Untyped  string // type of a document that has none
	Class    string // class of a type that the national map does not know
}

// DefaultXDMCodes stand for what is left empty.
var DefaultXDMCodes = XDMCodes{
	Content:  Coded{"07", systemActSector, "Consultation"},
	Facility: Coded{"SA01", systemFacility, "Établissement public de santé"},
	Practice: Coded{"AMBULATOIRE", systemPractice, "Ambulatoire"},
	Untyped:  "34120-6",
	Class:    "10",
}

func (c XDMCodes) orDefault() XDMCodes {
	for _, f := range []struct{ code, def *Coded }{
		{&c.Content, &DefaultXDMCodes.Content},
		{&c.Facility, &DefaultXDMCodes.Facility},
		{&c.Practice, &DefaultXDMCodes.Practice},
	} {
		if f.code.Code == "" {
			*f.code = *f.def
		}
	}
	setOnce(&c.Untyped, DefaultXDMCodes.Untyped)
	setOnce(&c.Class, DefaultXDMCodes.Class)
	return c
}

// column reads a table: the first word of each line, and what stands in column
// n of it.
func column(table string, n int) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(table) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); !strings.HasPrefix(line, "#") && n < len(f) {
			m[f[0]] = f[n]
		}
	}
	return m
}

// typeCoded tells the list that a type of document is of: LOINC codes are
// digits and a check digit.
func typeCoded(code, label string) Coded {
	c := Coded{code, systemType, labelOfType[code]}
	number, check, ok := strings.Cut(code, "-")
	if ok && len(check) == 1 && strings.Trim(number+check, "0123456789") == "" {
		c.System = systemLOINC
	}
	setOnce(&c.Label, label)
	setOnce(&c.Label, code)
	return c
}

// classCoded derives the class from the type (ASS_X04); other is that of a type
// the map does not know.
func classCoded(code, other string) Coded {
	class := classOfType[code]
	setOnce(&class, other)
	return Coded{class, systemClass, labelOfClass[class]}
}

// formatCoded tells the format of a CDA document by its models, and of any
// other by none.
func formatCoded(models []string) Coded {
	for _, m := range models {
		if f := formatOfModel[m]; f != "" {
			c := Coded{f, systemFormat, labelOfFormat[m]}
			if strings.HasPrefix(f, "urn:ihe:") {
				c.System = systemIHEFormat
			}
			return c
		}
	}
	return Coded{formatUnprofiled, systemFormat, "Document hors profil"}
}

// visibility are the words of JDV_J110, those that hide most first.
var visibility = []string{"INVISIBLE_REPRESENTANTS_LEGAUX", "INVISIBLE_PATIENT", "MASQUE_PS", "MASQUE_PSOCIAL", "MASQUE_PT"}

// confidentialityCoded writes the words of a document: one of N, R and V, then
// who must not see it; four at most. What cannot be said makes the document
// more secret, never less.
func confidentialityCoded(words []string) []Coded {
	has := make(map[string]bool)
	secrecy := 0
	for _, w := range words {
		has[w] = true
		secrecy = max(secrecy, strings.Index("NRV", w))
		if w != "" && len(w) > 1 && labelOfVisibility[w] == "" {
			secrecy = max(secrecy, 1) // a word that no list has
		}
	}
	var hidden []Coded
	for _, w := range visibility {
		if has[w] {
			hidden = append(hidden, Coded{w, systemVisibility, labelOfVisibility[w]})
		}
	}
	if len(hidden) > 3 {
		hidden, secrecy = hidden[:3], 2
	}
	base := []Coded{{"N", systemSecrecy, "Normal"}, {"R", systemSecrecy, "Restreint"}, {"V", systemSecrecy, "Très restreint"}}[secrecy]
	return append([]Coded{base}, hidden...)
}

var labelOfVisibility = map[string]string{
	"INVISIBLE_REPRESENTANTS_LEGAUX": "Non visible par les représentants légaux",
	"INVISIBLE_PATIENT":              "Non visible par le patient",
	"MASQUE_PS":                      "Masqué aux professionnels de santé",
	"MASQUE_PSOCIAL":                 "Masqué aux professionnels du secteur social",
	"MASQUE_PT":                      "Masqué aux personnes tierces",
}
