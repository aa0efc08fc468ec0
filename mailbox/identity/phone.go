package identity

import "strings"

// maxPhone bounds a telephone number, in characters, spaces included.
const maxPhone = 32

// ParsePhone tidies a telephone number as people write them: digits in groups,
// with a + before those of a country. Dots, dashes, slashes and parentheses
// part groups like spaces; the (0) that is not dialled from abroad goes. Short
// numbers of an establishment pass: what is dialled is for people to know.
// Nothing but spaces gives "".
func ParsePhone(s string) (string, error) {
	var b strings.Builder
	digits := 0
	for _, r := range strings.Join(strings.Fields(strings.ReplaceAll(s, "(0)", " ")), " ") {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r == '+' && b.Len() == 0:
		case strings.ContainsRune(" .-/()\u2010\u2011\u2013", r):
			if r = ' '; b.Len() == 0 || strings.HasSuffix(b.String(), " ") {
				continue
			}
		default:
			return "", ErrPhoneForm
		}
		b.WriteRune(r)
	}
	tidy := strings.TrimRight(b.String(), " ")
	if tidy != "" && digits < 2 || len(tidy) > maxPhone {
		return "", ErrPhoneForm
	}
	return tidy, nil
}
