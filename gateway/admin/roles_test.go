package admin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Every verb says who may ask for it: a verb without a line in the table is
// root's alone, and whoever adds one must say so by taking it out of here.
func TestEveryVerbNeedsARole(t *testing.T) {
	for verb := range routes {
		roles, ok := needs[verb]
		if !ok || len(roles) == 0 {
			t.Errorf("%s: add it to the table needs in roles.go", verb)
		}
		for _, r := range roles {
			if !slices.Contains([]Role{Coordinator, Auditor, Operator}, r) {
				t.Errorf("%s: no role %q", verb, r)
			}
		}
		// Who runs the hub opens no message and no patient's file.
		health := strings.HasPrefix(verb, "/v1/message/") || strings.HasPrefix(verb, "/v1/thread/") || strings.HasPrefix(verb, "/v1/triage/") ||
			strings.HasPrefix(verb, "/v1/consent/") || strings.HasPrefix(verb, "/v1/team/")
		if health && !slices.Equal(roles, []Role{Coordinator}) {
			t.Errorf("%s: roles %v", verb, roles)
		}
	}
	for verb := range needs {
		if routes[verb] == nil {
			t.Errorf("%s is in the table and no verb", verb)
		}
	}
}

func TestPermit(t *testing.T) {
	pon := Grant{Role: Coordinator, Programmes: []string{"pon"}}
	nutripac := Grant{Role: Coordinator, Programmes: []string{"nutripac"}}
	everywhere := Grant{Role: Coordinator}
	auditor, operator := Grant{Role: Auditor}, Grant{Role: Operator}
	for _, c := range []struct {
		name       string
		p          peer
		verb       string
		allowed    bool
		programmes []string // nil: all
	}{
		{"root", peer{all: true}, "/v1/message/raw", true, nil},
		{"root, a verb not in the table", peer{all: true}, "/v1/new/verb", true, nil},
		{"nobody", peer{}, "/v1/hub/status", false, []string{}},
		{"coordinator", peer{grants: []Grant{pon}}, "/v1/message/raw", true, []string{"pon"}},
		{"coordinator of two", peer{grants: []Grant{pon, nutripac}}, "/v1/triage/list", true, []string{"pon", "nutripac"}},
		{"coordinator of all", peer{grants: []Grant{pon, everywhere}}, "/v1/triage/list", true, nil},
		{"coordinator, a verb not in the table", peer{grants: []Grant{everywhere}}, "/v1/new/verb", false, []string{}},
		{"coordinator, for the operator", peer{grants: []Grant{everywhere}}, "/v1/directory/import", false, []string{}},
		{"operator", peer{grants: []Grant{operator}}, "/v1/queue/list", true, nil},
		{"operator, a message", peer{grants: []Grant{operator}}, "/v1/message/show", false, []string{}},
		{"operator who coordinates, a message", peer{grants: []Grant{operator, pon}}, "/v1/message/show", true, []string{"pon"}},
		{"operator who coordinates, the queue", peer{grants: []Grant{operator, pon}}, "/v1/queue/list", true, nil},
		{"auditor, a message", peer{grants: []Grant{auditor}}, "/v1/message/show", false, []string{}},
		{"auditor", peer{grants: []Grant{auditor}}, "/v1/hub/status", true, nil},
	} {
		c.p.actor = mailbox.Actor{Name: "who", Where: "there"}
		a, allowed := c.p.permit(c.verb)
		want := mailbox.Actor{Name: "who", Where: "there", Programmes: c.programmes}
		if d := cmp.Diff(want, a); allowed != c.allowed || d != "" {
			t.Errorf("%s: allowed %v; actor (-want +got):\n%s", c.name, allowed, d)
		}
	}
}

// remote is a hub reached over mutual TLS, and what its callers need.
type remote struct {
	hub  *echo
	url  string
	path func(string) string
}

// startRemote runs a server over TLS where the certificate "paul" coordinates
// pon, and "roger" (by fingerprint) runs the hub; "eve" is granted nothing, and
// "mallory" is of another authority.
func startRemote(t *testing.T) *remote {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	authority, err := trust.NewDevAuthority(nil)
	must(err)
	must(authority.Save(dir))
	stranger, err := trust.NewDevAuthority(nil)
	must(err)
	certs := map[string]tls.Certificate{}
	for name, a := range map[string]*trust.DevAuthority{"hub": authority, "paul": authority, "roger": authority, "eve": authority, "mallory": stranger} {
		certs[name], err = a.Issue(trust.Request{Name: "CN=" + name + ",O=CHU,C=FR", Hosts: []string{"localhost", "127.0.0.1"}})
		must(err)
		must(trust.SavePair(dir, name, certs[name]))
	}
	guard, err := trust.New(trust.Options{
		Certificate: path("hub.pem"), Key: path("hub.key"), Authorities: path(trust.DevCA), AnyOperator: true,
	}, nil)
	must(err)
	paul, err := trust.ParseName("C=FR, O=chu, CN=paul")
	must(err)
	r := &remote{hub: &echo{}, path: path}
	server := NewServer(Options{
		Hub: r.hub, Guard: guard, Log: journal.Discard(),
		Grants: []Grant{
			{Role: Coordinator, Programmes: []string{"pon"}, Certificate: paul},
			{Role: Operator, Fingerprint: sha256.Sum256(certs["roger"].Certificate[0])},
			{Role: Operator, UID: uint32(os.Geteuid())}, // of the socket: no certificate has it
		},
		Status: StatusFunc(func(context.Context) (Status, error) { return Status{}, nil }),
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	r.url = "https://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, tls.NewListener(l, guard.ServerConfig())) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return r
}

func (r *remote) as(t *testing.T, name string) *Client {
	t.Helper()
	c, err := NewRemoteClient(Remote{URL: r.url, Cert: r.path(name + ".pem"), Key: r.path(name + ".key"), Authority: r.path(trust.DevCA)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func codeOf(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func TestRemote(t *testing.T) {
	r := startRemote(t)
	for _, c := range []struct {
		name    string
		do      func(*Client) error
		code    string // of the error; empty: done
		actor   string
		refused bool // traced
	}{
		{"paul", func(c *Client) error { _, err := c.Pathway(t.Context(), mailbox.Actor{}, "x"); return err }, "", "cert:CN=paul,O=CHU,C=FR", false},
		{"paul", func(c *Client) error {
			_, err := c.ImportDirectory(t.Context(), mailbox.Actor{}, mailbox.DirectoryImport{}, strings.NewReader("x"))
			return err
		}, "not-your-role", "", true},
		{"roger", func(c *Client) error { _, err := c.Status(t.Context()); return err }, "", "", false},
		{"roger", func(c *Client) error { _, err := c.Message(t.Context(), mailbox.Actor{}, "x"); return err }, "not-your-role", "", true},
		{"roger", func(c *Client) error {
			_, err := c.Queue(t.Context(), mailbox.Actor{}, mailbox.QueueFilter{})
			return err
		}, "", "cert:CN=roger,O=CHU,C=FR", false},
		{"eve", func(c *Client) error { _, err := c.Status(t.Context()); return err }, "not-allowed", "", false},
		{"mallory", func(c *Client) error { _, err := c.Status(t.Context()); return err }, "not-allowed", "", false},
	} {
		before := len(r.hub.refused)
		if err := c.do(r.as(t, c.name)); codeOf(err) != c.code || c.code == "" && err != nil {
			t.Errorf("%s: got %v, want %q", c.name, err, c.code)
		}
		if traced := len(r.hub.refused) > before; traced != c.refused {
			t.Errorf("%s: traced %v, want %v", c.name, traced, c.refused)
		}
		if c.actor != "" && (r.hub.actor.Name != c.actor || !strings.HasPrefix(r.hub.actor.Where, "127.0.0.1:")) {
			t.Errorf("%s is %+v", c.name, r.hub.actor)
		}
		if c.name == "paul" && c.code == "" && !slices.Equal(r.hub.actor.Programmes, []string{"pon"}) {
			t.Errorf("paul's programmes are %v", r.hub.actor.Programmes)
		}
	}
	// What belongs to another programme is refused by the hub, and traced.
	r.hub.err = &mailbox.Failure{Code: mailbox.OutsideProgrammes}
	before := len(r.hub.refused)
	if _, err := r.as(t, "paul").Pathway(t.Context(), mailbox.Actor{}, "x"); codeOf(err) != mailbox.OutsideProgrammes || len(r.hub.refused) != before+1 {
		t.Errorf("another programme: %v, traces %v", err, r.hub.refused)
	}
}

func TestRemoteClient(t *testing.T) {
	r := startRemote(t)
	good := Remote{URL: r.url, Cert: r.path("paul.pem"), Key: r.path("paul.key"), Authority: r.path(trust.DevCA)}
	for name, change := range map[string]struct {
		to   func(*Remote)
		code string
	}{
		"in clear":            {func(r *Remote) { r.URL = strings.Replace(r.URL, "https", "http", 1) }, "bad-url"},
		"no host":             {func(r *Remote) { r.URL = "https://" }, "bad-url"},
		"a path":              {func(r *Remote) { r.URL += "/v1" }, "bad-url"},
		"another's key":       {func(o *Remote) { o.Key = r.path("eve.key") }, "bad-certificate"},
		"authority of no PEM": {func(o *Remote) { o.Authority = r.path("paul.key") }, "bad-certificate"},
		"another authority":   {func(o *Remote) { o.Authority = r.path("mallory.pem") }, "hub-not-trusted"},
		"the system's":        {func(o *Remote) { o.Authority = "" }, "hub-not-trusted"},
	} {
		o := good
		change.to(&o)
		c, err := NewRemoteClient(o)
		if err == nil {
			_, err = c.Status(t.Context())
			c.Close()
		}
		if codeOf(err) != change.code {
			t.Errorf("%s: got %v, want %s", name, err, change.code)
		}
	}
	if _, err := NewRemoteClient(Remote{URL: r.url, Cert: r.path("nobody.pem"), Key: r.path("paul.key")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

// A user of this machine has what is granted to that user and no more.
func TestUnixGrants(t *testing.T) {
	s := &Server{o: Options{Grants: []Grant{{Role: Auditor, UID: 4242}, {Role: Coordinator, Fingerprint: [32]byte{1}}}}}
	if p := s.unixPeer(4242, 1000); p.all || len(p.grants) != 1 || p.grants[0].Role != Auditor {
		t.Errorf("the user granted: %+v", p)
	}
	// A grant by certificate has no user: not even number 0.
	if p := s.unixPeer(1001, 1000); p.all || len(p.grants) != 0 {
		t.Errorf("another user: %+v", p)
	}
	s.SetGrants([]Grant{{Role: Operator, UID: 1001}})
	if p := s.unixPeer(4242, 1000); len(p.grants) != 0 {
		t.Errorf("a user whose grant was taken away: %+v", p)
	}
	if p := s.unixPeer(1001, 1000); len(p.grants) != 1 || p.grants[0].Role != Operator {
		t.Errorf("a user who was granted something since: %+v", p)
	}
}
