package imap

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/mailbox/folder"
)

// view is the selected folder as the client knows it.
//
// The client counts messages: its number n is the place of a message among
// those it was told of. So what it knows changes in tell only, and tell is
// called where the protocol allows news (see news in command.go), while it
// waits (IDLE, NOTIFY), and nowhere else:
//
//   - base is the newest table the folder gave; rows is what the client knows.
//     They are the same slice unless messages have vanished and the client
//     could not be told: those ghosts stay in rows, as they were, until it can.
//   - What came (EXISTS) and what changed (FETCH) is told at once, before the
//     command's own result or after it; what vanished (EXPUNGE, VANISHED) never
//     during FETCH, STORE, SEARCH, SORT and THREAD (RFC 9051 §7.5.1), but
//     during their UID forms.
//   - Numbers in an EXPUNGE count down from the highest, so that those told
//     before it stand; then EXISTS, then FETCH with the new numbers.
//   - What this client changed itself it is told once, as the answer to STORE:
//     tell passes over the rows it is given as own.
//   - A folder that is no longer there for this reader loses all its messages
//     like any others; it can be left, and nothing comes into it.
type view struct {
	folder   folder.Folder
	base     *folder.Table
	rows     []folder.Row
	ghosts   []uint32 // UIDs
	lost     bool
	touched  bool     // something was read since the last settle
	missed   bool     // a message that the command reads was not there any more
	saved    []uint32 // "$", UIDs (RFC 5182)
	contexts []*searchContext
	keywords []string // that the client was told of
	recent   []span   // UIDs that are \Recent in this session
	key      recentKey
}

// settle makes the traces of what was read durable.
func (v *view) settle(ctx context.Context) error {
	if !v.touched {
		return nil
	}
	v.touched = false
	return v.folder.Settle(ctx)
}

// each goes over the index of messages.
func (v *view) each(ctx context.Context, uids []uint32, depth folder.Depth, fn func(uid uint32, m *folder.Shown) error) error {
	v.touched = true
	next := 0
	err := v.folder.Each(ctx, uids, depth, func(uid uint32, m *folder.Shown) error {
		v.missed = v.missed || uid != uids[next]
		next++
		return fn(uid, m)
	})
	v.missed = v.missed || err == nil && next < len(uids)
	return err
}

// look goes over the index and the content of messages, on several goroutines.
func (v *view) look(ctx context.Context, uids []uint32, depth folder.Depth, fn func(uid uint32, m *folder.Shown, c folder.Content) (found bool, err error)) error {
	v.touched = true
	var there atomic.Int64
	err := v.folder.Look(ctx, uids, depth, func(uid uint32, m *folder.Shown, c folder.Content) (bool, error) {
		there.Add(1)
		return fn(uid, m, c)
	})
	v.missed = v.missed || err == nil && int(there.Load()) < len(uids)
	return err
}

// content opens a message.
func (v *view) content(ctx context.Context, uid uint32) (folder.Content, error) {
	v.touched = true
	content, err := v.folder.Content(ctx, uid)
	v.missed = v.missed || errors.Is(err, folder.ErrGone)
	return content, err
}

// completed is the answer to a command that has read messages. With numbers
// the client could not be told yet of those that are gone.
func (v *view) completed(uid bool) reply {
	if v.missed && !uid {
		return someGone()
	}
	return ok()
}

// eachOf is each for any number of messages, a batch at a time: a call to the
// floor below is a short one.
func (v *view) eachOf(ctx context.Context, uids []uint32, depth folder.Depth, fn func(uid uint32, m *folder.Shown) error) error {
	for batch := range slices.Chunk(uids, indexBatch) {
		if err := v.each(ctx, batch, depth, fn); err != nil {
			return err
		}
	}
	return nil
}

// leave closes the selected folder, if there is one.
func (c *conn) leave() {
	if c.view == nil {
		return
	}
	ctx := context.WithoutCancel(c.ctx) // the traces of a cut connection too
	if err := c.view.settle(ctx); err != nil {
		c.server.log.Error("the trace of a read is not durable", "session", c.id, "error", err)
	}
	c.view.folder.Close()
	c.view = nil
}

// tell brings what the client knows up to date. Rows in own, by UID, were told
// with that modseq.
func (c *conn) tell(expunges bool, own ...folder.Row) {
	v := c.view
	if v == nil || c.err != nil {
		return
	}
	next, d := v.base, folder.Delta{}
	if !v.lost {
		var err error
		next, d, err = v.folder.Sync(c.ctx, v.base)
		switch {
		case errors.Is(err, folder.ErrNone):
			v.lost = true
			next = &folder.Table{State: folder.State{UIDValidity: v.base.UIDValidity, UIDNext: v.base.UIDNext, HighestModSeq: v.base.HighestModSeq}}
			d = folder.Diff(v.base, next)
		case err != nil:
			c.failed(err)
			return
		case d.Reset:
			// There is no way to tell a client that all its UIDs are void but this.
			c.bye("[UNAVAILABLE] Dossier reconstruit, reconnectez-vous / folder was rebuilt, connect again")
			return
		}
	}
	if next == v.base && len(v.ghosts) == 0 {
		return
	}
	before := v.rows
	ghosts := merge(v.ghosts, d.Vanished)
	v.base = next
	c.tellKeywords()
	if expunges {
		c.contextsLose(ghosts)
		c.tellVanished(before, ghosts)
		v.rows, v.ghosts = next.Rows, nil
	} else {
		v.rows, v.ghosts = withGhosts(next.Rows, before, ghosts), ghosts
	}
	if len(d.Added) > 0 {
		c.tellRecent(d.Added)
		c.text("* ")
		c.number(uint64(len(v.rows)))
		c.text(" EXISTS\r\n")
		if !c.rev2 && len(v.recent) > 0 {
			c.tellRecentCount()
		}
	}
	c.tellChanged(d.Changed, own)
	c.contextsUpdate(d.Changed, d.Added)
}

// tellChanged tells the flags of rows that are others now.
func (c *conn) tellChanged(changed []uint32, own []folder.Row) {
	v := c.view
	c.begin()
	for _, uid := range changed {
		at, found := find(v.rows, uid)
		if !found {
			continue
		}
		row := &v.rows[at]
		if i, mine := find(own, uid); mine && own[i].ModSeq == row.ModSeq {
			continue
		}
		c.tellRow(at, row, false)
	}
}

// tellRow writes the flags of a row.
func (c *conn) tellRow(at int, row *folder.Row, uid bool) {
	b := append(c.out, "* "...)
	b = appendUint(b, uint64(at)+1)
	b = append(b, " FETCH ("...)
	if uid || c.qresync {
		b = append(b, "UID "...)
		b = appendUint(b, uint64(row.UID))
		b = append(b, ' ')
	}
	b = append(b, "FLAGS "...)
	b = c.appendFlags(b, row)
	if c.cond {
		b = append(b, " MODSEQ ("...)
		b = appendUint(b, row.ModSeq)
		b = append(b, ')')
	}
	c.out = append(b, ")\r\n"...)
}

// tellVanished tells of messages that are gone (RFC 9051 §7.5.1, RFC 7162
// §3.2.10).
func (c *conn) tellVanished(rows []folder.Row, gone []uint32) {
	if len(gone) == 0 {
		return
	}
	c.begin()
	if c.qresync {
		c.out = append(c.out, "* VANISHED "...)
		c.out = appendSet(c.out, gone)
		c.out = append(c.out, "\r\n"...)
		return
	}
	for _, uid := range slices.Backward(gone) {
		if at, found := find(rows, uid); found {
			c.out = append(c.out, "* "...)
			c.out = appendUint(c.out, uint64(at)+1)
			c.out = append(c.out, " EXPUNGE\r\n"...)
		}
	}
}

// tellKeywords tells which flags there are, once there are new keywords
// (RFC 9051 §7.3.5). One that is no longer in use stays in the list: the client
// may know of messages that had it and was not told of what became of them.
func (c *conn) tellKeywords() {
	v := c.view
	all := sortKeywords(slices.Concat(v.keywords, v.base.Keywords))
	if len(all) == len(v.keywords) {
		return
	}
	if len(all) > maxListed {
		all = v.base.Keywords
	}
	v.keywords = all
	c.flagLines()
}

// flagLines writes FLAGS and PERMANENTFLAGS.
func (c *conn) flagLines() {
	v := c.view
	c.begin()
	all := folder.Flags{System: 31, Keywords: v.keywords}
	c.out = append(c.out, "* FLAGS "...)
	c.out = appendFlags(c.out, all)
	c.out = append(c.out, "\r\n* OK [PERMANENTFLAGS ("...)
	if !v.folder.ReadOnly() {
		b := appendFlags(nil, all)
		c.out = append(c.out, b[1:len(b)-1]...)
		if v.folder.Keeps() {
			c.out = append(c.out, ` \*`...)
		}
	}
	c.out = append(c.out, ")] Flags\r\n"...)
}

// places gives the places that a set names. A number that stands for nothing
// is the client's mistake.
func (v *view) places(s numSet, uid bool) (at []span, r *reply) {
	at, wrong := s.places(v.rows, uid, v.saved)
	if wrong {
		answer := reply{kind: "BAD", code: string(imap.ResponseCodeClientBug), text: "no such message number"}
		return nil, &answer
	}
	return at, nil
}

// merge joins two ordered lists of numbers.
func merge(a, b []uint32) []uint32 {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// withGhosts puts the rows of ghosts, as they were, among those that are there.
func withGhosts(rows, before []folder.Row, ghosts []uint32) []folder.Row {
	if len(ghosts) == 0 {
		return rows
	}
	all := make([]folder.Row, 0, len(rows)+len(ghosts))
	next := 0
	for _, uid := range ghosts {
		to := from(rows, uid)
		all = append(all, rows[next:to]...)
		next = to
		if at, found := find(before, uid); found {
			all = append(all, before[at])
		}
	}
	return append(all, rows[next:]...)
}
