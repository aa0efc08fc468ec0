package mailbox

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Names of folders: INBOX, "Parcours/<label> <CODE>" with the relay sheet,
// "Parcours/<label> <CODE>/<Rubric>", and private ones outside Parcours/.

const pathwaysFolder = "Parcours"

// Private folders that every reader has (RFC 6154).
var standardFolders = []struct {
	name string
	use  folder.Use
}{
	{"Brouillons", folder.Drafts},
	{"Envoyés", folder.Sent},
	{"Corbeille", folder.Trash},
}

// pathwayFolder is the name of a pathway's folder.
func pathwayFolder(p *store.Pathway, prog *rules.Programme) string {
	name := string(p.Code)
	if label := subjectLabel(prog, &p.Patient); label != "" {
		name = level(label) + " " + name
	}
	return pathwaysFolder + string(folder.Delimiter) + name
}

// rubricFolder is the name of a rubric's folder in a pathway's.
func rubricFolder(pathway string, r *rules.Rubric) string {
	return pathway + string(folder.Delimiter) + level(r.Name)
}

// level makes a text one level of a folder's name.
func level(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == folder.Delimiter, r == '*', r == '%', r == '\\':
			return '-'
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, s)
}

// codeIn reads the pathway's code off the name of a folder in Parcours/, and
// the rest of the name.
func codeIn(name string) (code store.PathwayCode, rubric string, ok bool) {
	rest, ok := strings.CutPrefix(name, pathwaysFolder+string(folder.Delimiter))
	if !ok {
		return "", "", false
	}
	first, rubric, _ := strings.Cut(rest, string(folder.Delimiter))
	return store.PathwayCode(first[strings.LastIndexByte(first, ' ')+1:]), rubric, true
}

// isFixed reports whether a name is the hub's own.
func isFixed(name string) bool {
	first, _, _ := strings.Cut(name, string(folder.Delimiter))
	return strings.EqualFold(first, folder.Inbox) || strings.EqualFold(first, pathwaysFolder)
}

// maxFolderName bounds a private folder's whole name, in bytes, and
// maxFolderDepth its levels.
const (
	maxFolderName  = 500
	maxFolderDepth = 16
)

// privateName checks a name for a private folder. A delimiter at its end only
// says that folders will be made in it (RFC 9051 §6.3.4).
func privateName(name string) (string, error) {
	name = strings.TrimSuffix(name, string(folder.Delimiter))
	levels := strings.Split(name, string(folder.Delimiter))
	switch {
	case len(name) > maxFolderName || len(levels) > maxFolderDepth || !utf8.ValidString(name):
		return "", folder.ErrName
	case slices.Contains(levels, ""), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '*' || r == '%' }):
		return "", folder.ErrName
	case isFixed(name):
		return "", folder.ErrFixed
	}
	return name, nil
}
