package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	ids      reported
	delivery *store.Delivery // the copy it is about, if known
	message  *store.Message
	box      store.Address // whose box it is about
	outcome  string        // DSN action, MDN disposition, "auto"
	status   string        // enhanced status of a DSN
	// diagnostic is what the remote server said (RFC 3464 §2.3.6). It may name
	// people: it is looked through, and not kept.
	diagnostic string
	failed     bool          // the copy did not arrive
	answer     *store.Answer // what a receipt says
}

// reported are the ids by which a report says what it is about, and the boxes it
// says it speaks for.
type reported struct {
	deliveries []string // envelope ids, X-Relais-Delivery
	messages   []string // Message-IDs
	boxes      []store.Address
}

// report tells whether a message is a report, and what it says. nil: it is a
// post.
func (in *incoming) report() *report {
	r := &report{}
	switch {
	case letter.IsDSN(in.idx) || letter.LooksLikeBounce(in.idx, string(in.env.MailFrom)) || in.bouncesFromCitizen():
		r.kind = store.KindDSN
	case letter.IsMDN(in.idx):
		r.kind = store.KindMDN
	case in.auto.Answer() || in.env.MailFrom == "":
		r.kind, r.outcome = store.KindAuto, "auto"
	default:
		return nil
	}
	r.box = in.fromAddr
	for _, rcpt := range in.env.Rcpts {
		if rcpt.Box != "" {
			r.box = rcpt.Box
		}
	}
	r.ids = in.reportIDs(r)
	return r
}

// readReport tells whether a message is a report, and about what of a pathway.
// nil: it is a post.
func (h *Hub) readReport(v store.View, p *store.Pathway, in *incoming) (*report, error) {
	r := in.report()
	if r == nil {
		return nil, nil
	}
	if err := h.findReported(v, p, r); err != nil {
		return nil, err
	}
	return r, nil
}

// pathwaysOfReport tells which pathways a report that came to an operator's box
// is about: there is no bounce address to say so.
func (h *Hub) pathwaysOfReport(v store.View, in *incoming) ([]store.PathwayCode, error) {
	r := in.report()
	if r == nil {
		return nil, nil
	}
	d, err := deliveryOf(v, r.ids.deliveries)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return []store.PathwayCode{d.Pathway}, nil
	}
	var codes []store.PathwayCode
	for _, id := range r.ids.messages {
		if !letter.ValidID(id) {
			continue
		}
		found, err := h.pathwaysOfID(v, id)
		if err != nil {
			return nil, err
		}
		codes = append(codes, found...)
	}
	return codes, nil
}

// aboutNotice tells whether a report of no pathway is about a notice, and about
// which one if it says so. nil: it is not.
func (h *Hub) aboutNotice(v store.View, in *incoming) (*report, error) {
	r := in.report()
	if r == nil {
		return nil, nil
	}
	var err error
	if r.delivery, err = deliveryOf(v, r.ids.deliveries); err != nil {
		return nil, err
	}
	if r.delivery == nil && !slices.ContainsFunc(r.ids.messages, h.ofNotice) {
		return nil, nil
	}
	return r, nil
}

// deliveryOf finds the first delivery of the ids that there is, or nil.
func deliveryOf(v store.View, ids []string) (*store.Delivery, error) {
	for _, id := range ids {
		if id == "" || len(id) > 64 {
			continue
		}
		d, err := v.Delivery(store.DeliveryID(strings.ToLower(id)))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up a delivery: %w", err)
		}
		return d, nil
	}
	return nil, nil
}

// reportIDs reads the machine's part of a report.
func (in *incoming) reportIDs(r *report) reported {
	ids := reported{boxes: []store.Address{r.box}}
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
				r.outcome, r.status, r.diagnostic = action, rcpt.Status, rcpt.Diagnostic
			}
			r.failed = r.failed || action == "failed"
			ids.boxes = append(ids.boxes, store.NewAddress(rcpt.Original), store.NewAddress(rcpt.Final))
		}
	case store.KindMDN:
		mdn, err := letter.ReadMDN(in.reading.Report)
		if err != nil {
			break
		}
		ids.messages = append(ids.messages, mdn.OriginalMessageID)
		ids.boxes = append(ids.boxes, store.NewAddress(mdn.OriginalRecipient), store.NewAddress(mdn.FinalRecipient))
		r.answer = &store.Answer{Type: disposition(mdn.Type), Failed: mdn.Failed(), Code: nationalCode(mdn.ErrorCode)}
		r.outcome = r.answer.Type
		if r.answer.Failed {
			r.outcome = strings.TrimSpace(r.outcome + "/error " + r.answer.Code)
		}
	}
	ids.messages = append(ids.messages, threadIDs(&in.idx.Envelope)...)
	return ids
}

// disposition keeps a word of RFC 8098 §3.2.6.2, or of the RFC before it.
func disposition(word string) string {
	switch word {
	case "displayed", "processed", "deleted", "dispatched", "denied", "failed":
		return word
	}
	return "other"
}

// findReported finds the copy, else the message, a report is about.
func (h *Hub) findReported(v store.View, p *store.Pathway, r *report) error {
	d, err := deliveryOf(v, r.ids.deliveries)
	if err != nil {
		return err
	}
	if d != nil && d.Pathway == p.Code {
		r.delivery, r.box = d, d.Mailbox
		if d.Message == "" {
			return nil
		}
		m, err := v.Message(p.Code, r.delivery.Message)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading message %s: %w", r.delivery.Message, err)
		}
		r.message = m
		return nil
	}
	for _, id := range r.ids.messages {
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
			return r.findCopy(v)
		}
	}
	return nil
}

// findCopy finds the copy of r.message that a report speaks of, by the boxes it
// names.
func (r *report) findCopy(v store.View) error {
	for _, box := range r.ids.boxes {
		d, err := lastCopy(v, r.message, box)
		if err != nil {
			return err
		}
		if d != nil {
			r.delivery, r.box = d, d.Mailbox
			return nil
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
	if pl.pathway == nil {
		return Receipt{}, h.recordApart(ctx, pl, in)
	}
	m := h.composeReport(pl, in)
	receipt := Receipt{Pathway: m.Pathway, Message: m.ID}
	err := h.take(ctx, in, func(tx store.Tx) error {
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
		return h.apply(tx, pl, in, d)
	})
	if err != nil {
		return Receipt{}, err
	}
	h.dropTriageKey(ctx, in)
	return receipt, nil
}

// recordApart traces a report about a notice of no pathway, which has no thread
// to be recorded on. Its content is not kept.
func (h *Hub) recordApart(ctx context.Context, pl *plan, in *incoming) error {
	r := pl.report
	err := h.take(ctx, in, func(tx store.Tx) error {
		object := ""
		if r.delivery != nil {
			object = string(r.delivery.ID)
			d, err := tx.Delivery(r.delivery.ID)
			if err != nil {
				return fmt.Errorf("reading delivery %s: %w", r.delivery.ID, err)
			}
			if err := h.apply(tx, pl, in, d); err != nil {
				return err
			}
		}
		if in.held != nil {
			if err := tx.DropHeld(in.held.ID); err != nil {
				return fmt.Errorf("dropping a held report: %w", err)
			}
		}
		return h.trace(tx, hubActor, "notice."+string(r.kind), "", object, outcomeDone, map[string]string{"outcome": r.outcome})
	})
	if err != nil {
		return err
	}
	h.dropTriageKey(ctx, in)
	return nil
}

// apply writes into a delivery what a report says of it.
func (h *Hub) apply(tx store.Tx, pl *plan, in *incoming, d *store.Delivery) error {
	r := pl.report
	switch {
	case r.failed && d.State == store.Sent || r.failed && d.State == store.Partial:
		var status string
		d.State = store.Failed
		d.LastError, status = in.bounced(r, d.Mailbox)
		if err := tx.PutDelivery(d); err != nil {
			return fmt.Errorf("recording a bounce of %s: %w", d.ID, err)
		}
		if addressError(status) {
			if err := h.mark(tx, d.Mailbox, status); err != nil {
				return err
			}
		}
		if d.Notice != nil || r.message == nil {
			return nil
		}
		return h.tellNotDelivered(tx, pl.pathway, r.message, []*store.Delivery{d})
	case r.answer != nil && d.Notice == nil:
		a := *r.answer
		a.At = h.o.Now()
		if d.Answer == nil || !d.Answer.Failed || a.Failed { // a refusal is not read away
			d.Answer = &a
		}
		if a.Type == "displayed" && !a.Failed {
			state := "read"
			if len(d.Seen) > 1 || boxShared(pl.pathway, d.Mailbox) {
				state = "box" // somebody of the box; nobody knows who
			}
			for i := range d.Seen {
				if d.Seen[i].State == "no" {
					d.Seen[i].State, d.Seen[i].By, d.Seen[i].At = state, "mdn", a.At
				}
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
