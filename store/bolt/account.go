package bolt

import (
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// Account implements [store.View].
func (v *view) Account(id store.AccountID) (*store.Account, error) {
	a := new(store.Account)
	if err := v.get(bucketAccounts, []byte(id), id.Owner(), a); err != nil {
		return nil, fmt.Errorf("reading account %s: %w", id, err)
	}
	return a, nil
}

// AccountNamed implements [store.View].
func (v *view) AccountNamed(username string) (*store.Account, error) {
	return v.accountAt(v.lookup("username", username))
}

// AccountOfCertificate implements [store.View].
func (v *view) AccountOfCertificate(fingerprint []byte) (*store.Account, error) {
	return v.accountAt(v.lookup("certificate", string(fingerprint)))
}

// accountAt follows a look-up.
func (v *view) accountAt(key []byte) (*store.Account, error) {
	row := v.bucket(bucketLogins).Get(key)
	if len(row) < 1 {
		return nil, fmt.Errorf("looking up an account: %w", store.ErrNotFound)
	}
	return v.Account(store.AccountID(row[1:]))
}

// AccountsOfBox implements [store.View].
func (v *view) AccountsOfBox(box store.Address) ([]*store.Account, error) {
	prefix := v.lookup("account of box", string(box))
	var out []*store.Account
	c := v.bucket(bucketLogins).Cursor()
	for k, _ := c.Seek(prefix); hasPrefix(k, prefix); k, _ = c.Next() {
		a, err := v.Account(store.AccountID(k[len(prefix):]))
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing the accounts of a box: %w", err)
		}
		out = append(out, a)
	}
	return out, nil
}

// Accounts implements [store.View].
func (v *view) Accounts(from store.AccountID, limit int) ([]*store.Account, error) {
	var out []*store.Account
	c := v.bucket(bucketAccounts).Cursor()
	k, _ := c.First()
	if from != "" {
		k, _ = c.Seek(after([]byte(from), nil))
	}
	for ; k != nil && (limit <= 0 || len(out) < limit); k, _ = c.Next() {
		a, err := v.Account(store.AccountID(k))
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing accounts: %w", err)
		}
		out = append(out, a)
	}
	return out, nil
}

// PutAccount implements [store.Tx].
func (t *tx) PutAccount(a *store.Account) error {
	if err := t.putAccount(a); err != nil {
		return fmt.Errorf("writing account %s: %w", a.ID, err)
	}
	return nil
}

func (t *tx) putAccount(a *store.Account) error {
	old, err := t.Account(a.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		old = &store.Account{}
	case err != nil:
		return err
	case old.Username != a.Username || old.Mailbox != a.Mailbox:
		return store.ErrConflict
	}
	if old.Revision != a.Revision {
		return store.ErrConflict
	}
	revision := a.Revision
	t.restore = append(t.restore, func() { a.Revision = revision })
	a.Revision++
	t.touched(a.ID.Topic())
	if err := t.put(bucketAccounts, []byte(a.ID), a.ID.Owner(), a); err != nil {
		return err
	}
	if err := t.claimLogin(t.lookup("username", a.Username), a.ID); err != nil {
		return err
	}
	if err := t.putRaw(bucketLogins, joined(t.lookup("account of box", string(a.Mailbox)), []byte(a.ID)), []byte{clearVersion}); err != nil {
		return err
	}
	for i := range old.Credentials {
		if c := &old.Credentials[i]; c.Fingerprint != nil && c.Revoked.IsZero() {
			if err := t.drop(bucketLogins, t.lookup("certificate", string(c.Fingerprint))); err != nil {
				return err
			}
		}
	}
	for i := range a.Credentials {
		if c := &a.Credentials[i]; c.Fingerprint != nil && c.Revoked.IsZero() {
			if err := t.claimLogin(t.lookup("certificate", string(c.Fingerprint)), a.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// claimLogin makes a look-up lead to an account, unless it leads to another.
func (t *tx) claimLogin(key []byte, id store.AccountID) error {
	row := t.bucket(bucketLogins).Get(key)
	if len(row) > 0 && store.AccountID(row[1:]) != id {
		return store.ErrConflict
	}
	if row != nil {
		return nil
	}
	return t.putRaw(bucketLogins, key, append([]byte{clearVersion}, id...))
}
