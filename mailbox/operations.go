package mailbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// Failure is the answer to an operation that cannot be done, for what a person
// can mend: what, to what, what to do. Its text is in the catalogue under
// "op.<code>"; see Text. An error of an operation that is not a Failure is a
// fault of the hub.
type Failure struct {
	Code string
	Args map[string]any
}

// fail makes a Failure. The arguments may name people: they are for the person
// who asked, and no log gets them.
func fail(code string, args map[string]any) error { return &Failure{Code: code, Args: args} }

func (f *Failure) Error() string { return "refused: " + f.Code }

// Journal implements journal.Safe: the code alone.
func (f *Failure) Journal() string { return f.Error() }

// Text says the failure in one line. Failures and texts among the arguments are
// said in the same language.
func (f *Failure) Text(l texts.Locale) string {
	args := maps.Clone(f.Args)
	for name, v := range f.Args {
		switch v := v.(type) {
		case *Failure:
			args[name] = v.Text(l)
		case said:
			args[name] = texts.T(l, v.id, v.args)
		}
	}
	return texts.T(l, texts.ID("op."+f.Code), args)
}

// said is a text among the arguments of a Failure.
type said struct {
	id   texts.ID
	args map[string]any
}

// A warning is a word, after a space what it is about: operations that are done
// all the same say so in the Warnings of their view.
const (
	warnINSKey       = "ins-key"
	warnINSBirthDate = "ins-birth-date"
	warnINSSex       = "ins-sex"
	warnNoINS        = "no-ins"
	warnNoConsent    = "no-consent"
	warnSameChild    = "same-child"      // + code
	warnSameName     = "same-name"       // + member
	warnPersonalBox  = "personal-box"    // + member
	warnUnlisted     = "unlisted"        // + domain
	warnPending      = "pending-consent" //
	warnAlready      = "already-member"
	warnOtherCitizen = "citizen-other"
	warnRPPS         = "rpps-key"
	warnAlsoBox      = "also-from-member" // + member
	warnRequeued     = "copies-requeued"  // + number
	warnOfAge        = "of-age"
	warnElsewhere    = "followed-elsewhere" // + code
	warnNoCitizen    = "no-citizen"
)

// WarningText says a warning of a view for people.
func WarningText(l texts.Locale, warning string) string {
	word, about, _ := strings.Cut(warning, " ")
	return texts.T(l, texts.ID("op.warning-"+word), map[string]any{"about": about})
}

// hubActor acts where nobody asked: timers, releases.
var hubActor = Actor{Name: "hub"}

// change commits fn, anew as long as what it built on changed meanwhile. fn may
// run several times: whatever it hands out it must set from scratch.
func (h *Hub) change(ctx context.Context, fn func(store.Tx) error) error {
	for {
		var saved saving
		err := h.commit(ctx, func(tx store.Tx) error {
			saved = saving{Tx: tx}
			return fn(&saved)
		})
		if err == nil {
			h.narrowed(saved.pathways)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// saving notes which pathways a commit changes, see [Hub.narrowed].
type saving struct {
	store.Tx
	pathways []store.PathwayCode
}

// pathwayNamed reads the pathway of a code as people type it; nobody does while
// it is being erased. The record is a copy that may be changed and put.
func pathwayNamed(v store.View, by Actor, code string) (*store.Pathway, error) {
	c := store.PathwayCode(strings.ToLower(strings.TrimSpace(code)))
	if c == "" {
		return nil, fail("pathway-missing", nil)
	}
	if !identity.CheckCode(string(c)) {
		return nil, fail("pathway-code", map[string]any{"pathway": string(c)})
	}
	p, err := v.Pathway(c)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrErased):
		e, err := erasureOf(v, c)
		switch {
		case err != nil:
			return nil, err
		case e == nil:
			return nil, fail("pathway-unknown", map[string]any{"pathway": string(c)})
		case e.State == store.ErasureDone:
			return nil, fail("pathway-erased", map[string]any{"pathway": string(c), "erased": e.Erased.Local()})
		}
		return nil, fail("pathway-erasing", map[string]any{"pathway": string(c)})
	case err != nil:
		return nil, fmt.Errorf("reading pathway %s: %w", c, err)
	case p.Status == store.PathwayErasing:
		return nil, fail("pathway-erasing", map[string]any{"pathway": string(c)})
	}
	return p, by.within(p.Programme)
}

// liveNamed is pathwayNamed for what may still be changed.
func liveNamed(v store.View, by Actor, code string) (*store.Pathway, error) {
	p, err := pathwayNamed(v, by, code)
	if err != nil {
		return nil, err
	}
	return p, changeable(p)
}

// changeable refuses what was merged.
func changeable(p *store.Pathway) error {
	if p.MergedInto != "" {
		return fail("pathway-merged", map[string]any{"pathway": string(p.Code), "into": string(p.MergedInto)})
	}
	return nil
}

// memberNamed finds a member as people type it: "m2", "M2".
func memberNamed(p *store.Pathway, id string) (*store.Member, error) {
	if m := member(p, store.MemberID(strings.ToLower(strings.TrimSpace(id)))); m != nil {
		return m, nil
	}
	return nil, fail("member-unknown", map[string]any{"member": id, "pathway": string(p.Code)})
}

// save writes a pathway that was changed.
func (h *Hub) save(tx store.Tx, p *store.Pathway) error {
	p.Changed = h.o.Now()
	h.watchAge(p)
	if err := h.watchKept(tx, p); err != nil {
		return err
	}
	if s, ok := tx.(*saving); ok && p.Revision > 0 {
		s.pathways = append(s.pathways, p.Code)
	}
	if err := tx.PutPathway(p); err != nil {
		return fmt.Errorf("writing pathway %s: %w", p.Code, err)
	}
	return nil
}

// textLimit bounds, in characters, a line that people type.
const textLimit = 200

// line tidies a line that people type: spaces folded, nothing that a header
// field or a terminal could stumble on.
func line(field, s string) (string, error) {
	s = strings.Join(strings.Fields(s), " ")
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fail("text-form", map[string]any{"field": field})
	}
	if utf8.RuneCountInString(s) > textLimit {
		return "", fail("text-long", map[string]any{"field": field, "limit": textLimit})
	}
	return s, nil
}

// lines tidies several in place; names and values alternate as in
// lines("name", &r.Name, …).
func lines(fields ...any) error {
	for i := 0; i < len(fields); i += 2 {
		value := fields[i+1].(*string)
		tidy, err := line(fields[i].(string), *value)
		if err != nil {
			return err
		}
		*value = tidy
	}
	return nil
}

// shownBox is an address as people and scripts see it: a citizen's address is
// an INS and is masked everywhere outside SMTP.
func (h *Hub) shownBox(a store.Address) string {
	if !a.Citizen() {
		return string(a)
	}
	return texts.T(h.o.Locale, "op.citizen-box", map[string]any{"ins": identity.Mask(strings.ToUpper(a.Local()))})
}
