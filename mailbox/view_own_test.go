package mailbox

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// submits posts as an account does that logs in to send.
func (h *house) submits(r *Reader, w written) {
	h.t.Helper()
	env := Envelope{
		MailFrom: r.a.Mailbox, Via: ViaSubmit, Received: h.clock.now(),
		Peer: Peer{Where: "127.0.0.1:5", SpeaksFor: func(string) bool { return true }, Account: r.a},
	}
	rcpt, err := h.Recipient(context.Background(), &env, string(h.child)+"@"+h.o.Domain)
	if err != nil {
		h.t.Fatal(err)
	}
	env.Rcpts = []Recipient{rcpt}
	raw := w.bytes()
	env.Size = int64(len(raw))
	if _, err := h.Intake(context.Background(), env, strings.NewReader(raw)); err != nil {
		h.t.Fatal(err)
	}
}

// unread counts what is not seen in a folder, and tells how many there are.
func unread(t *testing.T, r *Reader, name string) string {
	t.Helper()
	_, table := openFolder(t, r, name)
	unseen := 0
	for i := range table.Rows {
		if !table.Rows[i].Flags.Has(folder.Seen) {
			unseen++
		}
	}
	if unseen != table.Unseen {
		t.Errorf("%s counts %d unseen, its rows %d", name, table.Unseen, unseen)
	}
	return fmt.Sprintf("%d of %d", unseen, len(table.Rows))
}

// One's own posts are not new to oneself, whichever way they came; they are to
// everybody else, and to all of a shared box whose person is not sure.
func TestOwnPostsAreSeen(t *testing.T) {
	mail := func(from string) written {
		return written{from: from, id: "own@" + strings.Split(from, "@")[1], subject: "Séance", text: "Faite"}
	}
	const one, none = "0 of 1", "1 of 1" // unseen
	for _, c := range []struct {
		name, from, person string
		post               func(h *house, r *Reader, w written)
		writer, others     string
	}{
		{"into a rubric", "bernard@kine.test", "", nil, one, none},
		{"into a rubric, by a person of a shared box", "cabinet@idel.test", "Julie Petit", nil, one, none},
		{"submitted", "bernard@kine.test", "", (*house).submits, one, none},
		{"submitted by a person of a shared box", "cabinet@idel.test", "Julie Petit", (*house).submits, one, none},
		{"mailed from one's own box", "bernard@kine.test", "", func(h *house, _ *Reader, w written) { h.post(w) }, one, none},
		{"mailed from a shared box", "cabinet@idel.test", "Julie Petit", func(h *house, _ *Reader, w written) { h.post(w) }, none, none},
		{"mailed from a shared box, signed and shown", "cabinet@idel.test", "Julie Petit", func(h *house, _ *Reader, w written) {
			w.text = "Faite.\n\nJulie Petit"
			w.header = append(w.header, `From: "Julie PETIT" <cabinet@idel.test>`)
			h.post(w)
		}, one, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			name := h.top() + "/Coordination"
			readers := map[string]*Reader{
				"bernard": h.reads("bernard@kine.test", ""),
				"julie":   h.reads("cabinet@idel.test", "Julie Petit"),
				"paul":    h.reads("cabinet@idel.test", "Paul Durand"),
				"roux":    h.reads("roux@chu.test", ""),
			}
			writer := "bernard"
			if c.person != "" {
				writer = "julie"
			}
			for _, r := range readers { // their pages are made before it comes
				list(t, r)
			}
			w := mail(c.from)
			w.to = string(h.child)
			if c.post != nil {
				c.post(h, readers[writer], w)
			} else if _, err := appendTo(t, readers[writer], name, w.bytes()); err != nil {
				t.Fatal(err)
			}
			for who, r := range readers {
				want := c.others
				if who == writer {
					want = c.writer
				}
				if got := unread(t, r, name); got != want {
					t.Errorf("%s has %s unread, want %s", who, got, want)
				}
			}
		})
	}
}

// A page that is at hand takes up new posts and their marks; a mark of one
// pathway says nothing of the UIDs of another.
func TestOwnPostsOnAPageAtHand(t *testing.T) {
	h := newHouse(t)
	other := h.include("", "Autre", "Zoé", "2014-01-05")
	h.member(other, "M. Luc Bernard", "kinesitherapeute", "bernard@kine.test", "PER", "")
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a@chu.test", subject: "Bilan", text: "Bonjour"})
	r := h.reads("bernard@kine.test", "")
	here, table := openFolder(t, r, h.top()+"/Coordination")
	if table.Unseen != 1 {
		t.Fatalf("%d unseen", table.Unseen)
	}
	// UID 1 of the other child's rubric, marked as seen.
	mail := written{from: "bernard@kine.test", id: "z@kine.test", subject: "Séance", text: "Faite"}
	if _, err := appendTo(t, r, "Parcours/Z.A. "+string(other)+"/Coordination", mail.bytes()); err != nil {
		t.Fatal(err)
	}
	now, delta, err := here.Sync(t.Context(), table)
	if err != nil || now.Unseen != 1 || !delta.Empty() {
		t.Errorf("a mark elsewhere gives %d unseen with %+v, %v", now.Unseen, delta, err)
	}
	// One's own, and one that another session of the account gave a word.
	mail.id = "y@kine.test"
	if _, err := appendTo(t, r, h.top()+"/Coordination", mail.bytes()); err != nil {
		t.Fatal(err)
	}
	if now, delta, err = here.Sync(t.Context(), now); err != nil || now.Unseen != 1 || now.Messages != 2 || len(delta.Added) != 1 || len(delta.Changed) != 0 {
		t.Errorf("a post gives %+v with %+v, %v", now.State, delta, err)
	}
	id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "b@chu.test", subject: "Suite", text: "Bonsoir"})
	if err := h.change(t.Context(), func(tx store.Tx) error {
		return tx.PutMark(r.a.ID, &store.ReaderMark{Message: id, Pathway: h.child, Keywords: []string{"vu"}})
	}); err != nil {
		t.Fatal(err)
	}
	if now, delta, err = here.Sync(t.Context(), now); err != nil || now.Unseen != 2 || len(now.Keywords) != 1 || len(delta.Added) != 1 || len(delta.Changed) != 0 {
		t.Errorf("a marked one gives %+v, keywords %v, with %+v, %v", now.State, now.Keywords, delta, err)
	}
}
