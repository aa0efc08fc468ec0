package imap

import (
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
)

const (
	maxKeyword  = 100 // bytes
	maxKeywords = 100 // of one message
	maxListed   = 500 // no longer in use, in FLAGS
)

var systemFlags = []struct {
	flag folder.SystemFlag
	name string
}{
	{folder.Answered, "Answered"},
	{folder.Flagged, "Flagged"},
	{folder.Deleted, "Deleted"},
	{folder.Seen, "Seen"},
	{folder.Draft, "Draft"},
}

// systemText is every set of system flags as it is written.
var systemText = func() (t [32]string) {
	for set := range t {
		var names []string
		for _, f := range systemFlags {
			if folder.SystemFlag(set)&f.flag != 0 {
				names = append(names, `\`+f.name)
			}
		}
		t[set] = strings.Join(names, " ")
	}
	return t
}()

// addSystem adds a flag named without its backslash. \Recent, which a client
// cannot set, is passed over.
func addSystem(f *folder.Flags, name string) bool {
	for _, s := range systemFlags {
		if strings.EqualFold(s.name, name) {
			f.System |= s.flag
			return true
		}
	}
	return strings.EqualFold(name, "Recent")
}

// sortKeywords puts keywords in order and takes doubles out (case ignored).
func sortKeywords(words []string) []string {
	slices.SortFunc(words, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return slices.CompactFunc(words, strings.EqualFold)
}

// appendFlags appends "(flags)".
func appendFlags(b []byte, f folder.Flags) []byte {
	b = append(b, '(')
	b = append(b, systemText[f.System&31]...)
	for i, k := range f.Keywords {
		if i > 0 || f.System&31 != 0 {
			b = append(b, ' ')
		}
		b = append(b, k...)
	}
	return append(b, ')')
}

// hasKeyword reports whether a keyword is set, case ignored.
func hasKeyword(f folder.Flags, word string) bool {
	return slices.ContainsFunc(f.Keywords, func(k string) bool { return strings.EqualFold(k, word) })
}
