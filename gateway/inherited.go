package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/relais-sante/relais/store/journal"
)

// Sockets that systemd opened and passes on (sd_listen_fds(3)): so the hub
// listens on ports below 1024 without a privilege, and a restart refuses
// nobody. They are told apart by their address: a `listen` of the
// configuration takes the socket bound to the same one.

// firstInherited is the number of the first socket (SD_LISTEN_FDS_START).
const firstInherited = 3

// maxInherited bounds what the environment may say.
const maxInherited = 64

// errInherited: LISTEN_FDS is no number of sockets.
const errInherited = journal.Fault("LISTEN_FDS is not a number of sockets")

// inherited are the sockets passed on and not taken yet.
type inherited []net.Listener

// inherit takes over the sockets passed to this process, once: no child of the
// hub inherits them again.
func inherit() (inherited, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) || count == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxInherited {
		return nil, errInherited
	}
	var all inherited
	for fd := firstInherited; fd < firstInherited+n; fd++ {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		l, err := net.FileListener(f) // has a descriptor of its own
		f.Close()
		if err != nil {
			all.close()
			return nil, fmt.Errorf("socket %d: %w", fd, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// listen gives the socket of an address: the one passed on for it, else a new
// one.
func (in *inherited) listen(address string) (net.Listener, error) {
	for i, l := range *in {
		if sameSocket(l.Addr().String(), address) {
			*in = append((*in)[:i:i], (*in)[i+1:]...)
			return l, nil
		}
	}
	return net.Listen("tcp", address)
}

// sameSocket reports whether a bound address is the one configured. No host,
// 0.0.0.0 and [::] are all "everywhere".
func sameSocket(bound, configured string) bool {
	has, err := netip.ParseAddrPort(bound)
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(configured)
	if err != nil || strconv.Itoa(int(has.Port())) != port || port == "0" {
		return false
	}
	if host == "" {
		return has.Addr().IsUnspecified()
	}
	wants, err := netip.ParseAddr(host)
	if err != nil { // a name
		return false
	}
	return has.Addr().Unmap() == wants.Unmap() || has.Addr().IsUnspecified() && wants.IsUnspecified()
}

func (in *inherited) close() {
	for _, l := range *in {
		l.Close()
	}
	*in = nil
}
