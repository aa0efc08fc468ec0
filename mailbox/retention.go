package mailbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// How long things are kept. What the law makes us keep is kept; of the rest,
// what its time is over for goes by itself, every day a little, and each purge
// leaves a trace:
//
//   - technical traces (CNIL on logging: 6 months to 1 year);
//   - application traces, and closed pathways, as the medical record: 20 years,
//     and for a child until the 28th birthday (CSP R.1112-7). Traces about a
//     pathway that is still here stay with it. A closed pathway whose time is
//     over is not erased by a machine: its coordinators, else the desk, are asked
//     to, again each year;
//   - notices about no pathway, which tell a sender that a mail was held or
//     refused, with the technical traces;
//   - the digests by which a mail of an operator's box is known should the box
//     show it again, when a box keeps nothing for so long.
//
// What a pathway consists of, its deliveries included, goes with its erasure.
// Held mail has its own, shorter end ([TriageTimes]).

// RetentionTimes say how long. Zero: for ever.
type RetentionTimes struct {
	Technical time.Duration
	Record    time.Duration // application traces; a pathway, from its closing
	UntilAge  int           // years: what is about a child is kept until then at least
	Taken     time.Duration // digests of mails taken from operators' boxes, since they were last seen there
}

const (
	laneRetention = "timer:retention" // the daily purge
	laneKept      = "timer:kept"      // closed pathways whose time is over

	retentionItem  = store.ItemID("retention")
	retentionEvery = 24 * time.Hour
	retentionRetry = time.Minute // when there was more than one run takes

	// steadyFor is how long the clock must have gone on without a jump before
	// anything is purged by it. A jump is more than maxStep from one look to the
	// next, or backwards. The price: after a stop of more than maxStep, or a new
	// start, nothing goes for three days. The gain: no clock that is wrong for a
	// moment can make the hub forget what it must keep.
	steadyFor = 3 * 24 * time.Hour
	maxStep   = 3 * 24 * time.Hour

	purgeBatch   = 500 // records of one commit
	purgeBatches = 100 // of one run
	askAgain     = 365 * 24 * time.Hour
)

// retentionState is what the purge remembers, as a setting of the store.
type retentionState struct {
	Looked time.Time           `json:"looked"`          // when the clock was last looked at
	Steady time.Time           `json:"steady"`          // since when it has not jumped
	After  store.DeliveryID    `json:"after,omitempty"` // how far notices were looked at
	Taken  []byte              `json:"taken,omitempty"` // how far digests of mails taken were
	Last   map[string]LastGone `json:"last,omitempty"`  // by what went
}

const retentionSetting = "retention"

// LastGone is what last went of one kind.
type LastGone struct {
	At    time.Time `json:"at"`
	Count int       `json:"count"`
}

// RetentionView is how retention stands, for `relais status`.
type RetentionView struct {
	// OldestTechnical and OldestApplication are of the oldest trace kept.
	OldestTechnical   *time.Time `json:"oldest_technical"`
	OldestApplication *time.Time `json:"oldest_application"`
	// Purged says what last went: technical, application, notices, taken.
	Purged map[string]LastGone `json:"purged"`
	// PausedUntil is set while nothing is purged because the clock jumped, or
	// because the hub has only just begun to look at it.
	PausedUntil *time.Time `json:"paused_until,omitempty"`
}

// Retention tells how retention stands. It names nobody: no trace.
func (h *Hub) Retention(ctx context.Context) (RetentionView, error) {
	view := RetentionView{Purged: map[string]LastGone{}}
	err := h.view(ctx, func(v store.View) error {
		for f, to := range map[store.Family]**time.Time{store.Technical: &view.OldestTechnical, store.Application: &view.OldestApplication} {
			first, err := v.Traces(f, 0, 1)
			if err != nil {
				return err
			}
			if len(first) > 0 {
				*to = &first[0].At
			}
		}
		st, err := readRetention(v)
		if err != nil {
			return err
		}
		for kind, gone := range st.Last {
			view.Purged[kind] = gone
		}
		if until := st.Steady.Add(steadyFor); !st.Steady.IsZero() && h.o.Now().Before(until) {
			view.PausedUntil = &until
		}
		return nil
	})
	if err != nil {
		return view, fmt.Errorf("reading how retention stands: %w", err)
	}
	return view, nil
}

func readRetention(v store.View) (retentionState, error) {
	var st retentionState
	b, err := v.Setting(retentionSetting)
	if errors.Is(err, store.ErrNotFound) {
		return st, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	return st, err
}

func putRetention(tx store.Tx, st retentionState) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return tx.PutSetting(retentionSetting, b)
}

// look notes the time and reports whether the clock may be purged by.
func (st *retentionState) look(now time.Time) bool {
	if st.Looked.IsZero() || now.Before(st.Looked) || now.Sub(st.Looked) > maxStep {
		st.Steady = now
	}
	st.Looked = now
	return now.Sub(st.Steady) >= steadyFor
}

// planRetention makes sure that the daily purge is due within a day: of a new
// store, and where a wrong clock put it far ahead.
func (h *Hub) planRetention(ctx context.Context) error {
	planned := false
	err := h.view(ctx, func(v store.View) error {
		it, err := v.Item(retentionItem)
		planned = err == nil && !it.Due.After(h.o.Now().Add(retentionEvery))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err == nil && !planned {
		err = h.change(ctx, func(tx store.Tx) error {
			return tx.PutItem(store.Item{ID: retentionItem, Lane: laneRetention, Due: h.o.Now()})
		})
	}
	if err != nil {
		return fmt.Errorf("planning the daily purge: %w", err)
	}
	return nil
}

// retentionTimer purges what its time is over for, in commits of a bounded
// size, and plans the next day.
func (h *Hub) retentionTimer(ctx context.Context, it store.Item) error {
	var steady bool
	err := h.change(ctx, func(tx store.Tx) error {
		st, err := readRetention(tx)
		if err != nil {
			return fmt.Errorf("reading what was purged: %w", err)
		}
		if steady = st.look(h.o.Now()); !steady {
			h.log.Info("nothing is purged until the clock has gone steadily", "since", st.Steady)
		}
		return putRetention(tx, st)
	})
	if err != nil {
		return err
	}
	next := retentionEvery
	if steady {
		more, err := h.purge(ctx)
		if err != nil {
			return err
		}
		if more {
			next = retentionRetry
		}
	}
	return h.change(ctx, func(tx store.Tx) error {
		it.Due = h.o.Now().Add(next)
		return tx.PutItem(it)
	})
}

// purge removes what may go, up to what one run takes; more: there is more.
func (h *Hub) purge(ctx context.Context) (more bool, err error) {
	left := purgeBatches
	for _, kind := range []struct {
		keep time.Duration
		one  func(context.Context, time.Time) (bool, error)
	}{
		{h.o.Retention.Technical, func(ctx context.Context, before time.Time) (bool, error) {
			return h.purgeTraces(ctx, store.Technical, before)
		}},
		{h.o.Retention.Record, func(ctx context.Context, before time.Time) (bool, error) {
			return h.purgeTraces(ctx, store.Application, before)
		}},
		{h.o.Retention.Technical, h.purgeNotices},
		{h.o.Retention.Taken, h.purgeTaken},
	} {
		if kind.keep <= 0 {
			continue
		}
		for again := true; again; left-- {
			if left == 0 {
				return true, nil
			}
			if again, err = kind.one(ctx, h.o.Now().Add(-kind.keep)); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// purgeTraces removes a batch of the oldest traces of a family; again: there
// may be more.
func (h *Hub) purgeTraces(ctx context.Context, f store.Family, before time.Time) (again bool, err error) {
	err = h.change(ctx, func(tx store.Tx) error {
		var fault error
		here := map[store.PathwayCode]bool{}
		gone, err := tx.PurgeTraces(f, purgeBatch, func(t *store.Trace) bool {
			if fault != nil || !t.At.Before(before) {
				return false
			}
			for _, code := range t.Pathways() {
				kept, known := here[code]
				if !known {
					if kept, fault = isHere(tx, code); fault != nil {
						return false
					}
					here[code] = kept
				}
				if kept && f == store.Application {
					return false
				}
			}
			return true
		})
		if err = errors.Join(err, fault); err != nil {
			return err
		}
		again = gone.Count == purgeBatch
		if gone.Count == 0 {
			return nil
		}
		err = h.put1(tx, hubActor, store.Trace{Family: f, Action: "audit.purged", Outcome: outcomeDone, Detail: map[string]string{
			"count": fmt.Sprint(gone.Count), "first": fmt.Sprint(gone.First), "last": fmt.Sprint(gone.Last), "hash": gone.Hash,
			"from": gone.Oldest.UTC().Format(time.RFC3339), "to": gone.Newest.UTC().Format(time.RFC3339),
		}})
		if err != nil {
			return err
		}
		return h.noteGone(tx, string(f), gone.Count)
	})
	if errors.Is(err, store.ErrCorrupt) {
		// Evidence is not purged: somebody must look first.
		h.log.Error("traces do not fit and are not purged: verify them", "family", f, "error", err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("purging traces: %w", err)
	}
	return again, nil
}

// isHere reports whether a pathway is still kept.
func isHere(v store.View, code store.PathwayCode) (bool, error) {
	_, err := v.Pathway(code)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
		return false, nil
	}
	return true, err
}

// noteGone adds to what went today.
func (h *Hub) noteGone(tx store.Tx, kind string, n int) error {
	st, err := readRetention(tx)
	if err != nil {
		return err
	}
	h.countGone(&st, kind, n)
	return putRetention(tx, st)
}

func (h *Hub) countGone(st *retentionState, kind string, n int) {
	if n == 0 {
		return
	}
	last := st.Last[kind]
	if h.o.Now().Sub(last.At) >= retentionEvery/2 {
		last.Count = 0
	}
	if st.Last == nil {
		st.Last = map[string]LastGone{}
	}
	st.Last[kind] = LastGone{At: h.o.Now(), Count: last.Count + n}
}

// purgeNotices looks at the next deliveries, in the order of their ids, and
// removes old notices among them. A run ends at the end of the list; the next
// one begins anew.
func (h *Hub) purgeNotices(ctx context.Context, before time.Time) (bool, error) {
	return h.purgeRows(ctx, "notices", func(tx store.Tx, st *retentionState) (n int, again bool, err error) {
		st.After, n, err = tx.PurgeNotices(st.After, 4*purgeBatch, func(d *store.Delivery) bool {
			return d.Created.Before(before) && d.Ended.Before(before)
		})
		return n, st.After != "", err
	})
}

// purgeTaken looks at the next digests of mails taken in the same way.
func (h *Hub) purgeTaken(ctx context.Context, before time.Time) (bool, error) {
	return h.purgeRows(ctx, "taken", func(tx store.Tx, st *retentionState) (n int, again bool, err error) {
		st.Taken, n, err = tx.PurgeTaken(st.Taken, 4*purgeBatch, before)
		return n, st.Taken != nil, err
	})
}

// purgeRows is one commit of a purge that goes through rows of a kind, and notes
// in the state how far; again: the end was not reached.
func (h *Hub) purgeRows(ctx context.Context, kind string, look func(store.Tx, *retentionState) (gone int, again bool, err error)) (again bool, err error) {
	err = h.change(ctx, func(tx store.Tx) error {
		st, err := readRetention(tx)
		if err != nil {
			return err
		}
		var n int
		if n, again, err = look(tx, &st); err != nil {
			return err
		}
		if n > 0 {
			err = h.put1(tx, hubActor, store.Trace{Family: store.Technical, Action: "retention.removed", Outcome: outcomeDone, Detail: map[string]string{
				"kind": kind, "count": fmt.Sprint(n),
			}})
			if err != nil {
				return err
			}
		}
		h.countGone(&st, kind, n)
		return putRetention(tx, st)
	})
	if err != nil {
		return false, fmt.Errorf("purging %s: %w", kind, err)
	}
	return again, nil
}

// keptUntil is until when a closed pathway must be kept; zero: it is not
// closed, or kept for ever.
func (h *Hub) keptUntil(p *store.Pathway) time.Time {
	if p.Status != store.PathwayClosed || p.MergedInto != "" || h.o.Retention.Record <= 0 {
		return time.Time{}
	}
	closed := p.Created
	for i := range p.Events {
		if e := &p.Events[i]; e.Status == store.PathwayClosed {
			closed = e.At
		}
	}
	until := closed.Add(h.o.Retention.Record)
	if born, err := time.ParseInLocation(time.DateOnly, p.Patient.BirthDate, time.Local); err == nil {
		if grown := born.AddDate(h.o.Retention.UntilAge, 0, 0); grown.After(until) {
			until = grown
		}
	}
	return until
}

func keptItem(code store.PathwayCode) store.ItemID { return store.ItemID("kept." + string(code)) }

// watchKept sets or takes away the timer of a closed pathway.
func (h *Hub) watchKept(tx store.Tx, p *store.Pathway) error {
	until := h.keptUntil(p)
	it, err := tx.Item(keptItem(p.Code))
	switch {
	case errors.Is(err, store.ErrNotFound) && until.IsZero():
		return nil
	case errors.Is(err, store.ErrNotFound):
		it = &store.Item{ID: keptItem(p.Code), Lane: laneKept, Pathway: p.Code}
	case err != nil:
		return fmt.Errorf("reading a timer: %w", err)
	}
	it.Token = 0
	if until.IsZero() {
		return tx.DropItem(*it)
	}
	it.Due = keptAgain(h.o.Now(), until)
	return tx.PutItem(*it)
}

// keptAgain is when a closed pathway is looked at next. The end of its time may
// follow from the birth date, which neither a due time, on disk in clear, nor a
// trace may tell: so it is looked at each month.
func keptAgain(now, until time.Time) time.Time {
	if now.Before(until) {
		return now.AddDate(0, 1, 0)
	}
	return now
}

// keptTimer asks for the erasure of a pathway whose time is over.
func (h *Hub) keptTimer(ctx context.Context, it store.Item) error {
	return h.change(ctx, func(tx store.Tx) error {
		p, err := tx.Pathway(it.Pathway)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
			return tx.DropItem(it)
		}
		if err != nil {
			return fmt.Errorf("reading pathway %s: %w", it.Pathway, err)
		}
		now, until := h.o.Now(), h.keptUntil(p)
		if until.IsZero() {
			return tx.DropItem(it)
		}
		st, err := readRetention(tx)
		if err != nil {
			return err
		}
		it.Due = keptAgain(now, until)
		switch {
		case now.Before(until):
		case st.Looked.IsZero() || now.Sub(st.Looked) > maxStep || now.Sub(st.Steady) < steadyFor:
			it.Due = now.Add(retentionEvery) // not by a clock that may be wrong
		default:
			if err := h.askErasure(tx, p, until); err != nil {
				return err
			}
			it.Due = now.Add(askAgain)
		}
		return tx.PutItem(it)
	})
}

// askErasure asks those who answer for a pathway to erase it.
func (h *Hub) askErasure(tx store.Tx, p *store.Pathway, until time.Time) error {
	prog, err := h.programme(p.Programme)
	if err != nil && !errors.Is(err, ErrNoProgramme) {
		return err
	}
	args := map[string]any{"pathway": string(p.Code), "date": texts.Date(h.o.Locale, until)}
	n := notice{kind: noticeKept, prog: prog, subject: texts.T(h.o.Locale, "keeping.kept-subject", args), paragraphs: []string{
		texts.T(h.o.Locale, "keeping.kept", args), texts.T(h.o.Locale, "keeping.kept-next", args),
	}}
	if prog != nil {
		if _, err := h.tellStaff(tx, p, prog, n, false); err != nil {
			return err
		}
	}
	return h.trace(tx, hubActor, "retention.over", p.Code, "", outcomeDone, nil)
}
