package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

func (c *cli) threadCommands() *cobra.Command {
	return c.group("thread", []string{"fil"}, c.threadShow())
}

func (c *cli) threadShow() *cobra.Command {
	var as string
	cmd := c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		t, err := hub.Thread(ctx, nobody, args[0], as)
		if err != nil {
			return err
		}
		return c.show(t, func() {
			c.line(texts.T(c.locale, "cli.thread-title", map[string]any{"pathway": t.Pathway, "n": len(t.Messages)}))
			names := c.names(ctx, hub, t.Pathway)
			for _, m := range t.Messages {
				fmt.Fprintln(c.out)
				c.message(m, names)
			}
		})
	})
	cmd.Flags().StringVar(&as, "as", "", "")
	return cmd
}

// names gives the names of everyone who is or was in a team by member. Without
// them the ids must do.
func (c *cli) names(ctx context.Context, hub *admin.Client, pathway string) map[string]string {
	names := map[string]string{}
	team, err := hub.Team(ctx, nobody, pathway, true)
	if err != nil {
		return names
	}
	for _, m := range team {
		names[m.Member] = m.Name
	}
	return names
}

// named lists members as "m2 Claire Petit".
func named(members []string, names map[string]string) string {
	var all []string
	for _, id := range members {
		all = append(all, strings.TrimSpace(id+" "+names[id]))
	}
	return strings.Join(all, ", ")
}

// message writes one entry of the timeline: who and when, what, where it is
// filed, and what became of each copy.
func (c *cli) message(m mailbox.MessageView, names map[string]string) {
	head := c.minute(m.Date) + "  " + c.author(m.Author)
	if m.Kind != string(store.KindPost) {
		head += " · " + c.kindWord(m.Kind)
	}
	if m.Urgent {
		head += " · " + texts.T(c.locale, "cli.urgent", nil)
	}
	c.line(head)
	c.line("  " + m.Subject)
	if m.Hidden {
		c.line("  " + texts.T(c.locale, "cli.hidden-from-parents", nil))
	}
	if m.Retracted != nil {
		reason := m.Reason // a person's words, but for one of the hub's
		if reason == "merged" {
			reason = c.cancelled(reason)
		}
		c.line("  " + texts.T(c.locale, "cli.retracted", map[string]any{"date": c.minute(*m.Retracted), "reason": reason}))
	}
	about := ""
	if m.About != "" {
		about = strings.TrimSpace(c.outcome(m.Outcome) + " " + c.box(m.AboutBox) + " (" + m.About + ")")
	}
	c.fieldsAt(2,
		texts.ID("cli.col-message"), m.ID,
		texts.ID("cli.col-rubrics"), texts.List(c.locale, m.Rubrics),
		texts.ID("cli.col-documents"), c.documents(m.Documents),
		texts.ID("cli.col-answers"), m.Parent,
		texts.ID("cli.col-about"), about,
		texts.ID("cli.col-moved-to"), m.MovedTo,
	)
	if s := m.Summary; s != nil {
		c.line("  " + c.summary(s))
	}
	var rows [][]string
	for _, d := range m.Deliveries {
		rows = append(rows, []string{"→ " + c.box(d.Mailbox), named(d.Members, names), c.delivery(d, names)})
	}
	if len(rows) > 0 {
		c.grid(nil, rows, 2)
	}
}

// delivery says in words where a copy is, and what is known of its reading.
func (c *cli) delivery(d mailbox.DeliveryView, names map[string]string) string {
	said := []string{c.deliveryWord(d.State)}
	if d.Kind != "" && d.Kind != "copy" {
		said = []string{c.kindWord(d.Kind) + ", " + said[0]}
	}
	switch store.DeliveryState(d.State) {
	case store.Queued, store.Sending, store.OnHold, store.Failed:
		if d.Attempts > 0 {
			said = append(said, texts.T(c.locale, "cli.attempts", map[string]any{"n": d.Attempts}))
		}
		if d.NextAttempt != nil && d.Attempts > 0 && d.State == string(store.Queued) {
			said = append(said, texts.T(c.locale, "cli.next-attempt", map[string]any{"date": c.minute(*d.NextAttempt)}))
		}
		if d.LastError != "" {
			said = append(said, c.lastError(d.LastError))
		}
	case store.Cancelled:
		said = append(said, c.cancelled(d.LastError))
	case store.Partial:
		said = append(said, texts.T(c.locale, "cli.withheld", map[string]any{"documents": texts.List(c.locale, d.Withheld)}))
	}
	if r := d.Receipt; r != nil && strings.HasSuffix(r.Disposition, "/error") {
		said = append(said, c.outcome(strings.TrimSpace(r.Disposition+" "+r.Code)))
	} else if r != nil && r.Disposition != "displayed" {
		said = append(said, c.outcome(r.Disposition))
	}
	for _, s := range d.Seen {
		if s.State == "" || s.State == "no" {
			continue
		}
		seen := named([]string{s.Member}, names) + " : " + c.seenWord(s.State)
		if s.At != nil {
			seen += " (" + c.minute(*s.At) + ")"
		}
		said = append(said, seen)
	}
	return strings.Join(said, " · ")
}

// summary tells the story of a post's copies in one line, whatever the number of
// receipts behind it.
func (c *cli) summary(s *mailbox.SummaryView) string {
	said := []string{texts.T(c.locale, "cli.summary-delivered", map[string]any{"n": s.Delivered, "of": s.Boxes})}
	for _, part := range []struct {
		id texts.ID
		n  int
	}{
		{"cli.summary-partial", s.Partial},
		{"cli.summary-read", s.Read},
		{"cli.summary-refused", s.Refused},
		{"cli.summary-waiting", s.Waiting},
	} {
		if part.n > 0 {
			said = append(said, texts.T(c.locale, part.id, map[string]any{"n": part.n}))
		}
	}
	return strings.Join(said, ", ")
}

// outcome says what a report says: an action of RFC 3464, a disposition of RFC
// 8098, with the national error where there is one.
func (c *cli) outcome(s string) string {
	what, code, _ := strings.Cut(s, " ")
	kind, _, failed := strings.Cut(what, "/")
	if !failed {
		return word(texts.T(c.locale, texts.ID("cli.outcome-"+kind), nil), texts.ID("cli.outcome-"+kind))
	}
	if code == "" {
		return texts.T(c.locale, "cli.outcome-error", nil)
	}
	id := texts.ID("receipts.error-" + code)
	reason := texts.T(c.locale, id, nil)
	if reason == string(id) {
		reason = texts.T(c.locale, "receipts.error", map[string]any{"code": code})
	}
	return texts.T(c.locale, "cli.outcome-error-why", map[string]any{"error": reason, "code": code})
}

func (c *cli) messageCommands() *cobra.Command {
	return c.group("message", []string{"courrier"},
		c.messageShow(), c.messageRetract(), c.messageMove(), c.messageRefile(), c.messageResend(), c.messageAuthor())
}

func (c *cli) messageDone(ctx context.Context, hub *admin.Client, m mailbox.MessageView, err error, done texts.ID) error {
	if err != nil {
		return err
	}
	return c.show(m, func() {
		if done != "" {
			c.line(texts.T(c.locale, done, map[string]any{"message": m.ID}))
		}
		c.message(m, c.names(ctx, hub, m.Pathway))
		c.fieldsAt(2,
			texts.ID("cli.col-pathway"), m.Pathway,
			texts.ID("cli.col-message-id"), m.MessageID,
			texts.ID("cli.col-size"), texts.Size(c.locale, m.Size),
			texts.ID("cli.col-rules"), strings.Join(m.Rules, ", "),
			texts.ID("cli.col-clue"), c.clue(m.Author.Clue),
			texts.ID("cli.col-corrected-by"), m.Author.CorrectedBy,
		)
		for i, d := range m.Documents {
			c.fieldsAt(2, texts.ID("cli.col-document"),
				strings.Join(nonEmpty(strconv.Itoa(i+1)+".", d.Filename, d.Title, d.Type, d.Code, d.Rubric), " "))
		}
	})
}

func nonEmpty(words ...string) []string {
	var kept []string
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}
