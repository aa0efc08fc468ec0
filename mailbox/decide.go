package mailbox

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Reasons for which a message waits for a human (the contract's triage
// reasons).
const (
	reasonUnknownSender = "unknown-sender"
	reasonConflicting   = "conflicting-pathway"
	reasonWrongPatient  = "wrong-patient"
	reasonTwoPatients   = "two-patients"
	reasonConsent       = "consent"
	reasonSuspended     = "suspended"
	reasonRule          = "rule"
	reasonUnreadable    = "unreadable-archive"
	reasonNoPathway     = "no-pathway"
)

// detailNoIdentity is of wrong-patient: a document does not say whose it is.
const detailNoIdentity = "identity-missing"

// plan is everything decided about a message before anything is written. It is
// built on one snapshot; the commit checks that the pathway has not changed.
type plan struct {
	pathway  *store.Pathway
	prog     *rules.Programme
	clues    []clue
	held     string // reason; empty: filed
	detail   string
	others   []store.PathwayCode // what disagreeing clues named
	writer   *writer
	parent   *store.Message
	decision rules.Decision
	message  *store.Message
	copyID   string
	under    []store.MessageRef // what stands under copyID already
	verdicts map[store.MemberID]verdict
	missed   []missedDocument
	refused  []int             // documents of message that claim to replace what they may not
	copies   []*store.Delivery // of message, if it is filed
	// duplicate is the message already filed with the same fingerprint.
	duplicate   *store.MessageRef
	fingerprint [32]byte
	report      *report // DSN, MDN, automatic answer: recorded, not relayed
}

// hold sets the first reason that is true and was not settled by a human.
func (pl *plan) hold(in *incoming, reason, detail string) bool {
	if pl.held != "" || slices.Contains(in.given.settled, reason) {
		return false
	}
	pl.held, pl.detail = reason, detail
	return true
}

// decide plans what becomes of a message. An error is a Refusal or temporary.
func (h *Hub) decide(v store.View, in *incoming) (*plan, error) {
	pl := &plan{}
	var err error
	if pl.clues, err = h.clues(v, in); err != nil {
		return nil, err
	}
	code, ok := named(pl.clues)
	if !ok {
		if pl.report, err = h.aboutNotice(v, in); err != nil || pl.report != nil {
			return pl, err
		}
		for _, c := range pl.clues {
			pl.others = append(pl.others, c.pathways...)
		}
		pl.hold(in, reasonNoPathway, "")
		return pl, nil
	}
	if pl.pathway, err = h.follow(v, code); err != nil {
		return nil, err
	}
	if pl.prog, err = h.programme(pl.pathway.Programme); err != nil {
		return nil, err
	}
	if pl.report, err = h.readReport(v, pl.pathway, in); err != nil || pl.report != nil {
		return pl, err
	}
	if err := standing(pl.pathway); err != nil {
		return nil, err
	}
	if pl.duplicate, err = h.seenAgain(v, pl, in); err != nil || pl.duplicate != nil {
		return pl, err
	}
	if ref, err := h.comesBack(v, pl.pathway, in); err != nil || ref != nil {
		pl.duplicate = ref
		return pl, err
	}
	if err := h.checkFacts(v, pl, in); err != nil {
		return nil, err
	}
	if pl.writer == nil {
		return pl, nil
	}
	return pl, h.route(v, pl, in)
}

// seenAgain finds the message that was filed with the same fingerprint. To an
// account that may not see that one it does not exist, which taking its own for
// a duplicate would tell: its own is then a message apart.
func (h *Hub) seenAgain(v store.View, pl *plan, in *incoming) (*store.MessageRef, error) {
	in.apart = ""
	for {
		pl.fingerprint = in.fingerprint(pl.pathway.Code)
		ref, err := v.Duplicate(pl.fingerprint)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("looking for a duplicate: %w", err)
		}
		a := in.env.Peer.Account
		if a == nil || in.apart != "" {
			return &ref, nil
		}
		m, err := v.Message(ref.Pathway, ref.Message)
		if err != nil {
			return nil, fmt.Errorf("reading message %s: %w", ref.Message, err)
		}
		if m.Author.Mailbox == a.Mailbox || slices.ContainsFunc(pl.pathway.Members, func(mem store.Member) bool {
			return a.standsFor(&mem) && h.maySee(pl.pathway, pl.prog, &mem, m, in.now).ok
		}) {
			return &ref, nil
		}
		in.apart = a.ID
	}
}

// checkFacts finds out who wrote and whether anything speaks against filing.
func (h *Hub) checkFacts(v store.View, pl *plan, in *incoming) error {
	p := pl.pathway
	w, known := h.attribute(v, p, pl.prog, in)
	if known {
		pl.writer = w
	} else {
		pl.hold(in, reasonUnknownSender, "")
	}
	if in.unreadable {
		pl.hold(in, reasonUnreadable, "")
	}
	h.checkPatients(pl, in)
	pl.others = disagreement(pl.clues, p.Code)
	named, err := h.otherChildren(v, in, p)
	if err != nil {
		return err
	}
	if len(named) > 0 {
		pl.clues = append(pl.clues, clue{clueName, named})
		pl.others = append(pl.others, named...)
	}
	if len(pl.others) > 0 {
		pl.hold(in, reasonConflicting, "")
	}
	if pathwayConsent(p) == consentNone {
		pl.hold(in, reasonConsent, "")
	}
	if p.Status == store.PathwaySuspended {
		pl.hold(in, reasonSuspended, "")
	}
	return nil
}

// comesBack recognises a copy of the hub's own that returns to the pathway it
// was made for: a box that forwards, two relays that face each other. It was
// relayed already.
func (h *Hub) comesBack(v store.View, p *store.Pathway, in *incoming) (*store.MessageRef, error) {
	id := in.field("X-Relais-Delivery")
	if id == "" || len(id) > 64 {
		return nil, nil
	}
	d, err := v.Delivery(store.DeliveryID(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up a delivery: %w", err)
	}
	if d.Pathway != p.Code {
		return nil, nil
	}
	return &store.MessageRef{Pathway: d.Pathway, Message: d.Message, Box: d.Mailbox}, nil
}

// route applies the programme's rules and the rights function.
func (h *Hub) route(v store.View, pl *plan, in *incoming) error {
	var err error
	if pl.parent, err = h.parent(v, pl, in); err != nil {
		return err
	}
	input := h.input(pl, in)
	if input.Replaces, err = h.replaces(v, pl, in); err != nil {
		return err
	}
	pl.decision = pl.prog.Decide(input)
	if pl.decision.Hold {
		pl.hold(in, reasonRule, pl.decision.HeldBy)
	}
	m := h.compose(pl, in)
	pl.message = m
	if !m.Audience.HiddenFromParents {
		if m.Audience.HiddenFromParents, err = h.inheritsSecret(v, pl, in); err != nil {
			return err
		}
	}
	if err = h.version(v, pl, in); err != nil {
		return err
	}
	if m.Audience.HiddenFromParents {
		markSecret(m)
	}
	if pl.copyID, pl.under, err = h.usableID(v, in, m.BodySum); err != nil {
		return err
	}
	if pl.copyID != m.RFCID {
		m.KnownAs = append(m.KnownAs, pl.copyID)
	}
	h.link(m, pl.parent, pl.prog.Conversation, in)
	pl.verdicts = map[store.MemberID]verdict{}
	for i := range pl.pathway.Members {
		mem := &pl.pathway.Members[i]
		pl.verdicts[mem.ID] = h.mayReceive(pl.pathway, pl.prog, mem, m, in.now)
	}
	pl.missed = h.missed(pl)
	return nil
}

// input are the facts the rules decide on.
func (h *Hub) input(pl *plan, in *incoming) rules.Input {
	f := rules.Facts{
		Sender: rules.SenderFacts{
			Role: pl.writer.filingRole(pl.prog), Establishment: pl.writer.author.Establishment,
			MailboxType: string(pl.writer.boxType),
		},
		Message: rules.MessageFacts{
			Subject: letter.CutTag(in.idx.Envelope.Subject), Urgent: in.urgent(),
			Auto: in.automatic(), Size: int(in.idx.Size),
		},
		Pathway: rules.PathwayFacts{Status: string(pl.pathway.Status), Programme: pl.prog.ID},
	}
	for i := range in.documents {
		d := &in.documents[i]
		f.Documents = append(f.Documents, rules.DocumentFacts{
			Code: d.Code, Filename: d.Filename, Media: d.Media, Confidentiality: d.Confidentiality,
		})
	}
	input := rules.Input{Rubrics: in.given.rubrics, Text: textOf(in)}
	for _, r := range in.env.Rcpts {
		if r.Rubric != "" && !slices.Contains(input.Rubrics, r.Rubric) {
			input.Rubrics = append(input.Rubrics, r.Rubric)
		}
	}
	if pl.parent != nil {
		input.Answers = true
		f.Answers = rules.AnswerFacts{Rubrics: pl.parent.Rubrics(), Role: pl.parent.Author.Role}
	}
	input.Facts = f
	return input
}
