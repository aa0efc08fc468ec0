package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

type peerKey struct{}

// peer is who is at the other end of a connection.
type peer struct {
	actor   mailbox.Actor
	all     bool // root, or the hub's own user
	grants  []Grant
	unknown journal.Word // why nothing is granted
}

// withPeer asks the kernel whose process connected (SO_PEERCRED) and keeps the
// answer with the connection. Over TLS the handshake is still to come: see
// call.peer.
func (s *Server) withPeer(ctx context.Context, conn net.Conn) context.Context {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, s.ofSocket(u))
}

// peer is who asks. A certificate is judged for each request: it may have been
// revoked since the last.
func (c *call) peer() peer {
	if c.r.TLS != nil {
		return c.ofTLS()
	}
	p, _ := c.r.Context().Value(peerKey{}).(peer)
	if p.actor.Name == "" {
		p.actor.Name = "unknown"
	}
	return p
}

func (s *Server) ofSocket(u *net.UnixConn) peer {
	raw, err := u.SyscallConn()
	if err != nil {
		return peer{}
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return peer{}
	}
	return s.unixPeer(cred.Uid, os.Geteuid())
}

// unixPeer judges a user of this machine: the hub's own and root may do
// everything, others what they are granted.
func (s *Server) unixPeer(uid uint32, own int) peer {
	id := strconv.FormatUint(uint64(uid), 10)
	p := peer{actor: mailbox.Actor{Name: "unix:" + id, Where: "unix"}, all: uid == 0 || int(uid) == own, unknown: "user"}
	if u, err := user.LookupId(id); err == nil {
		p.actor.Name += "(" + u.Username + ")"
	}
	for _, g := range s.granted() {
		if !g.byCertificate() && g.UID == uid {
			p.grants = append(p.grants, g)
		}
	}
	return p
}

// ofTLS judges a client certificate.
func (c *call) ofTLS() peer {
	p := peer{actor: mailbox.Actor{Name: "unknown", Where: c.r.RemoteAddr}, unknown: "certificate"}
	if c.o.Guard == nil {
		return p
	}
	identity, err := c.o.Guard.Client(*c.r.TLS)
	if err != nil {
		var distrust *trust.Distrust
		if errors.As(err, &distrust) {
			p.unknown = journal.Word(distrust.Reason)
		}
		return p
	}
	p.actor.Name = "cert:" + identity.Name.String()
	print := sha256.Sum256(c.r.TLS.PeerCertificates[0].Raw)
	for _, g := range c.granted() {
		if g.byCertificate() && (g.Certificate.Equal(identity.Name) || g.Fingerprint == print) {
			p.grants = append(p.grants, g)
		}
	}
	return p
}
