package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// A team of everybody there may be, under programmes made at random: posts by
// random members to random rubrics, typed documents and others, answers,
// retractions, refilings, authors corrected, consents given and withdrawn, members
// who leave or change role. After each step every way of seeing agrees: what the
// structured mailbox shows a member (folders, INBOX, counts, contents), what the
// thread shows as that member, what an export as that member holds, and what the
// relay would send; none of it more than the rights function allows.
func TestEveryWayOfSeeingAgrees(t *testing.T) {
	h := openHouse(t)
	set := randomProgrammes(t)
	h.Hub.o.Programmes = func() *rules.Set { return set }
	worlds, most := 0, 40
	if os.Getenv("RELAIS_LONG") != "" {
		most = 1 << 30
	}
	members, documents := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if worlds++; worlds > most {
			return // the rest by hand: -rapid.checks=10000
		}
		w := newWorld(h, rt, worlds, rapid.SampledFrom(set.Programmes).Draw(rt, "programme"))
		defer w.close()
		for range rapid.IntRange(3, 8).Draw(rt, "steps") {
			w.step(rt)
			w.check(rt)
			members += len(w.members)
		}
		documents += w.documents
	})
	t.Logf("%d worlds, %d times a member looked, %d documents exported", min(worlds, most), members, documents)
}

var worldRoles = []string{
	"oncologue", "idec", "infirmier", "psychologue", "assistante-sociale", "kinesitherapeute", "secretariat", "enseignant", "prestataire", "parent",
}

var worldRubrics = []string{"coordination", "imagerie", "biologie", "social", "psychologie"}

// randomProgrammes are programmes whose rubrics and rules were drawn, with a seed
// that does not change.
func randomProgrammes(t testing.TB) *rules.Set {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 11))
	some := func(from []string, most int) string {
		var list []string
		for range 1 + r.IntN(most) {
			if one := strconv.Quote(from[r.IntN(len(from))]); !slices.Contains(list, one) {
				list = append(list, one)
			}
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	whens := []string{
		`any(documents, .code == "18748-4")`, `any(documents, .code == "11502-2")`, `message.urgent`, `len(documents) > 0`,
		`sender.role == "psychologue"`, `sender.role in ["idec", "enseignant"]`, `any(documents, "MASQUE_PSOCIAL" in .confidentiality)`,
		`mentions(message.subject, "secret")`,
	}
	files := fstest.MapFS{}
	for i := range 30 {
		var b strings.Builder
		id := fmt.Sprintf("alea%02d", i)
		fmt.Fprintf(&b, "id = %q\nname = %q\ndesk = []\nconversation = \"pathway\"\nmixed = \"send\"\n", id, id)
		for j, role := range worldRoles {
			fmt.Fprintf(&b, "[[role]]\nid = %q\nname = %q\ncare_team = %t\ncoordinator = %t\n", role, role, j < 7, role == "idec")
			if r.IntN(3) == 0 && j < 7 {
				fmt.Fprintf(&b, "default_rubric = %q\n", worldRubrics[r.IntN(len(worldRubrics))])
			}
		}
		types := map[string]string{"imagerie": `["18748-4"]`, "biologie": `["11502-2"]`}
		for _, rubric := range worldRubrics {
			fmt.Fprintf(&b, "[[rubric]]\nid = %q\nname = %q\n", rubric, rubric)
			switch {
			case rubric == "coordination":
				b.WriteString("default = true\n")
			case r.IntN(2) == 0:
				fmt.Fprintf(&b, "visible_to = %s\n", some(worldRoles[:7], 5))
			}
			if types[rubric] != "" {
				fmt.Fprintf(&b, "types = %s\n", types[rubric])
			}
		}
		b.WriteString("[[rubric]]\nid = \"a-classer\"\nname = \"À classer\"\nunclassed = true\nvisible_to = [\"idec\"]\n")
		for k := range r.IntN(4) {
			fmt.Fprintf(&b, "[[rule]]\nname = \"règle %d\"\nwhen = '%s'\n", k, whens[r.IntN(len(whens))])
			switch r.IntN(4) {
			case 0:
				fmt.Fprintf(&b, "only = %s\n", some(worldRoles, 6))
			case 1:
				fmt.Fprintf(&b, "file = [%q]\nto = %s\n", worldRubrics[r.IntN(len(worldRubrics))], some(append([]string{"all"}, worldRoles...), 5))
			case 2:
				fmt.Fprintf(&b, "to = %s\n", some(append([]string{"all"}, worldRoles...), 5))
			default:
				b.WriteString("urgent = true\n")
			}
		}
		files["p/"+id+".toml"] = &fstest.MapFile{Data: []byte(b.String())}
	}
	set, problems := rules.LoadFS(files, "p", rules.LoadOptions{Dev: true})
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("%s:%d: %s %v\n%s", p.File, p.Line, p.ID, p.Args, files["p/"+p.File])
		}
	}
	return set
}

// world is a pathway of its own in a house, with readers.
type world struct {
	*house

	posts     []store.MessageID
	members   []store.MemberID
	boxes     []string
	readers   map[store.MemberID]*Reader
	inboxes   map[store.MemberID]folder.Folder
	tables    map[store.MemberID]*folder.Table
	family    string // each child its own: including looks through those of one name
	n         int
	documents int
}

func newWorld(h *house, rt *rapid.T, number int, prog *rules.Programme) *world {
	one := *h // its child is another
	w := &world{
		house: &one, readers: map[store.MemberID]*Reader{}, inboxes: map[store.MemberID]folder.Folder{}, tables: map[store.MemberID]*folder.Table{},
	}
	w.family = "Martin"
	for i := number; i > 0; i /= 26 {
		w.family += string(rune('a' + i%26))
	}
	p, err := w.Include(context.Background(), testActor, IncludeRequest{
		Programme: prog.ID, FamilyName: w.family, GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F",
		Establishment: "CHU", Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC",
	})
	if err != nil {
		rt.Fatal(err)
	}
	w.child = store.PathwayCode(p.ID)
	for i, n := 0, rapid.IntRange(2, 5).Draw(rt, "members"); i < n; i++ {
		box := fmt.Sprintf("b%d-%d@chu.test", number, i)
		m, err := w.AddMember(context.Background(), testActor, MemberRequest{
			Pathway: p.ID, Name: fmt.Sprintf("Personne %c", 'A'+i), Role: rapid.SampledFrom(worldRoles).Draw(rt, "role"), Mailbox: box, Type: "PER", Establishment: "CHU",
		})
		if err != nil {
			rt.Fatal(err)
		}
		id := store.MemberID(m.Member)
		w.members, w.boxes = append(w.members, id), append(w.boxes, box)
		r := w.reads(box, "")
		w.readers[id] = r
		f, err := r.Open(context.Background(), folder.Inbox, true)
		if err != nil {
			rt.Fatal(err)
		}
		if w.tables[id], _, err = f.Sync(context.Background(), nil); err != nil {
			rt.Fatal(err)
		}
		w.inboxes[id] = f
	}
	return w
}

func (w *world) close() {
	for id, f := range w.inboxes {
		f.Close()
		w.readers[id].Close()
	}
}

// step does one thing; what is refused changes nothing.
func (w *world) step(rt *rapid.T) {
	ctx := context.Background()
	who := rapid.SampledFrom(w.members).Draw(rt, "who")
	box := w.boxes[slices.Index(w.members, who)]
	code := string(w.child)
	one := func() string {
		if len(w.posts) == 0 {
			return "none"
		}
		return string(rapid.SampledFrom(w.posts).Draw(rt, "post"))
	}
	rubric := rapid.SampledFrom([]string{"", "", ".coordination", ".psychologie", ".social", ".imagerie"}).Draw(rt, "rubric")
	switch rapid.IntRange(0, 12).Draw(rt, "what") {
	case 0, 1, 2, 3, 4:
		w.n++
		id := fmt.Sprintf("w%d@%s", w.n, strings.Replace(box, "@", ".", 1))
		mail := written{from: box, to: code + rubric, id: id, subject: fmt.Sprint("Objet ", w.n), text: fmt.Sprint("Texte ", w.n)}
		if rapid.Bool().Draw(rt, "answer") && len(w.posts) > 0 {
			mail.header = append(mail.header, "In-Reply-To: <"+w.message(store.MessageID(one())).RFCID+">")
		}
		if rapid.IntRange(0, 3).Draw(rt, "urgent") == 0 {
			mail.header = append(mail.header, "Importance: high")
		}
		switch rapid.IntRange(0, 3).Draw(rt, "document") {
		case 0:
			mail.content = carrying(fmt.Sprintf("cr%d.pdf", w.n), "%PDF "+id)
		case 1:
			mail.content = carrying("cr.xml", w.document(rt, id).xml())
		case 2:
			mail.content = carrying("a.xml", w.document(rt, id+"a").xml(), "b.xml", w.document(rt, id+"b").xml())
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

// document is a typed one of this child.
func (w *world) document(rt *rapid.T, id string) cdaDoc {
	d := cdaDoc{id: id, text: "Document " + id, ins: "-", family: strings.ToUpper(w.family), code: rapid.SampledFrom([]string{"18748-4", "11502-2", "34112-3"}).Draw(rt, "code")}
	if rapid.IntRange(0, 3).Draw(rt, "word") == 0 {
		d.words = []string{rapid.SampledFrom([]string{"MASQUE_PSOCIAL", "MASQUE_PT", "INVISIBLE_REPRESENTANTS_LEGAUX"}).Draw(rt, "which")}
	}
	return d
}

// check compares all ways of seeing, for each member.
func (w *world) check(rt *rapid.T) {
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
		w.checkExport(rt, id, all, allowed)
	}
}

// checkExport: an export as a member holds documents of what they may see, and
// of nothing else. The same file is in it once, so each document is its own.
func (w *world) checkExport(rt *rapid.T, id store.MemberID, all []*store.Message, allowed map[string]bool) {
	want, got := map[string]bool{}, map[string]bool{}
	for _, m := range all {
		if allowed[string(m.ID)] && len(m.Documents) > 0 {
			want[string(m.ID)] = true
		}
	}
	x := &export{h: w.Hub, wanted: map[string]bool{}, seen: map[string]bool{}}
	err := x.choose(context.Background(), testActor, ExportRequest{Pathway: string(w.child), As: string(id)})
	var none *Failure
	if err != nil && (!errors.As(err, &none) || none.Code != "export-empty") {
		rt.Fatal(err)
	}
	for i := range x.found {
		got[string(x.found[i].m.ID)] = true
	}
	w.documents += len(x.found)
	if !maps.Equal(got, want) {
		rt.Fatalf("an export as %s holds documents of %v, want %v", id, got, want)
	}
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
				if j.Delivery.Notice == nil && j.Delivery.Pathway == w.child {
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
	err := f.Each(context.Background(), uids, folder.Whole, func(_ uint32, m *folder.Shown) error {
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
