package trust

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// attributeType gives the dotted form of an attribute type.
func attributeType(s string) (string, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if oid, ok := shortNames[s]; ok {
		return oid, true
	}
	s = strings.TrimPrefix(s, "OID.")
	if !strings.Contains(s, ".") {
		return "", false
	}
	for arc := range strings.SplitSeq(s, ".") {
		if _, err := strconv.ParseUint(arc, 10, 31); err != nil {
			return "", false
		}
	}
	return s, true
}

// nextSeparator is the index of the first "," ";" or "+" that is neither
// escaped nor quoted, or len(s). A quote counts where a value begins with it.
func nextSeparator(s string) int {
	quoted, last := false, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted && last == '='
		case !quoted && (c == ',' || c == ';' || c == '+'):
			return i
		}
		if i < len(s) && s[i] != ' ' {
			last = s[i]
		}
	}
	return len(s)
}

// unescape decodes an attribute value (RFC 4514 §3, RFC 1779 §2.3).
func unescape(s string) (string, error) {
	if digits, ok := strings.CutPrefix(s, "#"); ok {
		return unhex(digits)
	}
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 < len(s) {
			if pair, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.WriteByte(pair[0])
				i += 2
				continue
			}
		}
		if i++; i < len(s) {
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// unhex decodes the "#hexstring" form: a BER encoded string.
func unhex(digits string) (string, error) {
	der, err := hex.DecodeString(digits)
	if err != nil {
		return "", fmt.Errorf("reading a hexadecimal value: %w", ErrName)
	}
	var value any
	if rest, err := asn1.Unmarshal(der, &value); err != nil || len(rest) > 0 {
		return "", fmt.Errorf("reading a hexadecimal value: %w", ErrName)
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("reading a hexadecimal value: %w", ErrName)
	}
	return utf8Text(text), nil
}

func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		last := i == len(s)-1
		if strings.ContainsRune(`,+"\<>;=`, r) || i == 0 && r == '#' || (i == 0 || last) && r == ' ' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// utf8Text reads the old TeletexString as Latin-1, which is what was put in it.
func utf8Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}
