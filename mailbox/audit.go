package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Reading the traces. Who reads them leaves a trace too.

// AuditQuery chooses traces; what is left empty chooses nothing.
type AuditQuery struct {
	Pathway string `json:"pathway,omitempty"`
	Actor   string `json:"actor,omitempty"`  // as traced, or how it begins: "unix:", "member:m1"
	Action  string `json:"action,omitempty"` // as traced, or how it begins: "message."
	Family  string `json:"family,omitempty"` // application, technical
	// The period: from From on, before To.
	From  time.Time `json:"from,omitzero"`
	To    time.Time `json:"to,omitzero"`
	After uint64    `json:"after,omitempty"` // number of the last one seen
	Limit int       `json:"limit,omitempty"` // at most, and never more than 1000
}

// AuditPage are traces in their order.
type AuditPage struct {
	Traces []AuditView `json:"traces"`
	// Next is the After of the next page; 0: there is none.
	Next uint64 `json:"next"`
}

// AuditView is one trace.
type AuditView struct {
	Seq      uint64            `json:"seq"`
	Family   string            `json:"family"`
	At       time.Time         `json:"at"`
	Actor    string            `json:"actor"`
	Username string            `json:"username,omitempty"` // of the actor, where it is an account that is still there; not in exports
	OnBehalf string            `json:"on_behalf,omitempty"`
	Action   string            `json:"action"`
	Pathway  string            `json:"pathway,omitempty"`
	Also     []string          `json:"also,omitempty"` // further pathways
	Object   string            `json:"object,omitempty"`
	Objects  []string          `json:"objects,omitempty"`
	Where    string            `json:"where,omitempty"`
	Outcome  string            `json:"outcome"`
	Detail   map[string]string `json:"detail,omitempty"`
}

// How many traces one page gives, and one read of the store takes; how many are
// looked at for one page, so that a rare actor takes several calls and not one
// without end.
const (
	auditPage = 1000
	auditRead = 500
	auditLook = 20_000
)

// Audit gives a page of traces.
func (h *Hub) Audit(ctx context.Context, by Actor, q AuditQuery) (AuditPage, error) {
	s, err := h.auditScan(q)
	if err != nil {
		return AuditPage{}, err
	}
	if err := h.withinPathway(ctx, by, s.code); err != nil {
		return AuditPage{}, err
	}
	limit := auditPage
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	page := AuditPage{Traces: []AuditView{}}
	for looked := 0; len(page.Traces) < limit && looked < auditLook; {
		found, n, err := s.next(ctx, h.store)
		if err != nil {
			return AuditPage{}, err
		}
		looked += n
		for _, t := range found {
			if len(page.Traces) == limit {
				s.over = false
				break
			}
			page.Traces = append(page.Traces, auditView(t))
			s.shown = t.Seq
		}
		if s.over {
			break
		}
	}
	if !s.over {
		page.Next = s.after
		if len(page.Traces) == limit {
			page.Next = s.shown
		}
	}
	if err := h.nameAccounts(ctx, page.Traces); err != nil {
		return AuditPage{}, err
	}
	return page, h.seen(ctx, by, "audit.read", s.code, "")
}

// nameAccounts says who the accounts are that act in traces: a trace has their
// id alone, which tells people nothing.
func (h *Hub) nameAccounts(ctx context.Context, traces []AuditView) error {
	return h.view(ctx, func(v store.View) error {
		known := map[string]*store.Account{}
		for i := range traces {
			t := &traces[i]
			a, ok := known[t.Actor]
			if !ok {
				var err error
				if a, err = accountNamed(v, t.Actor); err != nil {
					return err
				}
				known[t.Actor] = a
			}
			if a != nil {
				t.Username = a.Username
			}
		}
		return nil
	})
}

// accountNamed finds the account that an actor of traces is; nil: it is none, or
// none any more.
func accountNamed(v store.View, actor string) (*store.Account, error) {
	id, ok := strings.CutPrefix(actor, accountActor)
	if !ok {
		return nil, nil
	}
	a, err := v.Account(store.AccountID(id))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the account of a trace: %w", err)
	}
	return a, nil
}

// auditScan goes through the traces that a query chooses.
type auditScan struct {
	q        AuditQuery
	code     store.PathwayCode
	families []store.Family
	after    uint64 // last number looked at
	shown    uint64 // last number given
	over     bool
}

func (h *Hub) auditScan(q AuditQuery) (*auditScan, error) {
	s := &auditScan{q: q, after: q.After, families: store.Families[:]}
	if q.Pathway != "" {
		// The traces outlive the pathway: that it is erased is no hindrance.
		s.code = store.PathwayCode(strings.ToLower(strings.TrimSpace(q.Pathway)))
		if !identity.CheckCode(string(s.code)) {
			return nil, fail("pathway-code", map[string]any{"pathway": string(s.code)})
		}
	}
	if f := store.Family(q.Family); f != "" {
		if !slices.Contains(store.Families[:], f) {
			return nil, fail("audit-family", map[string]any{"family": q.Family})
		}
		s.families = []store.Family{f}
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return nil, fail("audit-period", nil)
	}
	return s, nil
}

// next reads on: what is chosen, and how many were looked at.
func (s *auditScan) next(ctx context.Context, from store.Store) (found []*store.Trace, looked int, err error) {
	var list []*store.Trace
	err = from.View(ctx, func(v store.View) error {
		list, err = s.read(v)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading traces: %w", err)
	}
	s.over = len(list) < auditRead
	for _, t := range list {
		s.after = t.Seq
		if s.chosen(t) {
			found = append(found, t)
		}
	}
	return found, len(list), nil
}

// read takes at most auditRead traces, in the order of their numbers.
func (s *auditScan) read(v store.View) ([]*store.Trace, error) {
	if s.code != "" {
		return v.TracesOfPathway(s.code, s.after, auditRead)
	}
	var all []*store.Trace
	for _, f := range s.families {
		list, err := v.Traces(f, s.after, auditRead)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b *store.Trace) int { return int(int64(a.Seq - b.Seq)) })
	return all[:min(len(all), auditRead)], nil
}

func (s *auditScan) chosen(t *store.Trace) bool {
	q := &s.q
	return slices.Contains(s.families, t.Family) &&
		strings.HasPrefix(t.Actor, q.Actor) && strings.HasPrefix(t.Action, q.Action) &&
		(q.From.IsZero() || !t.At.Before(q.From)) && (q.To.IsZero() || t.At.Before(q.To))
}

func auditView(t *store.Trace) AuditView {
	v := AuditView{
		Seq: t.Seq, Family: string(t.Family), At: t.At, Actor: t.Actor, OnBehalf: t.OnBehalf, Action: t.Action, Pathway: string(t.Pathway),
		Object: t.Object, Objects: t.Objects, Where: t.Where, Outcome: t.Outcome, Detail: t.Detail,
	}
	for _, code := range t.Also {
		v.Also = append(v.Also, string(code))
	}
	return v
}

// AuditHead gives a signed statement of how far the traces go, to be kept
// elsewhere, and the OpenPGP key it is checked with.
func (h *Hub) AuditHead(ctx context.Context, by Actor) (HeadView, error) {
	if err := h.seen(ctx, by, "audit.head", "", ""); err != nil {
		return HeadView{}, err
	}
	return h.SignedHead(ctx)
}

// SignedHead is AuditHead for the hub itself, which writes heads to the places
// it was told: it leaves no trace, or there would be no end of them.
func (h *Hub) SignedHead(ctx context.Context) (HeadView, error) {
	var v HeadView
	head, err := h.store.TraceHead(ctx)
	if err != nil {
		return v, err
	}
	signed, err := h.store.SignHead(ctx)
	if err != nil {
		return v, err
	}
	key, err := h.store.HeadKey()
	return HeadView{TraceHead: head, Signed: string(signed), Key: string(key)}, err
}

// HeadView is a head of the traces, as figures and as signed.
type HeadView struct {
	store.TraceHead
	Signed string `json:"signed"`
	Key    string `json:"key"`
}

// AuditCheck asks for a verification, against heads that were kept.
type AuditCheck struct {
	Heads []string `json:"heads,omitempty"` // as `audit head` printed them
}

// AuditReport is what a verification found.
type AuditReport struct {
	Sound    bool               `json:"sound"`
	Read     uint64             `json:"read"` // records
	Head     store.TraceHead    `json:"head"`
	Kept     []store.TraceHead  `json:"kept"` // the heads it was compared with
	Problems []AuditProblemView `json:"problems"`
	More     int                `json:"more"` // problems beyond those listed
}

// AuditProblemView is one thing that does not fit, and where.
type AuditProblemView struct {
	Fault  string `json:"fault"`
	Family string `json:"family,omitempty"`
	From   uint64 `json:"from"` // numbers of traces, both included
	To     uint64 `json:"to"`
}

// AuditVerify verifies all traces beside the running hub.
func (h *Hub) AuditVerify(ctx context.Context, by Actor, q AuditCheck) (AuditReport, error) {
	r, err := VerifyTraces(ctx, h.store, q)
	if err != nil {
		return r, err
	}
	return r, h.change(ctx, func(tx store.Tx) error {
		outcome := outcomeDone
		if !r.Sound {
			outcome = outcomeFailed
		}
		return h.trace(tx, by, "audit.verified", "", "", outcome, map[string]string{"problems": fmt.Sprint(len(r.Problems) + r.More)})
	})
}

// VerifyTraces verifies the traces of a store, which may be one that is only
// read, without a hub.
func VerifyTraces(ctx context.Context, s store.Store, q AuditCheck) (AuditReport, error) {
	r := AuditReport{Kept: []store.TraceHead{}, Problems: []AuditProblemView{}}
	for i, signed := range q.Heads {
		head, err := s.ReadHead([]byte(signed))
		if err != nil {
			return r, fail("audit-head", map[string]any{"n": i + 1})
		}
		r.Kept = append(r.Kept, head)
	}
	found, err := s.VerifyTraces(ctx, r.Kept...)
	if err != nil {
		return r, err
	}
	r.Sound, r.Read, r.Head, r.More = found.Sound(), found.Read, found.Head, found.More
	for _, p := range found.Problems {
		r.Problems = append(r.Problems, AuditProblemView{Fault: string(p.Fault), Family: string(p.Family), From: p.From, To: p.To})
	}
	return r, nil
}
