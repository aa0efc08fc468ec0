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

// Including a patient, and correcting what is known of a pathway. (Its status is
// in lifecycle.go, merging in merge.go.)

// Include includes a patient: a pathway with a new code and, if one was given,
// its consent. An INS already followed in the programme is refused and the
// pathway named; digits that disagree with birth date or sex only warn.
func (h *Hub) Include(ctx context.Context, by Actor, r IncludeRequest) (PathwayView, error) {
	prog := h.o.Programmes().ByID(strings.ToLower(strings.TrimSpace(r.Programme)))
	if prog == nil {
		return PathwayView{}, h.noProgramme(r.Programme)
	}
	if err := by.within(prog.ID); err != nil {
		return PathwayView{}, err
	}
	p := &store.Pathway{Programme: prog.ID, Status: store.PathwayOpen, NextMember: 1, Created: h.o.Now()}
	if err := lines("family_name", &r.FamilyName, "given_name", &r.GivenName, "establishment", &r.Establishment, "phone", &r.Phone); err != nil {
		return PathwayView{}, err
	}
	var warnings []string
	var err error
	p.Establishment = r.Establishment
	if p.Phone, err = phoneNumber(r.Phone); err != nil {
		return PathwayView{}, err
	}
	p.Patient, warnings, err = h.patient(r.FamilyName, r.GivenName, r.BirthDate, r.Sex, r.INS, r.INSOID)
	if err != nil {
		return PathwayView{}, err
	}
	if r.Consent != "" {
		c, err := h.newConsent(by, ConsentRequest{Kind: r.Consent, From: r.ConsentFrom, By: r.ConsentBy, Notice: r.ConsentNotice})
		if err != nil {
			return PathwayView{}, err
		}
		c.FromPatient = saidByPatient(p, c.From)
		p.Consents = []store.Consent{c}
	} else {
		warnings = append(warnings, warnNoConsent)
	}
	for {
		view, err := h.includeAs(ctx, by, p, warnings)
		if !errors.Is(err, errCodeTaken) {
			return view, h.refusedNaming(ctx, by, "pathway.included", err)
		}
	}
}

// errCodeTaken asks for another draw.
var errCodeTaken = errors.New("code taken")

// includeAs stores a new pathway under a code drawn for it.
func (h *Hub) includeAs(ctx context.Context, by Actor, p *store.Pathway, warnings []string) (PathwayView, error) {
	code, err := identity.NewCode(h.o.Rand)
	if err != nil {
		return PathwayView{}, fmt.Errorf("including a patient: %w", err)
	}
	p.Code = store.PathwayCode(code)
	// Looked up before a key is made, so that a refusal leaves none behind, and
	// again in the commit, since somebody else may include the same child now.
	if err := h.view(ctx, func(v store.View) error { return free(v, p) }); err != nil {
		return PathwayView{}, err
	}
	if err := h.store.NewKey(ctx, store.Owner{Kind: store.OwnedByPathway, ID: code}); err != nil {
		return PathwayView{}, fmt.Errorf("making the key of a pathway: %w", err)
	}
	var view PathwayView
	err = h.change(ctx, func(tx store.Tx) error {
		p := *p
		if err := free(tx, &p); err != nil {
			return err
		}
		twins, err := sameChild(tx, &p)
		if err != nil {
			return err
		}
		if err := h.save(tx, &p); err != nil {
			return err
		}
		view = h.pathwayView(&p)
		view.Warnings = append(slices.Clone(warnings), twins...)
		return h.trace(tx, by, "pathway.included", p.Code, "", outcomeDone, map[string]string{"programme": p.Programme})
	})
	return view, err
}

// free refuses a code that was drawn before and an INS already followed in the
// programme, under whatever OID.
func free(v store.View, p *store.Pathway) error {
	if _, err := v.Pathway(p.Code); err == nil {
		return errCodeTaken
	} else if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("looking up a new code: %w", err)
	}
	if e, err := erasureOf(v, p.Code); err != nil || e != nil {
		return errors.Join(err, errCodeTaken)
	}
	return alone(v, p)
}

// alone refuses an INS that another live pathway of the programme has.
func alone(v store.View, p *store.Pathway) error {
	if p.Patient.INS == "" {
		return nil
	}
	codes, err := v.PathwaysOfPatient(p.Patient.INS)
	if err != nil {
		return fmt.Errorf("looking up an INS: %w", err)
	}
	for _, code := range codes {
		other, err := v.Pathway(code)
		if err != nil {
			return fmt.Errorf("reading pathway %s: %w", code, err)
		}
		if code != p.Code && other.Programme == p.Programme && live(other) {
			return fail("ins-followed", map[string]any{"pathway": string(code), "programme": p.Programme})
		}
	}
	return nil
}

// live reports whether a pathway is in use: open or suspended.
func live(p *store.Pathway) bool {
	return p.Status == store.PathwayOpen || p.Status == store.PathwaySuspended
}

// sameChild warns of live pathways of the programme whose child has the same
// names and birth date. It is no refusal: without an INS on both sides nobody
// but a person can tell, and twins' names are sometimes mistyped.
func sameChild(v store.View, p *store.Pathway) ([]string, error) {
	codes, err := v.PathwaysOfName(p.Patient.NameKey)
	if err != nil {
		return nil, fmt.Errorf("looking up a name: %w", err)
	}
	var warnings []string
	for _, code := range codes {
		if code == p.Code {
			continue
		}
		other, err := v.Pathway(code)
		if err != nil {
			return nil, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		if other.Programme == p.Programme && live(other) && identity.Agree(traits(&other.Patient), traits(&p.Patient)) == identity.Same {
			warnings = append(warnings, warnSameChild+" "+string(code))
		}
	}
	return warnings, nil
}

// patient checks an identity and gives it as it is kept.
func (h *Hub) patient(family, given, birth, sex, ins, oid string) (store.Patient, []string, error) {
	none := store.Patient{}
	if identity.NameKey(family) == "" || identity.NameKey(given) == "" {
		return none, nil, fail("patient-name", nil)
	}
	date, ok := identity.ParseBirthDate(birth)
	if !ok || len(date) != len("2006-01-02") || date > h.o.Now().AddDate(0, 0, 1).Format("2006-01-02") {
		return none, nil, fail("birth-date", map[string]any{"date": birth})
	}
	s := strings.ToUpper(strings.TrimSpace(sex))
	switch s {
	case "M", "F", "U":
	case "I", "": // indeterminate, as the national list has it
		s = "U"
	default:
		return none, nil, fail("sex", map[string]any{"sex": sex})
	}
	p := store.Patient{FamilyName: family, GivenName: given, BirthDate: date, Sex: s, NameKey: identity.NameKey(family)}
	if strings.TrimSpace(ins) == "" {
		return p, []string{warnNoINS}, nil
	}
	number, err := identity.ParseINS(ins, oid)
	switch {
	case errors.Is(err, identity.ErrINSOID):
		return none, nil, fail("ins-oid", map[string]any{"oid": oid})
	case err != nil:
		return none, nil, fail("ins-form", nil)
	}
	found, err := identity.CheckINS(number, traits(&p))
	if err != nil {
		return none, nil, fail("ins-key", map[string]any{"ins": number.Mask()})
	}
	var warnings []string
	for _, w := range found {
		switch w {
		case identity.WarnKey:
			warnings = append(warnings, warnINSKey)
		case identity.WarnBirthDate:
			warnings = append(warnings, warnINSBirthDate)
		case identity.WarnSex:
			warnings = append(warnings, warnINSSex)
		}
	}
	p.INS, p.INSOID = number.Matricule(), number.OID()
	return p, warnings, nil
}

// UpdatePathway corrects identity, establishment or telephone.
func (h *Hub) UpdatePathway(ctx context.Context, by Actor, r PathwayUpdate) (PathwayView, error) {
	var view PathwayView
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := liveNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		old := p.Patient
		now := old
		var changed []string
		for _, f := range []struct {
			name string
			to   *string
			at   *string
		}{
			{"family_name", r.FamilyName, &now.FamilyName},
			{"given_name", r.GivenName, &now.GivenName},
			{"birth_date", r.BirthDate, &now.BirthDate},
			{"sex", r.Sex, &now.Sex},
			{"ins", r.INS, &now.INS},
			{"ins_oid", r.INSOID, &now.INSOID},
			{"establishment", r.Establishment, &p.Establishment},
			{"phone", r.Phone, &p.Phone},
		} {
			if f.to == nil {
				continue
			}
			if *f.at, err = line(f.name, *f.to); err != nil {
				return err
			}
			changed = append(changed, f.name)
		}
		if len(changed) == 0 {
			return fail("nothing-to-change", nil)
		}
		if r.Phone != nil {
			if p.Phone, err = phoneNumber(p.Phone); err != nil {
				return err
			}
		}
		var warnings []string
		p.Patient, warnings, err = h.patient(now.FamilyName, now.GivenName, now.BirthDate, now.Sex, now.INS, now.INSOID)
		if err != nil {
			return err
		}
		if live(p) {
			if err := alone(tx, p); err != nil {
				return err
			}
		}
		twins, err := sameChild(tx, p)
		if err != nil {
			return err
		}
		if err := h.save(tx, p); err != nil {
			return err
		}
		view = h.pathwayView(p)
		view.Warnings = append(warnings, twins...)
		return h.trace(tx, by, "pathway.updated", p.Code, "", outcomeDone, map[string]string{"fields": strings.Join(changed, " ")})
	})
	return view, h.refusedNaming(ctx, by, "pathway.updated", err)
}
