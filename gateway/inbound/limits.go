package inbound

import "time"

// Limits bound what peers may take of the hub. Zero fields get the default.
type Limits struct {
	MessageBytes       int64 // one message, decoded; default 25 MiB
	LineBytes          int   // one line of a message without CRLF; default 64 KiB
	Connections        int   // at once; default 1000
	ConnectionsPerPeer int   // at once from one address (IPv6: one /64); default 50
	// MessagesPerMinute is counted per peer (certificate, else address) and
	// per envelope sender. 0 means no limit.
	MessagesPerMinute int
	Recipients        int // of one message; default 100 (RFC 5321 §4.5.3.1.8)
	Errors            int // negative replies on one connection; default 20
	Commands          int // between two messages; default 300

	Handshake time.Duration // whole TLS handshake; default 30 s
	Command   time.Duration // waiting for one whole command line; default 5 min (RFC 5321 §4.5.3.2.7)
	Read      time.Duration // waiting for more of a message; default 3 min (§4.5.3.2.5)
	Write     time.Duration // writing replies; default 1 min
	Message   time.Duration // whole message; default 30 min
	// MinRate is the least bytes per second of a message, averaged from its
	// start, once Slow has passed; defaults 1 KiB/s and 1 min.
	MinRate int64
	Slow    time.Duration
	// Linger is how long a connection is still read from, and what is read
	// thrown away, so that the refusal gets through to a peer that is still
	// sending; default 5 s.
	Linger time.Duration
}

// Not settings: nobody needs other values.
const (
	maxCommandLine = 2048      // RFC 5321 §4.5.3.1.4 plus what extensions add
	maxAuthLine    = 12288 + 2 // RFC 4954 §4, §5
	commandBuffer  = 4 << 10   // of a connection at rest
	messageBuffer  = 64 << 10  // while a message is read
	minDrain       = 64 << 10  // of a refused message, read and thrown away
)

func (l Limits) withDefaults() Limits {
	whole := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	while := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	if l.MessageBytes <= 0 {
		l.MessageBytes = 25 << 20
	}
	if l.MinRate <= 0 {
		l.MinRate = 1 << 10
	}
	whole(&l.LineBytes, 64<<10)
	whole(&l.Connections, 1000)
	whole(&l.ConnectionsPerPeer, 50)
	whole(&l.Recipients, 100)
	whole(&l.Errors, 20)
	whole(&l.Commands, 300)
	while(&l.Handshake, 30*time.Second)
	while(&l.Command, 5*time.Minute)
	while(&l.Read, 3*time.Minute)
	while(&l.Write, time.Minute)
	while(&l.Message, 30*time.Minute)
	while(&l.Slow, time.Minute)
	while(&l.Linger, 5*time.Second)
	return l
}

// drain is how much of a refused message is read and thrown away, so that a
// peer that sends first and reads then gets its answer.
func (l Limits) drain() int64 { return max(l.MessageBytes, minDrain) }
