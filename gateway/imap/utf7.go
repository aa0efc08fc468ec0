package imap

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/relais-sante/relais/store/journal"
)

// Names of folders are UTF-8 inside. On the wire they are modified UTF-7
// (RFC 3501 §5.1.3) for a client that has not asked for UTF-8.

const errUTF7 = journal.Fault("not modified UTF-7")

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// encodeUTF7 gives a name as modified UTF-7.
func encodeUTF7(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '&' }) {
		return s
	}
	var b strings.Builder
	var run []byte // UTF-16, big-endian
	flush := func() {
		if len(run) > 0 {
			b.WriteByte('&')
			b.WriteString(base64UTF7.EncodeToString(run))
			b.WriteByte('-')
			run = run[:0]
		}
	}
	for _, r := range s {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case ' ' <= r && r <= '~':
			flush()
			b.WriteByte(byte(r))
		default:
			for _, u := range utf16.AppendRune(nil, r) {
				run = append(run, byte(u>>8), byte(u))
			}
		}
	}
	flush()
	return b.String()
}

// decodeUTF7 gives a name that a client wrote as UTF-8. It takes raw UTF-8 too,
// which clients of IMAP4rev2 send. One name has one way to be written: what
// could be written otherwise is refused.
func decodeUTF7(s string) (string, error) {
	if strings.IndexByte(s, '&') < 0 {
		return s, nil
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		end := strings.IndexByte(s, '-')
		if end < 0 {
			return "", errUTF7
		}
		if end == 0 {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		units, err := base64UTF7.DecodeString(s[:end])
		if err != nil || len(units)%2 != 0 {
			return "", errUTF7
		}
		for k := 0; k < len(units); k += 2 {
			r := rune(units[k])<<8 | rune(units[k+1])
			if utf16.IsSurrogate(r) {
				if k += 2; k >= len(units) {
					return "", errUTF7
				}
				r = utf16.DecodeRune(r, rune(units[k])<<8|rune(units[k+1]))
				if r == utf8.RuneError {
					return "", errUTF7
				}
			}
			if ' ' <= r && r <= '~' {
				return "", errUTF7
			}
			b.WriteRune(r)
		}
		if s = s[end+1:]; strings.HasPrefix(s, "&") && !strings.HasPrefix(s, "&-") {
			return "", errUTF7 // two runs where one would do
		}
	}
}
