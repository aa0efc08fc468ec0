package imap

import (
	"sync"

	"github.com/relais-sante/relais/mailbox/folder"
)

// \Recent (RFC 3501 §2.3.2) says that a session is the first to be told of a
// message. IMAP4rev2 has given it up, and nothing of it is kept: the server
// remembers, for folders it saw since it started, from which UID on messages
// were not told to anybody. What it cannot know is not recent.
type recents struct {
	mu    sync.Mutex
	first map[recentKey]uint32 // UID of the first that may be recent
}

// maxRecents bounds the memory: beyond, all is forgotten, which nobody notices.
const maxRecents = 100_000

type recentKey struct {
	user, folder string
	validity     uint32
}

// claim gives the UIDs below next that are recent; with take they are so for
// this session only.
func (r *recents) claim(key recentKey, next uint32, take bool) span {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, known := r.first[key]
	if !known {
		first = next
	}
	if take || !known {
		r.set(key, max(first, next))
	}
	return span{min(first, next), next}
}

// set says that messages from next on are recent.
func (r *recents) set(key recentKey, next uint32) {
	if r.first == nil || len(r.first) >= maxRecents {
		r.first = map[recentKey]uint32{}
	}
	r.first[key] = next
}

// begin says that a folder that was just made has no message anybody saw.
func (r *recents) begin(key recentKey, next uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.set(key, next)
}

// tellRecent claims the messages that came for this session.
func (c *conn) tellRecent(added []uint32) {
	v := c.view
	if len(added) == 0 || c.rev2 {
		return
	}
	s := c.server.recents.claim(v.key, v.base.UIDNext, !v.folder.ReadOnly())
	if s.from < s.to {
		v.recent = normal(append(v.recent, span{s.from, s.to - 1}), 0)
	}
}

// tellRecentCount tells how many messages are recent.
func (c *conn) tellRecentCount() {
	c.text("* ")
	c.number(uint64(c.view.recentCount()))
	c.text(" RECENT\r\n")
}

func (v *view) recentCount() (n int) {
	for _, s := range v.recent {
		end := from(v.rows, s.to)
		if end < len(v.rows) && v.rows[end].UID == s.to {
			end++
		}
		n += end - from(v.rows, s.from)
	}
	return n
}

// appendFlags appends the flags of a row as this session sees them.
func (c *conn) appendFlags(b []byte, row *folder.Row) []byte {
	b = appendFlags(b, row.Flags)
	if len(c.view.recent) == 0 || c.rev2 || !contains(c.view.recent, row.UID) {
		return b
	}
	b = b[:len(b)-1]
	if b[len(b)-1] != '(' {
		b = append(b, ' ')
	}
	return append(b, `\Recent)`...)
}
