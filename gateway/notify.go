package gateway

import (
	"net"
	"os"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// States that a service manager is told of (sd_notify(3)).
const (
	managerReady    = "READY=1"
	managerStopping = "STOPPING=1"
)

// tellManager tells systemd, if it started the hub and wants to know, what the
// hub has come to. Nobody else is told, and failing to is no fault of the hub.
func (d *daemon) tellManager(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = conn.Write([]byte(state))
	}
	if err != nil {
		d.log.Warn("the service manager could not be told", "state", journal.Word(state), "error", err)
	}
}
