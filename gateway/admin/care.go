package admin

import (
	"context"
	"io"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/backup"
)

// Caretaker does what is about the store as a whole, not about pathways.
type Caretaker interface {
	Begin(ctx context.Context, by mailbox.Actor) (*backup.Snapshot, error)
	Read(ctx context.Context, snapshot, name string, offset, length int64) (io.ReadCloser, error)
	Digest(ctx context.Context, snapshot, name string, length int64) ([]byte, error)
	Sign(ctx context.Context, snapshot string, digest []byte) ([]byte, error)
	End(ctx context.Context, by mailbox.Actor, snapshot string, done backup.Outcome) error
	// Verify begins a verification (id empty), or tells how far one is: it takes
	// longer than a request may.
	Verify(ctx context.Context, by mailbox.Actor, id string) (Verifying, error)
}

// Verifying is a verification under way; Result is nil until it is over.
type Verifying struct {
	ID     string              `json:"id"`
	Done   int64               `json:"done"`
	Total  int64               `json:"total"`
	Result *store.Verification `json:"result,omitempty"`
}

// Requests of the verbs of a backup.
type (
	piece struct {
		Snapshot string `json:"snapshot"`
		Name     string `json:"name"`
		Offset   int64  `json:"offset,omitempty"`
		Length   int64  `json:"length"`
	}
	signing struct {
		Snapshot string `json:"snapshot"`
		Digest   []byte `json:"digest"`
	}
	ending struct {
		Snapshot string         `json:"snapshot"`
		Outcome  backup.Outcome `json:"outcome"`
	}
	sum struct {
		Sum []byte `json:"sum"`
	}
)

// caring hands a request to the caretaker.
func caring[Q, A any](do func(Caretaker, context.Context, mailbox.Actor, Q) (A, error)) handler {
	return func(c *call) error {
		return verb(func(_ Operations, ctx context.Context, a mailbox.Actor, q Q) (A, error) {
			return do(c.o.Care, ctx, a, q)
		})(c)
	}
}

func begin(k Caretaker, ctx context.Context, a mailbox.Actor, _ none) (*backup.Snapshot, error) {
	return k.Begin(ctx, a)
}

func readPiece(c *call) error {
	return download("application/octet-stream", func(_ Operations, ctx context.Context, _ mailbox.Actor, q piece) (io.ReadCloser, error) {
		return c.o.Care.Read(ctx, q.Snapshot, q.Name, q.Offset, q.Length)
	})(c)
}

func digest(k Caretaker, ctx context.Context, _ mailbox.Actor, q piece) (sum, error) {
	b, err := k.Digest(ctx, q.Snapshot, q.Name, q.Length)
	return sum{b}, err
}

func sign(k Caretaker, ctx context.Context, _ mailbox.Actor, q signing) (sum, error) {
	b, err := k.Sign(ctx, q.Snapshot, q.Digest)
	return sum{b}, err
}

func end(k Caretaker, ctx context.Context, a mailbox.Actor, q ending) (none, error) {
	return none{}, k.End(ctx, a, q.Snapshot, q.Outcome)
}

func verify(k Caretaker, ctx context.Context, a mailbox.Actor, q idRef) (Verifying, error) {
	return k.Verify(ctx, a, q.ID)
}

// Backup gives the hub as a source of backups.
func (c *Client) Backup() backup.Source { return &source{c} }

type source struct{ c *Client }

func (s *source) Begin(ctx context.Context) (*backup.Snapshot, error) {
	return ask[*backup.Snapshot](ctx, s.c, "backup/begin", none{})
}

func (s *source) Read(ctx context.Context, snapshot, name string, offset, length int64) (io.ReadCloser, error) {
	return fetch(ctx, s.c, "backup/read", piece{snapshot, name, offset, length})
}

func (s *source) Digest(ctx context.Context, snapshot, name string, length int64) ([]byte, error) {
	a, err := ask[sum](ctx, s.c, "backup/digest", piece{Snapshot: snapshot, Name: name, Length: length})
	return a.Sum, err
}

func (s *source) Sign(ctx context.Context, snapshot string, digest []byte) ([]byte, error) {
	a, err := ask[sum](ctx, s.c, "backup/sign", signing{snapshot, digest})
	return a.Sum, err
}

func (s *source) End(ctx context.Context, snapshot string, done backup.Outcome) error {
	_, err := ask[none](ctx, s.c, "backup/end", ending{snapshot, done})
	return err
}

// Verify begins a verification of everything the hub keeps, or asks after it.
func (c *Client) Verify(ctx context.Context, id string) (Verifying, error) {
	return ask[Verifying](ctx, c, "hub/verify", idRef{id})
}
