package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/directory"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

func (c *cli) directoryCommands() *cobra.Command {
	return c.group("directory", []string{"annuaire"}, c.directoryImport(), c.directorySearch())
}

func (c *cli) directoryImport() *cobra.Command {
	var q mailbox.DirectoryImport
	cmd := c.command("import", []string{"importer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		file, done, err := c.input(args[0], texts.T(c.locale, "directory.sending", nil))
		if err != nil {
			return err
		}
		defer done()
		q.File = filepath.Base(args[0])
		r, err := hub.ImportDirectory(ctx, nobody, q, &ending{file, func() {
			done()
			if terminal(c.errs) {
				fmt.Fprintln(c.errs, texts.T(c.locale, "directory.sorting", nil))
			}
		}})
		if err != nil {
			return err
		}
		return c.show(r, func() { c.directoryReport(&r) })
	})
	cmd.ValidArgsFunction = nil
	cmd.Flags().BoolVar(&q.Force, "force", false, "")
	return cmd
}

// ending tells once that all has been read: the hub then has its own work.
type ending struct {
	io.Reader
	tell func()
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if err == io.EOF && e.tell != nil {
		e.tell()
		e.tell = nil
	}
	return n, err
}

func (c *cli) directoryReport(r *mailbox.DirectoryReport) {
	var types []string
	for _, t := range boxTypes {
		if n := r.Types[t]; n > 0 {
			types = append(types, fmt.Sprintf("%s %d", t, n))
		}
	}
	c.line(texts.T(c.locale, "directory.imported", map[string]any{
		"n": r.Boxes, "types": strings.Join(types, ", "), "seconds": fmt.Sprintf("%.0f", r.Seconds),
	}))
	if r.Issued != nil {
		c.line(texts.T(c.locale, "directory.issued", map[string]any{"date": c.minute(*r.Issued)}))
	}
	if r.Before != nil {
		c.line(texts.T(c.locale, "directory.changes", map[string]any{
			"date": c.day(*r.Before), "appeared": r.Changes.Appeared, "vanished": r.Changes.Vanished,
			"types": r.Changes.TypeChanged, "holders": r.Changes.HolderChanged,
		}))
	}
	if r.Duplicates > 0 {
		c.line(texts.T(c.locale, "directory.duplicates", map[string]any{"n": r.Duplicates}))
	}
	for _, f := range r.Faulty {
		id := texts.ID("op.faulty-" + string(f.Reason))
		c.line(texts.T(c.locale, "directory.faulty", map[string]any{
			"n": f.Lines, "reason": word(texts.T(c.locale, id, nil), id), "line": f.First,
		}))
	}
	if len(r.Gone) > 0 {
		c.line(texts.T(c.locale, "directory.gone", map[string]any{"n": len(r.Gone)}))
		var rows [][]string
		for _, b := range r.Gone {
			rows = append(rows, []string{c.box(b.Mailbox), b.Type, strings.Join(b.Members, ", ")})
		}
		c.table([]texts.ID{"cli.col-mailbox", "cli.col-type", "cli.col-members"}, rows)
	}
}

func (c *cli) directorySearch() *cobra.Command {
	var q mailbox.DirectoryQuery
	var cmd *cobra.Command
	cmd = c.command("search", []string{"chercher"}, 0, -1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if len(args) == 0 && q.RPPS == "" {
			return misused(texts.T(c.locale, "cli.too-few", map[string]any{"command": cmd.CommandPath(), "usage": cmd.UseLine()}))
		}
		q.Words = strings.Join(args, " ")
		page, err := hub.SearchDirectory(ctx, nobody, q)
		if err != nil {
			return err
		}
		return c.show(page.Entries, func() {
			if len(page.Entries) == 0 {
				c.line(texts.T(c.locale, "directory.nothing", nil))
				return
			}
			c.directoryEntries(page.Entries)
			if shown := q.Offset + len(page.Entries); shown < page.Total || q.Offset > 0 {
				c.line(texts.T(c.locale, "directory.more", map[string]any{"from": q.Offset + 1, "to": shown, "total": page.Total}))
			}
		})
	})
	f := cmd.Flags()
	f.StringVar(&q.RPPS, "rpps", "", "")
	f.IntVar(&q.Limit, "limit", 0, "")
	f.IntVar(&q.Offset, "offset", 0, "")
	return cmd
}

func (c *cli) directoryEntries(list []directory.Entry) {
	var rows [][]string
	for i := range list {
		e := &list[i]
		what, where := e.Profession, e.Structure
		if e.Skill != "" {
			what += ", " + e.Skill
		}
		if where == e.Name() {
			where = ""
		}
		rows = append(rows, []string{e.Name(), what, where, strings.TrimSpace(e.PostalCode + " " + e.Town), e.RPPS, c.box(e.Mailbox) + " (" + string(e.Type) + ")"})
	}
	c.table([]texts.ID{"cli.col-name", "directory.col-profession", "cli.col-establishment", "directory.col-town", "cli.col-rpps", "cli.col-mailbox"}, rows)
}

// directoryState says for `relais status` which directory is in use.
func (c *cli) directoryState(d admin.Directory) string {
	if d.Imported == nil {
		return texts.T(c.locale, "directory.state-none", nil)
	}
	return texts.T(c.locale, "directory.state", map[string]any{"n": d.Boxes, "age": c.ago(d.Imported)})
}

// propose looks in the directory for the box of an RPPS number. It is taken
// without a word where there is one and the name was typed too, so that a digit
// typed wrong does not bring a stranger into a team; else a person chooses.
func (c *cli) propose(ctx context.Context, hub *admin.Client, q *mailbox.MemberRequest, yes bool) error {
	page, err := hub.SearchDirectory(ctx, nobody, mailbox.DirectoryQuery{RPPS: q.RPPS})
	if err != nil {
		return err
	}
	boxes := map[string]store.BoxType{}
	for i := range page.Entries {
		boxes[page.Entries[i].Mailbox] = page.Entries[i].Type
	}
	if len(boxes) == 0 || len(boxes) == 1 && (yes || q.Name != "") {
		return nil // the hub says what it is worth
	}
	if len(boxes) == 1 && terminal(c.in) {
		e := &page.Entries[0]
		ok, err := c.confirm(texts.T(c.locale, "directory.confirm", map[string]any{"name": e.Name(), "structure": e.Structure, "mailbox": e.Mailbox}))
		if err == nil && ok {
			return nil
		}
		return failed(texts.T(c.locale, "directory.not-added", nil))
	}
	if err := c.show(page.Entries, func() { c.directoryEntries(page.Entries) }); err != nil {
		return err
	}
	return failed(texts.T(c.locale, "directory.choose", map[string]any{"n": len(boxes)}))
}
