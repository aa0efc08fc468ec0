package admin

import (
	"context"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/relais-sante/relais/mailbox"
)

type peerKey struct{}

// peer is who is at the other end of a connection.
type peer struct {
	actor   mailbox.Actor
	allowed bool
}

// withPeer asks the kernel whose process connected (SO_PEERCRED) and keeps the
// answer with the connection.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, identify(conn))
}

func peerOf(ctx context.Context) (mailbox.Actor, bool) {
	p, _ := ctx.Value(peerKey{}).(peer)
	return p.actor, p.allowed
}

func identify(conn net.Conn) peer {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return peer{actor: mailbox.Actor{Name: "unknown", Where: conn.RemoteAddr().String()}}
	}
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
	return unixPeer(cred.Uid, os.Geteuid())
}

// unixPeer judges a user of this machine: the hub's own, or root.
func unixPeer(uid uint32, own int) peer {
	id := strconv.FormatUint(uint64(uid), 10)
	name := "unix:" + id
	if u, err := user.LookupId(id); err == nil {
		name += "(" + u.Username + ")"
	}
	return peer{
		actor:   mailbox.Actor{Name: name, Where: "unix"},
		allowed: uid == 0 || int(uid) == own,
	}
}
