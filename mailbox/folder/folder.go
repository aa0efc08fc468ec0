// Package folder says what the structured mailbox looks like to somebody who
// reads it: folders, the table of what is in them, the messages as shown.
//
// It is interfaces and records only, in the terms that IMAP and the pathways
// share (UID, modseq, flags), and knows no syntax: gateway/imap speaks it,
// mailbox implements it over the store.
//
// Rules that hold for every implementation:
//
//   - What the reader may not see is not there: not in a list, a count, an
//     error text or the difference between two errors. [ErrNone] is said of
//     what does not exist and of what may not be seen alike.
//   - A UID is never given twice under one UIDValidity, and what becomes
//     visible later than it was filed gets a new one or a new UIDValidity:
//     a client that asks for what lies above the last UID it knows misses
//     nothing (RFC 9051 §2.3.1.1).
//   - A [Table] never changes. A newer one is got with Sync, with what is
//     different. Many sessions share one.
//   - Every change that the table shows has a modseq above all before it
//     (RFC 7162 §3.1).
//   - When a call that changes something returns nil, the change is durable.
//   - What was read is traced; the trace is durable when Settle returns.
package folder

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store/journal"
)

// Faults that implementations return, wrapped with what was being done.
const (
	// ErrNone: no such folder, or not for this reader.
	ErrNone = journal.Fault("no such folder")
	// ErrExists: a folder of that name is there already.
	ErrExists = journal.Fault("folder exists")
	// ErrName: a folder cannot have that name.
	ErrName = journal.Fault("not a folder's name")
	// ErrNotEmpty: the folder has folders below it that would lose their place.
	ErrNotEmpty = journal.Fault("folder has folders below it")
	// ErrFixed: the folder is the hub's own; it cannot be made, renamed or
	// deleted, nor can other folders be made in it.
	ErrFixed = journal.Fault("folder belongs to the hub")
	// ErrDenied: the reader sees it but may not do that ([NOPERM]).
	ErrDenied = journal.Fault("not allowed")
	// ErrElsewhere: it belongs to another pathway ([CANNOT]).
	ErrElsewhere = journal.Fault("belongs to another pathway")
	// ErrReadOnly: the folder was opened to be read only.
	ErrReadOnly = journal.Fault("opened read-only")
	// ErrQuota: no room left for this account ([OVERQUOTA]).
	ErrQuota = journal.Fault("over quota")
	// ErrTooBig: one message is larger than the hub takes ([TOOBIG]).
	ErrTooBig = journal.Fault("message too large")
	// ErrLimit: too many folders, flags or messages in one go ([LIMIT]).
	ErrLimit = journal.Fault("limit reached")
	// ErrGone: the message is no longer there, or no longer for this reader
	// ([EXPUNGEISSUED]).
	ErrGone = journal.Fault("message is gone")
)

// Delimiter stands between a folder's name and that of the one it is in.
const Delimiter = '/'

// Inbox is the name of the folder every reader has (RFC 9051 §5.1).
const Inbox = "INBOX"

// Use is the special use of a folder (RFC 6154).
type Use string

// Special uses.
const (
	NoUse   Use = ""
	Drafts  Use = "drafts"
	Sent    Use = "sent"
	Trash   Use = "trash"
	Junk    Use = "junk"
	Archive Use = "archive"
)

// Info is a folder in a list.
type Info struct {
	Name       string // in UTF-8, levels split by Delimiter
	ID         string // stays over a rename (RFC 8474 §4)
	Use        Use
	Subscribed bool
	// Missing: a name that is subscribed, or only holds folders, and is no
	// folder itself (\NonExistent, \NoSelect).
	Missing bool
	// Fixed: the hub's own, see ErrFixed (\Noinferiors for a rubric).
	Fixed bool
}

// State is what is said of a folder without its messages.
type State struct {
	ID            string // as in Info
	UIDValidity   uint32
	UIDNext       uint32
	HighestModSeq uint64
	Messages      int
	Unseen        int
	Deleted       int
	Size          int64 // bytes as shown, all messages

	// LastUID and LastModSeq are the highest of the messages shown. UIDNext and
	// HighestModSeq also rise with what the reader may not see: whether there is
	// news must not hang on them.
	LastUID    uint32
	LastModSeq uint64
}

// User is a reader: an account that has logged in, for one session. Not safe
// for concurrent use, Gone apart.
type User interface {
	// Name is the account's, as it logs in.
	Name() string
	// Gone is closed when the account is revoked: sessions end at once.
	Gone() <-chan struct{}

	// List gives every folder in order of the bytes of its name, subscribed names without a
	// folder included.
	List(ctx context.Context) ([]Info, error)
	Stat(ctx context.Context, name string) (State, error)
	Open(ctx context.Context, name string, readOnly bool) (Folder, error)

	Create(ctx context.Context, name string, use Use) error
	Delete(ctx context.Context, name string) error
	Rename(ctx context.Context, from, to string) error
	Subscribe(ctx context.Context, name string, on bool) error

	// Append begins to put messages into a folder, all or none of them.
	Append(ctx context.Context, name string) (Append, error)

	// Quota gives what the private folders use and may use.
	Quota(ctx context.Context) (Quota, error)
	// Rights lists who may do what with a folder, the reader first.
	Rights(ctx context.Context, name string) ([]Right, error)
	// Wake returns a channel that gets a value when folders may have come or
	// gone, or any folder changed. It is a hint. Call stop when done.
	Wake() (c <-chan struct{}, stop func())
	// Close ends the session that this was opened for.
	Close() error
}

// Quota is in bytes and messages; a zero Limit is none (RFC 9208).
type Quota struct {
	Size, SizeLimit         int64
	Messages, MessagesLimit int64
}

// Right says what somebody may do with a folder (RFC 4314 §2.1: l, r, s, w,
// i, t, e, …). Who is the name of a role or of an account.
type Right struct {
	Who  string
	Mine bool // the reader's own
	May  string
}

// Append takes messages. Not safe for concurrent use.
type Append interface {
	// Message reads one message of size bytes from r, to its end; size is -1
	// where it is not known before. An error of r is returned, and the message
	// is none.
	Message(size int64, flags Flags, received time.Time, r io.Reader) error
	// Commit puts them all; it gives the folder's UIDValidity and the UIDs.
	// A message that was posted and is not (or not yet) seen in that folder,
	// because it waits for a human, has UID 0.
	Commit(ctx context.Context) (validity uint32, uids []uint32, err error)
	// Abort forgets them. After Commit it does nothing.
	Abort()
}

// Folder is an open folder. Not safe for concurrent use, Wake apart.
type Folder interface {
	Name() string
	ID() string
	ReadOnly() bool
	// Keeps: new keywords may be set here (\*). False where only the flags of
	// the system are kept.
	Keeps() bool

	// Sync gives the table as it is now, and what is different from one got
	// before; without one (nil) nothing is said to be different, since it would be
	// all of the folder. It returns from itself if nothing is.
	// ErrNone: the folder is no longer there for this reader.
	Sync(ctx context.Context, from *Table) (*Table, Delta, error)
	// Wake returns a channel that gets a value (at most one waiting) when the
	// table may have changed. It is a hint; the channel is the folder's own.
	Wake() <-chan struct{}

	// SetFlags changes flags. Rows with a modseq above unchangedSince (if
	// given) are left, and their UIDs returned in modified (RFC 7162 §3.1.3).
	// Rows are as changed; of what was already so too. UIDs that are not there
	// are passed over.
	SetFlags(ctx context.Context, uids []uint32, how FlagChange, flags Flags, unchangedSince *uint64) (rows []Row, modified []uint32, err error)
	// Expunge takes away those of the messages that are flagged Deleted.
	// What is the pathway's is hidden from this reader only.
	Expunge(ctx context.Context, uids []uint32) error
	// Copy and Move give the UIDs in the folder of that name, one for one, 0
	// where a message is gone. Either all or none.
	Copy(ctx context.Context, uids []uint32, to string) (Copied, error)
	Move(ctx context.Context, uids []uint32, to string) (Copied, error)

	// Each gives the index of messages, as deep as is asked for, in the order of
	// uids; those that are gone are passed over. fn must not keep m, nor wait:
	// the floor below may hold a snapshot meanwhile. An error of fn ends it and
	// is returned as it is. It is traced as a read of the header.
	Each(ctx context.Context, uids []uint32, depth Depth, fn func(uid uint32, m *Shown) error) error
	// Look gives the index, and if that is Whole the content, of many messages,
	// to be searched; fn says of each whether it is found. fn is called from
	// several goroutines at once, in no order; it must not keep m, nor c, which is
	// opened when it is first read, nor wait where c is nil. Messages that are gone
	// are passed over. The first error of fn ends it and is returned as it is. It
	// is traced as a search: how many were looked through, and which were found.
	// Nothing of a message but whether it is found may reach the client by it.
	Look(ctx context.Context, uids []uint32, depth Depth, fn func(uid uint32, m *Shown, c Content) (found bool, err error)) error
	// Content opens a message as shown; close it. It is traced as a read.
	Content(ctx context.Context, uid uint32) (Content, error)
	// Settle makes the traces of what was read since the last call durable: one
	// call for a command, before its tagged OK.
	Settle(ctx context.Context) error

	Close() error
}

// Depth is how much of an index is asked for.
type Depth uint8

// Depths.
const (
	// Envelope: of Shown.Index only Size, and at least the Fields that are
	// [InEnvelope]; their Start and End, and how their names are written, are
	// not said. It costs least.
	Envelope Depth = iota
	// Fields: of Shown.Index only Size and Fields, which cost little.
	Fields
	// Whole: all of it.
	Whole
)

// EnvelopeFields are the header fields that an ENVELOPE is made of
// (RFC 9051 §7.5.2), at most 255.
var EnvelopeFields = [...]string{"Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"}

// InEnvelope reports whether a header field of that name is one of
// [EnvelopeFields].
func InEnvelope(name string) bool { return EnvelopeField(name) >= 0 }

// EnvelopeField gives the place of a name among [EnvelopeFields]; -1: it is none.
func EnvelopeField(name string) int {
	for i, f := range EnvelopeFields {
		if len(f) == len(name) && strings.EqualFold(f, name) {
			return i
		}
	}
	return -1
}

// Copied says where messages went.
type Copied struct {
	UIDValidity uint32
	UIDs        []uint32
}

// Shown is what is known of a message without opening it, all of it as shown:
// offsets, sizes and fields are those of the bytes that Content gives.
type Shown struct {
	Index *letter.Index
	// EmailID and ThreadID (RFC 8474 §5): the same bytes have the same EmailID.
	EmailID, ThreadID string
	Saved             time.Time // when it came into the folder (RFC 8514)
	// ID and References place the message in the hub's conversation, as this
	// reader's box knows it (RFC 5256 THREAD); without brackets, root first.
	ID         string
	References []string
}

// Content is a message as shown. Reads are authenticated before they are
// given; on a fault the connection must be dropped, since a part of a literal
// cannot be taken back.
type Content interface {
	Size() int64
	// Read copies n bytes from off to w.
	Copy(w io.Writer, off, n int64) error
	Close() error
}
