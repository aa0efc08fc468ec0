package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// reads opens the structured mailbox for an account of a box, or of one person
// of it.
func (h *house) reads(box, person string) *Reader {
	h.t.Helper()
	made := h.account(AccountRequest{Mailbox: box, Person: person})
	a, err := h.login(made.Username, made.Password)
	if err != nil {
		h.t.Fatal(err)
	}
	r, err := h.Read(context.Background(), a, "127.0.0.1:4")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { r.Close() })
	return r
}

// list gives the names of the folders there are.
func list(t testing.TB, r *Reader) string {
	t.Helper()
	all, err := r.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range all {
		if !f.Missing {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, "\n")
}

// openFolder opens a folder and looks at it.
func openFolder(t testing.TB, r *Reader, name string) (folder.Folder, *folder.Table) {
	t.Helper()
	f, err := r.Open(context.Background(), name, false)
	if err != nil {
		t.Fatalf("opening %s: %v", name, err)
	}
	t.Cleanup(func() { f.Close() })
	table, _, err := f.Sync(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f, table
}

// whole reads a message as shown.
func whole(t testing.TB, f folder.Folder, uid uint32) string {
	t.Helper()
	c, err := f.Content(context.Background(), uid)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b bytes.Buffer
	if err := c.Copy(&b, 0, c.Size()); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != c.Size() {
		t.Errorf("%d bytes, announced %d", b.Len(), c.Size())
	}
	return b.String()
}

// subjects gives "uid:subject" for each row.
func subjects(t testing.TB, f folder.Folder, table *folder.Table) string {
	t.Helper()
	var uids []uint32
	for _, row := range table.Rows {
		uids = append(uids, row.UID)
	}
	var out []string
	fields := map[uint32][]letter.Field{}
	err := f.Each(context.Background(), uids, folder.Fields, func(uid uint32, m *folder.Shown) error {
		fields[uid] = slices.Clone(m.Index.Fields)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Each(context.Background(), uids, folder.Whole, func(uid uint32, m *folder.Shown) error {
		if !reflect.DeepEqual(m.Index.Fields, fields[uid]) {
			t.Errorf("fields %v when they are asked for alone, else %v", fields[uid], m.Index.Fields)
		}
		i, _ := table.Find(uid)
		if m.Index.Size != table.Rows[i].Size {
			t.Errorf("index says %d bytes, the table %d", m.Index.Size, table.Rows[i].Size)
		}
		out = append(out, m.Index.Envelope.Subject)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, ", ")
}

func (h *house) top() string { return "Parcours/L.M. " + string(h.child) }

func TestViewFolders(t *testing.T) {
	h := newHouse(t)
	oncologist := h.reads("roux@chu.test", "")
	physio := h.reads("bernard@kine.test", "")
	parent := h.reads("mere@famille.test", "")
	top := h.top()
	want := strings.Join([]string{
		"INBOX", "Brouillons", "Corbeille", "Envoyés", top, top + "/À classer", top + "/Biologie", top + "/Comptes rendus",
		top + "/Coordination", top + "/Imagerie", top + "/PPS", top + "/Prescriptions", top + "/Psychologie", top + "/Social",
	}, "\n")
	for _, hidden := range []string{"/À classer"} {
		want = strings.ReplaceAll(want, "\n"+top+hidden, "")
	}
	if got := list(t, oncologist); sortedLines(got) != sortedLines(want) {
		t.Errorf("the oncologist sees\n%s\nwant\n%s", got, want)
	}
	if got := list(t, physio); strings.Contains(got, "Psychologie") || !strings.Contains(got, "Imagerie") {
		t.Errorf("the physiotherapist sees\n%s", got)
	}
	if got := list(t, parent); strings.Contains(got, "Parcours") {
		t.Errorf("a parent without consent sees\n%s", got)
	}
	// What may not be seen and what does not exist are the same.
	for _, name := range []string{top + "/Psychologie", top + "/Nulle part", "Parcours/L.M. bcdfghj", "Ailleurs"} {
		if _, err := physio.Open(t.Context(), name, false); !errors.Is(err, folder.ErrNone) {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

func sortedLines(s string) string { return sorted(strings.Split(s, "\n")) }

func TestViewMessages(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{
		from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Bilan", text: "Bonjour",
		header: []string{"Reply-To: elsewhere@chu.test"},
	})
	h.post(written{from: "simon@chu.test", to: string(h.child), id: "a2@chu.test", subject: "Entretien", text: "Bonjour"})
	h.post(written{from: "cabinet@idel.test", to: string(h.child), id: "a3@idel.test", subject: "Pansement", text: "Fait"})
	h.relay()

	nurse := h.reads("moreau@chu.test", "")
	f, table := openFolder(t, nurse, h.top()+"/Coordination")
	if got := subjects(t, f, table); got != "Bilan, Pansement" {
		t.Errorf("coordination holds %s", got)
	}
	inbox, table := openFolder(t, nurse, "INBOX")
	if got := subjects(t, inbox, table); got != "Bilan, Entretien, Pansement" {
		t.Errorf("INBOX holds %s", got)
	}
	if table.Unseen != 3 || table.Messages != 3 || table.UIDNext <= table.Rows[2].UID {
		t.Errorf("INBOX is %+v", table.State)
	}
	physio := h.reads("bernard@kine.test", "")
	f, table = openFolder(t, physio, "INBOX")
	if got := subjects(t, f, table); got != "Bilan, Pansement" {
		t.Errorf("the physiotherapist's INBOX holds %s", got)
	}
	shown := whole(t, f, table.Rows[0].UID)
	if !strings.HasPrefix(shown, "Reply-To: <"+string(h.child)+"@"+testDomain+">\r\nFrom:") || strings.Contains(shown, "elsewhere") {
		t.Errorf("shown as\n%s", shown)
	}
	if int64(len(shown)) != table.Rows[0].Size {
		t.Errorf("%d bytes, the table says %d", len(shown), table.Rows[0].Size)
	}
	// Its author's own INBOX has only what others wrote.
	author := h.reads("roux@chu.test", "")
	f, table = openFolder(t, author, "INBOX")
	if got := subjects(t, f, table); got != "Entretien, Pansement" {
		t.Errorf("the author's INBOX holds %s", got)
	}
	if _, err := h.Retract(t.Context(), testActor, MessageRequest{Message: string(id), Reason: "erreur"}); err != nil {
		t.Fatal(err)
	}
	f, before := openFolder(t, physio, "INBOX")
	if got := subjects(t, f, before); got != "Pansement" {
		t.Errorf("after the retraction INBOX holds %s", got)
	}
	if _, err := f.Content(t.Context(), 1); !errors.Is(err, folder.ErrGone) {
		t.Errorf("a message withdrawn gives %v", err)
	}
}

// Withdrawn consent and a member who leaves empty the view while it is open.
func TestViewFollowsRights(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(*house) error
	}{
		{"consent", func(h *house) error {
			_, err := h.WithdrawConsent(context.Background(), testActor, WithdrawRequest{Pathway: string(h.child), By: "mère"})
			return err
		}},
		{"member", func(h *house) error {
			_, err := h.RemoveMember(context.Background(), testActor, MemberRemoval{Pathway: string(h.child), Member: "m4", Reason: "départ"})
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t)
			h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Bilan", text: "Bonjour"})
			physio := h.reads("bernard@kine.test", "")
			inbox, table := openFolder(t, physio, "INBOX")
			rubric, _ := openFolder(t, physio, h.top()+"/Coordination")
			uid := table.Rows[0].UID
			if err := physio.Create(t.Context(), "Gardés", folder.NoUse); err != nil {
				t.Fatal(err)
			}
			if _, err := inbox.Copy(t.Context(), []uint32{uid}, "Gardés"); err != nil {
				t.Fatal(err)
			}
			kept, keptTable := openFolder(t, physio, "Gardés")
			if got := subjects(t, kept, keptTable); got != "Bilan" {
				t.Fatalf("kept: %s", got)
			}
			if err := tc.do(h); err != nil {
				t.Fatal(err)
			}
			for _, c := range []<-chan struct{}{inbox.Wake(), rubric.Wake(), kept.Wake()} {
				select {
				case <-c:
				case <-time.After(5 * time.Second):
					t.Fatal("not woken")
				}
			}
			if err := inbox.Each(t.Context(), []uint32{uid}, folder.Whole, func(uint32, *folder.Shown) error { return errors.New("shown") }); err != nil {
				t.Errorf("a listing made before shows it: %v", err)
			}
			if _, err := inbox.Content(t.Context(), uid); !errors.Is(err, folder.ErrGone) {
				t.Errorf("a message listed before opens: %v", err)
			}
			now, delta, err := inbox.Sync(t.Context(), table)
			if err != nil || len(now.Rows) != 0 || len(delta.Vanished) != 1 || now.HighestModSeq <= table.HighestModSeq {
				t.Errorf("INBOX is %+v after %+v, with %+v and %v", now.State, table.State, delta, err)
			}
			if _, _, err := rubric.Sync(t.Context(), nil); !errors.Is(err, folder.ErrNone) {
				t.Errorf("the rubric gives %v", err)
			}
			if now, _, err := kept.Sync(t.Context(), keptTable); err != nil || len(now.Rows) != 0 {
				t.Errorf("the reference stays: %v", err)
			}
			if got := list(t, physio); strings.Contains(got, "Parcours") {
				t.Errorf("the list still has\n%s", got)
			}
		})
	}
}

// Flags and hides are one account's own.
func TestViewMarks(t *testing.T) {
	h := newHouse(t)
	for i := range 3 {
		h.post(written{from: "roux@chu.test", to: string(h.child), id: fmt.Sprintf("a%d@chu.test", i), subject: fmt.Sprint("Bilan ", i), text: fmt.Sprint("Bonjour ", i)})
	}
	julie := h.reads("cabinet@idel.test", "Julie Petit")
	paul := h.reads("cabinet@idel.test", "Paul Durand")
	hers, table := openFolder(t, julie, "INBOX")
	his, hisTable := openFolder(t, paul, "INBOX")
	first, second := table.Rows[0].UID, table.Rows[1].UID
	if hisTable.Rows[0].UID != first {
		t.Errorf("UIDs differ: %d and %d", first, hisTable.Rows[0].UID)
	}
	rows, _, err := hers.SetFlags(t.Context(), []uint32{first, 999}, folder.AddFlags, folder.Flags{System: folder.Seen | folder.Deleted, Keywords: []string{"vu"}}, nil)
	if err != nil || len(rows) != 1 || rows[0].ModSeq <= table.HighestModSeq {
		t.Fatalf("flags gave %+v, %v", rows, err)
	}
	old := table.HighestModSeq
	_, modified, err := hers.SetFlags(t.Context(), []uint32{first, second}, folder.AddFlags, folder.Flags{System: folder.Flagged}, &old)
	if err != nil || len(modified) != 1 || modified[0] != first {
		t.Errorf("UNCHANGEDSINCE gave %v, %v", modified, err)
	}
	now, delta, err := hers.Sync(t.Context(), table)
	if err != nil || len(delta.Changed) != 2 || now.Unseen != 2 || now.Deleted != 1 || len(now.Keywords) != 1 {
		t.Errorf("now %+v with %+v, %v", now.State, delta, err)
	}
	if _, delta, _ := his.Sync(t.Context(), hisTable); !delta.Empty() {
		t.Errorf("the other person sees %+v", delta)
	}
	// The rubric shows the same flags; expunging INBOX leaves it there, undeleted.
	rubric, rubricTable := openFolder(t, julie, h.top()+"/Coordination")
	if !rubricTable.Rows[0].Flags.Has(folder.Deleted) {
		t.Error("the flag is not shown in the rubric")
	}
	if err := hers.Expunge(t.Context(), []uint32{first, second}); err != nil {
		t.Fatal(err)
	}
	if now, _, _ = hers.Sync(t.Context(), now); len(now.Rows) != 2 || now.Rows[0].UID != second {
		t.Errorf("after the expunge INBOX has %+v", now.Rows)
	}
	rubricTable, _, _ = rubric.Sync(t.Context(), rubricTable)
	if len(rubricTable.Rows) != 3 || rubricTable.Rows[0].Flags.Has(folder.Deleted) {
		t.Errorf("the rubric has %+v", rubricTable.Rows)
	}
	if hisTable, _, _ = his.Sync(t.Context(), nil); len(hisTable.Rows) != 3 {
		t.Error("hidden for the other person too")
	}
}

// From the bin back to where it was.
func TestViewBin(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a@chu.test", subject: "Bilan", text: "Bonjour"})
	r := h.reads("bernard@kine.test", "")
	inbox, table := openFolder(t, r, "INBOX")
	uid := table.Rows[0].UID
	moved, err := inbox.Move(t.Context(), []uint32{uid}, "Corbeille")
	if err != nil || len(moved.UIDs) != 1 {
		t.Fatalf("moved %+v, %v", moved, err)
	}
	if table, _, _ = inbox.Sync(t.Context(), table); len(table.Rows) != 0 {
		t.Error("still in INBOX")
	}
	bin, binTable := openFolder(t, r, "Corbeille")
	if got := subjects(t, bin, binTable); got != "Bilan" {
		t.Errorf("the bin holds %s", got)
	}
	if !strings.Contains(whole(t, bin, moved.UIDs[0]), "Bonjour") {
		t.Error("the reference does not open")
	}
	if _, err := bin.Move(t.Context(), moved.UIDs, h.top()+"/Coordination"); !errors.Is(err, folder.ErrDenied) {
		t.Errorf("to where it was not hidden: %v", err)
	}
	back, err := bin.Move(t.Context(), moved.UIDs, "INBOX")
	if err != nil || len(back.UIDs) != 1 || back.UIDs[0] != uid {
		t.Errorf("back %+v, %v", back, err)
	}
	if table, _, _ = inbox.Sync(t.Context(), table); len(table.Rows) != 1 {
		t.Error("not back in INBOX")
	}
	if binTable, _, _ = bin.Sync(t.Context(), binTable); len(binTable.Rows) != 0 {
		t.Error("still in the bin")
	}
}

func appendTo(t testing.TB, r *Reader, name, mail string) (uint32, error) {
	t.Helper()
	a, err := r.Append(t.Context(), name)
	if err != nil {
		return 0, err
	}
	defer a.Abort()
	if err := a.Message(int64(len(mail)), folder.Flags{System: folder.Seen}, time.Time{}, strings.NewReader(mail)); err != nil {
		return 0, err
	}
	_, uids, err := a.Commit(t.Context())
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

func TestViewAppend(t *testing.T) {
	h := newHouse(t)
	other := h.include("", "Autre", "Zoé", "2014-01-05")
	h.member(other, "M. Luc Bernard", "kinesitherapeute", "bernard@kine.test", "PER", "")
	r := h.reads("bernard@kine.test", "")
	draft := "From: <bernard@kine.test>\r\nReply-To: x@kine.test\r\nSubject: Brouillon\r\n\r\nÀ finir\r\n"
	uid, err := appendTo(t, r, "Brouillons", draft)
	if err != nil || uid != 1 {
		t.Fatalf("draft: %d, %v", uid, err)
	}
	f, table := openFolder(t, r, "Brouillons")
	if got := whole(t, f, uid); got != draft {
		t.Errorf("the draft comes back as\n%s", got)
	}
	if !table.Rows[0].Flags.Has(folder.Seen) {
		t.Error("the flags are lost")
	}

	// Into a rubric: posted as mail is.
	mail := written{from: "bernard@kine.test", id: "p1@kine.test", subject: "Séance", text: "Faite"}.bytes()
	uid, err = appendTo(t, r, h.top()+"/Imagerie", mail)
	if err != nil || uid == 0 {
		t.Fatalf("post: %d, %v", uid, err)
	}
	got := h.relay()
	if n := boxes(got); !strings.Contains(n, "roux") || strings.Contains(n, "bernard") {
		t.Errorf("mailed to %s", n)
	}
	// What a client files as sent is the same message.
	sent, err := appendTo(t, r, "Envoyés", mail)
	if err != nil {
		t.Fatal(err)
	}
	envoyes, sentTable := openFolder(t, r, "Envoyés")
	if q, _ := r.Quota(t.Context()); q.Messages != 2 {
		t.Errorf("the quota is %+v", q)
	}
	if got := whole(t, envoyes, sent); !strings.HasPrefix(got, "Reply-To: <"+string(h.child)) || len(sentTable.Rows) != 1 {
		t.Errorf("not kept as a reference:\n%s", got)
	}
	// Never to another pathway.
	elsewhere := "Parcours/Z.A. " + string(other)
	if _, err := appendTo(t, r, elsewhere+"/Imagerie", mail); !errors.Is(err, folder.ErrElsewhere) {
		t.Errorf("posting it to another child gives %v", err)
	}
	rubric, rubricTable := openFolder(t, r, h.top()+"/Imagerie")
	if _, err := rubric.Copy(t.Context(), []uint32{rubricTable.Rows[0].UID}, elsewhere+"/Imagerie"); !errors.Is(err, folder.ErrElsewhere) {
		t.Errorf("copying it to another child gives %v", err)
	}
	// Its author may refile it; somebody else may not.
	if _, err := rubric.Move(t.Context(), []uint32{rubricTable.Rows[0].UID}, h.top()+"/Biologie"); err != nil {
		t.Errorf("the author refiling: %v", err)
	}
	if f, table := openFolder(t, r, h.top()+"/Biologie"); subjects(t, f, table) != "Séance" {
		t.Error("not refiled")
	}
	nurse := h.reads("cabinet@idel.test", "Julie Petit")
	f, table = openFolder(t, nurse, h.top()+"/Biologie")
	if _, err := f.Move(t.Context(), []uint32{table.Rows[0].UID}, h.top()+"/Imagerie"); !errors.Is(err, folder.ErrDenied) {
		t.Errorf("somebody else refiling: %v", err)
	}
}

func TestViewPrivateFolders(t *testing.T) {
	h := newHouse(t)
	r := h.reads("bernard@kine.test", "")
	ctx := t.Context()
	for name, want := range map[string]error{
		"Parcours/x": folder.ErrFixed, "inbox": folder.ErrFixed, "INBOX/x": folder.ErrFixed, "": folder.ErrName, "a//b": folder.ErrName,
		"a\x01": folder.ErrName, "Brouillons": folder.ErrExists, strings.Repeat("x", 600): folder.ErrName,
	} {
		if err := r.Create(ctx, name, folder.NoUse); !errors.Is(err, want) {
			t.Errorf("creating %q gives %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{"Notes", "Notes/2026", "Notes perso"} {
		if err := r.Create(ctx, name, folder.NoUse); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := appendTo(t, r, "Notes/2026", "Subject: x\r\n\r\nx\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := r.Rename(ctx, "Notes", "Carnet"); err != nil {
		t.Fatal(err)
	}
	if got := list(t, r); !strings.Contains(got, "Carnet/2026") || !strings.Contains(got, "Notes perso") || strings.Contains(got, "Notes/") {
		t.Errorf("after the renaming:\n%s", got)
	}
	// The hub's folders are subscribed to unless one does not want them; of these
	// the code is kept, not the label.
	for _, name := range []string{"INBOX", h.top() + "/Imagerie", "Ailleurs"} {
		if err := r.Subscribe(ctx, name, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, on := range []bool{false, true, false} {
		if err := r.Subscribe(ctx, h.top()+"/PPS", on); err != nil {
			t.Fatal(err)
		}
	}
	for _, on := range []bool{false, true} {
		if err := r.Subscribe(ctx, h.top()+"/Psychologie", on); !errors.Is(err, folder.ErrNone) {
			t.Errorf("subscribing to what may not be seen gives %v", err)
		}
	}
	all, err := r.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var off []string
	for _, f := range all {
		if !f.Subscribed {
			off = append(off, f.Name)
		}
	}
	if got := strings.Join(off, ", "); got != "Carnet, Carnet/2026, Notes perso, Parcours, "+h.top()+"/PPS" {
		t.Errorf("not subscribed to %s", got)
	}
	if !slices.ContainsFunc(all, func(f folder.Info) bool { return f.Name == "Ailleurs" && f.Missing }) {
		t.Error("the name without a folder is lost")
	}
	if err := h.store.View(ctx, func(v store.View) error {
		have, err := v.Reader(r.a.ID)
		if strings.Contains(strings.Join(slices.Concat(have.Subscribed, have.Unsubscribed), " "), "L.M.") {
			t.Errorf("kept: %+v", have)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f, table := openFolder(t, r, "Carnet/2026")
	if len(table.Rows) != 1 {
		t.Error("the message did not go along")
	}
	if err := r.Delete(ctx, "Carnet/2026"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Sync(ctx, table); !errors.Is(err, folder.ErrNone) {
		t.Errorf("a deleted folder gives %v", err)
	}
	if q, _ := r.Quota(ctx); q.Messages != 0 || q.Size != 0 {
		t.Errorf("the quota is %+v", q)
	}
	// A deletion that a crash cut off is finished at the next login.
	if err := r.Create(ctx, "Coupé", folder.NoUse); err != nil {
		t.Fatal(err)
	}
	if _, err := appendTo(t, r, "Coupé", "Subject: x\r\n\r\nx\r\n"); err != nil {
		t.Fatal(err)
	}
	err = h.store.Commit(ctx, func(tx store.Tx) error {
		f, err := r.folderNamed(tx, "Coupé")
		if err != nil {
			return err
		}
		f.Dropped, f.Name = true, ""
		return tx.PutFolder(r.a.ID, f)
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.Read(ctx, r.a, "127.0.0.1:4")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if q, _ := again.Quota(ctx); q.Messages != 0 || q.Size != 0 {
		t.Errorf("after a deletion cut off the quota is %+v", q)
	}
	if err := r.Delete(ctx, "INBOX"); !errors.Is(err, folder.ErrFixed) {
		t.Errorf("deleting INBOX gives %v", err)
	}
	if err := r.Delete(ctx, "Parcours/ailleurs"); !errors.Is(err, folder.ErrNone) {
		t.Errorf("deleting what is not there gives %v", err)
	}
}

func TestRelaySheet(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "simon@chu.test", to: string(h.child), id: "s1@chu.test", subject: "Entretien", text: "Bonjour"})
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "s2@chu.test", subject: "Bilan", text: "Bonjour"})
	phone := "02.00.00.00.09"
	must[MemberView](t)(h.UpdateMember(t.Context(), testActor, MemberUpdate{Pathway: string(h.child), Member: "m1", Phone: &phone}))
	physio, oncologist := h.reads("bernard@kine.test", ""), h.reads("roux@chu.test", "")
	f, table := openFolder(t, physio, h.top())
	if len(table.Rows) != 1 {
		t.Fatalf("%d messages", len(table.Rows))
	}
	uid := table.Rows[0].UID
	read := func(f folder.Folder, uid uint32) string {
		_, body, _ := strings.Cut(whole(t, f, uid), "\r\n\r\n")
		text, err := io.ReadAll(strings.NewReader(strings.ReplaceAll(body, "=\r\n", "")))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := read(f, uid)
	for _, want := range []string{"Anne Roux", "cabinet@idel.test", "roux@chu.test, t=C3=A9l. 02=C2=A000=C2=A000=C2=A000=C2=A009", "Bilan", string(h.child) + "@" + testDomain} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, never := range []string{"Entretien", "279035121518989"} {
		if strings.Contains(text, never) {
			t.Errorf("%q stands in\n%s", never, text)
		}
	}
	of, ot := openFolder(t, oncologist, h.top())
	if !strings.Contains(read(of, ot.Rows[0].UID), "Entretien") {
		t.Error("the oncologist's sheet lacks what they may see")
	}
	// The same as long as nothing changes; a new one after a change, once a minute.
	if now, delta, _ := f.Sync(t.Context(), table); !delta.Empty() || now != table {
		t.Errorf("changed by itself: %+v", delta)
	}
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "s3@chu.test", subject: "Suite", text: "Bonjour"})
	if _, delta, _ := f.Sync(t.Context(), table); !delta.Empty() {
		t.Errorf("changed within the minute: %+v", delta)
	}
	h.clock.advance(2 * time.Minute)
	now, delta, err := f.Sync(t.Context(), table)
	if err != nil || len(delta.Vanished) != 1 || len(delta.Added) != 1 || now.Rows[0].UID <= uid {
		t.Fatalf("after a minute: %+v, %v", delta, err)
	}
	if !strings.Contains(read(f, now.Rows[0].UID), "Suite") {
		t.Error("the new sheet lacks what is new")
	}
	if _, _, err := f.SetFlags(t.Context(), []uint32{now.Rows[0].UID}, folder.AddFlags, folder.Flags{System: folder.Seen}, nil); err != nil {
		t.Fatal(err)
	}
	if _, table := openFolder(t, physio, h.top()); table.Unseen != 0 {
		t.Error("the flag is lost")
	}
	if _, table := openFolder(t, oncologist, h.top()); table.Unseen != 1 {
		t.Error("the flag is another's too")
	}
}
