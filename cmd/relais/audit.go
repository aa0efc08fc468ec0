package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) auditCommands() *cobra.Command {
	return c.group("audit", []string{"traces"}, c.auditShow(), c.auditSeen(), c.auditVerify(), c.auditExport(), c.auditHead())
}

// choice are the flags that choose traces.
type choice struct {
	q        mailbox.AuditQuery
	from, to string
}

func (ch *choice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&ch.q.Actor, "actor", "", "")
	f.StringVar(&ch.q.Action, "action", "", "")
	f.StringVar(&ch.q.Family, "family", "", "")
	f.StringVar(&ch.from, "from", "", "")
	f.StringVar(&ch.to, "to", "", "")
	choices(cmd, "family", "application", "technical")
}

// read makes the query of what was typed.
func (ch *choice) read(c *cli, args []string) (err error) {
	if len(args) > 0 {
		ch.q.Pathway = args[0]
	}
	if ch.q.From, err = c.moment("--from", ch.from, 0); err != nil {
		return err
	}
	ch.q.To, err = c.moment("--to", ch.to, 1)
	return err
}

// moment reads a day, or a day and a time, of this machine's clock. A day alone
// stands for its beginning, some days on: --to takes the whole of its day in.
func (c *cli) moment(flag, s string, days int) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	t, err := time.ParseInLocation(time.DateOnly, s, time.Local)
	if err != nil {
		return t, misused(texts.T(c.locale, "traces.bad-moment", map[string]any{"flag": flag, "value": s}))
	}
	return t.AddDate(0, 0, days), nil
}

// auditLimit is how many traces are shown where nothing else is asked for.
const auditLimit = 200

func (c *cli) auditShow() *cobra.Command {
	var ch choice
	var seen bool
	limit := auditLimit
	cmd := c.command("show", []string{"voir"}, 0, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if seen {
			return c.seen(ctx, args)
		}
		if err := ch.read(c, args); err != nil {
			return err
		}
		page := mailbox.AuditPage{}
		for { // a page at a time, until enough are there or there are no more
			ch.q.Limit = 0
			if limit > 0 {
				ch.q.Limit = limit - len(page.Traces)
			}
			more, err := hub.Audit(ctx, nobody, ch.q)
			if err != nil {
				return err
			}
			page.Traces, page.Next = append(page.Traces, more.Traces...), more.Next
			if ch.q.After = more.Next; more.Next == 0 || limit > 0 && len(page.Traces) >= limit {
				break
			}
		}
		return c.show(page, func() { c.traces(page) })
	})
	cmd.Flags().BoolVar(&seen, "seen", false, "")
	ch.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", auditLimit, "")
	cmd.Flags().Uint64Var(&ch.q.After, "after", 0, "")
	return cmd
}

// traces writes traces for people, a line each.
func (c *cli) traces(page mailbox.AuditPage) {
	if len(page.Traces) == 0 {
		c.line(texts.T(c.locale, "traces.none", nil))
	}
	var rows [][]string
	for _, t := range page.Traces {
		about := t.Pathway
		if about == "" && len(t.Also) > 0 {
			about = texts.T(c.locale, "traces.pathways", map[string]any{"n": len(t.Also)})
		}
		object := t.Object
		if object == "" && len(t.Objects) > 0 {
			object = texts.T(c.locale, "traces.objects", map[string]any{"n": len(t.Objects)})
		}
		rows = append(rows, []string{
			strconv.FormatUint(t.Seq, 10), c.minute(t.At), c.actor(t.Actor, t.Username, t.OnBehalf), c.actionDone(t), about, object, t.Where,
		})
	}
	if len(rows) > 0 {
		c.table([]texts.ID{"traces.col-number", "traces.col-at", "traces.col-actor", "traces.col-action", "cli.col-pathway", "traces.col-object", "traces.col-where"}, rows)
	}
	if page.Next != 0 {
		fmt.Fprintln(c.out)
		c.line(texts.T(c.locale, "traces.next", map[string]any{"after": page.Next}))
	}
}

// actionDone says what was done, and how it ended if not well.
func (c *cli) actionDone(t mailbox.AuditView) string {
	said := c.action(t.Action)
	if t.Outcome != "done" {
		said = texts.T(c.locale, texts.ID("traces.outcome-"+t.Outcome), map[string]any{"action": said})
	}
	return said
}

// action says an action; one that this program does not know stands for itself.
func (c *cli) action(action string) string {
	id := texts.ID("traces.action-" + strings.ReplaceAll(action, ".", "-"))
	if text := texts.T(c.locale, id, nil); text != string(id) {
		return text
	}
	return action
}

// actor says who; an account by its username where that is known.
func (c *cli) actor(actor, username, onBehalf string) string {
	said := actor
	switch kind, id, _ := strings.Cut(actor, ":"); kind {
	case "hub", "box", "unknown", "member", "account":
		if username != "" {
			id = username
		}
		said = texts.T(c.locale, texts.ID("traces.actor-"+kind), map[string]any{"id": id})
	}
	if onBehalf != "" {
		said = texts.T(c.locale, "traces.on-behalf", map[string]any{"who": said, "whom": c.actor(onBehalf, "", "")})
	}
	return said
}

func (c *cli) auditSeen() *cobra.Command {
	return c.command("seen", []string{"vu"}, 1, 1, c.seen)
}

// seen tells who has seen a child's file.
func (c *cli) seen(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return misused(texts.T(c.locale, "traces.seen-which", nil))
	}
	hub, err := c.hub()
	if err != nil {
		return err
	}
	r, err := hub.AuditSeen(ctx, nobody, args[0])
	if err != nil {
		return err
	}
	return c.show(r, func() {
		c.line(texts.T(c.locale, "traces.seen-sent", map[string]any{"n": len(r.Boxes)}))
		var rows [][]string
		for _, b := range r.Boxes {
			rows = append(rows, []string{c.box(b.Mailbox), strings.Join(b.Members, ", "), c.copies(b), c.span(b.First, b.Last)})
		}
		if len(rows) > 0 {
			c.table([]texts.ID{"cli.col-mailbox", "traces.col-for", "traces.col-copies", "traces.col-when"}, rows)
		}
		fmt.Fprintln(c.out)
		c.line(texts.T(c.locale, "traces.seen-here", map[string]any{"n": len(r.Readers)}))
		rows = nil
		for _, x := range r.Readers {
			who := c.actor(x.Actor, x.Username, x.OnBehalf)
			if x.Name != "" {
				who += " " + x.Name
			}
			var what []string
			for _, a := range x.Actions {
				what = append(what, c.action(a))
			}
			rows = append(rows, []string{who, texts.T(c.locale, texts.ID("traces.how-"+x.How), nil), count(x.Times), strings.Join(what, ", "), c.span(&x.First, &x.Last)})
		}
		if len(rows) > 0 {
			c.table([]texts.ID{"traces.col-actor", "traces.col-how", "traces.col-times", "traces.col-action", "traces.col-when"}, rows)
		}
		fmt.Fprintln(c.out)
		c.line(texts.T(c.locale, "traces.seen-note", nil))
		if r.Since != nil {
			c.line(texts.T(c.locale, "traces.seen-since", map[string]any{"date": c.minute(*r.Since)}))
		}
	})
}

// copies says how far the copies for a box came.
func (c *cli) copies(b mailbox.SeenBox) string {
	var said []string
	for _, x := range []struct {
		n  int
		id texts.ID
	}{
		{b.HandedOver, "traces.copies-handed-over"},
		{b.ReadByBox, "traces.copies-read-by-box"},
		{b.Read, "traces.copies-read"},
		{b.Acknowledged, "traces.copies-acknowledged"},
		{b.NotReached, "traces.copies-not-reached"},
	} {
		if x.n > 0 {
			said = append(said, texts.T(c.locale, x.id, map[string]any{"n": x.n}))
		}
	}
	return strings.Join(said, ", ")
}

// span writes the time from the first to the last.
func (c *cli) span(first, last *time.Time) string {
	from, to := c.minuteAt(first), c.minuteAt(last)
	if from == to {
		return from
	}
	return texts.T(c.locale, "traces.span", map[string]any{"from": from, "to": to})
}

func (c *cli) auditVerify() *cobra.Command {
	var offline bool
	var against []string
	cmd := c.command("verify", []string{"verifier", "vérifier"}, 0, 0, func(ctx context.Context, _ []string) error {
		var q mailbox.AuditCheck
		for _, path := range against {
			head, err := readHead(path)
			if err != nil {
				return err
			}
			q.Heads = append(q.Heads, head)
		}
		r, err := c.verifyTraces(ctx, offline, q)
		if err != nil {
			return err
		}
		if err := c.show(r, func() { c.verified(r) }); err != nil || r.Sound {
			return err
		}
		return failed(texts.T(c.locale, "traces.not-sound", map[string]any{"n": len(r.Problems) + r.More}))
	})
	cmd.Flags().BoolVar(&offline, "offline", false, "")
	cmd.Flags().StringSliceVar(&against, "against", nil, "")
	return cmd
}

// maxHead bounds the file of a head, in bytes.
const maxHead = 64 << 10

func readHead(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHead))
	return string(b), err
}

// verifyTraces asks the hub, or reads the store where none runs.
func (c *cli) verifyTraces(ctx context.Context, offline bool, q mailbox.AuditCheck) (mailbox.AuditReport, error) {
	if !offline {
		hub, err := c.hub()
		if err != nil {
			return mailbox.AuditReport{}, err
		}
		return hub.AuditVerify(ctx, nobody, q)
	}
	config, err := c.usable()
	if err != nil {
		return mailbox.AuditReport{}, err
	}
	r, err := gateway.VerifyTraces(ctx, config, q)
	return r, c.offlineFault(err, config)
}

func (c *cli) verified(r mailbox.AuditReport) {
	var rows [][]string
	for _, p := range r.Problems {
		at := strconv.FormatUint(p.From, 10)
		if p.To != p.From {
			at += "–" + strconv.FormatUint(p.To, 10)
		}
		family := ""
		if p.Family != "" {
			family = texts.T(c.locale, texts.ID("traces.family-"+p.Family), nil)
		}
		rows = append(rows, []string{at, family, texts.T(c.locale, texts.ID("traces.fault-"+p.Fault), nil)})
	}
	if len(rows) > 0 {
		c.table([]texts.ID{"traces.col-number", "traces.col-family", "traces.col-problem"}, rows)
		fmt.Fprintln(c.out)
	}
	for _, f := range r.Head.Families {
		c.line(texts.T(c.locale, "traces.chain", map[string]any{
			"family": texts.T(c.locale, texts.ID("traces.family-"+string(f.Family)), nil), "count": f.Count, "purged": f.Purged, "last": f.Last,
		}))
	}
	for _, h := range r.Kept {
		c.line(texts.T(c.locale, "traces.against", map[string]any{"date": c.minute(h.At), "trace": h.Trace}))
	}
	if r.Sound {
		c.line(texts.T(c.locale, "traces.sound", map[string]any{"n": r.Read}))
	}
}

func (c *cli) auditExport() *cobra.Command {
	var ch choice
	var q mailbox.AuditExport
	var to string
	cmd := c.command("export", []string{"exporter"}, 0, 1, func(ctx context.Context, args []string) error {
		if err := ch.read(c, args); err != nil {
			return err
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.AuditQuery = ch.q
		if to == "" {
			r, err := hub.AuditExport(ctx, nobody, q)
			if err != nil {
				return err
			}
			return c.copyOut(r)
		}
		return writeNew(to, func(w io.Writer) error {
			r, err := hub.AuditExport(ctx, nobody, q)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(w, r)
			return err
		})
	})
	ch.flags(cmd)
	cmd.Flags().StringVar(&q.Format, "format", mailbox.AuditJSONL, "")
	cmd.Flags().StringVar(&to, "output", "", "")
	choices(cmd, "format", mailbox.AuditJSONL, mailbox.AuditFHIR)
	return cmd
}

// writeNew makes a file that is not there yet, for its owner alone; after an
// error there is none.
func writeNew(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func (c *cli) auditHead() *cobra.Command {
	var key bool
	cmd := c.command("head", []string{"attestation"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		h, err := hub.AuditHead(ctx, nobody)
		if err != nil {
			return err
		}
		return c.show(h, func() {
			text := h.Signed
			if key {
				text = h.Key
			}
			fmt.Fprint(c.out, text)
		})
	})
	cmd.Flags().BoolVar(&key, "key", false, "")
	return cmd
}

// offlineFault says why nothing could be verified without a hub.
func (c *cli) offlineFault(err error, config *configs.Config) error {
	if said := c.keyFault(err, config); said != "" {
		return failed(said)
	}
	if no, ok := errors.AsType[*mailbox.Failure](err); ok {
		return failed(no.Text(c.locale))
	}
	if errors.Is(err, gateway.ErrRunning) {
		return failed(texts.T(c.locale, "traces.running", nil))
	}
	return err
}
