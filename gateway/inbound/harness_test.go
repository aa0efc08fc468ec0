package inbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) {
	code := journaltest.Run(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const domain = "parcours.example"

// marker is a local part that must never be written down.
const marker = "marqueur-secret"

// The operators of these tests: the first two are on the white list.
const (
	dnCHU      = "CN=mail.chu.example,OU=1990000010,O=CHU DE L'EXEMPLE,C=FR"
	dnCHG      = "CN=mail.chg.example,OU=1990000036,O=CHG D'EXEMPLE,C=FR"
	dnUnlisted = "CN=mail.ailleurs.example,O=AILLEURS,C=FR"
)

// authority and certs are made once: keys take time.
var world = sync.OnceValue(func() (w struct {
	dir       string
	authority *trust.DevAuthority
	certs     map[string]tls.Certificate
},
) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	w.authority, err = trust.NewDevAuthority(nil)
	must(err)
	stranger, err := trust.NewDevAuthority(nil)
	must(err)
	w.certs = map[string]tls.Certificate{}
	issue := func(name string, a *trust.DevAuthority, r trust.Request) {
		w.certs[name], err = a.Issue(r)
		must(err)
	}
	yesterday := time.Now().AddDate(0, 0, -1)
	issue("hub", w.authority, trust.Request{Name: "CN=" + domain, Hosts: []string{"localhost"}})
	issue("chu", w.authority, trust.Request{Name: dnCHU})
	issue("chg", w.authority, trust.Request{Name: dnCHG})
	issue("unlisted", w.authority, trust.Request{Name: dnUnlisted})
	issue("expired", w.authority, trust.Request{Name: dnCHU, NotBefore: yesterday.AddDate(0, 0, -1), NotAfter: yesterday})
	issue("stranger", stranger, trust.Request{Name: dnCHU})
	return w
})

// stub is a hub that does as the local part of the recipient says: a reason of
// mailbox.RefusalReason refuses at RCPT, "data-" and a reason after the
// message, "fault" and "panic" do those, everything else is a pathway.
type stub struct {
	mu       sync.Mutex
	messages [][]byte
	envelope mailbox.Envelope // the last
	hold     chan struct{}    // Intake waits for it, if not nil
	entered  chan struct{}    // gets a value when Intake has read a message
}

func (h *stub) Recipient(_ context.Context, env *mailbox.Envelope, addr string) (mailbox.Recipient, error) {
	a := store.NewAddress(addr)
	code := store.PathwayCode(a.Local())
	if err := act(a.Local()); err != nil {
		return mailbox.Recipient{}, err
	}
	if a.Domain() != domain {
		return mailbox.Recipient{}, &mailbox.Refusal{Reason: mailbox.RefuseForeign}
	}
	for _, r := range env.Rcpts {
		if r.Pathway != code {
			return mailbox.Recipient{}, &mailbox.Refusal{Reason: mailbox.RefuseSecondPathway}
		}
	}
	return mailbox.Recipient{Kind: mailbox.ToPathway, Address: a, Pathway: code}, nil
}

func (h *stub) Intake(ctx context.Context, env mailbox.Envelope, r io.Reader) (mailbox.Receipt, error) {
	what, early := strings.CutPrefix(string(env.Rcpts[0].Pathway), "early-")
	if early {
		return mailbox.Receipt{}, act(what)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		return mailbox.Receipt{}, fmt.Errorf("reading: %w", err)
	}
	if h.entered != nil {
		h.entered <- struct{}{}
	}
	if h.hold != nil {
		select {
		case <-h.hold:
		case <-ctx.Done():
			return mailbox.Receipt{}, ctx.Err()
		}
	}
	if what, ok := strings.CutPrefix(what, "data-"); ok {
		if err := act(what); err != nil {
			return mailbox.Receipt{}, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages, h.envelope = append(h.messages, body), env
	receipt := mailbox.Receipt{Pathway: env.Rcpts[0].Pathway, Message: store.MessageID(fmt.Sprintf("m%d", len(h.messages)))}
	if what == "held" {
		receipt.Held = "h1"
	}
	return receipt, nil
}

func act(what string) error {
	switch {
	case what == "panic":
		panic(marker)
	case what == "fault":
		return errors.New(marker)
	case what == "store-full":
		return fmt.Errorf("filing: %w", store.ErrFull)
	}
	if _, ok := refusals[mailbox.RefusalReason(what)]; ok {
		return &mailbox.Refusal{Reason: mailbox.RefusalReason(what), Err: errors.New(marker)}
	}
	return nil
}

func (h *stub) taken() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// house is a server under test with its surroundings.
type house struct {
	*Server
	stub     *stub
	guard    *trust.Guard
	options  trust.Options
	log      *journalText
	registry *prometheus.Registry
	addr     string
}

type journalText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journalText) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journalText) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// guardFor makes a guard whose white list names the two operators.
func guardFor(t testing.TB) (*trust.Guard, trust.Options) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	entry := func(domain, dn string) trust.Entry {
		name, err := trust.ParseName(dn)
		if err != nil {
			t.Fatal(err)
		}
		return trust.Entry{Domain: domain, Operator: name}
	}
	var list bytes.Buffer
	crl, err := world().authority.Revoke()
	err = errors.Join(
		err,
		world().authority.Save(dir), trust.SavePair(dir, "hub", world().certs["hub"]), os.Mkdir(path("crl"), 0o755),
		trust.WriteWhiteList(&list, time.Now(), []trust.Entry{entry("chu.example", dnCHU), entry("chg.example", dnCHG)}),
		os.WriteFile(path("list.xml"), list.Bytes(), 0o600), os.WriteFile(path("crl/first.crl"), crl, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	o := trust.Options{
		Certificate: path("hub.pem"), Key: path("hub.key"), Authorities: path("ca.pem"), CRLDir: path("crl"), WhiteList: path("list.xml"),
	}
	g, err := trust.New(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g, o
}

// start runs a server on loopback until the test ends.
func start(t testing.TB, security Security, change func(*Options)) *house {
	t.Helper()
	h := &house{stub: &stub{}, log: &journalText{}, registry: prometheus.NewRegistry()}
	h.guard, h.options = guardFor(t)
	o := Options{
		Hub: h.stub, Guard: h.guard, Domain: domain, Log: journal.New(h.log, slog.LevelDebug), Metrics: h.registry,
		Limits: Limits{Command: 10 * time.Second, Read: 10 * time.Second, Linger: 100 * time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	server, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.Server, h.addr = server, l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l, security) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		server.Shutdown(ctx) // whatever the test left open is cut
		if err := <-served; err != nil && !errors.Is(err, ErrStopped) {
			t.Errorf("serving: %v", err)
		}
		if strings.Contains(h.log.String(), marker) {
			t.Errorf("the journal holds what it must not:\n%s", h.log)
		}
	})
	return h
}

// anyPeer is the development setting, with short limits where given.
func anyPeer(limits Limits) func(*Options) {
	return func(o *Options) {
		o.AnyPeer = true
		o.Limits = limits
		if o.Limits.Linger == 0 {
			o.Limits.Linger = 100 * time.Millisecond
		}
	}
}
