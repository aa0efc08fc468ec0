package mailbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/mailbox/throttle"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Who logs in. Password, certificate or the word of an identity provider: all
// lead to one account, and every failure looks the same from outside, in words
// and in time, whether or not there is such an account.

// Faults of a login. Whatever else Authenticate returns is a fault of the hub:
// the client may try again.
const (
	// ErrLogin: not who they say, or nobody the hub knows.
	ErrLogin = journal.Fault("authentication failed")
	// ErrLoginSlow: too many failures from there or for that account: wait.
	ErrLoginSlow = journal.Fault("too many failed logins, wait")
	// ErrLoginWay: this way of logging in is not open from there.
	ErrLoginWay = journal.Fault("this way of logging in is not allowed here")
	// ErrProvider: the identity provider could not be asked.
	ErrProvider = journal.Fault("the identity provider does not answer")
)

// LoginBy is what is shown to log in.
type LoginBy string

// Ways to log in.
const (
	ByPassword    LoginBy = "password"    // PLAIN, LOGIN, IMAP's LOGIN
	ByCertificate LoginBy = "certificate" // EXTERNAL
	ByToken       LoginBy = "token"       // OAUTHBEARER, XOAUTH2
)

// Journal implements journal.Safe.
func (b LoginBy) Journal() string { return string(b) }

// Login is an attempt to log in.
type Login struct {
	By       LoginBy
	Username string // the box, or person/box; may be empty with a certificate
	Secret   string // password, or token
	// Certificate is the client's, already verified; nil: none.
	Certificate *ClientCertificate
	Where       netip.Addr
	Via         Via
}

// ClientCertificate is what a verified certificate says.
type ClientCertificate struct {
	Fingerprint [32]byte        // SHA-256 of the certificate
	Mailboxes   []store.Address // its rfc822Names (RFC 5280 §4.2.1.6)
}

// LoginOptions say how accounts log in.
type LoginOptions struct {
	Cost     password.Cost // default password.DefaultCost
	AtOnce   int           // password checks together; default 2
	Lifetime time.Duration // of new passwords; 0: no end
	MaxWait  time.Duration // longest wait after failures; default 15 min
	// PasswordFrom reports whether passwords are taken from an address; nil:
	// from nowhere.
	PasswordFrom func(netip.Addr) bool
	// Tokens asks the identity provider; nil: there is none.
	Tokens TokenVerifier
}

// TokenVerifier asks an identity provider whose token it is. Errors: ErrLogin
// if the token is not good, ErrProvider if that cannot be known now.
type TokenVerifier interface {
	Verify(ctx context.Context, token string) (Identity, error)
}

// Identity is whom a token stands for.
type Identity struct {
	RPPS  string    // with or without the national prefix 8
	Until time.Time // when the session must end
}

// LoginTime bounds an attempt, waiting for its turn included.
const LoginTime = 30 * time.Second

// firstWait is the first one after too many failures; it doubles with each.
const firstWait = time.Second

// logins is what attempts share.
type logins struct {
	hasher   *password.Hasher
	networks *throttle.Table[netip.Prefix]
	accounts *throttle.Table[[32]byte] // by keyed hash of the username
	// Who logged in to an account from a network before is judged apart: neither
	// strangers who guess at the account nor a neighbour's forgotten device
	// behind the same address lock them out.
	pairs  *throttle.Table[[32]byte]
	known  bounded
	recent bounded // passwords checked lately: clients open many connections
}

func newLogins(o LoginOptions) *logins {
	if o.Cost == (password.Cost{}) {
		o.Cost = password.DefaultCost
	}
	if o.AtOnce == 0 {
		o.AtOnce = 2
	}
	if o.MaxWait == 0 {
		o.MaxWait = 15 * time.Minute
	}
	rule := throttle.Rule{Free: 5, First: firstWait, Max: o.MaxWait, Forget: time.Hour, Size: 1 << 16}
	wide := rule
	wide.Free, wide.Max = 20, min(o.MaxWait, 5*time.Minute) // a hospital is one address
	return &logins{
		hasher:   password.NewHasher(o.Cost, o.AtOnce),
		networks: throttle.New[netip.Prefix](wide), accounts: throttle.New[[32]byte](rule), pairs: throttle.New[[32]byte](rule),
	}
}

// attempt is a login under way.
type attempt struct {
	*Hub
	Login
	name    string // username folded
	box     store.Address
	network netip.Prefix
	byName  [32]byte
	pair    [32]byte
}

// Authenticate says which account logs in. The connection is encrypted: that is
// the caller's to see to.
func (h *Hub) Authenticate(ctx context.Context, l Login) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, LoginTime)
	defer cancel()
	t := &attempt{Hub: h, Login: l, network: networkOf(l.Where)}
	if len(l.Username) > 400 || l.By == ByPassword && len(l.Secret) > password.MaxLength {
		t.Username, t.Secret = "", "" // nobody's, and it costs the same
	}
	t.name, t.box = parseUsername(t.Username)
	t.byName = h.store.Mac("login", t.name)
	t.pair = h.store.Mac("login from", t.name, t.network.String())
	if l.By == ByPassword && (h.o.Login.PasswordFrom == nil || !h.o.Login.PasswordFrom(l.Where)) {
		return nil, ErrLoginWay
	}
	if wait := t.wait(); wait > 0 {
		t.note("slowed", wait)
		return nil, ErrLoginSlow
	}
	var a *Account
	var err error
	switch l.By {
	case ByPassword:
		a, err = t.password(ctx)
	case ByCertificate:
		a, err = t.certificate(ctx)
	case ByToken:
		a, err = t.token(ctx)
	default:
		err = ErrLoginWay
	}
	switch {
	case err == nil:
		err = t.passed(ctx, a)
	case errors.Is(err, ErrLogin):
		t.failed(ctx)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// networkOf is what is judged as one: an address, or a /64 of IPv6, which one
// line at home has whole.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// wait says how long the client must wait after failures.
func (t *attempt) wait() time.Duration {
	now := t.o.Now()
	if t.logins.known.has(t.pair) {
		return t.logins.pairs.Wait(t.pair, now)
	}
	return max(t.logins.networks.Wait(t.network, now), t.logins.accounts.Wait(t.byName, now))
}

// password checks a password. One hash is computed whoever is asked for; of a
// password checked lately, none.
func (t *attempt) password(ctx context.Context) (*Account, error) {
	folded := password.Fold(t.Secret)
	a, c, err := t.passwordOf(ctx, password.IDOf(folded))
	if err != nil {
		return nil, err
	}
	var sum [32]byte
	if c != nil {
		sum = t.store.Mac("password", string(a.ID), string(c.Hash), folded)
		if t.logins.recent.has(sum) {
			return accountOf(a, c.ID), nil
		}
	}
	done, err := t.logins.hasher.Turn(ctx)
	if err != nil {
		return nil, fmt.Errorf("waiting to check a password: %w", err)
	}
	defer done()
	if t.wait() > 0 { // others failed while this one waited for its turn
		return nil, ErrLoginSlow
	}
	if c == nil {
		t.logins.hasher.Waste(folded)
		return nil, ErrLogin
	}
	ok, err := t.logins.hasher.Check(c.Hash, folded)
	if err != nil {
		return nil, fmt.Errorf("checking a password of account %s: %w", a.ID, err)
	}
	if !ok {
		return nil, ErrLogin
	}
	t.logins.recent.add(sum)
	return accountOf(a, c.ID), nil
}

// passwordOf finds the account and its live password of that id; none: nil.
func (t *attempt) passwordOf(ctx context.Context, id string) (a *store.Account, c *store.Credential, err error) {
	err = t.view(ctx, func(v store.View) error {
		a, c = nil, nil
		found, err := v.AccountNamed(t.name)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking up an account: %w", err)
		}
		if p := credential(found, id); p != nil && p.Kind == store.CredentialPassword && p.AliveAt(t.o.Now()) && found.Revoked.IsZero() {
			a, c = found, p
		}
		return nil
	})
	return a, c, err
}

// certificate finds the account a certificate is for: one it was given to, or
// that of the box it names. A name, if one is given, must agree.
func (t *attempt) certificate(ctx context.Context) (*Account, error) {
	if t.Certificate == nil {
		return nil, ErrLogin
	}
	var a *Account
	err := t.view(ctx, func(v store.View) error {
		a = nil
		rec, err := v.AccountOfCertificate(t.Certificate.Fingerprint[:])
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking up a certificate: %w", err)
		}
		for i := range rec.Credentials {
			c := &rec.Credentials[i]
			if string(c.Fingerprint) == string(t.Certificate.Fingerprint[:]) && c.AliveAt(t.o.Now()) && rec.Revoked.IsZero() {
				a = accountOf(rec, c.ID)
			}
		}
		if a != nil && t.name != "" && t.name != a.Username {
			a = nil
		}
		return nil
	})
	if err != nil || a != nil {
		return a, err
	}
	var named store.Address
	for _, box := range t.Certificate.Mailboxes {
		switch {
		case t.name != "" && t.name != string(box), box.Citizen():
		case named != "" && named != box:
			return nil, ErrLogin // several boxes: the client must say which
		default:
			named = box
		}
	}
	if named == "" {
		return nil, ErrLogin
	}
	return t.provided(ctx, named, time.Time{}, func([]*person) *person { return nil })
}

// token asks the identity provider who it is and finds that person behind the
// box. The number comes from the token, never from what the client says.
func (t *attempt) token(ctx context.Context) (*Account, error) {
	if t.o.Login.Tokens == nil {
		return nil, ErrLoginWay
	}
	who, err := t.o.Login.Tokens.Verify(ctx, t.Secret)
	if err != nil {
		return nil, err
	}
	rpps, err := identity.ParseRPPS(who.RPPS)
	if err != nil || t.box == "" || t.box.Citizen() {
		return nil, ErrLogin
	}
	return t.provided(ctx, t.box, who.Until, func(all []*person) *person {
		for _, p := range all {
			if p.rpps == string(rpps) {
				return p
			}
		}
		return nil
	})
}

// provided gives the account of a box or a person whom somebody else vouches
// for; it is made at the first login. Pick chooses the person; for a token it
// must find one.
func (t *attempt) provided(ctx context.Context, box store.Address, until time.Time, pick func([]*person) *person) (*Account, error) {
	id := store.AccountID(t.ids.next(t.o.Now()))
	for keyed := false; ; keyed = true {
		var a *Account
		err := t.change(ctx, func(tx store.Tx) error {
			all, err := t.persons(tx, box)
			if err != nil {
				return err
			}
			who := pick(all)
			if len(all) == 0 || t.By == ByToken && who == nil {
				return ErrLogin
			}
			if len(all) == 1 {
				who = nil // the box and its only person are one account
			}
			rec, err := t.accountFor(tx, box, who, id, keyed)
			var failure *Failure
			if errors.As(err, &failure) {
				return ErrLogin
			}
			if err != nil {
				return err
			}
			if !rec.Revoked.IsZero() || t.By == ByToken && t.name != rec.Username && t.name != string(box) {
				return ErrLogin
			}
			a = accountOf(rec, "")
			a.Until = until
			if rec.Revision > 0 {
				return nil
			}
			if err := t.putAccount(tx, rec); err != nil {
				return err
			}
			return t.trace(tx, a.actor(t.Where.String()), "account.created", "", string(rec.ID), outcomeDone, map[string]string{"kind": string(t.By)})
		})
		if !errors.Is(err, errNoKey) {
			return a, err
		}
		if err := t.store.NewKey(ctx, id.Owner()); err != nil {
			return nil, fmt.Errorf("making the key of an account: %w", err)
		}
	}
}

// passed records a login: when, with what, from where.
func (t *attempt) passed(ctx context.Context, a *Account) error {
	err := t.change(ctx, func(tx store.Tx) error {
		rec, err := tx.Account(a.ID)
		if err != nil {
			return fmt.Errorf("reading account %s: %w", a.ID, err)
		}
		// It may have been revoked since it was looked up.
		if !rec.Revoked.IsZero() {
			return ErrLogin
		}
		if a.Credential == "" {
			rec.LastUsed = t.o.Now()
		} else if c := credential(rec, a.Credential); c != nil {
			c.Used = t.o.Now()
		} else {
			return ErrLogin
		}
		if err := t.putAccount(tx, rec); err != nil {
			return err
		}
		return t.trace(tx, a.actor(t.Where.String()), "account.login", "", string(a.ID), outcomeDone,
			map[string]string{"by": string(t.By), "credential": a.Credential, "via": string(t.Via)})
	})
	if err != nil {
		return err
	}
	t.logins.pairs.Passed(t.pair)
	t.logins.known.add(t.pair)
	return nil
}

// failed counts a failure. The first wait that comes of it is traced if there
// is such an account; a flood is told in the journal only.
func (t *attempt) failed(ctx context.Context) {
	now := t.o.Now()
	var rec *store.Account
	err := t.view(ctx, func(v store.View) (err error) {
		rec, err = v.AccountNamed(t.name)
		return err
	})
	real := err == nil
	var wait time.Duration
	if t.logins.known.has(t.pair) {
		wait = t.logins.pairs.Failed(t.pair, real, now)
	} else {
		wait = t.logins.accounts.Failed(t.byName, real, now)
		t.logins.networks.Failed(t.network, false, now)
	}
	t.note("failed", wait)
	if wait != firstWait {
		return
	}
	err = t.commit(ctx, func(tx store.Tx) error {
		if !real {
			return nil // committing takes as long
		}
		return t.trace(tx, Actor{Name: "unknown", Where: t.Where.String()}, "account.slowed", "", string(rec.ID), outcomeRefused,
			map[string]string{"by": string(t.By), "via": string(t.Via)})
	})
	if err != nil {
		t.log.Error("tracing failed logins failed", "error", err)
	}
}

// note writes to the journal without saying who: the keyed id of a username is
// the same in every line about it.
func (t *attempt) note(outcome journal.Word, wait time.Duration) {
	t.log.Warn("login refused", "outcome", outcome, "by", t.By, "via", t.Via, "login", journal.Word(fmt.Sprintf("%x", t.byName[:4])), "where", journal.Word(t.network.String()), "wait", wait)
}

// LoginsSlowed counts the accounts that must wait after failures now.
func (h *Hub) LoginsSlowed() int {
	return h.logins.accounts.Waiting(h.o.Now()) + h.logins.pairs.Waiting(h.o.Now())
}
