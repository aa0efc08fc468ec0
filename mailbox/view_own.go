package mailbox

import (
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// What one wrote oneself is not new to oneself: a post is \Seen (RFC 9051 §2.3.2)
// from the start in the accounts of whoever surely wrote it, and in no other.
// Where the person behind a shared box is not sure it stays unread for all.

// markOwn marks a post that is being filed as seen for its author.
func (h *Hub) markOwn(tx store.Tx, pl *plan, in *incoming) error {
	m := pl.message
	ids, err := ownAccounts(tx, pl, in)
	if err != nil {
		return err
	}
	for _, id := range ids {
		mark := store.ReaderMark{Message: m.ID, Pathway: m.Pathway, System: uint8(folder.Seen)}
		if err := tx.PutMark(id, &mark); err != nil {
			return err
		}
	}
	return nil
}

// ownAccounts lists the accounts of who posted: the one that logged in, if no
// other person writes by it, and those of the member who surely wrote.
func ownAccounts(v store.View, pl *plan, in *incoming) (ids []store.AccountID, err error) {
	author := &pl.message.Author
	sure := author.Certainty == store.Sure && author.Member != ""
	// Into a rubric somebody posts who has it open; a box may submit for several.
	if a := in.env.Peer.Account; a != nil && (a.Person != "" || in.env.Via == ViaIMAP) {
		ids = append(ids, a.ID)
	}
	who := member(pl.pathway, author.Member)
	if !sure || who == nil {
		return ids, nil
	}
	all, err := v.AccountsOfBox(who.Mailbox)
	if err != nil {
		return nil, fmt.Errorf("looking up the accounts of a box: %w", err)
	}
	for _, rec := range all {
		personal := rec.Person != "" || who.Type == store.BoxPER || who.Type == store.BoxCitizen
		if personal && accountOf(rec, "").standsFor(who) && !slices.Contains(ids, rec.ID) {
			ids = append(ids, rec.ID)
		}
	}
	return ids, nil
}
