package mailbox

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store"
)

// Consent: recorded, withdrawn, shown. What it allows is for rights.go to say.

// consentWord is the state as views show it.
func consentWord(s consentState) string {
	switch s {
	case consentRecorded:
		return "recorded"
	case consentWithdrawn:
		return "withdrawn"
	}
	return "none"
}

// newConsent checks what is to be recorded: how and from whom must be known
// (CSP D.1110-3-1: consent by any means, kept by whoever gathered it).
func (h *Hub) newConsent(by Actor, r ConsentRequest) (store.Consent, error) {
	if err := lines("from", &r.From, "by", &r.By, "notice", &r.Notice); err != nil {
		return store.Consent{}, err
	}
	kind := strings.ToLower(strings.TrimSpace(r.Kind))
	if kind != "oral" && kind != "written" {
		return store.Consent{}, fail("consent-kind", map[string]any{"kind": r.Kind})
	}
	if r.From == "" {
		return store.Consent{}, fail("consent-from", nil)
	}
	if r.By == "" {
		r.By = by.Name
	}
	return store.Consent{At: h.o.Now(), Kind: kind, From: r.From, By: r.By, Notice: r.Notice}, nil
}

// RecordConsent records a consent for the pathway, or for one member (which
// roles outside the legal care team need). What was held for want of it is
// released by a timer, so that a crash cannot lose the release.
func (h *Hub) RecordConsent(ctx context.Context, by Actor, r ConsentRequest) ([]ConsentView, error) {
	consent, err := h.newConsent(by, r)
	if err != nil {
		return nil, err
	}
	var views []ConsentView
	err = h.change(ctx, func(tx store.Tx) error {
		p, err := liveNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		c := consent
		c.FromPatient = saidByPatient(p, c.From)
		if r.For != "" {
			m, err := memberNamed(p, r.For)
			if err != nil {
				return err
			}
			c.For = m.ID
		}
		p.Consents = append(p.Consents, c)
		if err := h.save(tx, p); err != nil {
			return err
		}
		if c.For == "" {
			if err := h.releaseLater(tx, p); err != nil {
				return err
			}
		}
		views = consentViews(p)
		return h.trace(tx, by, "consent.recorded", p.Code, string(c.For), outcomeDone, map[string]string{"kind": c.Kind})
	})
	return views, err
}

// WithdrawConsent withdraws the consent for the pathway, or for one member.
// Queued copies that no longer may go are cancelled in the same commit. With the
// pathway's consent, authors are told, and mail held for want of a consent is
// given up.
func (h *Hub) WithdrawConsent(ctx context.Context, by Actor, r WithdrawRequest) ([]ConsentView, error) {
	if err := lines("by", &r.By, "reason", &r.Reason); err != nil {
		return nil, err
	}
	if r.By == "" {
		r.By = by.Name
	}
	var views []ConsentView
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := pathwayNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		if p.MergedInto != "" {
			return changeable(p)
		}
		var of store.MemberID
		if r.For != "" {
			m, err := memberNamed(p, r.For)
			if err != nil {
				return err
			}
			of = m.ID
		}
		if !withdrawConsent(p, of, h.o.Now(), r) {
			return fail("consent-none", map[string]any{"pathway": string(p.Code)})
		}
		if err := h.save(tx, p); err != nil {
			return err
		}
		if err := h.followWithdrawal(tx, p, of); err != nil {
			return err
		}
		views = consentViews(p)
		return h.trace(tx, by, "consent.withdrawn", p.Code, string(of), outcomeDone, nil)
	})
	return views, err
}

// followWithdrawal cancels what may not go any more. When the whole pathway's
// consent is gone the authors are told, who must reach people directly.
func (h *Hub) followWithdrawal(tx store.Tx, p *store.Pathway, of store.MemberID) error {
	if of != "" {
		_, err := h.cancelUnentitled(tx, p, "member-consent")
		return err
	}
	cancelled, err := h.cancelUnentitled(tx, p, endedWithConsent)
	if err != nil {
		return err
	}
	if err := h.tellCancelled(tx, p, cancelled); err != nil {
		return err
	}
	return h.releaseLater(tx, p)
}

// withdrawConsent ends every consent in force for a member, or for the pathway. An
// opposition is taken even where no consent was ever recorded for a member of
// the care team: sharing with them rests on the pathway's, so their own entry
// is made and withdrawn at once.
func withdrawConsent(p *store.Pathway, of store.MemberID, at time.Time, r WithdrawRequest) bool {
	found := false
	for i := range p.Consents {
		c := &p.Consents[i]
		if c.For == of && c.Withdrawn.IsZero() {
			c.Withdrawn, c.WithdrawnBy, c.Reason = at, r.By, r.Reason
			found = true
		}
	}
	if !found && of != "" && lastConsent(p, of) == consentNone {
		p.Consents = append(p.Consents, store.Consent{
			At: at, Kind: "opposition", From: r.By, By: r.By, For: of, Withdrawn: at, WithdrawnBy: r.By, Reason: r.Reason,
		})
		found = true
	}
	return found
}

// Consents shows what was recorded and withdrawn, oldest first.
func (h *Hub) Consents(ctx context.Context, by Actor, code string) ([]ConsentView, error) {
	var views []ConsentView
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := pathwayNamed(tx, by, code)
		if err != nil {
			return err
		}
		views = consentViews(p)
		return h.trace(tx, by, "consent.read", p.Code, "", outcomeDone, nil)
	})
	return views, err
}

func consentViews(p *store.Pathway) []ConsentView {
	views := []ConsentView{}
	for _, c := range slices.Clone(p.Consents) {
		v := ConsentView{At: c.At, Kind: c.Kind, From: c.From, By: c.By, For: string(c.For), Notice: c.Notice, FromPatient: c.FromPatient, WithdrawnBy: c.WithdrawnBy}
		if !c.Withdrawn.IsZero() {
			v.Withdrawn = &c.Withdrawn
		}
		views = append(views, v)
	}
	return views
}
