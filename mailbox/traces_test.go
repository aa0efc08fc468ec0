package mailbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
)

// untraced are the operations that leave no trace, and why.
var untraced = map[string]string{
	"SearchDirectory": "the national directory is public",
}

// Whatever is asked of the hub leaves a trace of who asked: every method that
// takes an Actor is here, or says above why not.
func TestEverythingIsTraced(t *testing.T) {
	h := withDirectory(t)
	ctx := context.Background()
	code := string(h.child)
	post := func(id string) string {
		return string(h.post(written{from: "roux@chu.test", to: code, id: id, subject: "Bilan", text: id}))
	}
	hold := func(id string) string {
		t.Helper()
		r, err := h.try(written{from: "inconnu@chu.test", to: code, id: id, subject: "Bilan", text: id})
		if err != nil || r.Held == "" {
			t.Fatalf("held: %v %v", r, err)
		}
		return string(r.Held)
	}
	id, other := post("t1@chu.test"), post("t2@chu.test")
	held, rejected := hold("t3@chu.test"), hold("t4@chu.test")
	second := string(h.include("", "Lefort", "Noé", "2016-04-05"))
	third := string(h.include("", "Lefort", "Noé", "2016-04-05"))
	conflicting, err := h.try(written{from: "simon@chu.test", to: code, id: "t5@chu.test", subject: "Lefort Noé", text: "Bonjour"})
	if err != nil || conflicting.Reason != reasonConflicting {
		t.Fatalf("held: %v %v", conflicting, err)
	}
	entry := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{}))[0].ID
	phone := "02 00 00 00 00"
	read := func(r io.ReadCloser, err error) error {
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		return err
	}
	covered := map[string]bool{}
	for _, op := range []struct {
		method, action string
		do             func() error
	}{
		{"Pathway", "pathway.read", func() error { _, err := h.Pathway(ctx, testActor, code); return err }},
		{"Pathways", "pathway.listed", func() error { _, err := h.Pathways(ctx, testActor, PathwayFilter{}); return err }},
		{"UpdatePathway", "pathway.updated", func() error {
			_, err := h.UpdatePathway(ctx, testActor, PathwayUpdate{Pathway: code, Phone: &phone})
			return err
		}},
		{"RecordConsent", "consent.recorded", func() error {
			_, err := h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: code, Kind: "written", From: "mère", For: "m7"})
			return err
		}},
		{"Consents", "consent.read", func() error { _, err := h.Consents(ctx, testActor, code); return err }},
		{"WithdrawConsent", "consent.withdrawn", func() error {
			_, err := h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, For: "m7"})
			return err
		}},
		{"AddMember", "team.added", func() error {
			_, err := h.AddMember(ctx, testActor, MemberRequest{Pathway: code, Name: "M. Jean Le Goff", Role: "pediatre", Mailbox: "legoff@chg.test"})
			return err
		}},
		{"UpdateMember", "team.updated", func() error {
			_, err := h.UpdateMember(ctx, testActor, MemberUpdate{Pathway: code, Member: "m8", Service: &phone, Phone: &phone})
			return err
		}},
		{"RemoveMember", "team.removed", func() error {
			_, err := h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: "m8"})
			return err
		}},
		{"Team", "team.read", func() error { _, err := h.Team(ctx, testActor, code, true); return err }},
		{"ImportTeam", "team.imported", func() error {
			_, err := h.ImportTeam(ctx, testActor, code, strings.NewReader("name,role,mailbox\nMme Zoé Blin,pediatre,blin@chg.test\n"), false)
			return err
		}},
		{"Boxes", "mailbox.listed", func() error { _, err := h.Boxes(ctx, testActor, "", 0); return err }},
		{"Box", "mailbox.read", func() error { _, err := h.Box(ctx, testActor, "cabinet@idel.test"); return err }},
		{"UpdateBox", "mailbox.updated", func() error {
			_, err := h.UpdateBox(ctx, testActor, BoxUpdate{Mailbox: "cabinet@idel.test", Name: &phone})
			return err
		}},
		{"Thread", "thread.read", func() error { _, err := h.Thread(ctx, testActor, code, ""); return err }},
		{"Message", "message.read", func() error { _, err := h.Message(ctx, testActor, id); return err }},
		{"RawMessage", "message.downloaded", func() error {
			return read(h.RawMessage(ctx, testActor, id))
		}},
		{"SetAuthor", "message.author", func() error {
			_, err := h.SetAuthor(ctx, testActor, MessageRequest{Message: id, Member: "m2"})
			return err
		}},
		{"Refile", "message.refiled", func() error {
			_, err := h.Refile(ctx, testActor, MessageRequest{Message: id, Rubrics: []string{"imagerie"}})
			return err
		}},
		{"Resend", "message.resent", func() error {
			_, err := h.Resend(ctx, testActor, MessageRequest{Message: id, Members: []string{"m1"}})
			return err
		}},
		{"Queue", "queue.listed", func() error { _, err := h.Queue(ctx, testActor, QueueFilter{}); return err }},
		{"QueueEntry", "queue.read", func() error { _, err := h.QueueEntry(ctx, testActor, entry); return err }},
		{"HoldDelivery", "delivery.held", func() error { _, err := h.HoldDelivery(ctx, testActor, QueueRequest{ID: entry}); return err }},
		{"RetryDelivery", "delivery.retried", func() error { _, err := h.RetryDelivery(ctx, testActor, QueueRequest{ID: entry}); return err }},
		{"DropDelivery", "delivery.dropped", func() error { _, err := h.DropDelivery(ctx, testActor, QueueRequest{ID: entry}); return err }},
		{"Retract", "message.retracted", func() error { _, err := h.Retract(ctx, testActor, MessageRequest{Message: id}); return err }},
		{"TriageList", "triage.listed", func() error { _, err := h.TriageList(ctx, testActor); return err }},
		{"Held", "triage.read", func() error { _, err := h.Hub.Held(ctx, testActor, held); return err }},
		{"RawHeld", "triage.downloaded", func() error {
			return read(h.RawHeld(ctx, testActor, held))
		}},
		{"Assign", "triage.assigned", func() error {
			_, err := h.Assign(ctx, testActor, TriageRequest{ID: held, Member: "m2"})
			return err
		}},
		{"SuspendPathway", "pathway.suspended", func() error { _, err := h.SuspendPathway(ctx, testActor, StatusChange{Pathway: code}); return err }},
		{"ClosePathway", "pathway.closed", func() error { _, err := h.ClosePathway(ctx, testActor, StatusChange{Pathway: code}); return err }},
		{"ReopenPathway", "pathway.reopened", func() error { _, err := h.ReopenPathway(ctx, testActor, StatusChange{Pathway: code}); return err }},
		{"Include", "pathway.included", func() error {
			_, err := h.Include(ctx, testActor, IncludeRequest{Programme: "pon", FamilyName: "Essai", GivenName: "Ana", BirthDate: "2017-01-01", Sex: "F"})
			return err
		}},
		{"Explain", "rules.explained", func() error {
			_, err := h.Explain(ctx, testActor, code, "roux@chu.test", strings.NewReader(written{from: "roux@chu.test", subject: "x"}.bytes()))
			return err
		}},
		{"Export", "pathway.exported", func() error {
			h.post(written{from: "roux@chu.test", to: code, id: "doc@chu.test", subject: "CR", content: attachment("cr.pdf", "application/pdf", "JVBERi0=")})
			return read(h.Export(ctx, testActor, ExportRequest{Pathway: code}))
		}},
		{"MoveMessage", "message.moved", func() error {
			_, err := h.MoveMessage(ctx, testActor, MessageRequest{Message: other, Pathway: second})
			return err
		}},
		{"MergePathways", "pathway.merged", func() error { _, err := h.MergePathways(ctx, testActor, third, second); return err }},
		{"Release", "triage.released", func() error {
			_, err := h.Release(ctx, testActor, TriageRequest{ID: string(conflicting.Held)})
			return err
		}},
		{"ImportDirectory", "directory.imported", func() error {
			_, err := h.ImportDirectory(ctx, testActor, DirectoryImport{}, strings.NewReader(extract(national...)))
			return err
		}},
		{"Reject", "triage.rejected", func() error { return h.Reject(ctx, testActor, TriageRequest{ID: rejected}) }},
		{"CreateAccount", "account.created", func() error {
			_, err := h.CreateAccount(ctx, testActor, AccountRequest{Mailbox: "roux@chu.test"})
			return err
		}},
		{"Accounts", "account.listed", func() error { _, err := h.Accounts(ctx, testActor, ""); return err }},
		{"RevokeAccount", "account.revoked", func() error {
			_, err := h.RevokeAccount(ctx, testActor, AccountRevoke{Username: "roux@chu.test"})
			return err
		}},
		{"Keys", "key.read", func() error { _, err := h.Keys(ctx, testActor); return err }},
		{"RotateKey", "key.rotated", func() error { _, err := h.RotateKey(ctx, testActor, KeyRotation{Key: "epoch"}); return err }},
		{"ForgetPlace", "key.place-given-up", func() error {
			// A place that was taken off the configuration.
			f, err := os.OpenFile(filepath.Join(h.dir, "..", "epochs", "places"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("/gone\n")
			_, ferr := h.ForgetPlace(ctx, testActor, "/gone")
			return errors.Join(err, f.Close(), ferr)
		}},
		{"ErasePathway", "pathway.erased", func() error {
			_, err := h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: second})
			return err
		}},
		{"Audit", "audit.read", func() error { _, err := h.Audit(ctx, testActor, AuditQuery{}); return err }},
		{"AuditSeen", "audit.read", func() error { _, err := h.AuditSeen(ctx, testActor, code); return err }},
		{"AuditHead", "audit.head", func() error { _, err := h.AuditHead(ctx, testActor); return err }},
		{"AuditVerify", "audit.verified", func() error { _, err := h.AuditVerify(ctx, testActor, AuditCheck{}); return err }},
		{"AuditExport", "audit.exported", func() error { return read(h.AuditExport(ctx, testActor, AuditExport{})) }},
		{"Record", "store.backed-up", func() error { return h.Record(ctx, testActor, "store.backed-up", "g", true, nil) }},
		{"TraceRefusal", "administration.refused", func() error { return h.TraceRefusal(ctx, testActor, "/v1/key/rotate") }},
		{"TraceReads", "message.read", func() error {
			return h.TraceReads(ctx, testActor, ReadOpened, []store.MessageRef{{Pathway: h.child, Message: store.MessageID(id)}})
		}},
	} {
		covered[op.method] = true
		before := len(h.traced(""))
		if err := op.do(); err != nil {
			t.Errorf("%s: %v (%s)", op.action, err, failureCode(err))
			continue
		}
		if after := h.traced("")[before:]; !slices.Contains(after, op.action) {
			t.Errorf("%s left %v", op.action, after)
		}
	}
	hub := reflect.TypeFor[*Hub]()
	for i := range hub.NumMethod() {
		m := hub.Method(i)
		asked := m.Type.NumIn() > 2 && m.Type.In(2) == reflect.TypeFor[Actor]()
		if asked && !covered[m.Name] && untraced[m.Name] == "" {
			t.Errorf("%s is asked for by somebody: show here what trace it leaves", m.Name)
		}
	}
}

// given are whoever the houses of these tests are about, in the words that could
// give them away.
var given = []string{
	"martin", "léa", "roux", "moreau", "simon", "bernard", "petit", "durand", "sophie", "lefort", "noé", "julie", "inès",
	"279035121518989", "2015-03-02", "chu.test>", "@",
}

// checkTraces looks at all traces that a test left: they name nobody, say who,
// what, when and how it ended, and verify.
func checkTraces(t testing.TB, s store.Store) {
	t.Helper()
	err := s.View(context.Background(), func(v store.View) error {
		for _, f := range store.Families {
			all, err := v.Traces(f, 0, 0)
			if err != nil {
				return err
			}
			for _, tr := range all {
				if tr.Actor == "" || tr.Action == "" || tr.Outcome == "" || tr.At.IsZero() {
					t.Errorf("trace %d lacks something: %+v", tr.Seq, tr)
				}
				b, err := json.Marshal(auditView(tr))
				if err != nil {
					return err
				}
				for _, name := range given {
					if i := bytes.Index(bytes.ToLower(b), []byte(name)); i >= 0 {
						t.Errorf("a trace of %s tells %q: %s", tr.Action, name, b)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if r, err := s.VerifyTraces(context.Background()); err != nil || !r.Sound() {
		t.Errorf("the traces do not verify: %+v, %v", r.Problems, err)
	}
}

// What a sender learns of a pathway by a refusal is traced.
func TestRefusalsAreTraced(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	must[PathwayView](t)(h.ClosePathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	if _, err := h.try(written{from: "roux@chu.test", to: string(h.child), subject: "x", text: "y"}); refusedFor(err) != RefuseClosed {
		t.Fatal(err)
	}
	must[PathwayView](t)(h.ReopenPathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	_, err := h.Include(ctx, testActor, IncludeRequest{
		Programme: "pon", INS: "279035121518989", INSOID: "1.2.250.1.213.1.4.10", FamilyName: "Martin", GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F",
	})
	if failureCode(err) != "ins-followed" {
		t.Fatal(err)
	}
	page := must[AuditPage](t)(h.Audit(ctx, testActor, AuditQuery{Pathway: string(h.child)}))
	var refused []string
	for _, v := range page.Traces {
		if v.Outcome == outcomeRefused {
			refused = append(refused, v.Actor+" "+v.Action+" "+v.Detail["reason"])
		}
	}
	if want := []string{"box message.refused closed", testActor.Name + " pathway.included ins-followed"}; !slices.Equal(refused, want) {
		t.Errorf("got %q, want %q", refused, want)
	}
}

// One command of a client is one commit, whatever it fetched.
func TestReadsAreOneCommit(t *testing.T) {
	h := newHouse(t)
	other := h.include("", "Lefort", "Noé", "2016-04-05")
	var read []store.MessageRef
	for i := range 1200 {
		ref := store.MessageRef{Pathway: h.child, Message: store.MessageID(strings.Repeat("m", i%7) + "x")}
		if i%100 == 0 {
			ref.Pathway = other
		}
		read = append(read, ref)
	}
	before, err := h.store.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	by := Actor{Name: "account:01a", Where: "192.0.2.7:1", OnBehalf: "member:m2"}
	if err := h.TraceReads(t.Context(), by, ReadOpened, read); err != nil {
		t.Fatal(err)
	}
	after, err := h.store.Stats(t.Context())
	if err != nil || after.Sequence != before.Sequence+1 {
		t.Errorf("%d commits, %v", after.Sequence-before.Sequence, err)
	}
	n, records := 0, 0
	for _, code := range []store.PathwayCode{h.child, other} {
		for _, v := range must[AuditPage](t)(h.Audit(t.Context(), testActor, AuditQuery{Pathway: string(code), Actor: "account:"})).Traces {
			if v.OnBehalf != by.OnBehalf || v.Where != by.Where || v.Action != "message.read" {
				t.Errorf("%+v", v)
			}
			n, records = n+len(v.Objects), records+1
		}
	}
	if n != len(read) || records != 4 {
		t.Errorf("%d messages in %d records", n, records)
	}
	if err := h.TraceReads(t.Context(), by, ReadOpened, nil); err != nil {
		t.Error(err)
	}
}

// A list shown is found under each pathway in it.
func TestListsAreTracedUnderEach(t *testing.T) {
	h := newHouse(t)
	other := h.include("", "Lefort", "Noé", "2016-04-05")
	must[[]PathwayView](t)(h.Pathways(t.Context(), testActor, PathwayFilter{}))
	for _, code := range []store.PathwayCode{h.child, other} {
		page := must[AuditPage](t)(h.Audit(t.Context(), testActor, AuditQuery{Pathway: string(code), Action: "pathway.listed"}))
		if len(page.Traces) != 1 {
			t.Errorf("%s: %d traces", code, len(page.Traces))
		}
	}
}
