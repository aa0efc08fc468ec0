package mailbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/relais-sante/relais/mailbox/directory"
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// The national directory: whose box is whose. It helps to name members and
// tells when their boxes are gone; it decides nothing about their mail.

// ImportDirectory takes a new extract of the national directory, whole or not
// at all, and tells what changed: above all which boxes of members are gone.
func (h *Hub) ImportDirectory(ctx context.Context, by Actor, q DirectoryImport, extract io.Reader) (DirectoryReport, error) {
	if h.o.Directory == nil {
		return DirectoryReport{}, fail("directory-none", nil)
	}
	watch, err := h.outsideBoxesKnown(ctx)
	if err != nil {
		return DirectoryReport{}, err
	}
	start := h.o.Now()
	r, err := h.o.Directory.Import(ctx, extract, directory.Import{Name: q.File, Force: q.Force, Watch: watch})
	took := h.o.Now().Sub(start)
	if err := h.traceImport(context.WithoutCancel(ctx), by, q, &r, err); err != nil {
		return DirectoryReport{}, err
	}
	if err != nil {
		return DirectoryReport{}, importFailure(err, &r)
	}
	h.log.Info("directory imported", "boxes", r.Boxes, "entries", r.Entries, "lines", r.Lines, "gone", len(r.Gone), "took", took)
	view := DirectoryReport{
		Imported: r.Imported, Issued: moment(r.Issued), Before: moment(r.Before.Imported), Lines: r.Lines, Entries: r.Entries,
		Boxes: r.Boxes, BoxesBefore: r.Before.Boxes, Duplicates: r.Duplicates, Types: r.Types, Faulty: r.Faulty, Changes: r.Changes,
		Seconds: took.Seconds(),
	}
	err = h.view(ctx, func(v store.View) error {
		view.Gone = nil
		for _, a := range r.Gone {
			box, err := h.boxNamed(v, string(a))
			if err != nil {
				return err
			}
			shown, err := h.boxView(v, by, box)
			if err != nil {
				return err
			}
			if len(shown.Members) > 0 { // not one that nobody uses any more
				view.Gone = append(view.Gone, shown)
			}
		}
		return nil
	})
	return view, err
}

// outsideBoxesKnown lists the boxes of members that a directory may have:
// citizens' boxes are in none.
func (h *Hub) outsideBoxesKnown(ctx context.Context) ([]store.Address, error) {
	var all []store.Address
	next := store.Address("")
	for {
		page := 0
		err := h.view(ctx, func(v store.View) error {
			boxes, err := v.Boxes(next, listPage)
			if err != nil {
				return fmt.Errorf("listing boxes: %w", err)
			}
			page = len(boxes)
			for _, b := range boxes {
				if next = b.Address; !next.Citizen() {
					all = append(all, next)
				}
			}
			return nil
		})
		if err != nil || page < listPage {
			return all, err
		}
	}
}

// traceImport records an import, done or refused.
func (h *Hub) traceImport(ctx context.Context, by Actor, q DirectoryImport, r *directory.Report, err error) error {
	outcome, detail := outcomeDone, map[string]string{
		"lines": strconv.FormatInt(r.Lines, 10), "boxes": strconv.FormatInt(r.Boxes, 10), "force": strconv.FormatBool(q.Force),
		"vanished": strconv.FormatInt(r.Changes.Vanished, 10), "gone": strconv.Itoa(len(r.Gone)),
	}
	if err != nil {
		outcome, detail["reason"] = outcomeRefused, "broken-off"
		var failure *Failure
		if errors.As(importFailure(err, r), &failure) {
			detail["reason"] = failure.Code
		}
	}
	return h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, "directory.imported", "", "", outcome, detail)
	})
}

// importFailure says what a person can mend; other errors stay as they are.
func importFailure(err error, r *directory.Report) error {
	switch {
	case errors.Is(err, directory.ErrBusy):
		return fail("directory-busy", nil)
	case errors.Is(err, directory.ErrNotExtract):
		return fail("directory-form", nil)
	case errors.Is(err, directory.ErrEmpty):
		return fail("directory-empty", nil)
	case errors.Is(err, directory.ErrTooLarge):
		return fail("directory-large", nil)
	case errors.Is(err, directory.ErrFaulty):
		var faulty int64
		for _, f := range r.Faulty {
			faulty += f.Lines
		}
		first := r.Faulty[0]
		return fail("directory-faulty", map[string]any{
			"lines": r.Lines, "faulty": faulty, "line": first.First, "reason": said{id: texts.ID("op.faulty-" + string(first.Reason))},
		})
	case errors.Is(err, directory.ErrShrunk):
		return fail("directory-shrunk", map[string]any{"before": r.Before.Boxes, "now": r.Boxes})
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

// SearchDirectory finds boxes of the national directory. It is public, and
// nothing of a patient: searches leave no trace.
func (h *Hub) SearchDirectory(ctx context.Context, _ Actor, q DirectoryQuery) (DirectoryPage, error) {
	if h.o.Directory == nil {
		return DirectoryPage{}, fail("directory-none", nil)
	}
	if identity.FoldName(q.Words) == "" && strings.TrimSpace(q.RPPS) == "" {
		return DirectoryPage{}, fail("directory-words", nil)
	}
	number, _, err := rpps(q.RPPS)
	if err != nil {
		return DirectoryPage{}, err
	}
	page, err := h.o.Directory.Search(ctx, directory.Query{Text: q.Words, RPPS: identity.RPPS(number), Limit: q.Limit, Offset: q.Offset})
	switch {
	case errors.Is(err, directory.ErrNone):
		return DirectoryPage{}, fail("directory-none", nil)
	case errors.Is(err, directory.ErrTooManyWords):
		return DirectoryPage{}, fail("directory-many", map[string]any{"limit": directory.MaxWords})
	case err != nil:
		return DirectoryPage{}, err
	}
	s := h.o.Directory.Status()
	return DirectoryPage{Total: page.Total, Entries: page.Entries, Imported: s.Imported, Issued: moment(s.Issued)}, nil
}

// fromDirectory fills in what a request for a new member leaves out and the
// directory knows: the box of an RPPS number, if there is only one and it is
// theirs; the type of a box. It reads a file, so it comes before the commit.
func (h *Hub) fromDirectory(r *MemberRequest) error {
	if strings.TrimSpace(r.Mailbox) == "" {
		number, _, err := rpps(r.RPPS)
		if err != nil || number == "" {
			return err
		}
		if err := h.boxOfRPPS(r, identity.RPPS(number)); err != nil {
			return err
		}
	}
	if r.Type == "" {
		r.Type = string(h.listedType(store.NewAddress(r.Mailbox)))
	}
	return nil
}

// listedType is what the directory says of a box, or nothing. A directory that
// cannot be read is no reason to refuse a member.
func (h *Hub) listedType(a store.Address) store.BoxType {
	if h.o.Directory == nil || a == "" || a.Citizen() {
		return ""
	}
	found, err := h.o.Directory.ByAddress(a)
	if err != nil && !errors.Is(err, directory.ErrNone) {
		h.log.Error("the directory could not be read", "error", err)
	}
	if len(found) == 0 {
		return ""
	}
	// One address has one type; if the extract errs, shared is the careful one.
	return slices.MaxFunc(found, func(x, y directory.Entry) int {
		return cmp.Compare(shared(x.Type), shared(y.Type))
	}).Type
}

func shared(t store.BoxType) int {
	if t == store.BoxORG || t == store.BoxCAB {
		return 1
	}
	return 0
}

// boxOfRPPS gives r the one box of a professional. With several a person has to
// choose; where the name is another's the number is wrong.
func (h *Hub) boxOfRPPS(r *MemberRequest, number identity.RPPS) error {
	if h.o.Directory == nil {
		return fail("directory-none", nil)
	}
	found, err := h.o.Directory.ByRPPS(number)
	switch {
	case errors.Is(err, directory.ErrNone):
		return fail("directory-none", nil)
	case err != nil:
		return err
	case len(found) == 0:
		return fail("directory-rpps", map[string]any{"rpps": string(number)})
	}
	if r.Name != "" && !slices.ContainsFunc(found, func(e directory.Entry) bool { return bears(r.Name, &e) }) {
		return fail("directory-other", map[string]any{"rpps": string(number), "holder": found[0].Name(), "name": r.Name})
	}
	var boxes []string
	for i := range found {
		if !slices.Contains(boxes, found[i].Mailbox) {
			boxes = append(boxes, found[i].Mailbox)
		}
	}
	if len(boxes) > 1 {
		return fail("directory-several", map[string]any{"rpps": string(number), "n": len(boxes), "boxes": strings.Join(boxes, ", ")})
	}
	e := &found[0]
	r.Mailbox = e.Mailbox
	r.Name = cmp.Or(r.Name, strings.TrimSpace(e.GivenName+" "+e.FamilyName))
	r.Establishment = cmp.Or(r.Establishment, e.Structure)
	return nil
}

// bears reports whether a name that a person typed can be that of the holder:
// the family name is in it, or a word of one that has several.
func bears(name string, e *directory.Entry) bool {
	if strings.Contains(identity.NameKey(name), identity.NameKey(e.FamilyName)) {
		return true
	}
	typed := strings.Fields(identity.FoldName(name))
	return slices.ContainsFunc(strings.Fields(identity.FoldName(e.FamilyName)), func(word string) bool {
		return len(word) > 2 && slices.Contains(typed, word)
	})
}

// moment is a time that may be unknown.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
