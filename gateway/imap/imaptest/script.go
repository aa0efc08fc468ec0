package imaptest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// script is one file of tests.
type script struct {
	capabilities []string
	connections  int
	messages     int // -1: all
	state        string
	strict       bool // every untagged reply must be expected
	user2        map[int]bool
	groups       []*group
}

// group is one command, or several sent at once, with what is expected.
type group struct {
	conn     int // from 0
	commands []*command
	untagged []expected
	pending  int
	bye      bool
}

type command struct {
	line  int
	tag   string // of the script, for pipelines
	text  string
	reply []value // expected; nil: not yet known
	sent  string  // tag on the wire
}

type expected struct {
	values []value
	must   byte // '*' must come, '!' must not, '?' may
}

// readScript reads a file.
func readScript(path string) (*script, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &script{connections: 1, messages: -1, state: "selected", user2: map[int]bool{}}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	header := true
	for i := 0; i < len(lines); i++ {
		at, line := i+1, lines[i]
		switch {
		case line == "":
			header = false
			continue
		case line[0] == '#':
			continue
		}
		if line, i, err = literals(lines, i); err != nil {
			return nil, err
		}
		if header {
			err = s.head(line)
		} else {
			err = s.line(at, line)
		}
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", path, at, err)
		}
	}
	return s, nil
}

// literals puts the texts between {{{ and }}} into a line.
func literals(lines []string, i int) (string, int, error) {
	line := lines[i]
	for strings.HasSuffix(line, "{{{") {
		head := strings.TrimSuffix(line, "{{{")
		binary := strings.HasSuffix(head, "~")
		var text []string
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "}}}"); i++ {
			text = append(text, lines[i])
		}
		if i == len(lines) {
			return "", i, fmt.Errorf("text without end")
		}
		end := "\r\n"
		if binary {
			end = "\n"
		}
		body := strings.Join(text, end)
		line = head + "{" + strconv.Itoa(len(body)) + "}\r\n" + body + lines[i][3:]
	}
	return line, i, nil
}

func (s *script) head(line string) error {
	key, v, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("no header: %q", line)
	}
	v = strings.TrimSpace(v)
	switch key = strings.ToLower(strings.TrimSpace(key)); key {
	case "capabilities":
		s.capabilities = strings.Fields(v)
	case "connections":
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 100 {
			return fmt.Errorf("bad number of connections")
		}
		s.connections = n
	case "messages":
		if s.messages = -1; v != "all" {
			n, err := strconv.Atoi(v)
			if err != nil {
				return err
			}
			s.messages = n
		}
	case "state":
		s.state = strings.ToLower(v)
	case "ignore_extra_untagged":
		s.strict = strings.HasPrefix(v, "n")
	default:
		number, isUser := strings.CutPrefix(key, "user ")
		n, err := strconv.Atoi(number)
		if !isUser || err != nil {
			return fmt.Errorf("unknown header %q", key)
		}
		s.user2[n-1] = true
	}
	return nil
}

func (s *script) current() *group {
	if len(s.groups) == 0 {
		return nil
	}
	return s.groups[len(s.groups)-1]
}

// line takes a command, an untagged reply or a tagged one.
func (s *script) line(at int, line string) error {
	g := s.current()
	if g != nil && len(line) > 1 && line[1] == ' ' && strings.IndexByte("*!?", line[0]) >= 0 {
		values, err := parse(line[2:])
		if err != nil {
			return err
		}
		if len(values) > 0 && strings.EqualFold(values[0].text, "bye") && line[0] == '*' {
			g.bye = true
		}
		g.untagged = append(g.untagged, expected{values, line[0]})
		return nil
	}
	conn, rest := 0, line
	if s.connections > 1 {
		number, after, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > s.connections {
			if g == nil || g.pending == 0 {
				return fmt.Errorf("which connection?")
			}
		} else {
			conn, rest = n-1, after
		}
	}
	tag, reply, text := cutReply(rest)
	if g != nil && g.pending > 0 && reply != "" {
		return g.answer(tag, strings.TrimSpace(rest[strings.Index(strings.ToLower(rest), reply):]))
	}
	if g == nil || g.pending == 0 {
		g = &group{conn: conn}
		s.groups = append(s.groups, g)
	}
	c := &command{line: at, tag: tag, text: text}
	if reply != "" {
		c.reply, _ = parse(reply)
	} else {
		g.pending++
	}
	g.commands = append(g.commands, c)
	return nil
}

// cutReply cuts an optional "tagN" and an optional expected answer off.
func cutReply(line string) (tag, reply, rest string) {
	word, after, _ := strings.Cut(line, " ")
	if n := strings.TrimPrefix(strings.ToLower(word), "tag"); len(n) < len(word) && n != "" && strings.Trim(n, "0123456789") == "" {
		tag, line = word, after
		word, after, _ = strings.Cut(line, " ")
	}
	switch strings.ToLower(word) {
	case "ok", "no", "bad", `""`:
		return tag, strings.ToLower(word), after
	}
	return tag, "", line
}

func (g *group) answer(tag, text string) error {
	for _, c := range g.commands {
		if c.tag == tag && c.reply == nil {
			values, err := parse(text)
			c.reply = values
			g.pending--
			return err
		}
	}
	return fmt.Errorf("answer to no command")
}

// readMbox reads the messages of a mailbox file, with CRLF, and the dates of
// their From lines.
func readMbox(path string) (messages []string, dates []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var body []string
	flush := func() {
		if dates != nil {
			messages = append(messages, strings.Join(append(body, ""), "\r\n"))
		}
		body = nil
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if from, ok := strings.CutPrefix(line, "From "); ok {
			if date, ok := fromDate(from); ok {
				flush()
				dates = append(dates, date)
				continue
			}
		}
		body = append(body, strings.TrimSuffix(line, "\r"))
	}
	flush()
	return messages, dates, nil
}

// fromDate reads "user@domain  Sat Mar 24 23:00:00 2007 +0200" as IMAP writes
// a date.
func fromDate(from string) (string, bool) {
	w := strings.Fields(from)
	if len(w) < 6 {
		return "", false
	}
	zone := "+0000"
	if len(w) > 6 {
		zone = w[6]
	}
	day := w[3]
	if len(day) == 1 {
		day = " " + day
	}
	return fmt.Sprintf("%s-%s-%s %s %s", day, w[2], w[5], w[4], zone), len(w[5]) == 4 && strings.Count(w[4], ":") == 2
}
