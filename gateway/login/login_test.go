package login

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
)

// desk is a hub that knows one account and says what it was asked.
type desk struct{ asked []mailbox.Login }

func (d *desk) Authenticate(_ context.Context, l mailbox.Login) (*mailbox.Account, error) {
	d.asked = append(d.asked, l)
	switch {
	case l.Secret == "right" || l.By == mailbox.ByCertificate && l.Certificate != nil:
		return &mailbox.Account{Username: l.Username}, nil
	case l.Secret == "away":
		return nil, mailbox.ErrProvider
	}
	return nil, mailbox.ErrLogin
}

func chainOf(t testing.TB, c tls.Certificate) []*x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return []*x509.Certificate{leaf}
}

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4242}

// guardAnd makes a guard and a certificate that it trusts.
func guardAnd(t testing.TB, r trust.Request) (*trust.Guard, tls.Certificate) {
	t.Helper()
	dir := t.TempDir()
	authority, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := authority.Issue(trust.Request{Name: "CN=hub.test,C=FR", Hosts: []string{"hub.test"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{authority.Save(dir), trust.SavePair(dir, "hub", hub)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	guard, err := trust.New(trust.Options{
		Certificate: filepath.Join(dir, "hub.pem"), Key: filepath.Join(dir, "hub.key"), Authorities: filepath.Join(dir, trust.DevCA),
		AnyOperator: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return guard, cert
}

func open(t testing.TB) (*Door, *desk) {
	guard, cert := guardAnd(t, trust.Request{Name: "CN=roux,C=FR", Mailboxes: []string{"Roux@chu.test"}})
	hub := &desk{}
	cs := &tls.ConnectionState{PeerCertificates: chainOf(t, cert)}
	return NewDoor(Options{
		Hub: hub, Guard: guard, Via: mailbox.ViaIMAP, Tokens: true, PasswordFrom: netip.Addr.IsLoopback,
	}, cs, loopback), hub
}

// Each dialogue is what the client says in turn; "-" stands for no initial
// response.
func TestMechanisms(t *testing.T) {
	for _, c := range []struct {
		mechanism string
		says      []string
		want      string // username asked for; empty: nothing was asked
		fault     Fault
	}{
		{"PLAIN", []string{"\x00roux@chu.test\x00right"}, "roux@chu.test", ""},
		{"PLAIN", []string{"-", "\x00roux@chu.test\x00right"}, "roux@chu.test", ""},
		{"PLAIN", []string{"roux@chu.test\x00roux@chu.test\x00right"}, "roux@chu.test", ""},
		{"PLAIN", []string{"moreau@chu.test\x00roux@chu.test\x00right"}, "", Malformed},
		{"PLAIN", []string{"\x00roux@chu.test\x00wrong"}, "roux@chu.test", Failed},
		{"PLAIN", []string{"\x00roux@chu.test"}, "", Malformed},
		{"PLAIN", []string{"\x00roux@chu.test\x00right\x00"}, "", Malformed},
		{"PLAIN", []string{"\x00\xff\x00right"}, "", Malformed},
		{"PLAIN", []string{"\x00" + strings.Repeat("x", MaxResponse) + "\x00right"}, "", Malformed},
		{"LOGIN", []string{"-", "roux@chu.test", "right"}, "roux@chu.test", ""},
		{"LOGIN", []string{"roux@chu.test", "right"}, "roux@chu.test", ""},
		{"LOGIN", []string{"-", "roux@chu.test", "wrong"}, "roux@chu.test", Failed},
		{"LOGIN", []string{"-", "roux\x00@chu.test"}, "", Malformed},
		{"EXTERNAL", []string{"-", ""}, "", ""},
		{"EXTERNAL", []string{"roux@chu.test"}, "roux@chu.test", ""},
		{"EXTERNAL", []string{"a\x00b"}, "", Malformed},
		{"OAUTHBEARER", []string{"n,a=roux@chu.test,\x01host=h\x01port=143\x01auth=Bearer right\x01\x01"}, "roux@chu.test", ""},
		{"OAUTHBEARER", []string{"-", "n,a=roux@chu.test,\x01auth=bearer right\x01\x01"}, "roux@chu.test", ""},
		{"OAUTHBEARER", []string{"n,a=ro=2Cux@chu.test,\x01auth=Bearer right\x01\x01"}, "ro,ux@chu.test", ""},
		{"OAUTHBEARER", []string{"n,a=roux@chu.test,\x01auth=Bearer wrong\x01\x01", "\x01"}, "roux@chu.test", Failed},
		{"OAUTHBEARER", []string{"n,a=roux@chu.test,\x01auth=Bearer away\x01\x01", "\x01"}, "roux@chu.test", Unavailable},
		{"OAUTHBEARER", []string{"n,a=roux@chu.test,\x01auth=Bearer right\x01"}, "", Malformed},
		{"OAUTHBEARER", []string{"n,a=roux@chu.test,\x01auth=Basic right\x01\x01"}, "", Malformed},
		{"OAUTHBEARER", []string{"n,a=roux@chu.test,\x01auth=Bearer right\x01auth=Bearer right\x01\x01"}, "", Malformed},
		{"OAUTHBEARER", []string{"p=tls-unique,a=roux@chu.test,\x01auth=Bearer right\x01\x01"}, "", Malformed},
		{"OAUTHBEARER", []string{"n,roux@chu.test,\x01auth=Bearer right\x01\x01"}, "", Malformed},
		{"XOAUTH2", []string{"user=roux@chu.test\x01auth=Bearer right\x01\x01"}, "roux@chu.test", ""},
		{"XOAUTH2", []string{"user=roux@chu.test\x01auth=Bearer wrong\x01\x01", ""}, "roux@chu.test", Failed},
		{"XOAUTH2", []string{"roux@chu.test\x01auth=Bearer right\x01\x01"}, "", Malformed},
		{"XOAUTH2", []string{"user=roux@chu.test\x01\x01"}, "", Malformed},
	} {
		t.Run(fmt.Sprintf("%s %.40q", c.mechanism, c.says), func(t *testing.T) {
			door, hub := open(t)
			var entered *mailbox.Account
			m, err := door.Begin(t.Context(), c.mechanism, func(a *mailbox.Account) { entered = a })
			if err != nil {
				t.Fatal(err)
			}
			var done bool
			for i, say := range c.says {
				response := []byte(say)
				if say == "-" {
					response = nil
				}
				if _, done, err = m.Next(response); done != (i == len(c.says)-1) {
					t.Fatalf("after %d responses: done %v, %v", i+1, done, err)
				}
			}
			if c.fault == "" && (err != nil || entered == nil) || c.fault != "" && (entered != nil || FaultOf(err) != c.fault) {
				t.Errorf("entered %+v, %v (%s), want fault %q", entered, err, FaultOf(err), c.fault)
			}
			if asked := len(hub.asked) > 0; asked != (c.fault != Malformed) || asked && hub.asked[0].Username != c.want {
				t.Errorf("asked %+v", hub.asked)
			}
			for _, l := range hub.asked {
				if l.Where != netip.MustParseAddr("127.0.0.1") || l.Via != mailbox.ViaIMAP || l.Certificate == nil ||
					len(l.Certificate.Mailboxes) != 1 || l.Certificate.Mailboxes[0] != "roux@chu.test" {
					t.Errorf("asked %+v, certificate %+v", l, l.Certificate)
				}
			}
		})
	}
}

func TestOffered(t *testing.T) {
	guard, cert := guardAnd(t, trust.Request{Name: "CN=roux,C=FR", Mailboxes: []string{"roux@chu.test"}})
	_, stranger := guardAnd(t, trust.Request{Name: "CN=roux,C=FR", Mailboxes: []string{"roux@chu.test"}})
	passwords := func(netip.Addr) bool { return true }
	for _, c := range []struct {
		name string
		o    Options
		cs   *tls.ConnectionState
		want string
	}{
		{"in clear", Options{PasswordFrom: passwords, Tokens: true}, nil, ""},
		{"nothing configured", Options{}, &tls.ConnectionState{}, ""},
		{"passwords", Options{PasswordFrom: passwords}, &tls.ConnectionState{}, "PLAIN LOGIN"},
		{"not from there", Options{PasswordFrom: func(a netip.Addr) bool { return !a.IsLoopback() }}, &tls.ConnectionState{}, ""},
		{"tokens", Options{Tokens: true}, &tls.ConnectionState{}, "OAUTHBEARER XOAUTH2"},
		{"certificate", Options{}, &tls.ConnectionState{PeerCertificates: chainOf(t, cert)}, "EXTERNAL"},
		{"certificate of nobody we trust", Options{}, &tls.ConnectionState{PeerCertificates: chainOf(t, stranger)}, ""},
	} {
		c.o.Guard, c.o.Hub = guard, &desk{}
		door := NewDoor(c.o, c.cs, loopback)
		if got := strings.Join(door.Mechanisms(), " "); got != c.want {
			t.Errorf("%s: offered %q, want %q", c.name, got, c.want)
		}
		for _, m := range []string{"PLAIN", "LOGIN", "EXTERNAL", "OAUTHBEARER", "XOAUTH2", "ANONYMOUS", ""} {
			_, err := door.Begin(t.Context(), m, nil)
			if offered := slices.Contains(strings.Fields(c.want), m); (err == nil) != offered || err != nil && !errors.Is(err, ErrMechanism) {
				t.Errorf("%s: %s began with %v", c.name, m, err)
			}
		}
		if _, err := door.Enter(t.Context(), "roux@chu.test", "right"); (err == nil) != strings.Contains(c.want, "PLAIN") {
			t.Errorf("%s: IMAP's LOGIN gave %v", c.name, err)
		}
	}
}

// FuzzMechanisms: whatever a client says, there is no panic, and nobody enters
// who did not say the secret.
func FuzzMechanisms(f *testing.F) {
	for i, seed := range []string{
		"\x00roux@chu.test\x00right", "roux@chu.test", "n,a=x,\x01auth=Bearer right\x01\x01", "user=x\x01auth=Bearer right\x01\x01", "", "\x01",
	} {
		f.Add(uint8(i), []byte(seed), []byte("right"))
	}
	f.Add(uint8(3), []byte("user=\x01auth=Bearer \x01\x01"), []byte{})
	door, hub := open(f)
	f.Fuzz(func(t *testing.T, which uint8, first, second []byte) {
		names := door.Mechanisms()
		name := names[int(which)%len(names)]
		hub.asked = nil
		entered := false
		m, err := door.Begin(t.Context(), name, func(*mailbox.Account) { entered = true })
		if err != nil {
			t.Fatal(err)
		}
		for _, response := range [][]byte{first, second} {
			if _, done, err := m.Next(response); done || err != nil {
				break
			}
		}
		said := strings.Contains(string(first)+string(second), "right")
		if entered && name != "EXTERNAL" && !said || len(hub.asked) > 1 {
			t.Errorf("%s: entered %v, asked %d times", name, entered, len(hub.asked))
		}
	})
}
