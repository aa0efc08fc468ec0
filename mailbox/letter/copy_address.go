package letter

import (
	"net/netip"
	"strings"

	"github.com/relais-sante/relais/store/journal"
)

// ErrAddress says that an address cannot stand in a header that needs no
// SMTPUTF8.
const ErrAddress journal.Fault = "not a mail address in ASCII"

// maxAddress is the longest address (RFC 5321 §4.5.3.1.3, brackets apart).
const maxAddress = 254

// addrSpec checks an address and gives it as it stands in a header (RFC 5322
// §3.4.1). A local part whose dots stand side by side or at an end is put in
// quotes; those that need quotes for anything else are refused: nobody has
// them but who wants to be misread.
func addrSpec(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || len(address) > maxAddress {
		return "", ErrAddress
	}
	local, domain := address[:at], address[at+1:]
	if !dotAtom(domain) && !literal(domain) {
		return "", ErrAddress
	}
	if dotAtom(local) {
		return address, nil
	}
	if !dotAtom(strings.ReplaceAll("x"+local+"x", ".", "")) {
		return "", ErrAddress
	}
	return `"` + local + `"@` + domain, nil
}

// dotAtom reports whether s is a dot-atom of RFC 5322 §3.2.3.
func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			c := atom[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0) {
				return false
			}
		}
	}
	return true
}

// literal reports whether s is an address in place of a domain (RFC 5321
// §4.1.3).
func literal(s string) bool {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	_, err := netip.ParseAddr(strings.TrimPrefix(s[1:len(s)-1], "IPv6:"))
	return err == nil
}
