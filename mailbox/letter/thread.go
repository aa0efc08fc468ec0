package letter

import (
	"slices"
	"strings"
)

// Bounds of a chain of references.
const (
	maxReferences = 20  // ids after the root
	maxID         = 250 // characters of one id, so that it fits a line with its field's name
)

// ValidID reports whether id, without its brackets, can be written in a
// Message-ID, In-Reply-To or References field: printable ASCII without spaces
// or brackets, at most 250 characters. Senders' ids often have no "@" and are
// taken all the same.
func ValidID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}

// References gives the ids of a References field: the root of the conversation,
// then at most the last 20 of chain (oldest first, as in RFC 5322 §3.6.4).
// Invalid ids are left out; of an id that comes twice the last place counts. An
// empty root is none.
func References(root string, chain []string) []string {
	ids := make([]string, 0, maxReferences+1)
	seen := map[string]bool{root: true}
	for _, id := range slices.Backward(chain) {
		id = strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">")
		if seen[id] || !ValidID(id) {
			continue
		}
		if len(ids) == maxReferences {
			break
		}
		seen[id] = true
		ids = append(ids, id)
	}
	if ValidID(root) {
		ids = append(ids, root)
	}
	slices.Reverse(ids)
	return ids
}
