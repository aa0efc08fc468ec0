package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Showing and listing pathways.

// Pathway shows one pathway.
func (h *Hub) Pathway(ctx context.Context, by Actor, code string) (PathwayView, error) {
	var view PathwayView
	err := h.change(ctx, func(tx store.Tx) error {
		e, err := erasureOf(tx, store.PathwayCode(strings.ToLower(strings.TrimSpace(code))))
		if err != nil {
			return err
		}
		if e != nil {
			if err := by.within(e.Programme); err != nil {
				return err
			}
			view = h.erasedView(e)
			return h.trace(tx, by, "pathway.read", e.Code, "", outcomeDone, nil)
		}
		p, err := pathwayNamed(tx, by, code)
		if err != nil {
			return err
		}
		view = h.pathwayView(p)
		return h.trace(tx, by, "pathway.read", p.Code, "", outcomeDone, nil)
	})
	return view, err
}

// listPage is how many records one read of a list takes from the store.
const listPage = 200

// Pathways lists pathways, in an order of no meaning; After is the last code
// seen. With an INS or a mailbox the look-ups are asked; otherwise the pages are
// gone through until the limit.
func (h *Hub) Pathways(ctx context.Context, by Actor, f PathwayFilter) ([]PathwayView, error) {
	views := []PathwayView{}
	f.Programme = strings.ToLower(strings.TrimSpace(f.Programme))
	if f.Programme != "" && h.o.Programmes().ByID(f.Programme) == nil {
		return nil, h.noProgramme(f.Programme)
	}
	if err := oneOf("status", f.Status, store.PathwayOpen, store.PathwaySuspended, store.PathwayClosed, store.PathwayErasing, store.PathwayStatus(store.ErasureDone)); err != nil {
		return nil, err
	}
	if f.Status == string(store.PathwayErasing) || f.Status == string(store.ErasureDone) {
		views, err := h.erasures(ctx, by, f)
		return views, errors.Join(err, h.seen(ctx, by, "pathway.listed", "", ""))
	}
	take := func(p *store.Pathway) bool {
		if p.Status != store.PathwayErasing && by.may(p.Programme) && (f.Programme == "" || p.Programme == f.Programme) && (f.Status == "" || string(p.Status) == f.Status) {
			views = append(views, h.pathwayView(p))
		}
		return f.Limit <= 0 || len(views) < f.Limit
	}
	after := store.PathwayCode(f.After)
	var err error
	if f.INS != "" || f.Mailbox != "" {
		err = h.view(ctx, func(v store.View) error { return h.lookUp(v, f, after, take) })
	} else {
		err = h.eachPathway(ctx, after, take)
	}
	if err != nil {
		return nil, err
	}
	codes := make([]store.PathwayCode, len(views))
	for i := range views {
		codes[i] = store.PathwayCode(views[i].ID)
	}
	return views, h.seenList(ctx, by, "pathway.listed", codes)
}

// noProgramme says which programmes there are.
func (h *Hub) noProgramme(named string) error {
	all := h.o.Programmes().Programmes
	known := make([]string, len(all))
	for i, p := range all {
		known[i] = p.ID
	}
	return fail("programme-unknown", map[string]any{"programme": named, "known": strings.Join(known, ", ")})
}

// oneOf refuses a word by which a list is narrowed that nothing can have: an
// empty list would be taken for an answer.
func oneOf[W ~string](option, word string, allowed ...W) error {
	if word == "" || slices.Contains(allowed, W(word)) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, w := range allowed {
		words[i] = string(w)
	}
	return fail("filter", map[string]any{"option": option, "value": word, "allowed": strings.Join(words, ", ")})
}

// erasures lists what is left of pathways that are being erased, or were.
func (h *Hub) erasures(ctx context.Context, by Actor, f PathwayFilter) ([]PathwayView, error) {
	views := []PathwayView{}
	err := h.view(ctx, func(v store.View) error {
		all, err := v.Erasures(store.PathwayCode(f.After), 0)
		for _, e := range all {
			view := h.erasedView(e)
			if e.Into == "" && by.may(e.Programme) && view.Status == f.Status && (f.Programme == "" || f.Programme == e.Programme) && (f.Limit <= 0 || len(views) < f.Limit) {
				views = append(views, view)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing erasures: %w", err)
	}
	return views, nil
}

// lookUp gives take the pathways of an INS, of a mailbox, or of both.
func (h *Hub) lookUp(v store.View, f PathwayFilter, after store.PathwayCode, take func(*store.Pathway) bool) error {
	var codes []store.PathwayCode
	if f.INS != "" {
		ins, err := identity.ParseINS(f.INS, "")
		if err != nil {
			return fail("ins-form", nil)
		}
		if codes, err = v.PathwaysOfPatient(ins.Matricule()); err != nil {
			return fmt.Errorf("looking up an INS: %w", err)
		}
	}
	if f.Mailbox != "" {
		ofBox, err := v.PathwaysOfBox(store.NewAddress(f.Mailbox))
		if err != nil {
			return fmt.Errorf("looking up a mailbox: %w", err)
		}
		if f.INS == "" {
			codes = ofBox
		} else {
			codes = slices.DeleteFunc(codes, func(c store.PathwayCode) bool { return !slices.Contains(ofBox, c) })
		}
	}
	slices.Sort(codes)
	for _, code := range slices.Compact(codes) {
		if code <= after {
			continue
		}
		p, err := v.Pathway(code)
		if err != nil {
			return fmt.Errorf("reading pathway %s: %w", code, err)
		}
		if !take(p) {
			return nil
		}
	}
	return nil
}

// eachPathway gives take all pathways until it has enough. No read transaction
// is open for longer than a page takes.
func (h *Hub) eachPathway(ctx context.Context, after store.PathwayCode, take func(*store.Pathway) bool) error {
	for {
		var page []*store.Pathway
		err := h.view(ctx, func(v store.View) (err error) {
			page, err = v.Pathways(after, listPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("listing pathways: %w", err)
		}
		for _, p := range page {
			if !take(p) {
				return nil
			}
			after = p.Code
		}
		if len(page) < listPage {
			return nil
		}
	}
}

func (h *Hub) pathwayView(p *store.Pathway) PathwayView {
	address, tag := h.publicAddress(p)
	view := PathwayView{
		ID: string(p.Code), Address: address, Tag: tag, Status: string(p.Status), Programme: p.Programme,
		FamilyName: p.Patient.FamilyName, GivenName: p.Patient.GivenName, BirthDate: p.Patient.BirthDate, Sex: p.Patient.Sex,
		INS: identity.Mask(p.Patient.INS), Establishment: p.Establishment, Phone: p.Phone, Created: p.Created,
		Consent: consentWord(pathwayConsent(p)), MergedInto: string(p.MergedInto),
		Deceased: !p.Deceased.IsZero(),
	}
	now := h.o.Now()
	for i := range p.Members {
		if p.Members[i].ActiveAt(now) {
			view.Members++
		}
	}
	return view
}
