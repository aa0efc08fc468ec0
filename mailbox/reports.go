package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Automatic answers, delivery status notifications and receipts are recorded
// on the thread and never fanned out, answered or held: that is what keeps two
// machines from talking to each other for ever.

// report is what a machine wrote about a copy.
type report struct {
	kind     store.MessageKind
	delivery *store.Delivery // the copy it is about, if known
	message  *store.Message
	box      store.Address // whose box it is about
	outcome  string        // DSN action, MDN disposition, "auto"
	status   string        // enhanced status of a DSN
	failed   bool          // the copy did not arrive
	read     bool          // somebody saw it
}

// readReport tells whether a message is a report, and about what. nil: it is a
// post.
func (h *Hub) readReport(v store.View, p *store.Pathway, in *incoming) (*report, error) {
	r := &report{}
	switch {
	case letter.IsDSN(in.idx) || letter.LooksLikeBounce(in.idx, string(in.env.MailFrom)):
		r.kind = store.KindDSN
	case letter.IsMDN(in.idx):
		r.kind = store.KindMDN
	case in.auto.Answer() || in.env.MailFrom == "":
		r.kind, r.outcome = store.KindAuto, "auto"
	default:
		return nil, nil
	}
	r.box = in.fromAddr
	for _, rcpt := range in.env.Rcpts {
		if rcpt.Box != "" {
			r.box = rcpt.Box
		}
	}
	ids := in.reportIDs(r)
	if err := h.findReported(v, p, r, ids); err != nil {
		return nil, err
	}
	return r, nil
}

// reported are the ids by which a report says what it is about.
type reported struct {
	deliveries []string // envelope ids, X-Relais-Delivery
	messages   []string // Message-IDs
}

// reportIDs reads the machine's part of a report.
func (in *incoming) reportIDs(r *report) reported {
	var ids reported
	mid, delivery := letter.ReturnedIDs(in.reading.ReturnedHeader)
	ids.deliveries = append(ids.deliveries, delivery)
	ids.messages = append(ids.messages, mid)
	switch r.kind {
	case store.KindDSN:
		dsn, err := letter.ReadDSN(in.reading.Report)
		if err != nil {
			r.outcome = "failed" // a bounce in words only
			r.failed = len(in.reading.Report) == 0
			break
		}
		ids.deliveries = append(ids.deliveries, dsn.EnvelopeID)
		for _, rcpt := range dsn.Recipients {
			action := strings.ToLower(rcpt.Action)
			if r.outcome == "" || action == "failed" {
				r.outcome, r.status = action, rcpt.Status
			}
			r.failed = r.failed || action == "failed"
		}
	case store.KindMDN:
		mdn, err := letter.ReadMDN(in.reading.Report)
		if err != nil {
			break
		}
		ids.messages = append(ids.messages, mdn.OriginalMessageID)
		r.outcome, r.status = mdn.Type, mdn.ErrorCode
		if mdn.Failed() {
			r.outcome += "/error"
		}
		r.read = mdn.Type == "displayed" && !mdn.Failed()
	}
	ids.messages = append(ids.messages, threadIDs(&in.idx.Envelope)...)
	return ids
}

// findReported finds the copy, else the message, a report is about.
func (h *Hub) findReported(v store.View, p *store.Pathway, r *report, ids reported) error {
	for _, id := range ids.deliveries {
		if id == "" || len(id) > 64 {
			continue
		}
		d, err := v.Delivery(store.DeliveryID(strings.ToLower(id)))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking up a delivery: %w", err)
		}
		if d.Pathway == p.Code && d.Message != "" {
			r.delivery, r.box = d, d.Mailbox
			break
		}
	}
	if r.delivery != nil {
		m, err := v.Message(p.Code, r.delivery.Message)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading message %s: %w", r.delivery.Message, err)
		}
		r.message = m
		return nil
	}
	for _, id := range ids.messages {
		if !letter.ValidID(id) {
			continue
		}
		refs, err := v.MessagesByID(id)
		if err != nil {
			return fmt.Errorf("looking up a message id: %w", err)
		}
		for _, ref := range refs {
			if ref.Pathway != p.Code {
				continue
			}
			m, err := v.Message(ref.Pathway, ref.Message)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("reading message %s: %w", ref.Message, err)
			}
			r.message = m
			r.delivery, err = lastCopy(v, m, r.box)
			return err
		}
	}
	return nil
}

// lastCopy is the last copy of a message for a box, or nil.
func lastCopy(v store.View, m *store.Message, box store.Address) (*store.Delivery, error) {
	ds, err := v.Deliveries(m.Pathway, m.ID)
	if err != nil {
		return nil, fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	var last *store.Delivery
	for _, d := range ds {
		if d.Mailbox == box && d.Notice == nil {
			last = d
		}
	}
	return last, nil
}

// record keeps a report on the thread, and what it says in the delivery it is
// about.
func (h *Hub) record(ctx context.Context, pl *plan, in *incoming) (Receipt, error) {
	r := pl.report
	m := h.composeReport(pl, in)
	receipt := Receipt{Pathway: m.Pathway, Message: m.ID}
	err := h.commit(ctx, func(tx store.Tx) error {
		if ref, err := tx.Duplicate(m.Fingerprint); err == nil {
			receipt = Receipt{Pathway: ref.Pathway, Message: ref.Message, Duplicate: true}
			return nil
		} else if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("looking for a duplicate: %w", err)
		}
		receipt = Receipt{Pathway: m.Pathway, Message: m.ID}
		if err := h.keep(tx, m, in); err != nil {
			return err
		}
		if err := h.trace(tx, hubActor, "message."+string(m.Kind), m.Pathway, string(m.ID), outcomeDone, map[string]string{"outcome": m.Outcome}); err != nil {
			return err
		}
		if r.delivery == nil {
			return nil
		}
		// Read again: what was looked at may have changed.
		d, err := tx.Delivery(r.delivery.ID)
		if err != nil {
			return fmt.Errorf("reading delivery %s: %w", r.delivery.ID, err)
		}
		return h.apply(tx, pl, d)
	})
	if err != nil {
		return Receipt{}, err
	}
	h.dropTriageKey(ctx, in)
	return receipt, nil
}

// apply writes into a delivery what a report says of it.
func (h *Hub) apply(tx store.Tx, pl *plan, d *store.Delivery) error {
	r := pl.report
	switch {
	case r.failed && d.State == store.Sent || r.failed && d.State == store.Partial:
		d.State, d.LastError = store.Failed, strings.TrimSpace(r.status+" dsn")
		if err := tx.PutDelivery(d); err != nil {
			return fmt.Errorf("recording a bounce of %s: %w", d.ID, err)
		}
		if addressError(r.status) {
			if err := h.mark(tx, d.Mailbox, r.status); err != nil {
				return err
			}
		}
		if d.Notice != nil || r.message == nil {
			return nil
		}
		return h.tellNotDelivered(tx, pl.pathway, r.message, []*store.Delivery{d})
	case r.read:
		state := "read"
		if len(d.Seen) > 1 || boxShared(pl.pathway, d.Mailbox) {
			state = "box" // somebody of the box; nobody knows who
		}
		for i := range d.Seen {
			if d.Seen[i].State == "no" {
				d.Seen[i].State, d.Seen[i].By, d.Seen[i].At = state, "mdn", h.o.Now()
			}
		}
		if err := tx.PutDelivery(d); err != nil {
			return fmt.Errorf("recording a receipt for %s: %w", d.ID, err)
		}
	}
	return nil
}

// boxShared reports whether several members share a box, or may.
func boxShared(p *store.Pathway, box store.Address) bool {
	n := 0
	for i := range p.Members {
		if p.Members[i].Mailbox == box {
			n++
			if p.Members[i].Type == store.BoxORG {
				return true
			}
		}
	}
	return n > 1
}

// composeReport makes the thread's record of a report. It is filed in no
// rubric: coordinators see it in the timeline, nobody is mailed.
func (h *Hub) composeReport(pl *plan, in *incoming) *store.Message {
	r := pl.report
	m := &store.Message{
		ID: store.MessageID(h.ids.next(in.now)), Pathway: pl.pathway.Code, Kind: r.kind,
		Received: in.env.Received, Date: in.idx.Envelope.Date, RFCID: in.rfcID, KnownAs: []string{in.rfcID},
		Subject: plainSubject(in.idx.Envelope.Subject), From: in.fromAddr, MailFrom: in.env.MailFrom,
		Author: store.Author{Name: in.from.Name, Mailbox: r.box, Certainty: store.ByBox, Clue: string(r.kind)},
		Size:   in.idx.Size, BodySum: [32]byte(in.idx.BodySum), Fingerprint: in.fingerprint(pl.pathway.Code),
		Root: h.pathwayRoot(pl.pathway.Code), AboutBox: r.box, Outcome: r.outcome, Via: string(in.env.Via),
	}
	if m.Received.IsZero() {
		m.Received = in.now
	}
	if m.Author.Name == "" {
		m.Author.Name = displayBox(r.box)
	}
	if r.message != nil {
		m.About = &store.MessageRef{Pathway: r.message.Pathway, Message: r.message.ID, Box: r.box}
		m.Parent = r.message.ID
	}
	return m
}
