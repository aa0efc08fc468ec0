package mailbox

import "github.com/relais-sante/relais/store"

// What is at hand for those who read is clear text. It is never what decides who
// may see something; but it goes with the right to see it, not minutes later.

// forgetReading drops from memory what readers were shown of pathways that are
// erased, and what was opened to be sent; with the owners whose keys went, what
// accounts had of their own, whose sessions end.
func (h *Hub) forgetReading(codes []store.PathwayCode, owners []store.Owner) {
	h.openings.forget(codes)
	for _, code := range codes {
		h.slabs.forget(pathwaySlab(code))
	}
	for _, o := range owners {
		if o.Kind == store.OwnedByAccount {
			h.sessions.end(store.AccountID(o.ID), "")
			h.slabs.forget(o)
		}
	}
	h.shelves.mu.Lock()
	for _, code := range codes {
		if s := h.shelves.m[code]; s != nil {
			delete(h.shelves.m, code)
			h.shelves.held -= s.size()
		}
	}
	h.shelves.mu.Unlock()
	h.desks.mu.Lock()
	defer h.desks.mu.Unlock()
	h.desks.m = nil // tables hold messages too; open sessions make theirs anew
}

// forgetReader drops what is at hand of an account that may be used no longer, or
// no longer with what somebody logged in with.
func (h *Hub) forgetReader(id store.AccountID) {
	h.slabs.forget(accountSlab(id))
	h.desks.forget(id)
}

// narrowed drops what is at hand of pathways that were changed: somebody may see
// less of them from now on, where one was suspended or closed, a consent was
// withdrawn, a member left, a child came of age. Who may still see them has them
// read again.
func (h *Hub) narrowed(codes []store.PathwayCode) {
	for _, code := range codes {
		h.slabs.forget(pathwaySlab(code))
		h.desks.forgetUnread(code, h.sessions.reads)
	}
}
