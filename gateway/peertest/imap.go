package peertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// IMAP is a dialogue with an IMAP server, word for word.
type IMAP struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tags int
}

// Response is an untagged response: its text, with "{}" for each literal, and
// the literals.
type Response struct {
	Text     string
	Literals []string
}

// Login opens a box and selects its INBOX.
func (d *Dovecot) Login(t testing.TB, box string) *IMAP {
	t.Helper()
	conn, err := net.DialTimeout("tcp", d.IMAP, patience)
	if err != nil {
		t.Fatal(err)
	}
	c := Greeted(t, conn)
	c.Do(fmt.Sprintf("LOGIN %q %q", box, d.password))
	c.Do("SELECT INBOX")
	return c
}

// Greeted begins a dialogue with any IMAP server, once it has said its greeting.
func Greeted(t testing.TB, conn net.Conn) *IMAP {
	t.Helper()
	c := &IMAP{t: t, conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.response(); err != nil {
		t.Fatalf("greeting: %v", err)
	}
	return c
}

// Close ends the dialogue.
func (c *IMAP) Close() { c.conn.Close() }

// Do gives a command and returns the untagged responses. Anything but OK ends
// the test.
func (c *IMAP) Do(command string) []Response {
	c.t.Helper()
	c.tags++
	tag := "a" + strconv.Itoa(c.tags)
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, tag+" "+command+"\r\n"); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	var all []Response
	for {
		r, err := c.response()
		if err != nil {
			c.t.Fatalf("%s: %v", command, err)
		}
		if end, ours := strings.CutPrefix(r.Text, tag+" "); ours {
			if !strings.HasPrefix(end, "OK") {
				c.t.Fatalf("%s: %s", command, end)
			}
			return all
		}
		all = append(all, r)
	}
}

// Mails fetches all mails of the INBOX, byte for byte.
func (c *IMAP) Mails() [][]byte {
	c.t.Helper()
	if len(c.Search("ALL")) == 0 {
		return nil
	}
	var mails [][]byte
	for _, r := range c.Do("FETCH 1:* BODY.PEEK[]") {
		if strings.Contains(r.Text, " FETCH ") && len(r.Literals) == 1 {
			mails = append(mails, []byte(r.Literals[0]))
		}
	}
	return mails
}

// Search gives the numbers of the mails that a criterion of SEARCH finds.
func (c *IMAP) Search(criterion string) []string {
	c.t.Helper()
	for _, r := range c.Do("SEARCH " + criterion) {
		if found, ok := strings.CutPrefix(r.Text, "* SEARCH"); ok {
			return strings.Fields(found)
		}
	}
	return nil
}

// response reads one line with its literals (RFC 9051 §4.3).
func (c *IMAP) response() (Response, error) {
	var r Response
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return r, err
		}
		line = strings.TrimRight(line, "\r\n")
		open := strings.LastIndexByte(line, '{')
		if open < 0 || !strings.HasSuffix(line, "}") {
			r.Text += line
			return r, nil
		}
		size, err := strconv.ParseInt(line[open+1:len(line)-1], 10, 32)
		if err != nil {
			return r, errors.New("not a literal")
		}
		literal := make([]byte, size)
		if _, err := io.ReadFull(c.r, literal); err != nil {
			return r, err
		}
		r.Text += line[:open] + "{}"
		r.Literals = append(r.Literals, string(literal))
	}
}
