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
	return v.accountAt("username", username)
}

// AccountOfCertificate implements [store.View].
func (v *view) AccountOfCertificate(fingerprint []byte) (*store.Account, error) {
	return v.accountAt("certificate", string(fingerprint))
}

// accountAt follows a look-up.
func (v *view) accountAt(use, what string) (*store.Account, error) {
	id, err := v.foundRow(use, what)
	if err == nil && id == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("looking up an account: %w", err)
	}
	return v.Account(store.AccountID(id))
}

// AccountsOfBox implements [store.View].
func (v *view) AccountsOfBox(box store.Address) ([]*store.Account, error) {
	bucket, prefix, err := v.found("account of box", string(box))
	if err != nil {
		return nil, fmt.Errorf("listing the accounts of a box: %w", err)
	}
	var out []*store.Account
	c := bucket.Cursor()
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
	is := accountFinds(a)
	for i := range is {
		if is[i].value == nil {
			continue
		}
		id, err := t.foundRow(is[i].use, is[i].what)
		if err != nil {
			return err
		}
		if id != nil && store.AccountID(id) != a.ID {
			return store.ErrConflict
		}
	}
	return t.moveFinds(accountFinds(old), is)
}

// accountFinds are the look-ups that lead to an account: those that lead to one
// only have a value.
func accountFinds(a *store.Account) []find {
	if a.ID == "" {
		return nil
	}
	id := []byte(a.ID)
	list := []find{
		{use: "username", what: a.Username, value: id},
		{use: "account of box", what: string(a.Mailbox), suffix: id},
	}
	for i := range a.Credentials {
		if c := &a.Credentials[i]; c.Fingerprint != nil && c.Revoked.IsZero() {
			list = append(list, find{use: "certificate", what: string(c.Fingerprint), value: id})
		}
	}
	return list
}

func (v *view) findsOfAccount(key, row []byte) ([]find, error) {
	a := new(store.Account)
	if err := v.open(bucketAccounts, key, store.AccountID(key).Owner(), row, a); err != nil {
		return nil, err
	}
	return accountFinds(a), nil
}
