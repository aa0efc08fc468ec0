package operator

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(journaltest.Watched{Runner: m}) }

// server is an IMAP server with one box, which says what it should unless a
// test has it say something else.
type server struct {
	t    testing.TB
	ln   net.Listener
	caps string

	mu       sync.Mutex
	validity uint32
	mails    []mail
	folders  map[string][]mail
	said     []string // commands, without their tags
	idling   []*talk
	open     map[net.Conn]bool
	// instead answers a command in place of the server and reports true; false:
	// the server answers. It is called with the lock held.
	instead func(c *talk, tag, command string) bool
	running sync.WaitGroup
}

type mail struct {
	uid   uint32
	text  string
	flags []string
}

// talk is one connection.
type talk struct {
	net.Conn
	in *bufio.Reader
}

func (c *talk) say(format string, args ...any) {
	fmt.Fprintf(c, format+"\r\n", args...)
}

func newServer(t *testing.T, caps string) *server {
	t.Helper()
	authority, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(trust.Request{Name: "CN=imap.operateur.example,C=FR", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, ln: ln, caps: caps, validity: 1, folders: map[string][]mail{}, open: map[net.Conn]bool{}}
	s.running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[conn] = true
			s.mu.Unlock()
			s.running.Go(func() { s.serve(&talk{conn, bufio.NewReader(conn)}) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.cut()
		s.running.Wait()
	})
	return s
}

// cut drops all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

func (s *server) serve(c *talk) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	c.say("* OK ready")
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		s.mu.Lock()
		s.said = append(s.said, command)
		if s.instead == nil || !s.instead(c, tag, command) {
			s.answer(c, tag, command)
		}
		s.mu.Unlock()
	}
}

// answer is what a server says.
func (s *server) answer(c *talk, tag, command string) {
	words := strings.Fields(command)
	name := strings.ToUpper(words[0])
	if name == "UID" {
		name += " " + strings.ToUpper(words[1])
		words = words[1:]
	}
	switch name {
	case "CAPABILITY":
		c.say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN %s", s.caps)
	case "SELECT":
		next := uint32(1)
		if n := len(s.mails); n > 0 {
			next = s.mails[n-1].uid + 1
		}
		c.say("* %d EXISTS\r\n* OK [UIDVALIDITY %d] counts\r\n* OK [UIDNEXT %d] next", len(s.mails), s.validity, next)
	case "UID FETCH":
		s.fetch(c, words[1], command)
	case "UID STORE":
		s.each(words[1], func(m *mail) {
			for _, f := range strings.Fields(strings.Trim(strings.Join(words[3:], " "), "()")) {
				if !slices.Contains(m.flags, f) {
					m.flags = append(m.flags, f)
				}
			}
		})
	case "UID MOVE", "UID COPY":
		folder := strings.Trim(words[2], `"`)
		if _, ok := s.folders[folder]; !ok {
			c.say("%s NO [TRYCREATE] no such folder", tag)
			return
		}
		s.each(words[1], func(m *mail) { s.folders[folder] = append(s.folders[folder], *m) })
		if name == "UID MOVE" {
			s.drop(c, func(m mail) bool { return in(words[1], m.uid) })
		}
	case "UID EXPUNGE":
		s.drop(c, func(m mail) bool { return in(words[1], m.uid) && slices.Contains(m.flags, `\Deleted`) })
	case "EXPUNGE":
		s.drop(c, func(m mail) bool { return slices.Contains(m.flags, `\Deleted`) })
	case "UID SEARCH":
		found := ""
		for _, m := range s.mails {
			if slices.Contains(m.flags, `\Deleted`) {
				found += fmt.Sprintf(" %d", m.uid)
			}
		}
		c.say("* SEARCH%s", found)
	case "CREATE":
		s.folders[strings.Trim(words[1], `"`)] = nil
	case "IDLE":
		c.say("+ idling")
		s.idling = append(s.idling, c)
		s.mu.Unlock()
		_, err := c.in.ReadString('\n')
		s.mu.Lock()
		s.idling = slices.DeleteFunc(s.idling, func(o *talk) bool { return o == c })
		if err != nil {
			return
		}
	}
	c.say("%s OK done", tag)
}

func (s *server) fetch(c *talk, set, command string) {
	for i, m := range s.mails {
		// "4:*" gives the last one, too.
		if !in(set, m.uid) && !(strings.HasSuffix(set, "*") && i == len(s.mails)-1) {
			continue
		}
		items := fmt.Sprintf("UID %d", m.uid)
		if strings.Contains(command, "RFC822.SIZE") {
			items += fmt.Sprintf(" RFC822.SIZE %d", len(m.text))
		}
		if strings.Contains(command, "INTERNALDATE") {
			items += ` INTERNALDATE "02-Mar-2026 08:00:00 +0100"`
		}
		if strings.Contains(command, "BODY.PEEK[]") {
			items += fmt.Sprintf(" BODY[] {%d}\r\n%s", len(m.text), m.text)
		}
		c.say("* %d FETCH (%s)", i+1, items)
	}
}

func (s *server) each(set string, fn func(*mail)) {
	for i := range s.mails {
		if in(set, s.mails[i].uid) {
			fn(&s.mails[i])
		}
	}
}

func (s *server) drop(c *talk, which func(mail) bool) {
	for i := 0; i < len(s.mails); {
		if which(s.mails[i]) {
			s.mails = slices.Delete(s.mails, i, i+1)
			c.say("* %d EXPUNGE", i+1)
			continue
		}
		i++
	}
}

// in reports whether a set names a UID.
func in(set string, uid uint32) bool {
	for part := range strings.SplitSeq(set, ",") {
		a, b, ranged := strings.Cut(part, ":")
		if !ranged {
			b = a
		}
		low, _ := strconv.ParseUint(a, 10, 32)
		high, err := strconv.ParseUint(b, 10, 32)
		if err != nil {
			high = 1<<32 - 1
		}
		if uint64(uid) >= low && uint64(uid) <= high {
			return true
		}
	}
	return false
}

// deliver puts mails into the box and tells those who wait.
func (s *server) deliver(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		next := uint32(1)
		if n := len(s.mails); n > 0 {
			next = s.mails[n-1].uid + 1
		}
		s.mails = append(s.mails, mail{uid: next, text: text})
	}
	for _, c := range s.idling {
		c.say("* %d EXISTS", len(s.mails))
	}
}

// set changes the server.
func (s *server) set(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// heard counts the commands that begin so.
func (s *server) heard(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.said {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// hub is the hub as the poller sees it: what it commits, it commits at once.
type hub struct {
	mu     sync.Mutex
	taken  []string
	aside  []mailbox.RefusalReason
	cursor mailbox.Cursor
	known  map[[32]byte]bool
	saves  int
	// say decides about a mail before it is taken.
	say func(text string) error
}

func (h *hub) Recipient(_ context.Context, _ *mailbox.Envelope, addr string) (mailbox.Recipient, error) {
	return mailbox.Recipient{Kind: mailbox.ToBox, Address: store.Address(addr)}, nil
}

func (h *hub) Intake(ctx context.Context, env mailbox.Envelope, r io.Reader) (mailbox.Receipt, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return mailbox.Receipt{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.say != nil {
		if err := h.say(string(b)); err != nil {
			return mailbox.Receipt{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return mailbox.Receipt{}, err
	}
	digest := env.Fetched.Digest()
	if digest != sha256.Sum256(b) {
		return mailbox.Receipt{}, errors.New("the digest is not that of the bytes")
	}
	h.cursor = env.Fetched.Next
	if h.known[digest] {
		return mailbox.Receipt{Duplicate: true}, nil
	}
	h.note(digest)
	h.taken = append(h.taken, string(b))
	return mailbox.Receipt{}, nil
}

func (h *hub) note(digest [32]byte) {
	if h.known == nil {
		h.known = map[[32]byte]bool{}
	}
	h.known[digest] = true
}

func (h *hub) BoxCursor(context.Context, store.Address, string) (mailbox.Cursor, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cursor, nil
}

func (h *hub) SaveCursor(_ context.Context, c mailbox.Cursor) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cursor = c
	h.saves++
	return nil
}

func (h *hub) SetAside(_ context.Context, a mailbox.Aside) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cursor = a.Next
	if d := a.Digest(); !h.known[d] {
		h.note(d)
		h.aside = append(h.aside, a.Reason)
	}
	return nil
}

func (h *hub) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.taken)
}

func (h *hub) at() mailbox.Cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cursor
}

// anyone trusts every server.
type anyone struct{}

func (anyone) ClientConfig(host string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: true}
}

func (anyone) VerifyHost(tls.ConnectionState, string) (trust.Identity, error) {
	return trust.Identity{}, nil
}

// options are those of a poller of s, quick enough for a test.
func (s *server) options(h *hub) Options {
	settings := configs.Operator{
		Name: "essai", Address: "coordination@gradeclic.example", Username: "coordination", Auth: configs.AuthPassword,
		Secret: secretFile(s.t, "s3cret"), Inbox: "INBOX", Poll: configs.Duration(20 * time.Millisecond),
		IMAP: configs.Endpoint{Mode: configs.ImplicitTLS, Address: s.ln.Addr().String()},
	}
	access, err := NewAccess(AccessOptions{Settings: settings, Trust: anyone{}})
	if err != nil {
		s.t.Fatal(err)
	}
	return Options{
		Settings: settings, Access: access, Hub: h, MaxMessage: 64 << 10, Step: 5 * time.Second, Idle: 5 * time.Second,
		FirstWait: 5 * time.Millisecond, LongestWait: 20 * time.Millisecond, Retry: 10 * time.Millisecond,
	}
}

// run starts a poller; stop ends it.
func run(t *testing.T, o Options) (p *Poller, stop func()) {
	t.Helper()
	p = NewPoller(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				t.Error("the poller does not end")
			}
		})
	}
	t.Cleanup(stop)
	return p, stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func text(n int) string {
	return fmt.Sprintf("From: <roux@chu.example>\r\nSubject: %d\r\n\r\nMail %d.\r\n", n, n)
}
