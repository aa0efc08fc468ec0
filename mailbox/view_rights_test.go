package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// A team of everybody there may be: random posts by random members to random
// rubrics, answers, retractions, refilings, consents given and withdrawn, members
// who leave, return, change role. After each step every way of seeing agrees:
// what the structured mailbox shows a member (folders, INBOX, counts, contents,
// the relay sheet), what the thread shows as that member, and what the relay
// would send, none of it more than the rights function allows.
func TestEveryWayOfSeeingAgrees(t *testing.T) {
	checks, worlds := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if worlds++; worlds > 25 && os.Getenv("RELAIS_LONG") == "" {
			return // each is a store of its own: the rest by hand
		}
		w := newWorld(t, rt)
		for range rapid.IntRange(3, steps()).Draw(rt, "steps") {
			w.step(rt)
			checks += w.check(rt)
		}
	})
	t.Logf("%d members looked at", checks)
}

func steps() int {
	if os.Getenv("RELAIS_LONG") != "" {
		return 40
	}
	return 6
}

// world is a house with readers.
type world struct {
	*house
	posts   []store.MessageID
	members []store.MemberID
	readers map[store.MemberID]*Reader
	inboxes map[store.MemberID]folder.Folder
	tables  map[store.MemberID]*folder.Table
	n       int
}

var worldRoles = []string{
	"oncologue", "idec", "infirmier", "psychologue", "assistante-sociale", "kinesitherapeute", "secretariat", "enseignant", "prestataire", "parent",
}

func newWorld(t *testing.T, rt *rapid.T) *world {
	w := &world{
		house: openHouse(t), readers: map[store.MemberID]*Reader{}, inboxes: map[store.MemberID]folder.Folder{}, tables: map[store.MemberID]*folder.Table{},
	}
	w.child = w.include("279035121518989", "Martin", "Léa", "2015-03-02")
	for i, n := 0, rapid.IntRange(2, 6).Draw(rt, "members"); i < n; i++ {
		role := rapid.SampledFrom(worldRoles).Draw(rt, "role")
		box := fmt.Sprintf("b%d@chu.test", i)
		id := w.member(w.child, fmt.Sprintf("Personne %c", 'A'+i), role, box, "PER", "CHU")
		w.members = append(w.members, id)
		r := w.reads(box, "")
		w.readers[id] = r
		w.inboxes[id], w.tables[id] = openFolder(t, r, "INBOX")
	}
	return w
}

// step does one thing; what is refused changes nothing.
func (w *world) step(rt *rapid.T) {
	ctx := context.Background()
	who := rapid.SampledFrom(w.members).Draw(rt, "who")
	box := "b" + fmt.Sprint(slices.Index(w.members, who)) + "@chu.test"
	code := string(w.child)
	one := func() string {
		if len(w.posts) == 0 {
			return "none"
		}
		return string(rapid.SampledFrom(w.posts).Draw(rt, "post"))
	}
	rubric := rapid.SampledFrom([]string{"", ".coordination", ".psychologie", ".social", ".imagerie"}).Draw(rt, "rubric")
	switch rapid.IntRange(0, 12).Draw(rt, "what") {
	case 0, 1, 2, 3, 4:
		w.n++
		mail := written{from: box, to: code + rubric, id: fmt.Sprintf("w%d@chu.test", w.n), subject: fmt.Sprint("Objet ", w.n), text: fmt.Sprint("Texte ", w.n)}
		if rapid.Bool().Draw(rt, "answer") && len(w.posts) > 0 {
			mail.header = []string{"In-Reply-To: <" + w.message(store.MessageID(one())).RFCID + ">"}
		}
		if rapid.Bool().Draw(rt, "document") {
			mail.content = "MIME-Version: 1.0\nContent-Type: application/pdf; name=cr.pdf\nContent-Disposition: attachment; filename=cr.pdf\n\n%PDF " + fmt.Sprint(w.n) + "\n"
		}
		if r, err := w.try(mail); err == nil && r.Message != "" {
			w.posts = append(w.posts, r.Message)
		}
	case 5:
		_, _ = w.Retract(ctx, testActor, MessageRequest{Message: one(), Reason: "erreur"})
	case 6:
		_, _ = w.Refile(ctx, testActor, MessageRequest{Message: one(), Rubrics: []string{strings.TrimPrefix(rubric, ".")}})
	case 7:
		_, _ = w.SetAuthor(ctx, testActor, MessageRequest{Message: one(), Member: string(who)})
	case 8:
		_, _ = w.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, For: string(who), By: "mère"})
	case 9:
		r := ConsentRequest{Pathway: code, Kind: "oral", From: "mère", By: "IDEC", For: string(who)}
		if rapid.Bool().Draw(rt, "whole") {
			r.For = ""
		}
		_, _ = w.RecordConsent(ctx, testActor, r)
	case 10:
		_, _ = w.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: string(who), Reason: "départ"})
	case 11:
		role := rapid.SampledFrom(worldRoles).Draw(rt, "role")
		_, _ = w.UpdateMember(ctx, testActor, MemberUpdate{Pathway: code, Member: string(who), Role: &role})
	case 12:
		_, _ = w.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, By: "mère"})
	}
}

// check compares all ways of seeing, for each member.
func (w *world) check(rt *rapid.T) int {
	ctx := context.Background()
	var p *store.Pathway
	var all []*store.Message
	err := w.store.View(ctx, func(v store.View) error {
		var err error
		if p, err = v.Pathway(w.child); err == nil {
			all, err = v.Thread(w.child, 0, 0)
		}
		return err
	})
	if err != nil {
		rt.Fatal(err)
	}
	prog, err := w.programme(p.Programme)
	if err != nil {
		rt.Fatal(err)
	}
	now := w.clock.now()
	sent := map[store.MemberID]map[store.MessageID]bool{}
	for _, d := range w.claimable(rt) {
		for _, id := range d.Members {
			if sent[id] == nil {
				sent[id] = map[store.MessageID]bool{}
			}
			sent[id][d.Message] = true
		}
	}
	for _, id := range w.members {
		mem := member(p, id)
		allowed := map[string]bool{}
		for _, m := range all {
			if m.Kind == store.KindPost && w.maySee(p, prog, mem, m, now).ok {
				allowed[string(m.ID)] = true
			} else if sent[id][m.ID] {
				rt.Fatalf("%s would be mailed a message they may not see", id)
			}
		}
		if got := w.inFolders(rt, id, p); !maps.Equal(got, allowed) {
			rt.Fatalf("folders show %s %v, rights allow %v", id, got, allowed)
		}
		if got := w.inThread(rt, id); !maps.Equal(got, allowed) {
			rt.Fatalf("the thread shows %s %v, rights allow %v", id, got, allowed)
		}
		w.checkInbox(rt, id, all, allowed)
	}
	return len(w.members)
}

// claimable are the copies that the relay would send now. They are put back.
func (w *world) claimable(rt *rapid.T) []store.Delivery {
	var out []store.Delivery
	for {
		lanes, err := w.Lanes(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		if len(lanes) == 0 {
			return out
		}
		for _, lane := range lanes {
			jobs, err := w.ClaimDeliveries(context.Background(), lane, 100)
			if err != nil {
				rt.Fatal(err)
			}
			var results []Result
			for _, j := range jobs {
				if j.Delivery.Notice == nil {
					out = append(out, j.Delivery)
				}
				results = append(results, Result{Job: j, Outcome: Outcome{Kind: OutcomeSent}})
			}
			if err := w.Finish(context.Background(), results); err != nil {
				rt.Fatal(err)
			}
		}
	}
}

// idOf finds which message a content is.
func (w *world) idOf(rt *rapid.T, f folder.Folder, uids []uint32) []string {
	var out []string
	err := f.Each(context.Background(), uids, func(_ uint32, m *folder.Shown) error {
		out = append(out, strings.TrimPrefix(m.EmailID, "M"))
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	for _, uid := range uids {
		c, err := f.Content(context.Background(), uid)
		if err != nil {
			rt.Fatalf("%s: listed and not opened: %v; each %v uids %v", f.Name(), err, out, uids)
		}
		if err := c.Copy(io.Discard, 0, c.Size()); err != nil {
			rt.Fatal(err)
		}
		c.Close()
	}
	return out
}

func uidsOf(t *folder.Table) []uint32 {
	var uids []uint32
	for i := range t.Rows {
		uids = append(uids, t.Rows[i].UID)
	}
	return uids
}

// inFolders are the messages in all rubrics that a member sees.
func (w *world) inFolders(rt *rapid.T, id store.MemberID, p *store.Pathway) map[string]bool {
	got := map[string]bool{}
	r := w.readers[id]
	infos, err := r.List(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	for _, info := range infos {
		_, below, ok := codeIn(info.Name)
		if info.Missing || !ok {
			continue
		}
		f, err := r.Open(context.Background(), info.Name, true)
		if err != nil {
			rt.Fatalf("listed and not opened: %v", err)
		}
		table, _, err := f.Sync(context.Background(), nil)
		if err != nil {
			rt.Fatal(err)
		}
		st, err := r.Stat(context.Background(), info.Name)
		st.ID = ""
		if err != nil || st != table.State || st.Messages != len(table.Rows) {
			rt.Fatalf("STATUS says %+v, the table %+v (%v)", st, table.State, err)
		}
		if below == "" {
			w.checkSheet(rt, f, table)
		} else {
			for _, m := range w.idOf(rt, f, uidsOf(table)) {
				got[m] = true
			}
		}
		f.Close()
	}
	return got
}

// checkSheet makes sure that the relay sheet names nothing hidden: it lists
// subjects, which are numbered.
func (w *world) checkSheet(rt *rapid.T, f folder.Folder, table *folder.Table) {
	if len(table.Rows) != 1 {
		rt.Fatalf("%d relay sheets", len(table.Rows))
	}
	w.clock.advance(2 * sheetInterval) // so that it is made anew
	if _, err := f.Content(context.Background(), table.Rows[0].UID); err != nil && !errors.Is(err, folder.ErrGone) {
		rt.Fatal(err)
	}
}

func (w *world) inThread(rt *rapid.T, id store.MemberID) map[string]bool {
	view, err := w.Thread(context.Background(), testActor, string(w.child), string(id))
	if err != nil {
		rt.Fatal(err)
	}
	got := map[string]bool{}
	for _, m := range view.Messages {
		if m.Kind == string(store.KindPost) && m.Retracted == nil {
			got[m.ID] = true
		}
	}
	return got
}

// checkInbox: what was addressed to the box, as far as it may be seen; and the
// table followed step by step is the table read afresh.
func (w *world) checkInbox(rt *rapid.T, id store.MemberID, all []*store.Message, allowed map[string]bool) {
	ctx := context.Background()
	before := w.tables[id]
	table, delta, err := w.inboxes[id].Sync(ctx, before)
	if err != nil {
		rt.Fatal(err)
	}
	if want := folder.Diff(before, table); !sameDelta(want, delta) {
		rt.Fatalf("told %+v, the tables differ by %+v", delta, want)
	}
	if !delta.Reset {
		last := uint32(0)
		if n := len(before.Rows); n > 0 {
			last = before.Rows[n-1].UID
		}
		if len(delta.Added) > 0 && delta.Added[0] < max(last+1, before.UIDNext) {
			rt.Fatalf("UID %d came late, after UIDNEXT %d", delta.Added[0], before.UIDNext)
		}
		if (len(delta.Vanished) > 0 || len(delta.Added) > 0 || len(delta.Changed) > 0) && table.HighestModSeq <= before.HighestModSeq {
			rt.Fatalf("%+v without a higher modseq", delta)
		}
	} else if table.UIDValidity <= before.UIDValidity {
		rt.Fatal("UIDVALIDITY does not grow")
	}
	w.tables[id] = table
	want := map[string]bool{}
	for _, m := range all {
		if allowed[string(m.ID)] && slices.ContainsFunc(m.Boxes, func(b store.BoxUID) bool { return b.Box == w.readers[id].a.Mailbox }) {
			want[string(m.ID)] = true
		}
	}
	got := map[string]bool{}
	for _, m := range w.idOf(rt, w.inboxes[id], uidsOf(table)) {
		got[m] = true
	}
	if !maps.Equal(got, want) {
		rt.Fatalf("INBOX of %s shows %v, want %v", id, got, want)
	}
	// A fresh look, without anything at hand.
	w.desks.m, w.shelves.m = nil, nil // the clock of the shelves goes on
	fresh, err := w.h2(ctx, id)
	if err != nil {
		rt.Fatal(err)
	}
	if d := folder.Diff(table, fresh); !d.Empty() {
		rt.Fatalf("read afresh it differs by %+v", d)
	}
}

func (w *world) h2(ctx context.Context, id store.MemberID) (*folder.Table, error) {
	r := *w.readers[id]
	r.desk = w.desks.get(r.a.ID)
	f, err := r.Open(ctx, "INBOX", true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	table, _, err := f.Sync(ctx, nil)
	return table, err
}

func sameDelta(a, b folder.Delta) bool {
	return a.Reset == b.Reset && slices.Equal(a.Vanished, b.Vanished) && slices.Equal(a.Changed, b.Changed) && slices.Equal(a.Added, b.Added)
}
