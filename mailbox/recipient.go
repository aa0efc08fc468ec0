package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Recipient resolves a recipient of a transaction (RCPT TO), given the
// envelope so far. What the address alone can tell is refused here, so that
// the sender's operator knows before it sends anything: an address that does
// not exist, a closed pathway, a consent withdrawn, a second pathway.
func (h *Hub) Recipient(ctx context.Context, env *Envelope, addr string) (Recipient, error) {
	var r Recipient
	err := h.view(ctx, func(v store.View) (err error) {
		var p *store.Pathway
		if r, p, err = h.resolve(v, store.NewAddress(addr)); err != nil {
			return err
		}
		if r.Kind == ToBox && env.Via != ViaOperator && env.Via != ViaSubmit { // the operator's to take
			return refuse(RefuseForeign, nil)
		}
		if err := acceptable(env, r); err != nil {
			return err
		}
		if p == nil || env.MailFrom == "" {
			return nil
		}
		return standing(p)
	})
	if err != nil {
		return Recipient{}, h.refusedFor(ctx, env, err)
	}
	return r, nil
}

// acceptable checks a recipient against the transaction it is named in.
func acceptable(env *Envelope, r Recipient) error {
	// The null reverse-path carries reports only, and those go to the
	// addresses that asked for them.
	if env.MailFrom == "" && r.Kind != ToReply && r.Kind != ToBounce && r.Kind != ToBox {
		return refuse(RefuseNullSender, nil)
	}
	for _, other := range env.Rcpts {
		if other.Pathway != r.Pathway || other.Programme != r.Programme {
			return refuse(RefuseSecondPathway, nil)
		}
	}
	return nil
}

// standing refuses what a pathway's state refuses at once, and never holds.
func standing(p *store.Pathway) error {
	switch {
	case p.Status == store.PathwayClosed || p.Status == store.PathwayErasing:
		return &Refusal{Reason: RefuseClosed, Pathway: p.Code}
	case pathwayConsent(p) == consentWithdrawn:
		return &Refusal{Reason: RefuseWithdrawn, Pathway: p.Code}
	}
	return nil
}

// resolve tells what an address of the hub stands for, with its pathway. One
// that was merged answers for the one it went into.
func (h *Hub) resolve(v store.View, addr store.Address) (Recipient, *store.Pathway, error) {
	r := Recipient{Address: addr}
	if addr == "postmaster" { // RFC 5321 §4.1.1.3: without a domain, too
		r.Kind = ToPostmaster
		return r, nil, nil
	}
	if b := h.ownBox(addr); b != nil {
		r.Kind, r.Programme = ToBox, h.programmeOfBox(b)
		return r, nil, nil
	}
	if !strings.EqualFold(addr.Domain(), h.o.Domain) {
		return r, nil, refuse(RefuseForeign, nil)
	}
	local := addr.Local()
	head, rest, dotted := strings.Cut(local, ".")
	if !identity.CheckCode(head) {
		r, err := h.resolveName(r, local)
		return r, nil, err
	}
	p, err := h.follow(v, store.PathwayCode(head))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
		return r, nil, refuse(RefuseUnknown, nil)
	}
	if err != nil {
		return r, nil, err
	}
	r.Pathway = p.Code
	if !dotted {
		r.Kind = ToPathway
		return r, p, nil
	}
	r, err = h.resolveSuffix(r, p, store.PathwayCode(head), rest)
	return r, p, err
}

// resolveName resolves an address that is not of a pathway.
func (h *Hub) resolveName(r Recipient, local string) (Recipient, error) {
	if local == "postmaster" || local == "abuse" {
		r.Kind = ToPostmaster
		return r, nil
	}
	if prog := h.o.Programmes().ByID(local); prog != nil {
		r.Kind, r.Programme = ToProgramme, prog.ID
		return r, nil
	}
	return r, refuse(RefuseUnknown, nil)
}

// resolveSuffix resolves what stands between the code and the @. written is
// the code as written: tokens of a merged pathway were made with it.
func (h *Hub) resolveSuffix(r Recipient, p *store.Pathway, written store.PathwayCode, rest string) (Recipient, error) {
	switch {
	case strings.HasPrefix(rest, "r-"), strings.HasPrefix(rest, "b-"):
		use, token := "reply", rest[2:]
		r.Kind = ToReply
		if rest[0] == 'b' {
			use, r.Kind = "bounce", ToBounce
		}
		// Everyone who ever was in the team keeps the address they were given.
		for i := range p.Members {
			m := &p.Members[i]
			for _, box := range append([]store.Address{m.Mailbox}, m.Former...) {
				if h.token(use, written, box) == token {
					r.Box = box
					return r, nil
				}
			}
		}
		return r, refuse(RefuseUnknown, nil)
	case memberForm(rest):
		r.Kind, r.Member = ToMember, store.MemberID(rest)
		if member(p, r.Member) == nil {
			return r, refuse(RefuseUnknown, nil)
		}
		return r, nil
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return r, err
	}
	if prog.Rubric(rest) == nil {
		return r, refuse(RefuseUnknown, nil)
	}
	r.Kind, r.Rubric = ToRubric, rest
	return r, nil
}

// follow reads a pathway, or the one it was merged into. One that is being
// erased is not there any more.
func (h *Hub) follow(v store.View, code store.PathwayCode) (*store.Pathway, error) {
	for range 8 { // a merge of merges; bounded in case of a ring
		p, err := v.Pathway(code)
		if err != nil {
			return nil, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		switch {
		case p.Status == store.PathwayErasing:
			return nil, fmt.Errorf("reading pathway %s: %w", code, store.ErrNotFound)
		case p.MergedInto == "":
			return p, nil
		}
		code = p.MergedInto
	}
	return nil, fmt.Errorf("following merges to %s: %w", code, store.ErrCorrupt)
}

// memberForm reports whether s is m and digits.
func memberForm(s string) bool {
	return len(s) > 1 && s[0] == 'm' && strings.Trim(s[1:], "0123456789") == ""
}

// member finds a member, present or past.
func member(p *store.Pathway, id store.MemberID) *store.Member {
	for i := range p.Members {
		if p.Members[i].ID == id {
			return &p.Members[i]
		}
	}
	return nil
}
