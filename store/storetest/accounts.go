package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/relais-sante/relais/store"
)

// account makes the key and the record of an account.
func (b *bench) account(id store.AccountID, username string, box store.Address, prints ...string) *store.Account {
	b.Helper()
	b.key(id.Owner())
	a := &store.Account{ID: id, Username: username, Mailbox: box, Created: noon}
	for i, p := range prints {
		a.Credentials = append(a.Credentials, store.Credential{
			ID: string(rune('a' + i)), Kind: store.CredentialCertificate, Created: noon, Fingerprint: []byte(p),
		})
	}
	b.commit(func(t store.Tx) error { return t.PutAccount(a) })
	return a
}

func accounts(t *testing.T, b *bench) {
	missing(b, store.ErrNotFound, func(v store.View) (*store.Account, error) { return v.Account("01a") })
	missing(b, store.ErrNotFound, func(v store.View) (*store.Account, error) { return v.AccountNamed("anne@chu.example") })
	// Without its key an account cannot be written.
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.PutAccount(&store.Account{ID: "01z", Username: "z"}) })

	one := b.account("01a", "anne@chu.example", "anne@chu.example")
	two := b.account("01b", "lea.essai/soins@chu.example", "soins@chu.example")
	three := b.account("01c", "jean.essai/soins@chu.example", "soins@chu.example")
	one.Credentials = []store.Credential{{ID: "bcd", Kind: store.CredentialPassword, Label: "tablette", Created: noon, Hash: []byte("h")}}
	b.commit(func(t store.Tx) error { return t.PutAccount(one) })
	for range 2 {
		b.same("account", got(b, func(v store.View) (*store.Account, error) { return v.Account("01a") }), one)
		b.same("by name", got(b, func(v store.View) (*store.Account, error) { return v.AccountNamed(two.Username) }), two)
		b.same("of a box", got(b, func(v store.View) ([]*store.Account, error) { return v.AccountsOfBox("soins@chu.example") }), []*store.Account{two, three})
		b.same("of another box", got(b, func(v store.View) ([]*store.Account, error) { return v.AccountsOfBox("x@chu.example") }), []*store.Account(nil))
		b.same("all", got(b, func(v store.View) ([]*store.Account, error) { return v.Accounts("", 0) }), []*store.Account{one, two, three})
		b.same("a page", got(b, func(v store.View) ([]*store.Account, error) { return v.Accounts("01a", 1) }), []*store.Account{two})
		b.reopen()
	}
	if one.Revision != 2 {
		t.Errorf("revision is %d, want 2", one.Revision)
	}
	stale := *one
	stale.Revision = 1
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.PutAccount(&stale) })
	if stale.Revision != 1 {
		t.Errorf("a refused write changed the revision to %d", stale.Revision)
	}
	moved := *one
	moved.Mailbox = "other@chu.example"
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.PutAccount(&moved) })

	// With its key gone, an account is in no list.
	if err := b.DropKey(context.Background(), two.ID.Owner()); err != nil {
		t.Fatal(err)
	}
	missing(b, store.ErrErased, func(v store.View) (*store.Account, error) { return v.Account(two.ID) })
	b.same("the rest", got(b, func(v store.View) ([]*store.Account, error) { return v.Accounts("", 0) }), []*store.Account{one, three})
	b.same("of its box", got(b, func(v store.View) ([]*store.Account, error) { return v.AccountsOfBox("soins@chu.example") }), []*store.Account{three})
}

func accountLookups(t *testing.T, b *bench) {
	one := b.account("01a", "anne@chu.example", "anne@chu.example", "print 1", "print 2")
	find := func(print string) func(store.View) (*store.Account, error) {
		return func(v store.View) (*store.Account, error) { return v.AccountOfCertificate([]byte(print)) }
	}
	b.same("by certificate", got(b, find("print 2")), one)
	missing(b, store.ErrNotFound, find("print 3"))

	// Neither name nor certificate can be had twice.
	b.key(store.AccountID("01b").Owner())
	for _, taken := range []*store.Account{
		{ID: "01b", Username: "anne@chu.example", Mailbox: "anne@chu.example"},
		{ID: "01b", Username: "b@chu.example", Mailbox: "b@chu.example", Credentials: []store.Credential{{ID: "x", Fingerprint: []byte("print 1")}}},
	} {
		b.refused(store.ErrConflict, func(t store.Tx) error { return t.PutAccount(taken) })
	}
	missing(b, store.ErrNotFound, func(v store.View) (*store.Account, error) { return v.Account("01b") })
	b.same("still", got(b, find("print 1")), one)

	// A revoked certificate finds nothing, and may be another's then.
	one.Credentials[0].Revoked = noon
	b.commit(func(t store.Tx) error { return t.PutAccount(one) })
	missing(b, store.ErrNotFound, find("print 1"))
	two := b.account("01b", "b@chu.example", "b@chu.example", "print 1")
	for range 2 {
		b.same("its next owner", got(b, find("print 1")), two)
		b.same("the other certificate", got(b, find("print 2")), one)
		b.reopen()
	}
	// What a failed commit put is nowhere.
	stop := errors.New("stop")
	two.Credentials[0].Revoked = noon
	if err := b.Commit(t.Context(), func(t store.Tx) error {
		if err := t.PutAccount(two); err != nil {
			return err
		}
		return stop
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	found := got(b, find("print 1"))
	if found.ID != two.ID || !found.Credentials[0].Revoked.IsZero() || two.Revision != 1 {
		t.Errorf("after a failed commit: %+v, revision %d", found, two.Revision)
	}
}
