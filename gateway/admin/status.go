package admin

import (
	"context"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// StatusSource tells how the daemon is; whoever assembles it supplies one.
type StatusSource interface {
	Status(context.Context) (Status, error)
}

// StatusFunc is a function that is a [StatusSource].
type StatusFunc func(context.Context) (Status, error)

// Status calls f.
func (f StatusFunc) Status(ctx context.Context) (Status, error) { return f(ctx) }

// Status is the health of a hub. Times that are nil: there is no such thing.
type Status struct {
	Ready     bool      `json:"ready"`
	Version   string    `json:"version"`
	Domain    string    `json:"domain"`
	Started   time.Time `json:"started"`
	Listeners Listeners `json:"listeners"`
	Queue     Queue     `json:"queue"`
	// Held is how many messages wait in triage.
	Held              int64         `json:"held"`
	OldestUndelivered *time.Time    `json:"oldest_undelivered"`
	OldestHeld        *time.Time    `json:"oldest_held"`
	Certificates      []Certificate `json:"certificates"`
	WhiteList         WhiteList     `json:"white_list"`
	Antivirus         Antivirus     `json:"antivirus"`
	Accounts          Accounts      `json:"accounts"`
	Operators         []OperatorBox `json:"operators"`
	Directory         Directory     `json:"directory"`
	Store             Store         `json:"store"`
	// Retention: the oldest traces kept, what was purged last.
	Retention mailbox.RetentionView `json:"retention"`
	// Warnings are conditions somebody should look into, in the hub's language.
	Warnings []string `json:"warnings"`
}

// Listeners are the addresses the hub accepts connections on, as bound.
type Listeners struct {
	Inbound    []string `json:"inbound"`
	Submission []string `json:"submission"`
	IMAP       []string `json:"imap"`
	Admin      []string `json:"admin"`
	Metrics    []string `json:"metrics"`
	Autoconfig []string `json:"autoconfig"`
}

// Queue counts deliveries: those under way, and those given up and not dropped.
type Queue struct {
	Queued int64 `json:"queued"`
	Failed int64 `json:"failed"`
}

// Certificate is one the hub presents, or trusts.
type Certificate struct {
	Use      string    `json:"use"` // server, client, operator, authority
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
}

// WhiteList is the list of the trusted space. Active is false where none is
// used (development).
type WhiteList struct {
	Active   bool       `json:"active"`
	Domains  int        `json:"domains"`
	Issued   *time.Time `json:"issued"` // by the list's own date
	Loaded   *time.Time `json:"loaded"`
	AgeHours int64      `json:"age_hours"`
}

// Antivirus tells whether messages are scanned, and whether they can be now.
type Antivirus struct {
	Active    bool `json:"active"`
	Reachable bool `json:"reachable"`
}

// OperatorBox is a box that the hub reads at an operator.
type OperatorBox struct {
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"` // connected, or not
	// LastTaken, Taken and Aside (what could not be taken) are since the hub's
	// start; Waiting is what it has seen in the box and not taken yet.
	LastTaken *time.Time `json:"last_taken"`
	Taken     int64      `json:"taken"`
	Aside     int64      `json:"aside"`
	Waiting   int        `json:"waiting"`
	// Fault is the class of the last one; it may be over. Empty: none yet.
	Fault   string     `json:"fault"`
	FaultAt *time.Time `json:"fault_at"`
	// Trouble is why nothing can be sent from it (client mode), in the words of
	// the queue; empty: none known.
	Trouble      string     `json:"trouble"`
	TroubleSince *time.Time `json:"trouble_since"`
}

// Accounts counts sessions that are open, and accounts that must wait after
// failed logins.
type Accounts struct {
	Sessions int `json:"sessions"`
	Slowed   int `json:"slowed"`
}

// Directory is the national one. Imported is nil if there is none.
type Directory struct {
	Boxes    int64      `json:"boxes"`
	Issued   *time.Time `json:"issued"` // by the name of the extract
	Imported *time.Time `json:"imported"`
}

// Store is what the store holds.
type Store struct {
	Pathways     int64 `json:"pathways"`
	Messages     int64 `json:"messages"`
	SegmentBytes int64 `json:"segment_bytes"`
	IndexBytes   int64 `json:"index_bytes"`
}
