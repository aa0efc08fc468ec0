package imaptest

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// client is one connection.
type client struct {
	conn     net.Conn
	in       *bufio.Reader
	id       int
	tags     int
	exists   uint32
	caps     map[string]bool
	selected bool
}

func newClient(conn net.Conn, id int) *client {
	return &client{conn: conn, in: bufio.NewReader(conn), id: id, caps: map[string]bool{}}
}

// maxReply bounds one reply.
const maxReply = 16 << 20

// receive reads one reply with its literals.
func (c *client) receive(within time.Duration) (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(within))
	var b strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return b.String() + line, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		b.WriteString(line)
		open := strings.LastIndexByte(line, '{')
		if open < 0 || !strings.HasSuffix(line, "}") {
			return b.String(), nil
		}
		n, err := strconv.Atoi(line[open+1 : len(line)-1])
		if err != nil || b.Len()+n > maxReply {
			return b.String(), nil
		}
		b.WriteString("\r\n")
		buf := make([]byte, n)
		for got := 0; got < n; {
			k, err := c.in.Read(buf[got:])
			if err != nil {
				return b.String(), err
			}
			got += k
		}
		b.Write(buf)
	}
}

// send sends a command and gives its tag. Literals are sent without waiting.
func (c *client) send(text string) (string, error) {
	c.tags++
	tag := fmt.Sprintf("%d.%d", c.id+1, c.tags)
	var b strings.Builder
	b.WriteString(tag + " ")
	for text != "" {
		i := strings.Index(text, "}\r\n")
		if i < 0 {
			b.WriteString(text)
			break
		}
		open := strings.LastIndexByte(text[:i], '{')
		n, err := strconv.Atoi(text[open+1 : i])
		if open < 0 || err != nil || i+3+n > len(text) {
			return "", fmt.Errorf("bad literal in a command")
		}
		b.WriteString(text[:i] + "+}\r\n" + text[i+3:i+3+n])
		text = text[i+3+n:]
	}
	b.WriteString("\r\n")
	c.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_, err := c.conn.Write([]byte(b.String()))
	return tag, err
}

// note keeps what a reply says of the session.
func (c *client) note(v []value) {
	if len(v) > 1 && strings.EqualFold(v[1].text, "EXISTS") {
		n, _ := strconv.ParseUint(v[0].text, 10, 32)
		c.exists = uint32(n)
	}
	if len(v) > 1 && strings.EqualFold(v[1].text, "EXPUNGE") && c.exists > 0 {
		c.exists--
	}
	if len(v) > 0 && strings.EqualFold(v[0].text, "CAPABILITY") {
		c.caps = map[string]bool{}
		for _, w := range v[1:] {
			c.caps[strings.ToUpper(w.text)] = true
		}
	}
}

// do sends a command of the preparation and wants OK, unless lenient.
func (c *client) do(text string, lenient bool) ([][]value, error) {
	tag, err := c.send(text)
	if err != nil {
		return nil, err
	}
	var untagged [][]value
	for {
		line, err := c.receive(30 * time.Second)
		if err != nil {
			return nil, fmt.Errorf("%.60q: %w", text, err)
		}
		if rest, ok := strings.CutPrefix(line, "* "); ok {
			v, err := parse(rest)
			if err != nil {
				return nil, err
			}
			c.note(v)
			untagged = append(untagged, v)
			continue
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if !lenient && !strings.HasPrefix(strings.ToUpper(rest), "OK") {
				return nil, fmt.Errorf("%.60q: %s", text, line)
			}
			return untagged, nil
		}
		if !strings.HasPrefix(line, "+") {
			return nil, fmt.Errorf("%.60q: unexpected %q", text, line)
		}
	}
}
