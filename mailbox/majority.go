package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Coming of age. From the 18th birthday on parents see nothing more, until the
// patient has consented to each of them (CSP L.1110-4; Code civil, art. 414).
// The rights function reads this from the birth date and the clock, so that
// neither a stop of the hub nor a clock put right leaves a gap. What needs doing
// by itself is done within the hour: coordinators are warned ahead, copies that
// wait for the family are cancelled on the day. No item of the queue stands for
// it: when those are due is on disk in clear, and would tell the birth date.

const (
	majorityAge = 18
	ageWarning  = 90 // days before
	// settling is how long a new pathway without a coordinator waits for one
	// before the desk is warned in their place.
	settling = 7 * 24 * time.Hour
	// reviewEvery is how often birthdays are looked through.
	reviewEvery = time.Hour
)

// ofAgeAt is the beginning of the 18th birthday; zero: not known.
func ofAgeAt(p *store.Pathway) time.Time {
	born, err := time.ParseInLocation(time.DateOnly, p.Patient.BirthDate, time.Local)
	if err != nil {
		return time.Time{}
	}
	return born.AddDate(majorityAge, 0, 0)
}

// stoppedByAge reports whether a member of the family is kept out because the
// patient, who is of age, has not consented.
func stoppedByAge(p *store.Pathway, prog *rules.Programme, mem *store.Member, at time.Time) bool {
	if !ofFamily(prog, mem) && !mem.Mailbox.Citizen() {
		return false
	}
	day := ofAgeAt(p)
	if day.IsZero() || at.Before(day) {
		return false
	}
	for _, c := range slices.Backward(p.Consents) {
		if c.For == mem.ID {
			// What a minor said does not bind the adult.
			return !c.FromPatient || !c.Withdrawn.IsZero() || c.At.Before(day)
		}
	}
	return true
}

// suspendedByAge tells those whom the birthday stopped from those who came
// after it, and wait for a consent like anybody else.
func suspendedByAge(p *store.Pathway, prog *rules.Programme, mem *store.Member, at time.Time) bool {
	if len(mem.Periods) == 0 || !stoppedByAge(p, prog, mem, at) {
		return false
	}
	return mem.Periods[len(mem.Periods)-1].From.Before(ofAgeAt(p)) && lastConsent(p, mem.ID) == consentRecorded
}

// saidByPatient reports whether who gave a consent is the patient: called so, or
// by name.
func saidByPatient(p *store.Pathway, from string) bool {
	t := &p.Patient
	said := identity.FoldName(from)
	return slices.Contains([]string{
		"patient", "patiente", "le patient", "la patiente", "the patient", "lui meme", "elle meme",
	}, said) || said != "" && (said == identity.FoldName(t.GivenName+" "+t.FamilyName) || said == identity.FoldName(t.FamilyName+" "+t.GivenName))
}

// ageStep is when something is to be done about a patient's coming of age.
func ageStep(p *store.Pathway, now time.Time) (time.Time, bool) {
	day := ofAgeAt(p)
	if day.IsZero() || !live(p) || !p.Deceased.IsZero() {
		return time.Time{}, false
	}
	seen := p.OfAge
	if seen.Day != day.Format(time.DateOnly) { // never looked at, or the birth date was corrected
		seen = store.OfAge{}
	}
	// What was done at a time that is yet to come was done by a wrong clock.
	done := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	switch {
	case done(seen.Done):
		return time.Time{}, false
	case now.Before(day) && !done(seen.Warned):
		return day.AddDate(0, 0, -ageWarning), true
	}
	return day, true
}

// watchAge notes in a pathway, which the caller saves, when something is to be
// done about its patient's coming of age. A patient who is of age at inclusion
// needs nothing: parents who join wait for a consent.
func (h *Hub) watchAge(p *store.Pathway) {
	now := h.o.Now()
	if day := ofAgeAt(p); p.OfAge == (store.OfAge{}) && !day.IsZero() && !now.Before(day) && !p.Created.Before(day) {
		p.OfAge = store.OfAge{Day: day.Format(time.DateOnly), Done: now}
	}
	due, ok := ageStep(p, now)
	if again := p.OfAge.Asked.Add(24 * time.Hour); ok && due.Before(again) && now.Before(again) && !h.coordinated(p, now) {
		due = again
	}
	p.OfAge.Next = due
	if ok && !due.After(now) {
		h.agesDue.Store(true)
	}
}

// ageDue warns of a coming birthday, or follows it.
func (h *Hub) ageDue(ctx context.Context, code store.PathwayCode) error {
	return h.change(ctx, func(tx store.Tx) error {
		p, err := tx.Pathway(code)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading pathway %s: %w", code, err)
		}
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		now := h.o.Now()
		if due, ok := ageStep(p, now); ok && !due.After(now) && !p.OfAge.Next.After(now) {
			if err := h.ageStepDue(tx, p, prog, now); err != nil {
				return err
			}
		}
		return h.save(tx, p)
	})
}

// ageStepDue does what is due now.
func (h *Hub) ageStepDue(tx store.Tx, p *store.Pathway, prog *rules.Programme, now time.Time) error {
	day := ofAgeAt(p)
	seen := &p.OfAge
	if key := day.Format(time.DateOnly); seen.Day != key {
		*seen = store.OfAge{Day: key}
	}
	args := map[string]any{"pathway": string(p.Code), "date": texts.Date(h.o.Locale, day)}
	if now.Before(day) {
		n := notice{kind: noticeOfAgeSoon, subject: texts.T(h.o.Locale, "families.of-age-soon-subject", args), paragraphs: []string{
			texts.T(h.o.Locale, "families.of-age-soon", args), texts.T(h.o.Locale, "families.of-age-soon-next", args),
		}}
		told, err := h.tellStaff(tx, p, prog, n, now.Before(p.Created.Add(settling)))
		if err != nil {
			return err
		}
		if told {
			seen.Warned = now
			return h.trace(tx, hubActor, "majority.warned", p.Code, "", outcomeDone, nil)
		}
		seen.Asked = now // nobody coordinates yet: looked at tomorrow, and when the team changes
		return nil
	}
	seen.Done = now
	stopped := 0
	for i := range p.Members {
		if m := &p.Members[i]; m.ActiveAt(now) && stoppedByAge(p, prog, m, now) && lastConsent(p, m.ID) == consentRecorded {
			stopped++
			if err := h.trace(tx, hubActor, "team.suspended", p.Code, string(m.ID), outcomeDone, map[string]string{"why": string(whyOfAge)}); err != nil {
				return err
			}
		}
	}
	if _, err := h.cancelUnentitled(tx, p, string(whyOfAge)); err != nil {
		return err
	}
	if stopped > 0 {
		n := notice{kind: noticeOfAge, subject: texts.T(h.o.Locale, "families.of-age-subject", args), paragraphs: []string{
			texts.T(h.o.Locale, "families.of-age", args), texts.T(h.o.Locale, "families.of-age-next", args),
		}}
		_, err := h.tellStaff(tx, p, prog, n, false)
		return err
	}
	return h.trace(tx, hubActor, "majority.reached", p.Code, "", outcomeDone, nil)
}

// coordinated reports whether somebody in the team coordinates.
func (h *Hub) coordinated(p *store.Pathway, at time.Time) bool {
	prog, err := h.programme(p.Programme)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.Members, func(m store.Member) bool {
		role := prog.Role(m.Role)
		return m.ActiveAt(at) && role != nil && role.Coordinator
	})
}

// tellStaff writes to the coordinators of a pathway, else to the desk, unless
// coordinators are to come (wait). It reports whether anybody was told.
func (h *Hub) tellStaff(tx store.Tx, p *store.Pathway, prog *rules.Programme, n notice, wait bool) (bool, error) {
	n.prog, n.pathway = prog, p.Code
	told, err := h.toCoordinators(tx, p, n)
	if err != nil || told || wait {
		return told, err
	}
	return true, h.toDesk(tx, n)
}

// agesReviewed looks birthdays through if it is time: each hour, at a start, when
// one is due already, and when the clock was put back, since what a wrong clock
// did too early is looked at again.
func (h *Hub) agesReviewed(ctx context.Context) {
	now := h.o.Now().Round(0)
	soon := h.agesDue.Swap(false)
	if last := h.agesAt; !soon && !last.IsZero() && now.Before(last.Add(reviewEvery)) && !now.Before(last.Add(-reviewEvery)) {
		return
	}
	h.agesAt = now
	if err := h.reviewAges(ctx); err != nil && ctx.Err() == nil {
		h.log.Error("birthdays could not be looked through", "error", err)
	}
}

// reviewAges does what is due about the birthdays of all pathways.
func (h *Hub) reviewAges(ctx context.Context) error {
	var due []store.PathwayCode
	now := h.o.Now()
	err := h.eachPathway(ctx, "", func(p *store.Pathway) bool {
		step, ok := ageStep(p, now)
		if ok && (!p.OfAge.Next.Equal(step) || !step.After(now)) && !(p.OfAge.Next.After(now) && p.OfAge.Next.Equal(p.OfAge.Asked.Add(24*time.Hour))) {
			due = append(due, p.Code)
		}
		return true
	})
	if err != nil {
		return err
	}
	var failed error
	for _, code := range due {
		if err := h.ageDue(ctx, code); err != nil {
			failed = errors.Join(failed, fmt.Errorf("coming of age in pathway %s: %w", code, err))
		}
	}
	return failed
}
