package mailbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/relais-sante/relais/store"
)

// Sessions of accounts. Revoking ends what was opened with the account, or with
// the one password, at once; a credential that expires ends its sessions too.

// sessions are the open ones, by account.
type sessions struct {
	mu   sync.Mutex
	open map[store.AccountID]map[*session]struct{}
}

type session struct {
	credential string
	gone       chan struct{}
	once       sync.Once
	timer      *time.Timer // ends it with its credential
}

func (s *session) end() { s.once.Do(func() { close(s.gone) }) }

// end ends the sessions of an account; with a credential, only those opened
// with it.
func (s *sessions) end(id store.AccountID, credential string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open[id] {
		if credential == "" || one.credential == credential {
			one.end()
		}
	}
}

// reads tells whether an account has a session open.
func (s *sessions) reads(id store.AccountID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open[id]) > 0
}

// AccountGone gives a channel that is closed as soon as the account, or the
// credential it logged in with, may be used no longer; it may be so already. A
// server ends the session then. Call stop when the session is over.
func (h *Hub) AccountGone(ctx context.Context, a *Account) (gone <-chan struct{}, stop func(), err error) {
	one := &session{credential: a.Credential, gone: make(chan struct{})}
	s := &h.sessions
	s.mu.Lock()
	if s.open == nil {
		s.open = map[store.AccountID]map[*session]struct{}{}
	}
	if s.open[a.ID] == nil {
		s.open[a.ID] = map[*session]struct{}{}
	}
	s.open[a.ID][one] = struct{}{}
	s.mu.Unlock()
	stop = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if one.timer != nil {
			one.timer.Stop()
		}
		delete(s.open[a.ID], one)
		if len(s.open[a.ID]) == 0 {
			delete(s.open, a.ID)
		}
	}
	// Only now, so that no revocation falls between the two.
	until, alive, err := h.aliveUntil(ctx, a)
	if err != nil {
		stop()
		return nil, nil, err
	}
	switch {
	case !alive:
		one.end()
	case !until.IsZero():
		s.mu.Lock()
		one.timer = time.AfterFunc(until.Sub(h.o.Now()), one.end)
		s.mu.Unlock()
	}
	return one.gone, stop, nil
}

// AccountAlive reports whether what an account logged in with may still be used.
func (h *Hub) AccountAlive(ctx context.Context, a *Account) (bool, error) {
	_, alive, err := h.aliveUntil(ctx, a)
	return alive, err
}

// aliveUntil says until when what an account logged in with may be used; a zero
// time is for ever.
func (h *Hub) aliveUntil(ctx context.Context, a *Account) (until time.Time, alive bool, err error) {
	err = h.view(ctx, func(v store.View) error {
		rec, err := v.Account(a.ID)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading account %s: %w", a.ID, err)
		}
		until, alive = a.Until, rec.Revoked.IsZero() && (a.Until.IsZero() || h.o.Now().Before(a.Until))
		if a.Credential == "" {
			return nil
		}
		c := credential(rec, a.Credential)
		if c == nil || !c.AliveAt(h.o.Now()) {
			alive = false
			return nil
		}
		if !c.Expires.IsZero() {
			until = c.Expires
		}
		return nil
	})
	return until, alive, err
}

// credential finds a credential of an account that was not revoked.
func credential(a *store.Account, id string) *store.Credential {
	for i := range a.Credentials {
		if c := &a.Credentials[i]; c.ID == id && c.Revoked.IsZero() {
			return c
		}
	}
	return nil
}

// Sessions counts the open sessions of accounts.
func (h *Hub) Sessions() int {
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	n := 0
	for _, open := range h.sessions.open {
		n += len(open)
	}
	return n
}
