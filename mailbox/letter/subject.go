package letter

import (
	"strings"
	"unicode"
)

// maxSubjectRead bounds what is looked at of a subject.
const maxSubjectRead = 4096

// answerWords begin the subject of an answer or of a forwarded mail, in the
// languages and programs that are met (folded to lower case).
var answerWords = map[string]bool{
	"re": true, "ré": true, "rép": true, "rep": true, "réf": true, "rv": true, "sv": true, "aw": true, "antw": true,
	"fw": true, "fwd": true, "tr": true, "trans": true, "wg": true,
}

// BaseSubject gives what a subject is about (RFC 5256 §2.1), so that a mail and
// the answers to it meet: answer and forward marks of French and English
// programs, blobs in brackets (the hub's tag among them), "(fwd)" and the XDM
// prefix are taken off. The subject comes decoded.
func BaseSubject(subject string) string {
	s := strings.Join(strings.Fields(subject[:min(len(subject), maxSubjectRead)]), " ")
	for {
		before := s
		s = withoutTrailer(s)
		s = withoutLeaders(s)
		if inner, ok := forwardBrackets(s); ok {
			s = inner
		}
		if s == before {
			return s
		}
	}
}

func withoutTrailer(s string) string {
	for {
		s = strings.TrimSpace(s)
		if len(s) < 5 || !strings.EqualFold(s[len(s)-5:], "(fwd)") {
			return s
		}
		s = s[:len(s)-5]
	}
}

// withoutLeaders takes answer marks, blobs and the XDM prefix off the front. A
// blob stays if nothing else is left.
func withoutLeaders(s string) string {
	for {
		s = strings.TrimSpace(s)
		if rest, ok := cutAnswer(s); ok {
			s = rest
		} else if rest, ok := cutXDMHere(s); ok {
			s = rest
		} else if rest, ok := cutBlob(s); ok && rest != "" {
			s = rest
		} else {
			return s
		}
	}
}

// cutAnswer cuts one mark: "Re:", "RE :", "TR[2]:", "Re(3):", "RE: ".
func cutAnswer(s string) (rest string, ok bool) {
	n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) })
	if n <= 0 || n > 8 || !answerWords[strings.ToLower(s[:n])] {
		return s, false
	}
	rest = strings.TrimSpace(s[n:])
	if len(rest) > 0 && (rest[0] == '[' || rest[0] == '(') {
		end := strings.IndexAny(rest, "])")
		if end < 2 || end > 5 || strings.Trim(rest[1:end], "0123456789") != "" {
			return s, false
		}
		rest = strings.TrimSpace(rest[end+1:])
	}
	for _, colon := range []string{":", "\uff1a"} {
		if after, found := strings.CutPrefix(rest, colon); found {
			return strings.TrimSpace(after), true
		}
	}
	return s, false
}

// cutBlob cuts "[…]" without brackets inside.
func cutBlob(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] != ']' {
		return s, false
	}
	return strings.TrimSpace(s[end+2:]), true
}

// forwardBrackets opens "[Fwd: subject]".
func forwardBrackets(s string) (inner string, ok bool) {
	if len(s) < 7 || s[0] != '[' || s[len(s)-1] != ']' {
		return s, false
	}
	inner, ok = cutAnswer(s[1 : len(s)-1])
	return inner, ok && inner != ""
}

// xdmPrefix begins the subject of a mail that carries an XDM archive (IHE ITI
// TF-2 3.32.4.1; the national form adds "+" and a title for people).
const xdmPrefix = "XDM/1.0/DDM"

// CutXDM takes the XDM prefix off a subject, behind answer marks and blobs as
// well, and reports whether it was there.
func CutXDM(subject string) (rest string, was bool) {
	subject = strings.TrimSpace(subject)
	for s := subject; ; {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		if after, ok := cutXDMHere(s); ok {
			return subject[:len(subject)-len(s)] + after, true
		}
		next, ok := cutAnswer(s)
		if !ok {
			next, ok = cutBlob(s)
		}
		if !ok {
			return subject, false
		}
		s = s[len(s)-len(next):]
	}
}

func cutXDMHere(s string) (rest string, ok bool) {
	if len(s) < len(xdmPrefix) || !strings.EqualFold(s[:len(xdmPrefix)], xdmPrefix) {
		return s, false
	}
	rest = s[len(xdmPrefix):]
	if after, plus := strings.CutPrefix(rest, "+"); plus {
		return strings.TrimSpace(after), true
	}
	return strings.TrimSpace(rest), rest == "" || rest[0] == ' '
}

// codeLetters are the characters of a pathway's code.
const codeLetters = "bcdfghjkmnpqrstvwxz23456789"

// Tag is a pathway's tag in a subject: [PROGRAMME code …].
type Tag struct {
	Programme string // as written
	Code      string // lower case; only its form is checked
}

// FindTag gives the first tag of a subject.
func FindTag(subject string) (programme, code string, ok bool) {
	tags := FindTags(subject)
	if len(tags) == 0 {
		return "", "", false
	}
	return tags[0].Programme, tags[0].Code, true
}

// FindTags gives every tag of a subject, in order: tags that disagree are a
// reason to hold a mail.
func FindTags(subject string) []Tag {
	var tags []Tag
	eachTag(subject, func(t Tag, _, _ int) { tags = append(tags, t) })
	return tags
}

// CutTag takes every tag off a subject, so that an answer's answer carries one
// and not three.
func CutTag(subject string) string {
	var b strings.Builder
	at := 0
	eachTag(subject, func(_ Tag, start, end int) {
		b.WriteString(strings.TrimRight(subject[at:start], " "))
		if at = end; b.Len() > 0 && at < len(subject) && subject[at] != ' ' {
			b.WriteByte(' ')
		}
	})
	if at == 0 {
		return subject
	}
	b.WriteString(subject[at:])
	return strings.TrimSpace(b.String())
}

// eachTag calls found for the tags within the first maxSubjectRead bytes.
func eachTag(subject string, found func(t Tag, start, end int)) {
	s := subject[:min(len(subject), maxSubjectRead)]
	for at := 0; ; {
		open := strings.IndexByte(s[at:], '[')
		if open < 0 {
			return
		}
		open += at
		n := strings.IndexAny(s[open+1:], "[]")
		if n < 0 {
			return
		}
		end := open + 1 + n
		at = end
		if s[end] == '[' {
			continue
		}
		at++
		words := strings.Fields(s[open+1 : end])
		if len(words) < 2 || !isTagWord(words[0]) {
			continue
		}
		if code := strings.ToLower(words[1]); isCode(code) {
			found(Tag{Programme: words[0], Code: code}, open, end+1)
		}
	}
}

func isTagWord(w string) bool {
	return len(w) <= 32 && !strings.ContainsFunc(w, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' && r != '.'
	})
}

func isCode(w string) bool { return len(w) == 7 && strings.Trim(w, codeLetters) == "" }
