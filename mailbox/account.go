package mailbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/rules/strict"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Accounts: who may read the structured mailbox and post from it. A password is
// shown once, when it is made; an account has as many as its holder has devices.

// AccountRequest makes an account, or one more password or certificate of it.
type AccountRequest struct {
	Mailbox string `json:"mailbox"`
	Person  string `json:"person,omitempty"` // name, or CODE.mN; empty: the box
	Label   string `json:"label,omitempty"`  // what it is for: a device, say
	// Expires is a day (2027-01-31, to its end), or a time from now (90d).
	Expires string `json:"expires,omitempty"`
	// Certificate is the SHA-256 of a certificate in hexadecimal: it is taken
	// instead of a password.
	Certificate string `json:"certificate,omitempty"`
}

// AccountRevoke takes away an account, or one of its credentials.
type AccountRevoke struct {
	Username   string `json:"username"`
	Credential string `json:"credential,omitempty"` // empty: all of it
}

// AccountView is an account as coordinators see it.
type AccountView struct {
	ID          string           `json:"id"`
	Username    string           `json:"username"`
	Mailbox     string           `json:"mailbox"`
	Person      string           `json:"person,omitempty"`
	State       string           `json:"state"` // active, expired, revoked
	Created     time.Time        `json:"created"`
	LastUsed    *time.Time       `json:"last_used"`
	Members     []string         `json:"members"` // CODE.mN it stands for
	Credentials []CredentialView `json:"credentials"`
}

// CredentialView is a password or certificate; never the password itself.
type CredentialView struct {
	ID          string     `json:"id"` // of a password: how it begins
	Kind        string     `json:"kind"`
	Label       string     `json:"label,omitempty"`
	State       string     `json:"state"`
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires"`
	LastUsed    *time.Time `json:"last_used"`
	Fingerprint string     `json:"fingerprint,omitempty"`
}

// AccountCreated is what was made. The password is nowhere else.
type AccountCreated struct {
	Username   string      `json:"username"`
	Password   string      `json:"password,omitempty"`
	Credential string      `json:"credential"`
	Expires    *time.Time  `json:"expires,omitempty"`
	Account    AccountView `json:"account"`
}

// maxCredentials bounds the live credentials of an account.
const maxCredentials = 32

// CreateAccount makes an account for a box, or for one person of a box that
// several share; for one that is there already it makes another password.
func (h *Hub) CreateAccount(ctx context.Context, by Actor, r AccountRequest) (AccountCreated, error) {
	id := store.AccountID(h.ids.next(h.o.Now()))
	keyed := false
	for {
		cred, text, err := h.newCredential(ctx, r)
		if err != nil {
			return AccountCreated{}, err
		}
		made, err := h.addAccount(ctx, by, r, id, keyed, cred)
		made.Password = text
		switch {
		case errors.Is(err, errNoKey):
			if err := h.store.NewKey(ctx, id.Owner()); err != nil {
				return AccountCreated{}, fmt.Errorf("making the key of an account: %w", err)
			}
			keyed = true
		case !errors.Is(err, errTaken):
			return made, err
		}
	}
}

const (
	errNoKey = journal.Fault("the account has no key yet")
	errTaken = journal.Fault("another password of the account begins alike")
)

// addAccount gives the account asked for, made under id if there is none, one
// more credential.
func (h *Hub) addAccount(ctx context.Context, by Actor, r AccountRequest, id store.AccountID, keyed bool, cred store.Credential) (AccountCreated, error) {
	var made AccountCreated
	err := h.change(ctx, func(tx store.Tx) error {
		box, p, err := h.accountHolder(tx, r)
		if err != nil {
			return err
		}
		if err := h.withinBox(tx, by, box); err != nil {
			return err
		}
		a, err := h.accountFor(tx, box, p, id, keyed)
		if err != nil {
			return err
		}
		if err := h.addCredential(tx, a, cred); err != nil {
			return err
		}
		view, err := h.accountView(tx, a)
		if err != nil {
			return err
		}
		made = AccountCreated{Username: a.Username, Credential: cred.ID, Expires: stamp(cred.Expires), Account: view}
		return h.trace(tx, by, "account.created", "", string(a.ID), outcomeDone, map[string]string{"credential": cred.ID, "kind": string(cred.Kind)})
	})
	return made, err
}

// accountFor gives the account of a box or of a person of it: the one there is,
// or a new one, not written yet. Without a key for a new one it is errNoKey:
// keys are made before the commit that names them.
func (h *Hub) accountFor(v store.View, box store.Address, p *person, id store.AccountID, keyed bool) (*store.Account, error) {
	a, err := v.AccountNamed(username(box, p))
	switch {
	case errors.Is(err, store.ErrNotFound) && !keyed:
		return nil, errNoKey
	case errors.Is(err, store.ErrNotFound):
		a = &store.Account{ID: id, Username: username(box, p), Mailbox: box, Created: h.o.Now()}
		if p != nil {
			a.Person, a.RPPS = p.name, p.rpps
		}
		return a, nil
	case err != nil:
		return nil, fmt.Errorf("looking up an account: %w", err)
	case p == nil || p.rpps == "" || a.RPPS == p.rpps:
		return a, nil
	case a.RPPS == "":
		a.RPPS = p.rpps // learnt since
		return a, nil
	}
	// Somebody else of that name has it, and private folders with it.
	return nil, fail("account-person-twice", map[string]any{"person": p.name, "mailbox": h.shownBox(box)})
}

// newCredential checks what is asked for and makes it. text is the password.
func (h *Hub) newCredential(ctx context.Context, r AccountRequest) (c store.Credential, text string, err error) {
	now := h.o.Now()
	c = store.Credential{Created: now}
	if c.Label, err = line("label", r.Label); err != nil {
		return c, "", err
	}
	if c.Expires, err = expiry(r.Expires, now, h.o.Login.Lifetime); err != nil {
		return c, "", err
	}
	if r.Certificate != "" {
		print, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(r.Certificate), ":", ""))
		if err != nil || len(print) != 32 {
			return c, "", fail("account-certificate", nil)
		}
		c.Kind, c.Fingerprint, c.ID = store.CredentialCertificate, print, "cert-"+hex.EncodeToString(print[:4])
		return c, "", nil
	}
	c.Kind = store.CredentialPassword
	if c.ID, text, err = password.New(h.ids.rand); err != nil {
		return c, "", err
	}
	done, err := h.logins.hasher.Turn(ctx)
	if err != nil {
		return c, "", err
	}
	defer done()
	c.Hash, err = h.logins.hasher.Hash(h.ids.rand, password.Fold(text))
	return c, text, err
}

// expiry reads when a credential ends; the default is a time from now, zero for
// never.
func expiry(typed string, now time.Time, lifetime time.Duration) (time.Time, error) {
	typed = strings.TrimSpace(typed)
	if typed == "" {
		if lifetime == 0 {
			return time.Time{}, nil
		}
		return now.Add(lifetime), nil
	}
	end := time.Time{}
	if day, err := time.ParseInLocation(time.DateOnly, typed, now.Location()); err == nil {
		end = day.AddDate(0, 0, 1)
	} else if at, err := time.Parse(time.RFC3339, typed); err == nil {
		end = at
	} else if d := strict.Duration(0); d.UnmarshalText([]byte(typed)) == nil {
		end = now.Add(time.Duration(d))
	}
	if !end.After(now) {
		return end, fail("account-expires", map[string]any{"expires": typed})
	}
	return end, nil
}

// accountHolder finds the box, and the person of it (nil: the box as a whole).
func (h *Hub) accountHolder(v store.View, r AccountRequest) (store.Address, *person, error) {
	b, err := h.boxNamed(v, r.Mailbox)
	if err != nil {
		return "", nil, err
	}
	if b.Address.Citizen() {
		// The address is an INS: it must not become a login that is typed and shown.
		return "", nil, fail("account-citizen", nil)
	}
	all, err := h.persons(v, b.Address)
	if err != nil {
		return "", nil, err
	}
	switch {
	case len(all) == 0:
		return "", nil, fail("account-nobody", map[string]any{"mailbox": h.shownBox(b.Address)})
	case r.Person != "":
		p, err := h.personNamed(v, b.Address, all, r.Person)
		return b.Address, p, err
	case len(all) > 1:
		return "", nil, fail("account-person-needed", map[string]any{"mailbox": h.shownBox(b.Address), "known": names(all)})
	}
	return b.Address, nil, nil
}

// addCredential gives an account one more; a revoked account lives again.
func (h *Hub) addCredential(tx store.Tx, a *store.Account, c store.Credential) error {
	if c.Kind == store.CredentialCertificate {
		other, err := tx.AccountOfCertificate(c.Fingerprint)
		switch {
		case err == nil:
			return fail("account-certificate-taken", map[string]any{"username": other.Username})
		case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrErased):
			return fmt.Errorf("looking up a certificate: %w", err)
		}
	}
	var live []store.Credential
	for _, o := range a.Credentials {
		switch {
		case !o.AliveAt(h.o.Now()):
		case o.ID == c.ID:
			return errTaken
		default:
			live = append(live, o)
		}
	}
	if len(live) >= maxCredentials {
		return fail("account-credentials", map[string]any{"username": a.Username, "limit": maxCredentials})
	}
	if len(a.Credentials) >= 2*maxCredentials {
		a.Credentials = live // the traces tell of those that ended
	}
	a.Credentials = slices.DeleteFunc(a.Credentials, func(o store.Credential) bool { return o.ID == c.ID })
	a.Revoked = time.Time{}
	a.Credentials = append(a.Credentials, c)
	return h.putAccount(tx, a)
}

func (h *Hub) putAccount(tx store.Tx, a *store.Account) error {
	if err := tx.PutAccount(a); err != nil {
		return fmt.Errorf("writing an account: %w", err)
	}
	return nil
}

// Accounts lists the accounts, oldest first; mailbox may narrow it to a box.
func (h *Hub) Accounts(ctx context.Context, by Actor, box string) ([]AccountView, error) {
	var views []AccountView
	err := h.change(ctx, func(tx store.Tx) error {
		views = []AccountView{}
		var all []*store.Account
		var err error
		if box = strings.TrimSpace(box); box != "" {
			all, err = tx.AccountsOfBox(store.NewAddress(box))
		} else {
			all, err = tx.Accounts("", 0)
		}
		if err != nil {
			return fmt.Errorf("listing accounts: %w", err)
		}
		for _, a := range all {
			if err := h.withinBox(tx, by, a.Mailbox); failed(err) {
				continue
			} else if err != nil {
				return err
			}
			view, err := h.accountView(tx, a)
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		return h.trace(tx, by, "account.listed", "", "", outcomeDone, nil)
	})
	return views, err
}

// RevokeAccount ends an account, or one credential of it, at once: sessions
// that were opened with it end too.
func (h *Hub) RevokeAccount(ctx context.Context, by Actor, r AccountRevoke) (AccountView, error) {
	var view AccountView
	var id store.AccountID
	err := h.change(ctx, func(tx store.Tx) error {
		folded, _ := parseUsername(r.Username)
		a, err := tx.AccountNamed(folded)
		if errors.Is(err, store.ErrNotFound) {
			return fail("account-unknown", map[string]any{"username": r.Username})
		}
		if err != nil {
			return fmt.Errorf("looking up an account: %w", err)
		}
		if err := h.withinBox(tx, by, a.Mailbox); err != nil {
			return err
		}
		id = a.ID
		found := false
		for i := range a.Credentials {
			if c := &a.Credentials[i]; (r.Credential == "" || c.ID == strings.ToLower(strings.TrimSpace(r.Credential))) && c.Revoked.IsZero() {
				c.Revoked, found = h.o.Now(), true
			}
		}
		switch {
		case r.Credential != "" && !found:
			return fail("account-credential-unknown", map[string]any{"username": a.Username, "credential": r.Credential})
		case r.Credential == "" && a.Revoked.IsZero():
			a.Revoked = h.o.Now()
		case r.Credential == "" && !found:
			return fail("account-revoked-already", map[string]any{"username": a.Username})
		}
		if err := h.putAccount(tx, a); err != nil {
			return err
		}
		if view, err = h.accountView(tx, a); err != nil {
			return err
		}
		return h.trace(tx, by, "account.revoked", "", string(a.ID), outcomeDone, map[string]string{"credential": r.Credential})
	})
	if err == nil {
		h.sessions.end(id, strings.ToLower(strings.TrimSpace(r.Credential)))
		h.forgetReader(id)
	}
	return view, err
}

func (h *Hub) accountView(v store.View, a *store.Account) (AccountView, error) {
	now := h.o.Now()
	view := AccountView{
		ID: string(a.ID), Username: a.Username, Mailbox: h.shownBox(a.Mailbox), Person: a.Person, Created: a.Created,
		Members: []string{}, Credentials: []CredentialView{},
	}
	last := a.LastUsed
	alive := false
	for i := range a.Credentials {
		c := &a.Credentials[i]
		state := "active"
		switch {
		case !c.Revoked.IsZero():
			state = "revoked"
		case !c.AliveAt(now):
			state = "expired"
		default:
			alive = true
		}
		if c.Used.After(last) {
			last = c.Used
		}
		view.Credentials = append(view.Credentials, CredentialView{
			ID: c.ID, Kind: string(c.Kind), Label: c.Label, State: state, Created: c.Created,
			Expires: stamp(c.Expires), LastUsed: stamp(c.Used), Fingerprint: hex.EncodeToString(c.Fingerprint),
		})
	}
	view.LastUsed = stamp(last)
	switch {
	case !a.Revoked.IsZero():
		view.State = "revoked"
	case !alive && len(a.Credentials) > 0:
		view.State = "expired"
	default:
		view.State = "active"
	}
	err := h.eachOfAccount(v, accountOf(a, ""), func(p *store.Pathway, m *store.Member) {
		view.Members = append(view.Members, string(p.Code)+"."+string(m.ID))
	})
	return view, err
}
