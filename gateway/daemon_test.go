package gateway

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/relais-sante/relais/gateway/imap"
	"github.com/relais-sante/relais/gateway/inbound"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/store/journal"
)

// A hub told to stop right after it said it was ready stops in order, though its
// mail listeners had not come to serve.
func TestToldToStopBeforeServing(t *testing.T) {
	dir := t.TempDir()
	dev, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := dev.Issue(trust.Request{Name: "CN=hub.test,C=FR", Hosts: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dev.Save(dir), trust.SavePair(dir, "hub", pair)); err != nil {
		t.Fatal(err)
	}
	guard, err := trust.New(trust.Options{
		Certificate: filepath.Join(dir, "hub.pem"), Key: filepath.Join(dir, "hub.key"),
		Authorities: filepath.Join(dir, trust.DevCA), AnyOperator: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mail, err := inbound.New(inbound.Options{Guard: guard, Domain: "hub.test", AnyPeer: true})
	if err != nil {
		t.Fatal(err)
	}
	readers, err := imap.New(imap.Options{TLS: guard.ServerConfig()})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{log: journal.Discard()}
	for name, room := range map[string]struct {
		shutdown func(context.Context) error
		serve    func(net.Listener) error
	}{
		"inbound": {mail.Shutdown, func(l net.Listener) error { return mail.Serve(l, inbound.StartTLS) }},
		"imap":    {readers.Shutdown, func(l net.Listener) error { return readers.Serve(l, imap.StartTLS) }},
	} {
		if err := room.shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.served("room", room.serve(l)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: its listener is still open: %v", name, err)
		}
	}
	if err := d.served("room", errors.New("a fault")); err == nil {
		t.Error("a fault is no error")
	}
}
