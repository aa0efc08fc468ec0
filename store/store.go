// Package store says what the hub keeps and how it is reached: typed records,
// a read view, one commit call, a leased queue with due times, sealed messages
// and traces.
//
// It is interfaces and records only. [store/bolt] is the engine that keeps all
// of it in one directory; store/storetest is the suite that every engine must
// pass; store/seal holds keys and encryption.
//
// Rules that hold for every engine:
//
//   - When Commit returns nil, everything its function put is durable, the
//     message bytes included, and was made durable as one: after a crash either
//     all of it is there or none.
//   - The function given to Commit may run more than once and together with
//     others in one durable transaction; it has no effect outside its Tx. It
//     may not sleep, dial or wait. It sees everything committed before it.
//   - The function given to View must not do anything slow: it copies out what
//     it needs and returns. Values it got stay valid afterwards.
//   - No caller may rely on there being a single writer or a single process:
//     what must not change under a decision is checked again inside Commit
//     (see [Pathway.Revision]), leases carry a fencing token.
//   - Nothing that says anything about a person is on disk in clear, in keys,
//     file names and lengths of lists included. Look-ups by INS, address,
//     Message-ID or name go through keyed hashes.
//   - Every list is one range scan in key order; nothing is found by reading
//     everything.
package store

import (
	"context"
	"io"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults that engines return, wrapped with what was being done.
const (
	// ErrNotFound: no such record.
	ErrNotFound = journal.Fault("not found")
	// ErrConflict: what a decision was built on has changed since; decide again.
	ErrConflict = journal.Fault("changed meanwhile")
	// ErrFull: no room (disk full, size limit). Temporary: space may come back,
	// and the store recovers by itself when it does.
	ErrFull = journal.Fault("store full")
	// ErrUnavailable: the store cannot write now, for another reason.
	ErrUnavailable = journal.Fault("store unavailable")
	// ErrErased: the key is gone, the bytes can never be read again.
	ErrErased = journal.Fault("erased")
	// ErrCorrupt: bytes on disk are not what was written.
	ErrCorrupt = journal.Fault("corrupt")
	// ErrNewer: the directory was written by a newer version of the program.
	ErrNewer = journal.Fault("written by a newer version")
	// ErrLeaseLost: somebody else holds the item now; what was done with the
	// old lease must not be recorded.
	ErrLeaseLost = journal.Fault("lease lost")
	// ErrClosed: the store is closed.
	ErrClosed = journal.Fault("store closed")
)

// Store keeps the hub's records and messages.
// Skipper is a reader that passes by bytes without reading what lies between.
type Skipper interface {
	// Skip passes by the next n bytes. To skip past the end is ErrCorrupt.
	Skip(n int64) error
}

type Store interface {
	// View runs fn on a consistent snapshot.
	View(ctx context.Context, fn func(View) error) error

	// Sequence names what a View that begins now may be the first to see: while
	// it stays the same, nothing was committed since. It costs nothing.
	Sequence() uint64

	// Commit runs fn and makes what it put durable. It returns fn's error
	// unchanged, in which case nothing was put.
	Commit(ctx context.Context, fn func(Tx) error) error
	// CommitSoon is Commit for what need not be durable on return: everybody
	// sees it then, it outlives the process once it returns, and it outlives the
	// machine with the next Commit or some hundredths of a second later, never
	// before what was committed earlier. It is for what may be done again after
	// a crash: a lease taken, an outcome noted. Nothing may be acknowledged to
	// anybody on its word.
	CommitSoon(ctx context.Context, fn func(Tx) error) error

	// Create starts a message: bytes written to the draft are sealed as they
	// arrive. Nothing of a draft survives unless a Commit files or holds it.
	// sizeHint is the announced size in bytes, or 0.
	Create(ctx context.Context, sizeHint int64) (Draft, error)

	// Open reads a message back, from its first byte, authenticating each
	// chunk before it is released. A fault in the middle means the bytes so
	// far must not be taken for the whole (drop the connection). What it gives
	// may be a [Skipper].
	Open(ctx context.Context, b Blob) (io.ReadCloser, error)

	// NewKey makes and stores the key that o's rows and messages are sealed
	// with; it is durable on return, before any commit may name it. Making a
	// key that exists is no error.
	NewKey(ctx context.Context, o Owner) error
	// DropKey forgets o's key: the store can no longer read what it sealed.
	// Older copies still can, until Forget.
	DropKey(ctx context.Context, o Owner) error
	// Forget erases keys: when it returns nil, nothing that they sealed can be
	// read any more, here or in any copy or backup ever made, with any key there
	// is; no look-up by identity or address that was dropped answers a guess.
	// It also ends what DropKey dropped. The number is that of the epoch that
	// begins. If a place of copies is away it returns an error that *seal.Away
	// can be got from, the keys are gone from here, and the same call goes on
	// later; so it does after a crash.
	Forget(ctx context.Context, owners []Owner) (epoch uint32, err error)

	// Mac is a keyed hash under a key of this store, for look-ups and for
	// local parts that must be stable but meaningless. use separates purposes.
	Mac(use string, parts ...string) [32]byte

	// Wake returns a channel that gets a value (at most one waiting) after a
	// commit that put queue items in lanes with prefix. Calls with the same
	// prefix share one channel. It is a hint: also poll.
	Wake(prefix string) <-chan struct{}

	// VerifyTraces reads every trace and every head and reports whatever does
	// not fit: records changed, dropped, put in, moved, swapped or cut off. Each
	// head in kept (see ReadHead) must lie on the present chain. An error means
	// that it could not be verified. It may run beside commits.
	VerifyTraces(ctx context.Context, kept ...TraceHead) (TraceReport, error)
	// TraceHead says how far the traces go now.
	TraceHead(ctx context.Context) (TraceHead, error)
	// SignHead gives the same as a signed statement to be kept elsewhere: with
	// it, even a store put back whole to an older state shows. ReadHead reads one
	// back; it fails for what this store did not sign.
	SignHead(ctx context.Context) ([]byte, error)
	ReadHead(signed []byte) (TraceHead, error)
	// HeadKey is the OpenPGP key, armoured, that others check signed heads with.
	HeadKey() ([]byte, error)
	// Watch gives c a value, if it has room for one, after a commit that changed
	// what one of the topics names: see the Topic methods. It is a hint. Call
	// stop when done.
	Watch(c chan<- struct{}, topics ...string) (stop func())

	// Stats are cheap figures for status and metrics.
	Stats(ctx context.Context) (Stats, error)

	// Close waits for running commits and closes.
	Close() error
}

// Draft is a message on its way in. Not safe for concurrent use.
type Draft interface {
	io.Writer
	// Finish ends the message: no more bytes. Large drafts are durable on
	// return; small ones become so with their commit.
	Finish() error
	// Expect says whose key the draft will probably be filed under, so that the
	// costly part of wrapping its session key is done before the commit instead
	// of inside. Leaving it out, or filing under another owner, is no error.
	Expect(o Owner) error
	// Size is the number of clear bytes written so far.
	Size() int64
	// Open reads the finished draft back from its first byte.
	Open() (io.ReadCloser, error)
	// Discard drops the draft. After a successful commit it does nothing, so
	// it is safe to defer.
	Discard()
}

// Owner names whose key seals something.
type Owner struct {
	Kind OwnerKind
	ID   string // pathway code, held id, account id…; never an identity
}

// OwnerKind is the kind of key in the keystore.
type OwnerKind string

// Kinds of owners.
const (
	OwnedByPathway OwnerKind = "pathway"
	OwnedByTriage  OwnerKind = "triage"  // one key per held message
	OwnedByBox     OwnerKind = "box"     // a citizen's box: its address is an INS
	OwnedByAccount OwnerKind = "account" // an account and its private IMAP folders
	OwnedByHub     OwnerKind = "hub"     // rows about no patient
	OwnedByTrace   OwnerKind = "trace"
)

// Blob says where a sealed message lies and how to open it. Only engines look
// inside.
type Blob struct {
	Owner   Owner  `cbor:"1,keyasint"`
	Segment string `cbor:"2,keyasint"`
	Offset  int64  `cbor:"3,keyasint"` // of the record in its segment
	Length  int64  `cbor:"4,keyasint"` // sealed bytes
	Size    int64  `cbor:"5,keyasint"` // clear bytes
	Key     []byte `cbor:"6,keyasint"` // session key wrapped to the owner's public key
	Sum     []byte `cbor:"7,keyasint"` // SHA-256 of the sealed bytes
	// Session is the session key itself: the row a Blob stands in is sealed with
	// the same owner's key, and goes with it. It spares opening Key, which is what
	// counts.
	Session []byte `cbor:"8,keyasint,omitempty"`
}

// Stats are a store's cheap figures.
type Stats struct {
	Pathways, Messages, Held      int64
	Queued, Failed                int64 // live deliveries; failed ones not yet dropped
	SegmentBytes, IndexBytes      int64
	Sequence                      uint64    // last commit
	OldestUndelivered, OldestHeld time.Time // zero: none
}

// View reads. Methods that return one record return [ErrNotFound] when there
// is none; lists are in key order, after the given key (exclusive; "" from the
// start), at most limit (0: no limit).
type View interface {
	Pathway(PathwayCode) (*Pathway, error)
	// Revision is that of the pathway, read with less ado.
	Revision(PathwayCode) (uint64, error)
	Pathways(after PathwayCode, limit int) ([]*Pathway, error)
	// PathwaysOfPatient finds by INS matricule (any OID).
	PathwaysOfPatient(ins string) ([]PathwayCode, error)
	// PathwaysOfBox lists pathways in whose team the box is or was, or which
	// have it as a declared sending address.
	PathwaysOfBox(Address) ([]PathwayCode, error)
	// PathwaysOfName finds by Patient.NameKey.
	PathwaysOfName(key string) ([]PathwayCode, error)

	Box(Address) (*Box, error)
	Boxes(after Address, limit int) ([]*Box, error) // in order of the keyed hash

	Account(AccountID) (*Account, error)
	// AccountNamed finds by Account.Username.
	AccountNamed(username string) (*Account, error)
	// AccountsOfBox lists the accounts of a box, oldest first.
	AccountsOfBox(Address) ([]*Account, error)
	// AccountOfCertificate finds by the fingerprint of a credential that is not
	// revoked.
	AccountOfCertificate(fingerprint []byte) (*Account, error)
	Accounts(after AccountID, limit int) ([]*Account, error)

	Message(PathwayCode, MessageID) (*Message, error)
	// Thread lists a pathway's messages in the order they were filed.
	Thread(code PathwayCode, after uint64, limit int) ([]*Message, error)
	// Recent lists the last messages of a pathway's thread, newest first.
	Recent(code PathwayCode, limit int) ([]*Message, error)
	// Locate finds the pathway a message belongs to.
	Locate(MessageID) (PathwayCode, error)
	// Index is the letter index stored with a message, opaque here.
	Index(PathwayCode, MessageID) ([]byte, error)
	// Indexes gives the indexes of many messages of a pathway, by their places
	// in its thread (Message.Seq), best in order; places that hold none are
	// passed over. fn gets which of seqs it is, and bytes that are valid until
	// it returns. It must not wait. An error of fn ends it and is returned as it
	// is.
	Indexes(code PathwayCode, seqs []uint64, fn func(i int, index []byte) error) error
	// MessagesByID finds messages that are, or were sent on, under an RFC 5322
	// Message-ID (without brackets), newest first, over all pathways. A copy
	// that went out under one of the message's own ids adds nothing.
	MessagesByID(id string) ([]MessageRef, error)
	// MessagesOfKey finds the messages of a pathway that have a key among
	// their Message.Keys, newest first.
	MessagesOfKey(code PathwayCode, key string, limit int) ([]MessageID, error)
	// Duplicate finds the message filed under the same fingerprint.
	Duplicate(fingerprint [32]byte) (MessageRef, error)

	// Rubric gives the mailbox state of a rubric. One that nothing was ever
	// filed in has UIDNext 1, HighestModSeq 1 and the UIDValidity it will keep.
	Rubric(PathwayCode, string) (RubricState, error)
	// Filed lists what is in a rubric in UID order, after a UID.
	Filed(code PathwayCode, rubric string, after uint32, limit int) ([]Filing, error)
	// Vanished lists tombstones with a modseq above since.
	Vanished(code PathwayCode, rubric string, since uint64) ([]Tombstone, error)
	// Updated lists the messages of a pathway that UpdateMessage wrote above a
	// modseq, each once, in order of their modseq.
	Updated(code PathwayCode, since uint64) ([]MessageID, error)
	// ModSeq is the last one given, to whatever it was.
	ModSeq() (uint64, error)
	// InboxValidity is the UIDVALIDITY of every box's INBOX.
	InboxValidity() uint32

	// Reader is what an account has in all; one that has nothing yet is empty.
	Reader(AccountID) (*Reader, error)
	// Folders lists the private folders of an account, dropped ones included.
	Folders(AccountID) ([]*Folder, error)
	Folder(AccountID, FolderID) (*Folder, error)
	// Entries lists what is in a folder in UID order, after a UID.
	Entries(a AccountID, f FolderID, after uint32, limit int) ([]Entry, error)
	Entry(AccountID, FolderID, uint32) (*Entry, error)
	// EntryChanges lists, in order of their modseq, entries changed or gone
	// above since; those that were only added are not among them.
	EntryChanges(a AccountID, f FolderID, since uint64) ([]Change, error)
	Mail(AccountID, MailID) (*Mail, error)
	// MailIndex is the encoded letter.Index of a private message.
	MailIndex(AccountID, MailID) ([]byte, error)
	// MailIndexes gives those of many private messages, as Indexes does.
	MailIndexes(a AccountID, ids []MailID, fn func(i int, index []byte) error) error
	// Marks lists what an account has set on the messages of a pathway.
	Marks(AccountID, PathwayCode) ([]ReaderMark, error)
	Mark(AccountID, MessageRef) (*ReaderMark, error)
	// MarkChanges lists marks set above a modseq, in its order, in all pathways
	// that were not erased.
	MarkChanges(a AccountID, since uint64) ([]ReaderMark, error)

	Delivery(DeliveryID) (*Delivery, error)
	// Deliveries of one message, in the order they were made.
	Deliveries(PathwayCode, MessageID) ([]*Delivery, error)
	// DeliveryList lists deliveries that are not over (queued, sending, held)
	// or have failed, in id order.
	DeliveryList(after DeliveryID, limit int) ([]*Delivery, error)
	// DeliveriesOfPathway lists the same of one pathway.
	DeliveriesOfPathway(PathwayCode) ([]*Delivery, error)

	Held(HeldID) (*Held, error)
	HeldIndex(HeldID) ([]byte, error)
	HeldList(after HeldID, limit int) ([]*Held, error)
	// HeldOfPathway lists what is held and addressed to a pathway.
	HeldOfPathway(PathwayCode) ([]*Held, error)
	// HeldDuplicate finds the held message with the same fingerprint.
	HeldDuplicate(fingerprint [32]byte) (HeldID, error)

	Item(ItemID) (*Item, error)
	// Lanes lists the lanes with prefix that have an item due at or before
	// now, the lane with the oldest item first, else by name; NextDue is the earliest due time
	// of any item in lanes with prefix (zero: none). Both cost one seek per lane.
	// A prefix is empty, a kind of lanes with its colon ("out:"), or a whole lane.
	Lanes(prefix string, now time.Time) ([]string, error)
	NextDue(prefix string) (time.Time, error)
	// Leased lists items under lease, whoever holds it.
	Leased() ([]Item, error)

	// Traces reads the application (or technical) traces in order.
	Traces(f Family, after uint64, limit int) ([]*Trace, error)
	// TracesOfPathway reads those about one pathway.
	TracesOfPathway(code PathwayCode, after uint64, limit int) ([]*Trace, error)

	// Erasure is what is kept of an erased pathway; Erasures lists them.
	Erasure(PathwayCode) (*Erasure, error)
	Erasures(after PathwayCode, limit int) ([]*Erasure, error)

	// Taken reports whether PutTaken noted a mail of that source.
	Taken(source string, digest [32]byte) (bool, error)

	// Setting reads a small sealed value of the hub's own (cursors, last-good
	// dates). Names say nothing about anybody.
	Setting(name string) ([]byte, error)
}

// Tx reads and writes. A Put of an existing key replaces the record.
type Tx interface {
	View

	// PutPathway writes p if the stored revision is still p.Revision (else
	// ErrConflict), and sets p.Revision to the new one. Look-ups by patient,
	// box and name follow.
	PutPathway(p *Pathway) error
	PutBox(b *Box) error
	// PutAccount writes a if the stored revision is still a.Revision (else
	// ErrConflict), and sets a.Revision to the new one. Username and Mailbox
	// never change. A username or a live certificate that another account has is
	// ErrConflict too. The account's key must exist.
	PutAccount(a *Account) error

	// FileMessage stores a new message of m.Pathway: takes the draft, wraps
	// its session key to the pathway's key, gives m its Seq, Blob and the UID
	// and modseq of each of m.Filings, writes the look-ups for m.KnownAs, m.Keys
	// and m.Fingerprint. d may be nil for entries without bytes (events).
	FileMessage(m *Message, index []byte, d Draft) error
	// FileHeld stores a message that was held: its sealed bytes stay where
	// they are, the session key is wrapped to the pathway's key. The held
	// record is removed; its key is to be dropped after the commit.
	FileHeld(m *Message, index []byte, h HeldID) error
	// UpdateMessage rewrites m, except for Seq and Blob, which are the engine's.
	// Both writes give a UID to each of m.Boxes that has none.
	// Filings added get a UID, filings gone a tombstone, filings whose ModSeq
	// the caller set to 0 a new modseq; new KnownAs and Keys get their look-up.
	UpdateMessage(m *Message) error

	PutDelivery(d *Delivery) error

	// Hold stores a message for a human, under the key of its own that was
	// made for OwnedByTriage/h.ID.
	Hold(h *Held, index []byte, d Draft) error
	UpdateHeld(h *Held) error
	// DropHeld removes a held message (rejected or expired).
	DropHeld(id HeldID) error

	// PutItem queues or reschedules; DropItem removes. With a non-zero
	// Item.Token both need the current lease, else ErrLeaseLost; PutItem ends
	// the lease. Dropping what is not there, without a token, is no error.
	PutItem(it Item) error
	DropItem(it Item) error
	// Claim leases up to max items of a lane due at or before now: due moves
	// to now+lease, Token grows, Owner is set. It is durable with the commit.
	Claim(lane string, now time.Time, lease time.Duration, owner string, max int) ([]Item, error)

	// PutReader writes the reader's own fields.
	PutReader(AccountID, *Reader) error
	// PutFolder writes a folder; a new one gets its counters.
	PutFolder(AccountID, *Folder) error
	// DropFolder removes an empty folder: ErrConflict if it is not.
	DropFolder(AccountID, FolderID) error
	// AddEntry puts a message into a folder and gives it UID and modseq: a new
	// private one (the draft, e.Mail named by the caller), one that is in a
	// folder already (no draft, e.Mail), or a pathway's (e.Of).
	AddEntry(a AccountID, f FolderID, e *Entry, index []byte, d Draft) error
	// UpdateEntry writes the flags of an entry and gives it a new modseq.
	UpdateEntry(a AccountID, f FolderID, e *Entry) error
	// DropEntry takes an entry away, and its private message with the last one.
	DropEntry(AccountID, FolderID, uint32) error
	// PutMark writes a mark and gives it a new modseq.
	PutMark(AccountID, *ReaderMark) error

	PutErasure(*Erasure) error
	// PurgePathway removes up to so many messages of a pathway with all that
	// belongs to them and gives back the room of large ones; with the last also
	// the pathway itself and what it is found by. Its traces stay. It reports
	// whether nothing is left; one that is not there has nothing.
	PurgePathway(code PathwayCode, most int) (done bool, err error)
	// DropBox removes a box and its accounts, whose keys are to be forgotten. One
	// that is not there is no error.
	DropBox(Address) ([]Owner, error)

	// PutTaken notes that a mail was taken from a source that may show it again
	// (an operator's box whose UIDs start anew), by the digest of its bytes. Of the
	// time the day is kept.
	PutTaken(source string, digest [32]byte, at time.Time) error

	Trace(t Trace) error
	// PurgeTraces removes the oldest traces of a family for which goes is true:
	// it stops at the first that stays, or after limit. What is left still
	// verifies: where the chain now begins is stored with its head.
	PurgeTraces(f Family, limit int, goes func(*Trace) bool) (Purged, error)
	// PurgeNotices removes deliveries about no pathway that are over and for
	// which goes is true. It looks at up to visit deliveries after one, of any
	// kind, and gives the last it looked at ("": there are no more) and how many
	// went. What belongs to a pathway goes with it alone.
	PurgeNotices(after DeliveryID, visit int, goes func(*Delivery) bool) (last DeliveryID, gone int, err error)
	// PurgeTaken removes what PutTaken noted before a day. It looks at up to visit
	// notes after one, and gives the last it looked at (nil: there are no more) and
	// how many went.
	PurgeTaken(after []byte, visit int, before time.Time) (last []byte, gone int, err error)
	PutSetting(name string, value []byte) error
}
