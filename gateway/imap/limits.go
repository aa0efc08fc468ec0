package imap

import "time"

// Limits bound what clients may take of the hub. Zero fields get the default.
type Limits struct {
	Connections        int   // at once; default 10,000
	ConnectionsPerPeer int   // at once from one address (IPv6: one /64); default 200
	ConnectionsPerUser int   // at once of one account; default 50
	LoginAttempts      int   // on one connection, before it is closed; default 5
	CommandsBefore     int   // commands in a minute before login; default 60
	Errors             int   // BAD replies on one connection; default 50
	CommandBytes       int   // one command without message literals; default 64 KiB
	MessageBytes       int64 // one message of APPEND; default 25 MiB
	AppendMessages     int   // messages of one APPEND; default 1000
	SetRanges          int   // ranges in one set of numbers; default 10,000
	SearchKeys         int   // keys in one SEARCH; default 500
	SearchDepth        int   // nesting of keys; default 20
	SearchBytes        int64 // content opened by one SEARCH; default 1 GiB
	Contexts           int   // searches kept up to date on one connection; default 16
	ListPatterns       int   // patterns of one LIST; default 50

	Handshake time.Duration // whole TLS handshake; default 30 s
	Login     time.Duration // from the greeting to a login; default 2 min
	Idle      time.Duration // waiting for a command; default 30 min (RFC 9051 §5.4)
	Command   time.Duration // for the rest of a command that began; default 2 min
	Write     time.Duration // for a buffer of answers (64 KiB) to be taken; default 1 min
	// MinRate is the least bytes per second of a literal, averaged from its
	// start, once Slow has passed; defaults 1 KiB/s and 1 min.
	MinRate int64
	Slow    time.Duration
	Message time.Duration // for a whole literal; default 30 min
	Push    time.Duration // least time between two looks at folders for NOTIFY and IDLE; default 100 ms
}

// Not settings: nobody needs other values.
const (
	restBuffer   = 512      // read by a connection that waits
	readBuffer   = 16 << 10 // of one that does not
	writeBuffer  = 64 << 10
	fullBuffer   = writeBuffer - 1<<10 // rows of flags: one more fits nearly always
	shortLiteral = 4096                // a literal that LITERAL- lets a client send without being asked (RFC 7888 §5)
)

func (l Limits) withDefaults() Limits {
	whole := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	large := func(n *int64, otherwise int64) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	while := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	whole(&l.Connections, 10_000)
	whole(&l.ConnectionsPerPeer, 200)
	whole(&l.ConnectionsPerUser, 50)
	whole(&l.LoginAttempts, 5)
	whole(&l.CommandsBefore, 60)
	whole(&l.Errors, 50)
	whole(&l.CommandBytes, 64<<10)
	large(&l.MessageBytes, 25<<20)
	whole(&l.AppendMessages, 1000)
	whole(&l.SetRanges, 10_000)
	whole(&l.SearchKeys, 500)
	whole(&l.SearchDepth, 20)
	large(&l.SearchBytes, 1<<30)
	whole(&l.Contexts, 16)
	whole(&l.ListPatterns, 50)
	while(&l.Handshake, 30*time.Second)
	while(&l.Login, 2*time.Minute)
	while(&l.Idle, 30*time.Minute)
	while(&l.Command, 2*time.Minute)
	while(&l.Write, time.Minute)
	large(&l.MinRate, 1<<10)
	while(&l.Slow, time.Minute)
	while(&l.Message, 30*time.Minute)
	while(&l.Push, 100*time.Millisecond)
	return l
}

// drain is how much of a literal that is refused is read and thrown away. A
// client that announced more is cut off.
func (l Limits) drain() int64 { return 2 * l.MessageBytes }
