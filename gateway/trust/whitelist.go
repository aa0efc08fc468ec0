package trust

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of a white list that cannot be used.
const (
	ErrNotWhiteList  = journal.Fault("not a white list of the national form")
	ErrListTooLarge  = journal.Fault("white list larger than any should be")
	ErrListMalformed = journal.Fault("white list is not well-formed XML, or cut short")
	ErrListEmpty     = journal.Fault("white list without a usable entry")
)

// Bounds on what is read. The national list of 2026 has under 10,000 entries
// in under 5 MB.
const (
	maxListBytes   = 64 << 20
	maxListEntries = 500_000
	maxListDepth   = 16
	maxListField   = 8192 // bytes of one field kept; what is beyond is not read as something else but spoils the entry
)

// listNamespace is the XML namespace of the national list. It is written, and
// not insisted on when reading.
const listNamespace = "https://listeblanche.mssante.fr/schema"

// Entry is one line of the white list: this operator's certificate speaks for
// this domain.
type Entry struct {
	Domain   string
	Operator Name
}

// WhiteList says which operators speak for which domains. It does not change
// once read. A nil WhiteList means that there is no list: every domain counts
// as listed, for everyone.
type WhiteList struct {
	// Generated is when the national service made the list; zero if unsaid.
	Generated time.Time
	// Entries counts what was read, duplicates included; Skipped what could
	// not be used (no domain, a name that cannot be read).
	Entries, Skipped int

	domains map[string]map[string]bool // domain → keys of operators' names
	known   map[string]Name            // all operators, by the keys of their names
}

// LoadWhiteList reads the file at path.
func LoadWhiteList(path string) (*WhiteList, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the white list: %w", err)
	}
	defer f.Close()
	list, err := ReadWhiteList(f)
	if err != nil {
		return nil, fmt.Errorf("reading the white list: %w", err)
	}
	return list, nil
}

// ReadWhiteList reads the national XML: ListeDomaines of Domaine with Nom and
// DNCertificatOperateur; what else an entry holds (contacts) is not kept. It
// reads in one pass and never more than one entry at a time, takes no document
// type and no entities but XML's own five.
func ReadWhiteList(r io.Reader) (*WhiteList, error) { return readWhiteList(r, maxListBytes) }

func readWhiteList(r io.Reader, limit int64) (*WhiteList, error) {
	limited := &io.LimitedReader{R: r, N: limit + 1}
	p := listReader{
		d:    xml.NewDecoder(limited),
		list: &WhiteList{domains: map[string]map[string]bool{}, known: map[string]Name{}},
	}
	err := p.run()
	switch {
	case limited.N <= 0:
		return nil, ErrListTooLarge
	case err != nil:
		return nil, err
	case len(p.list.domains) == 0:
		return nil, ErrListEmpty
	}
	return p.list, nil
}

// listReader walks the elements of a list.
type listReader struct {
	d     *xml.Decoder
	list  *WhiteList
	path  []string // local names of the open elements
	field strings.Builder
	name  string // Nom of the open entry
	dn    string // DNCertificatOperateur of the open entry
}

func (p *listReader) run() error {
	rooted := false
	for {
		token, err := p.d.Token()
		if errors.Is(err, io.EOF) {
			if !rooted {
				return ErrNotWhiteList
			}
			return nil
		}
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("line %d: %w", syntax.Line, ErrListMalformed)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrListMalformed, err)
		}
		switch t := token.(type) {
		case xml.Directive: // a document type may define entities
			return ErrNotWhiteList
		case xml.StartElement:
			if len(p.path) == 0 && (rooted || t.Name.Local != "ListeBlancheMSSante") {
				return ErrNotWhiteList
			}
			rooted = true
			if len(p.path) >= maxListDepth {
				return ErrNotWhiteList
			}
			p.path = append(p.path, t.Name.Local)
			p.field.Reset()
		case xml.CharData:
			if room := maxListField + 1 - p.field.Len(); room > 0 {
				p.field.Write(t[:min(len(t), room)])
			}
		case xml.EndElement:
			if err := p.end(); err != nil {
				return err
			}
			p.path = p.path[:len(p.path)-1]
			p.field.Reset()
		}
	}
}

// end takes in the element that closes.
func (p *listReader) end() error {
	text := strings.TrimSpace(p.field.String())
	switch strings.Join(p.path[1:], "/") {
	case "DateDeGeneration":
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			p.list.Generated = t
		}
	case "ListeDomaines/Domaine/Nom":
		p.name = text
	case "ListeDomaines/Domaine/DNCertificatOperateur":
		p.dn = text
	case "ListeDomaines/Domaine":
		if p.list.Entries >= maxListEntries {
			return ErrListTooLarge
		}
		p.list.add(p.name, p.dn)
		p.name, p.dn = "", ""
	}
	return nil
}

func (l *WhiteList) add(domain, dn string) {
	l.Entries++
	domain = foldDomain(domain)
	name, err := ParseName(dn)
	if domain == "" || strings.ContainsAny(domain, "@ /") || err != nil {
		l.Skipped++
		return
	}
	if l.domains[domain] == nil {
		l.domains[domain] = map[string]bool{}
	}
	l.domains[domain][name.key] = true
	l.known[name.key] = name
}

// Listed reports whether the domain is on the list, with whatever operator.
func (l *WhiteList) Listed(domain string) bool {
	return l == nil || len(l.domains[foldDomain(domain)]) > 0
}

// SpeaksFor reports whether the list names the operator for the domain.
func (l *WhiteList) SpeaksFor(operator Name, domain string) bool {
	return l == nil || l.domains[foldDomain(domain)][operator.key]
}

// Knows reports whether the list names the operator for any domain.
func (l *WhiteList) Knows(operator Name) bool {
	if l == nil {
		return true
	}
	_, known := l.known[operator.key]
	return known
}

// entries gives what the list says, each thing once, in a fixed order.
func (l *WhiteList) entries() []Entry {
	var all []Entry
	for _, domain := range slices.Sorted(maps.Keys(l.domains)) {
		for _, key := range slices.Sorted(maps.Keys(l.domains[domain])) {
			all = append(all, Entry{domain, l.known[key]})
		}
	}
	return all
}

// Domains counts the distinct domains.
func (l *WhiteList) Domains() int {
	if l == nil {
		return 0
	}
	return len(l.domains)
}

// foldDomain makes domains comparable: they are case-insensitive, and a final
// dot only says that they are complete.
func foldDomain(domain string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(domain), "."))
}

// WriteWhiteList writes entries in the national form. The hub itself only reads
// lists; this one is for development, the demo and tests.
func WriteWhiteList(w io.Writer, generated time.Time, entries []Entry) error {
	type domain struct {
		Nom                   string
		DNCertificatOperateur string
		DateMAJ               string
	}
	list := struct {
		XMLName          xml.Name `xml:"ListeBlancheMSSante"`
		Namespace        string   `xml:"xmlns,attr"`
		DateDeGeneration string
		Domaine          []domain `xml:"ListeDomaines>Domaine"`
	}{Namespace: listNamespace, DateDeGeneration: generated.UTC().Format(time.RFC3339)}
	for _, e := range entries {
		list.Domaine = append(list.Domaine, domain{
			Nom: e.Domain, DNCertificatOperateur: e.Operator.String(), DateMAJ: generated.UTC().Format(time.DateOnly),
		})
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("writing a white list: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(list); err != nil {
		return fmt.Errorf("writing a white list: %w", err)
	}
	return nil
}
