package mailbox

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// Explain tells what would become of a mail sent now to a pathway: who wrote
// it, which rules match, where it is filed, who gets it and why, who does not
// and why. It is the same code that decides about real mail; nothing is kept
// but the trace that somebody asked. from overrides the sender's address.
func (h *Hub) Explain(ctx context.Context, by Actor, code, from string, mail io.Reader) (ExplainView, error) {
	in, err := h.hypothetical(ctx, by, code, from, mail)
	if err != nil {
		return ExplainView{}, err
	}
	if err := h.seen(ctx, by, "rules.explained", in.env.Rcpts[0].Pathway, ""); err != nil {
		return ExplainView{}, err
	}
	view := ExplainView{Pathway: string(in.env.Rcpts[0].Pathway), Verdict: "filed"}
	err = h.view(ctx, func(v store.View) error {
		pl, err := h.decide(v, in)
		var no *Refusal
		if errors.As(err, &no) {
			view.Verdict, view.Reason = "refused", string(no.Reason)
			return nil
		}
		if err != nil {
			return err
		}
		return h.story(v, pl, in, &view)
	})
	return view, err
}

// hypothetical reads a mail as if it had come in, without keeping it.
func (h *Hub) hypothetical(ctx context.Context, by Actor, code, from string, mail io.Reader) (*incoming, error) {
	limit := h.o.MaxMessage
	if limit <= 0 {
		limit = 64 << 20
	}
	raw, err := io.ReadAll(io.LimitReader(mail, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading a mail to explain: %w", err)
	}
	if int64(len(raw)) > limit {
		return nil, refuse(RefuseTooBig, nil)
	}
	// Files on a disk often end lines with LF alone; mail never does.
	raw = canonical(raw)
	reading, err := letter.Read(bytes.NewReader(raw), h.o.Reading)
	if err != nil {
		return nil, fmt.Errorf("reading a mail to explain: %w", err)
	}
	in := &incoming{now: h.o.Now(), reading: reading, idx: reading.Index}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
	if err := h.understand(ctx, in, open); err != nil {
		return nil, err
	}
	if from != "" {
		in.fromAddr = store.NewAddress(from)
	}
	in.env = Envelope{MailFrom: in.fromAddr, Via: ViaCLI, Received: in.now, Size: int64(len(raw))}
	err = h.view(ctx, func(v store.View) error {
		local := code
		if !identity.CheckCode(firstLabel(code)) {
			return fail("pathway-unknown", map[string]any{"pathway": code})
		}
		r, _, err := h.resolve(v, store.NewAddress(local+"@"+h.o.Domain))
		var no *Refusal
		if errors.As(err, &no) {
			return fail("pathway-unknown", map[string]any{"pathway": code})
		}
		if err != nil {
			return err
		}
		in.env.Rcpts = []Recipient{r}
		may, err := by.mayPathway(v, r.Pathway)
		if err == nil && !may {
			return by.outside()
		}
		return err
	})
	return in, err
}

func firstLabel(s string) string {
	head, _, _ := bytes.Cut([]byte(s), []byte("."))
	return string(head)
}

// canonical ends every line with CRLF.
func canonical(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
	if len(b) == 0 || b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// story tells a plan.
func (h *Hub) story(v store.View, pl *plan, in *incoming, view *ExplainView) error {
	for _, c := range pl.clues {
		for _, code := range c.pathways {
			view.Clues = append(view.Clues, ClueView{Kind: string(c.kind), Pathway: string(code)})
		}
	}
	switch {
	case pl.report != nil:
		view.Verdict, view.Reason = "recorded", string(pl.report.kind)
	case pl.duplicate != nil:
		view.Verdict, view.Reason = "duplicate", string(pl.duplicate.Message)
	case pl.held != "":
		view.Verdict, view.Reason = "held", pl.held
	}
	if pl.writer != nil {
		a := pl.writer.author
		view.Author = AuthorView{
			Name: a.Name, Role: a.Role, Mailbox: shownAddress(a.Mailbox), Certainty: string(a.Certainty),
			Member: string(a.Member), Clue: a.Clue,
		}
	} else {
		view.Author = AuthorView{Name: in.from.Name, Mailbox: shownAddress(in.fromAddr), Certainty: string(store.Unknown)}
	}
	m := pl.message
	if m == nil {
		return nil
	}
	view.Rubrics, view.Filed, view.Urgent = m.Rubrics(), m.Filed, m.Urgent
	if pl.parent != nil {
		view.Answers = string(pl.parent.ID)
	}
	for _, o := range pl.decision.Trail {
		view.Rules = append(view.Rules, RuleView{Rule: o.Rule, File: o.File, Line: o.Line, Matched: o.Matched, Error: o.Error})
	}
	for i := range m.Documents {
		d := &m.Documents[i]
		view.Documents = append(view.Documents, DocumentView{
			Filename: d.Filename, Type: d.Media, Code: d.Code, Size: d.Size, SHA256: hex.EncodeToString(d.SHA256),
			Title: d.Title, Rubric: d.Rubric,
		})
	}
	if err := h.planCopies(v, pl, in); err != nil {
		return err
	}
	var getting []store.MemberID
	for _, d := range pl.copies {
		view.Copies = append(view.Copies, copyView(d))
		getting = append(getting, d.Members...)
	}
	for i := range pl.pathway.Members {
		mem := &pl.pathway.Members[i]
		view.Members = append(view.Members, h.recipientView(mem, pl.verdicts[mem.ID], slices.Contains(getting, mem.ID)))
	}
	return nil
}

func copyView(d *store.Delivery) CopyView {
	c := CopyView{Mailbox: shownAddress(d.Mailbox), Subject: d.Subject, To: d.To}
	for _, id := range d.Members {
		c.Members = append(c.Members, string(id))
	}
	return c
}

// recipientView says whether a member gets the message, and why, in words.
func (h *Hub) recipientView(mem *store.Member, v verdict, gets bool) RecipientView {
	word := v.why
	if v.ok && !gets { // entitled, and yet no copy: it is from their own box
		word = whySameBox
	}
	return RecipientView{
		Member: string(mem.ID), Name: mem.Name, Role: mem.Role, Mailbox: shownAddress(mem.Mailbox),
		Gets: gets, Why: string(word), Rule: v.rule,
		Text: texts.T(h.o.Locale, texts.ID("why."+string(word)), map[string]any{"rule": v.rule}),
	}
}

const whySameBox why = "same-box"

// shownAddress is an address as people are shown it: a citizen's is an INS.
func shownAddress(a store.Address) string {
	if a.Citizen() {
		return displayBox(a)
	}
	return string(a)
}
