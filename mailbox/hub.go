// Package mailbox does: it is the life of a pathway. Who may, where a message
// goes, what everyone sees.
//
// [Hub.Intake] is the only way in for a message, whoever brings it (SMTP, the
// operator's poller, IMAP APPEND, the CLI, a coordinator's triage). The rights
// function in rights.go is the only one that says who may see a message:
// relay, IMAP, thread, export and search ask it. Nothing here knows a protocol
// or a file.
//
// Rules that hold in this package:
//
//   - What is decided before a commit is decided on records whose revision is
//     checked again inside it; on store.ErrConflict the decision is made anew.
//   - Functions given to store.Commit do nothing but read and put.
//   - A [Refusal] is for the sender, a fault for the operator of the hub; an
//     error that is not a Refusal is temporary at every edge.
//   - Every change and every access leaves a trace in the same commit.
package mailbox

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relais-sante/relais/mailbox/directory"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// Options are what a hub is made of.
type Options struct {
	Store      store.Store
	Programmes func() *rules.Set // current set; replaced as a whole on reload
	Domain     string            // the hub's own mail domain
	Locale     texts.Locale      // of what the hub writes to people
	Dev        bool              // test OIDs count as real, desk may be missing
	NIL        string            // X-MSS-NIL of every mail
	MaxMessage int64             // bytes
	// CitizenMax bounds, in bytes, what is sent to a box of Mon espace santé; a
	// larger copy goes as its text. 0: no bound.
	CitizenMax int64
	Triage     TriageTimes
	Retry      RetryTimes
	Retention  RetentionTimes
	// Boxes are those the hub has at operators. With Client everything leaves
	// from them: the hub has no domain of its own in the trusted space.
	Boxes  []OperatorBox
	Client bool
	// Listed reports whether a domain is in the trusted space (white list).
	Listed func(domain string) bool
	// MissingHeader counts copies that leave without a national header they
	// should bear (nil, ins, codecda); nil: nobody counts.
	MissingHeader func(header string)
	// XDM are the codes that no document says, for archives that are written.
	XDM letter.XDMCodes
	// Directory is the national one; nil: there is none.
	Directory *directory.Directory
	// Scanner looks for harmful content before a message is taken; nil: none.
	Scanner Scanner
	// Login says how accounts log in.
	Login LoginOptions
	// Quota bounds the private folders of each account.
	Quota Quota
	// Reading and Archives bound what is looked into of a mail; zero: defaults.
	Reading  letter.Limits
	Archives letter.ArchiveLimits
	Log      *slog.Logger
	Now      func() time.Time // default time.Now
	Rand     io.Reader        // default crypto/rand
	// Instance names this process in leases.
	Instance string
	// Keys are those of Store; nil: they cannot be looked at or changed.
	Keys *seal.Keys
}

// Quota is in bytes and messages; zero is no limit. The other fields have
// defaults.
type Quota struct {
	Size, Messages int64
	Folders        int // default 1000
	Subscriptions  int // names subscribed to, and the hub's folders done without; default 2000
	Copied         int // messages copied or moved at once, all or none; default 5000
}

func (q Quota) withDefaults() Quota {
	for _, f := range []struct {
		limit     *int
		otherwise int
	}{{&q.Folders, 1000}, {&q.Subscriptions, 2000}, {&q.Copied, 5000}} {
		if *f.limit <= 0 {
			*f.limit = f.otherwise
		}
	}
	return q
}

// TriageTimes say when held mail is announced again and given up.
type TriageTimes struct {
	Alert, UrgentAlert, GiveUp time.Duration
}

// RetryTimes say when a copy is tried again: after the n-th failed attempt
// wait Steps[n-1] (the last one repeats) with jitter, until GiveUp.
type RetryTimes struct {
	Steps  []time.Duration
	GiveUp time.Duration
}

// Hub is the do floor: all operations on pathways and their mail.
type Hub struct {
	o       Options
	store   store.Store
	log     *slog.Logger
	ids     idSource
	agesDue atomic.Bool // a birthday is to be looked at now
	agesAt  time.Time   // when they last were; the timers' own
	erasing sync.Mutex  // one erasure at a time: each begins an epoch

	logins   *logins
	sessions sessions
	shelves  shelves
	desks    desks
	slabs    slabs
	openings openings
	rush     *rush
}

// New returns a hub over o.Store.
func New(o Options) *Hub {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	if o.Locale == "" {
		o.Locale = "fr"
	}
	o.Quota = o.Quota.withDefaults()
	return &Hub{o: o, store: o.Store, log: o.Log, ids: idSource{rand: o.Rand}, logins: newLogins(o.Login), rush: newRush()}
}

// idSource makes the ids of records: ULIDs in lower case, in order of time.
type idSource struct {
	mu   sync.Mutex
	rand io.Reader
}

// programme returns the programme of a pathway as loaded now.
func (h *Hub) programme(id string) (*rules.Programme, error) {
	if p := h.o.Programmes().ByID(id); p != nil {
		return p, nil
	}
	return nil, ErrNoProgramme
}

// ErrNoProgramme: a pathway's programme file is not loaded (any more).
const ErrNoProgramme = journal.Fault("programme not loaded")

// view and commit shorten the two ways to the store.
func (h *Hub) view(ctx context.Context, fn func(store.View) error) error {
	return h.store.View(ctx, fn)
}

func (h *Hub) commit(ctx context.Context, fn func(store.Tx) error) error {
	return h.store.Commit(ctx, fn)
}

// commitSoon is for what may be done again after a crash, and tells nobody
// anything: see [store.Store].
func (h *Hub) commitSoon(ctx context.Context, fn func(store.Tx) error) error {
	return h.store.CommitSoon(ctx, fn)
}
