package gateway

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"golang.org/x/net/netutil"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/inbound"
)

// listeners are the sockets of the hub, bound before anything is served.
type listeners struct {
	inbound    []mailListener
	submission []mailListener
	imap       []mailListener
	admin      net.Listener
	remote     []net.Listener // administration over TLS, which begins above
	metrics    []mailListener // HTTP, like the next
	autoconfig []mailListener
	inherited  inherited
}

// mailListener is a socket and how TLS begins on it. Where HTTP is spoken there
// is no STARTTLS: it stands for none.
type mailListener struct {
	net.Listener
	security inbound.Security
}

func (l *listeners) bind(c *configs.Config) (err error) {
	if l.inherited, err = inherit(); err != nil {
		return fmt.Errorf("taking over sockets: %w", err)
	}
	for _, s := range []struct {
		what   string
		listen configs.Listens
		to     *[]mailListener
	}{
		{"mail", c.Inbound.Listen, &l.inbound},
		{"submission", c.Submission.Listen, &l.submission},
		{"imap", c.IMAP.Listen, &l.imap},
		{"metrics", c.Metrics.Listen, &l.metrics},
		{"client settings", c.Autoconfig.Listen, &l.autoconfig},
	} {
		for _, e := range s.listen {
			socket, err := l.inherited.listen(e.Address)
			if err != nil {
				return fmt.Errorf("listening for %s: %w", s.what, err)
			}
			security := inbound.StartTLS
			if e.Mode == configs.ImplicitTLS {
				security = inbound.ImplicitTLS
			}
			*s.to = append(*s.to, mailListener{socket, security})
		}
	}
	for _, e := range c.Admin.Listen {
		s, err := l.inherited.listen(e.Address)
		if err != nil {
			return fmt.Errorf("listening for administration: %w", err)
		}
		l.remote = append(l.remote, netutil.LimitListener(s, maxRemote))
	}
	shared := slices.ContainsFunc(c.Administrators, func(a configs.Administrator) bool { return a.User != "" })
	if l.admin, err = admin.Listen(AdminSocket(c), shared); err != nil {
		return fmt.Errorf("opening the admin socket: %w", err)
	}
	return nil
}

// maxRemote bounds the connections of a listener for administration.
const maxRemote = 128

// AdminSocket is the path of the admin socket.
func AdminSocket(c *configs.Config) string {
	if c.Admin.Socket != "" {
		return string(c.Admin.Socket)
	}
	return filepath.Join(string(c.DataDir), "admin.sock")
}

func (l *listeners) close() {
	for _, s := range slices.Concat(l.inbound, l.submission, l.imap, l.metrics, l.autoconfig) {
		s.Close()
	}
	l.inherited.close()
	for _, s := range l.remote {
		s.Close()
	}
	if l.admin != nil {
		l.admin.Close()
	}
}

// mailBound is bound for sockets for mail.
func mailBound(ls []mailListener) []string {
	all := []string{}
	for _, l := range ls {
		all = append(all, l.Addr().String())
	}
	return all
}

// bound lists where listeners are, as an empty list and never as none.
func bound(ls ...net.Listener) []string {
	all := []string{}
	for _, l := range ls {
		if l != nil {
			all = append(all, l.Addr().String())
		}
	}
	return all
}
