package imaptest

import (
	"slices"
	"strconv"
	"strings"
)

// directives say how a list is compared.
type directives struct {
	unordered bool
	chain     int
	noextra   bool
	ignore    []string
	ban       []string
}

// split takes the directives off the beginning of a list; without any, those
// that its place in the reply implies.
func split(list []value, implied []string) ([]value, directives) {
	words := implied
	if len(list) > 0 && strings.HasPrefix(list[0].text, "$!") {
		words = nil
		for len(list) > 0 && strings.HasPrefix(list[0].text, "$!") {
			words = append(words, list[0].text)
			list = list[1:]
		}
	}
	d := directives{chain: 1}
	extra := 0
	for _, w := range words {
		w = strings.TrimPrefix(w, "$!")
		name, arg, _ := strings.Cut(w, "=")
		switch name {
		case "unordered":
			d.unordered = true
			if n, err := strconv.Atoi(arg); err == nil && n > 0 {
				d.chain = n
			}
		case "ordered":
			d.unordered = false
		case "extra":
			extra = 1
		case "noextra":
			extra = -1
		case "ignore":
			d.ignore = append(d.ignore, arg)
		case "ban":
			d.ban = append(d.ban, arg)
		}
	}
	d.noextra = extra < 0 || extra == 0 && !d.unordered
	return list, d
}

// implied gives the directives of a list without any, by where it stands:
// place is its position in the reply, field the item before it in a FETCH.
func implied(reply string, depth, place int, field string) []string {
	switch {
	case (reply == "list" || reply == "lsub") && depth == 1 && place == 1:
		return []string{"$!unordered"}
	case reply == "status" && depth == 1 && place == 2:
		return []string{"$!unordered=2"}
	case reply == "fetch" && depth == 1 && place == 2:
		return []string{"$!unordered=2"}
	case reply == "fetch" && depth == 2 && field == "flags":
		return []string{"$!unordered", "$!noextra", `$!ignore=\recent`, "$!ignore=$HasAttachment", "$!ignore=$HasNoAttachment"}
	}
	return nil
}

// matcher compares what a script expects with what came.
type matcher struct {
	vars  map[string]string
	added []string // variables that got their value in this comparison
	seqs  []uint32 // number at the beginning of the command → number now, 0: gone
	reply string   // kind of the untagged reply, lower case
}

// matches compares whole replies; with prefix the last expected text need only
// begin what came, and more may follow.
func (m *matcher) matches(want, got []value, prefix bool) bool {
	m.added, m.reply = nil, ""
	if len(want) > 0 {
		m.reply = strings.ToLower(want[0].text)
		if first := want[0].text; len(want) > 1 && first != "" && (first[0] == '$' || first[0] >= '0' && first[0] <= '9') {
			m.reply = strings.ToLower(want[1].text)
		}
	}
	if m.values(want, got, 1, prefix, prefix) {
		return true
	}
	for _, name := range m.added {
		delete(m.vars, name)
	}
	return false
}

func (m *matcher) values(want, got []value, depth int, prefix, more bool) bool {
	field := ""
	for i := 0; i < len(want); i++ {
		w := want[i]
		if !w.isList && w.text == "$]" {
			for len(got) > 0 && !strings.Contains(got[0].text, "]") {
				got = got[1:]
			}
		}
		if len(got) == 0 {
			return false
		}
		if !m.one(w, got[0], depth, i, field, prefix && i == len(want)-1) {
			return false
		}
		field = strings.ToLower(w.text)
		got = got[1:]
	}
	return more || len(got) == 0
}

func (m *matcher) one(w, g value, depth, place int, field string, prefix bool) bool {
	switch {
	case w.isList:
		return g.isList && m.list(w.list, g.list, implied(m.reply, depth, place, field), depth)
	case w.isNil:
		return g.isNil
	case w.text == "$" || w.text == "$]":
		return true
	case g.isList:
		return false
	}
	// The scripts hold binary texts that are only meant to be the same up to
	// their first NUL.
	want, _, _ := strings.Cut(w.text, "\x00")
	have, _, _ := strings.Cut(g.text, "\x00")
	text, fold, ok := m.expand(want, have)
	if !ok {
		return false
	}
	if prefix && len(have) > len(text) {
		have = have[:len(text)]
	}
	if fold {
		return strings.EqualFold(have, text)
	}
	return have == text
}

func (m *matcher) list(want, got []value, implied []string, depth int) bool {
	want, d := split(want, implied)
	if !d.unordered {
		return m.values(want, got, depth+1, false, false)
	}
	if len(got)%d.chain != 0 || len(want)%d.chain != 0 {
		return false
	}
	used := make([]bool, len(got))
	for ; len(want) > 0; want = want[d.chain:] {
		found := false
		for i := 0; i < len(got) && !found; i += d.chain {
			if m.values(want[:d.chain], got[i:i+d.chain], depth+1, false, false) {
				used[i], found = true, true
			}
		}
		if !found {
			return false
		}
	}
	for i := 0; i < len(got); i += d.chain {
		same := func(s string) bool { return strings.EqualFold(s, got[i].text) }
		switch {
		case used[i] || got[i].isList:
		case d.noextra && !slices.ContainsFunc(d.ignore, same), slices.ContainsFunc(d.ban, same):
			return false
		}
	}
	return true
}

// expand gives an expected text with its variables; one without a value takes
// it from what came: up to where the text after it goes on.
func (m *matcher) expand(want, got string) (text string, fold, ok bool) {
	fold = true
	var b strings.Builder
	rest := got
	for want != "" {
		if want[0] != '$' || strings.HasPrefix(want, "$$") {
			if want[0] == '$' {
				want = want[1:]
			}
			if rest == "" || !strings.EqualFold(want[:1], rest[:1]) {
				return "", fold, false
			}
			b.WriteByte(want[0])
			want, rest = want[1:], rest[1:]
			continue
		}
		name, after := cutName(want)
		want = after
		v, known := m.value(name)
		switch {
		case strings.HasPrefix(name, "case:"):
			fold = false
			v = strings.TrimPrefix(name, "case:")
		case !known:
			end := len(rest)
			if want != "" {
				if i := strings.IndexByte(strings.ToLower(rest), strings.ToLower(want)[0]); i >= 0 {
					end = i
				}
			}
			v = rest[:end]
			if name != "" {
				m.vars[name] = v
				m.added = append(m.added, name)
			}
		}
		if !strings.HasPrefix(rest, v) {
			return "", fold, false
		}
		b.WriteString(v)
		rest = rest[len(v):]
	}
	return b.String(), fold, true
}

// cutName cuts "$name" or "${name}" off.
func cutName(s string) (name, rest string) {
	s = s[1:]
	if strings.HasPrefix(s, "{") {
		name, rest, _ = strings.Cut(s[1:], "}")
		return name, rest
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return s[:n], s[n:]
}

// value gives a variable, or the number a message has now.
func (m *matcher) value(name string) (string, bool) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		if n == 0 || n > uint64(len(m.seqs)) || m.seqs[n-1] == 0 {
			return "<gone>", true
		}
		return strconv.FormatUint(uint64(m.seqs[n-1]), 10), true
	}
	v, ok := m.vars[name]
	return v, ok
}

// fill puts variables into a command.
func (m *matcher) fill(command string) (string, error) {
	var b strings.Builder
	for command != "" {
		i := strings.IndexByte(command, '$')
		if i < 0 || i == len(command)-1 {
			b.WriteString(command)
			break
		}
		b.WriteString(command[:i])
		command = command[i:]
		if command[1] == '$' {
			b.WriteByte('$')
			command = command[2:]
			continue
		}
		name, rest := cutName(command)
		v, ok := m.value(name)
		if !ok {
			return "", errVariable(name)
		}
		b.WriteString(v)
		command = rest
	}
	return b.String(), nil
}

type errVariable string

func (e errVariable) Error() string { return "no value for $" + string(e) }

// expunged notes that a message is gone.
func (m *matcher) expunged(n uint32) {
	for i := range m.seqs {
		switch {
		case m.seqs[i] == n:
			m.seqs[i] = 0
		case m.seqs[i] > n:
			m.seqs[i]--
		}
	}
}
