package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Whom an account stands for. An account belongs to a box, hence to all of its
// members, or to one person of a box; what it may see is what the rights
// function says of its members, pathway by pathway.

// Account is who has logged in.
type Account struct {
	ID       store.AccountID
	Username string
	Mailbox  store.Address
	Person   string // name of the one person; empty: the box
	RPPS     string // of the person, if known
	// Credential is the password or certificate used; empty where the box is
	// named by the certificate itself, or the person by an identity provider.
	Credential string
	// Until is when an identity provider's word ends; zero: not by itself.
	Until time.Time
}

// accountOf is the Account of a record.
func accountOf(a *store.Account, credential string) *Account {
	return &Account{ID: a.ID, Username: a.Username, Mailbox: a.Mailbox, Person: a.Person, RPPS: a.RPPS, Credential: credential}
}

// Journal implements journal.Safe: the id alone.
func (a *Account) Journal() string { return a.ID.Journal() }

// accountActor begins the name of an account in traces; its id follows.
const accountActor = "account:"

// actor is the account in traces.
func (a *Account) actor(where string) Actor {
	return Actor{Name: accountActor + string(a.ID), Where: where}
}

// AccountMember is a member that an account stands for.
type AccountMember struct {
	Pathway store.PathwayCode
	Member  store.MemberID
}

// AccountMembers lists the members an account stands for, by pathway and id.
// They belong to their teams now; whether they may see anything is for the
// rights function to say.
func (h *Hub) AccountMembers(ctx context.Context, a *Account) ([]AccountMember, error) {
	var list []AccountMember
	err := h.view(ctx, func(v store.View) error {
		list = nil
		return h.eachOfAccount(v, a, func(p *store.Pathway, m *store.Member) {
			list = append(list, AccountMember{p.Code, m.ID})
		})
	})
	return list, err
}

// eachOfAccount visits the active members an account stands for: one range
// scan over the pathways of its box.
func (h *Hub) eachOfAccount(v store.View, a *Account, visit func(*store.Pathway, *store.Member)) error {
	return h.eachOfBox(v, a.Mailbox, func(p *store.Pathway, m *store.Member) {
		if a.standsFor(m) {
			visit(p, m)
		}
	})
}

// eachOfBox visits the active members behind a box.
func (h *Hub) eachOfBox(v store.View, box store.Address, visit func(*store.Pathway, *store.Member)) error {
	codes, err := v.PathwaysOfBox(box)
	if err != nil {
		return fmt.Errorf("looking up a box: %w", err)
	}
	now := h.o.Now()
	for _, code := range codes {
		p, err := v.Pathway(code)
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading pathway %s: %w", code, err)
		}
		for i := range p.Members {
			if m := &p.Members[i]; m.Mailbox == box && m.ActiveAt(now) {
				visit(p, m)
			}
		}
	}
	return nil
}

// standsFor reports whether a member is one of the account's.
func (a *Account) standsFor(m *store.Member) bool {
	if m.Mailbox != a.Mailbox {
		return false
	}
	return a.Person == "" || (&person{name: a.Person, rpps: a.RPPS}).is(m)
}

// person is somebody behind a box, over all pathways.
type person struct {
	name, rpps string
}

// is reports whether a member is this person: the same national number where
// both have one, else the same name.
func (p *person) is(m *store.Member) bool {
	if p.rpps != "" && m.RPPS != "" {
		return p.rpps == m.RPPS
	}
	return letter.PersonKey(p.name) == letter.PersonKey(m.Name)
}

// persons lists who is behind a box, in the order of its pathways.
func (h *Hub) persons(v store.View, box store.Address) ([]*person, error) {
	var all []*person
	err := h.eachOfBox(v, box, func(_ *store.Pathway, m *store.Member) {
		for _, p := range all {
			if p.is(m) {
				if p.rpps == "" {
					p.rpps = m.RPPS
				}
				return
			}
		}
		all = append(all, &person{m.Name, m.RPPS})
	})
	return all, err
}

// personNamed finds one of persons as people type it: a name, or a member as
// CODE.mN.
func (h *Hub) personNamed(v store.View, box store.Address, all []*person, typed string) (*person, error) {
	is := func(p *person) bool { return letter.PersonKey(p.name) == letter.PersonKey(typed) }
	if code, id, ok := strings.Cut(strings.ToLower(strings.TrimSpace(typed)), "."); ok {
		if path, err := v.Pathway(store.PathwayCode(code)); err == nil {
			m := member(path, store.MemberID(id))
			is = func(p *person) bool { return m != nil && m.Mailbox == box && m.ActiveAt(h.o.Now()) && p.is(m) }
		}
	}
	var found *person
	for _, p := range all {
		switch {
		case !is(p):
		case found != nil: // two of the same name, with different numbers
			return nil, fail("account-person-twice", map[string]any{"person": typed, "mailbox": h.shownBox(box)})
		default:
			found = p
		}
	}
	if found == nil {
		return nil, fail("account-person-unknown", map[string]any{"person": typed, "mailbox": h.shownBox(box), "known": names(all)})
	}
	return found, nil
}

func names(all []*person) string {
	var list []string
	for _, p := range all {
		list = append(list, p.name)
	}
	return strings.Join(list, ", ")
}

// username of an account: the box, or person/box.
func username(box store.Address, p *person) string {
	if p == nil {
		return string(box)
	}
	return letter.PersonKey(p.name) + "/" + string(box)
}

// parseUsername folds a username as typed and gives the box in it.
func parseUsername(typed string) (folded string, box store.Address) {
	folded = strings.ToLower(strings.TrimSpace(typed))
	if i := strings.IndexByte(folded, '/'); i >= 0 {
		return folded, store.Address(folded[i+1:])
	}
	return folded, store.Address(folded)
}

// MaySend reports whether an account may send mail under an address, as
// envelope sender or in From: its own box, or a sending address declared for
// one of its members.
func (h *Hub) MaySend(ctx context.Context, a *Account, addr store.Address) (bool, error) {
	may := false
	err := h.view(ctx, func(v store.View) (err error) {
		may, err = h.maySend(v, a, addr)
		return err
	})
	return may, err
}

func (h *Hub) maySend(v store.View, a *Account, addr store.Address) (bool, error) {
	if addr == a.Mailbox {
		return true, nil
	}
	may := false
	err := h.eachOfAccount(v, a, func(_ *store.Pathway, m *store.Member) {
		may = may || slices.Contains(m.AlsoFrom, addr)
	})
	return may, err
}
