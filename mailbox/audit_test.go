package mailbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/store"
)

// busyHouse has traces of every kind of actor.
func busyHouse(t *testing.T) *house {
	h := newHouse(t)
	code := string(h.child)
	id := h.post(written{from: "roux@chu.test", to: code, id: "a1@chu.test", subject: "Bilan", text: "x", header: []string{"Disposition-Notification-To: <roux@chu.test>"}})
	h.clock.advance(time.Hour)
	h.relay()
	h.post(written{from: "cabinet@idel.test", to: code, id: "a2@chu.test", subject: "Pansement", text: "Auteur : Paul Durand\nfait"})
	must[ThreadView](t)(h.Thread(t.Context(), testActor, code, "m2"))
	must[MessageView](t)(h.Message(t.Context(), testActor, string(id)))
	r := must[io.ReadCloser](t)(h.RawMessage(t.Context(), Actor{Name: "unix:1001(luc)", Where: "socket"}, string(id)))
	r.Close()
	if err := h.TraceReads(t.Context(), Actor{Name: "account:01a", OnBehalf: "member:m4", Where: "192.0.2.7:993"}, ReadOpened, []store.MessageRef{
		{Pathway: h.child, Message: id}, {Pathway: h.child, Message: id}, {Pathway: h.child, Message: "01other"},
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

// Pages, however small, give every trace once and in order; what is chosen is
// what was asked for.
func TestAuditPages(t *testing.T) {
	h := busyHouse(t)
	whole := must[AuditPage](t)(h.Audit(t.Context(), testActor, AuditQuery{}))
	if whole.Next != 0 || len(whole.Traces) < 15 {
		t.Fatalf("%d traces, next %d", len(whole.Traces), whole.Next)
	}
	last := whole.Traces[len(whole.Traces)-1].Seq
	for _, limit := range []int{1, 2, 7} {
		var all []AuditView
		for after := uint64(0); ; {
			page := must[AuditPage](t)(h.Audit(t.Context(), testActor, AuditQuery{After: after, Limit: limit}))
			all = append(all, page.Traces...)
			if after = page.Next; after == 0 || after >= last {
				break
			}
		}
		all = all[:slices.IndexFunc(all, func(v AuditView) bool { return v.Seq == last })+1]
		if diff := cmp.Diff(whole.Traces, all); diff != "" {
			t.Errorf("by %d (-whole +pages):\n%s", limit, diff)
		}
	}
	later := h.clock.now()
	for name, c := range map[string]struct {
		q    AuditQuery
		fits func(*AuditView) bool
	}{
		"actor":   {AuditQuery{Actor: "unix:1001"}, func(v *AuditView) bool { return v.Actor == "unix:1001(luc)" }},
		"action":  {AuditQuery{Action: "message."}, func(v *AuditView) bool { return strings.HasPrefix(v.Action, "message.") }},
		"pathway": {AuditQuery{Pathway: string(h.child)}, func(v *AuditView) bool { return v.Pathway == string(h.child) }},
		"family":  {AuditQuery{Family: "application"}, func(v *AuditView) bool { return v.Family == "application" }},
		"from":    {AuditQuery{From: later}, func(v *AuditView) bool { return !v.At.Before(later) }},
		"to":      {AuditQuery{To: later}, func(v *AuditView) bool { return v.At.Before(later) }},
	} {
		var want []uint64
		for i := range whole.Traces {
			if c.fits(&whole.Traces[i]) {
				want = append(want, whole.Traces[i].Seq)
			}
		}
		var got []uint64
		for _, v := range must[AuditPage](t)(h.Audit(t.Context(), testActor, c.q)).Traces {
			if v.Seq <= last {
				got = append(got, v.Seq)
			}
		}
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// Who has seen this child's file: what was sent, what was downloaded, opened,
// and answered for are told apart.
func TestAuditSeen(t *testing.T) {
	h := busyHouse(t)
	r := must[SeenReport](t)(h.AuditSeen(t.Context(), testActor, string(h.child)))
	var boxes, readers []string
	for _, b := range r.Boxes {
		boxes = append(boxes, fmt.Sprintf("%s %s: %d handed over, %d not", b.Mailbox, strings.Join(b.Members, ","), b.HandedOver, b.NotReached))
	}
	for _, x := range r.Readers {
		readers = append(readers, strings.TrimSpace(fmt.Sprintf("%s %s %s ×%d, %d messages", x.How, x.Actor, x.OnBehalf, x.Times, x.Messages)))
	}
	if diff := cmp.Diff([]string{
		"bernard@kine.test m4 M. Luc Bernard: 1 handed over, 1 not",
		"cabinet@idel.test m5 Mme Julie Petit,m6 M. Paul Durand: 1 handed over, 1 not",
		"moreau@chu.test m2 Mme Inès Moreau: 1 handed over, 1 not",
		"roux@chu.test m1 Dr Anne Roux: 0 handed over, 1 not",
		"simon@chu.test m3 Mme Claire Simon: 1 handed over, 1 not",
	}, boxes); diff != "" {
		t.Errorf("boxes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"downloaded unix:1001(luc)  ×1, 1 messages",
		"opened unix:1000(jeanne)  ×2, 1 messages",
		"opened account:01a member:m4 ×1, 2 messages",
		"wrote member:m1  ×1, 1 messages",
		"wrote member:m6  ×1, 1 messages",
		"changed unix:1000(jeanne)  ×8, 0 messages",
	}, readers); diff != "" {
		t.Errorf("readers (-want +got):\n%s", diff)
	}
	if _, err := h.AuditSeen(t.Context(), testActor, "zzz"); failureCode(err) != "pathway-code" {
		t.Error(err)
	}

	// Erased, the traces are left, without names, and the boxes that have copies.
	must[ErasureView](t)(h.ErasePathway(t.Context(), testActor, ErasureRequest{Pathway: string(h.child), Reason: "demande écrite"}))
	for range 3 {
		h.clock.advance(time.Minute)
		h.timers()
	}
	if err := h.view(t.Context(), func(v store.View) error { _, err := v.Pathway(h.child); return err }); err == nil {
		t.Fatal("still there")
	}
	r = must[SeenReport](t)(h.AuditSeen(t.Context(), testActor, string(h.child)))
	if len(r.Boxes) != 4 || r.Boxes[0].Mailbox != "bernard@kine.test" || len(r.Readers) != 6 || r.Readers[len(r.Readers)-1].Name != "" {
		t.Errorf("after an erasure: %+v", r)
	}
}

// An account is an id in a trace, which outlives names; who asks is told whose
// it is, even when they left since, and exports are not.
func TestAccountsOfTracesAreNamed(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Bilan", text: "x"})
	one := must[AccountCreated](t)(h.CreateAccount(t.Context(), testActor, AccountRequest{Mailbox: "moreau@chu.test"}))
	two := must[AccountCreated](t)(h.CreateAccount(t.Context(), testActor, AccountRequest{Mailbox: "cabinet@idel.test", Person: "Julie Petit"}))
	for _, a := range []string{one.Account.ID, two.Account.ID, "01gone"} {
		if err := h.TraceReads(t.Context(), Actor{Name: "account:" + a, Where: "192.0.2.7:993"}, ReadOpened, []store.MessageRef{{Pathway: h.child, Message: id}}); err != nil {
			t.Fatal(err)
		}
	}
	must[MemberView](t)(h.RemoveMember(t.Context(), testActor, MemberRemoval{Pathway: string(h.child), Member: "m2"}))
	r := must[SeenReport](t)(h.AuditSeen(t.Context(), testActor, string(h.child)))
	var got []string
	for _, x := range r.Readers {
		if x.How == "opened" {
			got = append(got, x.Username+": "+x.Name)
		}
	}
	want := []string{"moreau@chu.test: Mme Inès Moreau", two.Username + ": Mme Julie Petit", ": "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got = nil
	for _, x := range must[AuditPage](t)(h.Audit(t.Context(), testActor, AuditQuery{Action: string(ReadOpened)})).Traces {
		got = append(got, x.Username)
	}
	if diff := cmp.Diff([]string{"moreau@chu.test", two.Username, ""}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, line := range exportLines(t, h, AuditExport{}) {
		if strings.Contains(line, "moreau") {
			t.Errorf("an export names somebody: %s", line)
		}
	}
}

func exportLines(t *testing.T, h *house, q AuditExport) []string {
	t.Helper()
	r := must[io.ReadCloser](t)(h.AuditExport(t.Context(), testActor, q))
	defer r.Close()
	var lines []string
	for s := bufio.NewScanner(r); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// An export gives what the pages give, a line each, itself included.
func TestAuditExportLines(t *testing.T) {
	h := busyHouse(t)
	q := AuditQuery{Pathway: string(h.child)}
	lines := exportLines(t, h, AuditExport{AuditQuery: q})
	page := must[AuditPage](t)(h.Audit(t.Context(), testActor, q))
	if len(lines) != len(page.Traces) || page.Traces[len(lines)-1].Action != "audit.exported" {
		t.Fatalf("%d lines, %d traces", len(lines), len(page.Traces))
	}
	for i, line := range lines {
		var v AuditView
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(page.Traces[i], v); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []AuditExport{{Format: "xml"}, {AuditQuery: AuditQuery{Family: "x"}}, {AuditQuery: AuditQuery{From: h.clock.now(), To: h.clock.now()}}} {
		if _, err := h.AuditExport(t.Context(), testActor, bad); !strings.HasPrefix(failureCode(err), "audit-") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Every AuditEvent is of the shape of FHIR R4 and within the rules of the
// national profile.
func TestAuditEvents(t *testing.T) {
	h := busyHouse(t)
	lines := exportLines(t, h, AuditExport{Format: AuditFHIR})
	if len(lines) < 15 {
		t.Fatalf("%d events", len(lines))
	}
	kinds := map[string]bool{}
	for _, line := range lines {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		for _, fault := range eventFaults(e) {
			t.Errorf("%s\n%s", fault, line)
		}
		kinds[e["type"].(map[string]any)["code"].(string)] = true
		for _, name := range given {
			if strings.Contains(strings.ToLower(line), name) {
				t.Errorf("an event tells %q: %s", name, line)
			}
		}
	}
	for _, code := range []string{"110106", "110107", "110110", "110101"} { // export, import, patient record, audit log
		if !kinds[code] {
			t.Errorf("no event of type %s", code)
		}
	}
}

// eventFaults checks an AuditEvent: R4's cardinalities, value sets and forms for
// the elements used, no others; the TDE rules.
func eventFaults(e map[string]any) (faults []string) {
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	object := func(v any, where string, must, may []string) map[string]any {
		m, ok := v.(map[string]any)
		if !ok {
			bad("%s is no object", where)
			return map[string]any{}
		}
		for _, k := range must {
			if _, ok := m[k]; !ok {
				bad("%s lacks %s", where, k)
			}
		}
		for k, v := range m {
			if !slices.Contains(must, k) && !slices.Contains(may, k) {
				bad("%s has %s", where, k)
			}
			if s, ok := v.(string); ok && strings.TrimSpace(s) == "" {
				bad("%s.%s is empty", where, k)
			}
			if l, ok := v.([]any); ok && len(l) == 0 {
				bad("%s.%s is an empty list", where, k)
			}
		}
		return m
	}
	list := func(v any) []any { l, _ := v.([]any); return l }
	coded := func(v any, where string) {
		if c := object(v, where, []string{"system", "code"}, []string{"display"}); !strings.Contains(fmt.Sprint(c["system"]), "://") {
			bad("%s has no system", where)
		}
	}
	refers := func(v any, where string) {
		r := object(v, where, []string{"identifier"}, nil)
		object(r["identifier"], where+".identifier", []string{"system", "value"}, nil)
	}
	instant := func(v any, where string) {
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(v)); err != nil {
			bad("%s is no instant", where)
		}
	}
	object(e, "event", []string{"resourceType", "id", "type", "action", "period", "recorded", "outcome", "agent", "source"}, []string{"subtype", "entity"})
	if e["resourceType"] != "AuditEvent" || len(fmt.Sprint(e["id"])) > 64 {
		bad("resource or id")
	}
	coded(e["type"], "type")
	subtypes := list(e["subtype"])
	if len(subtypes) > 1 {
		bad("%d subtypes", len(subtypes))
	}
	for _, s := range subtypes {
		coded(s, "subtype")
	}
	if !slices.Contains([]any{"C", "R", "U", "D", "E"}, e["action"]) || !slices.Contains([]any{"0", "4", "8", "12"}, e["outcome"]) {
		bad("action %v, outcome %v", e["action"], e["outcome"])
	}
	instant(e["recorded"], "recorded")
	p := object(e["period"], "period", []string{"start"}, []string{"end"})
	instant(p["start"], "period.start")
	agents := list(e["agent"])
	if len(agents) < 1 || len(agents) > 2 {
		bad("%d agents", len(agents))
	}
	requestors := 0
	for _, a := range agents {
		m := object(a, "agent", []string{"who", "requestor"}, []string{"network"})
		refers(m["who"], "agent.who")
		if m["requestor"] == true {
			requestors++
		}
		if n, ok := m["network"]; ok {
			if t := object(n, "network", []string{"address", "type"}, nil)["type"]; !slices.Contains([]any{"1", "2", "3", "4", "5"}, t) {
				bad("network type %v", t)
			}
		}
	}
	if requestors != 1 {
		bad("%d requestors", requestors)
	}
	refers(object(e["source"], "source", []string{"observer"}, nil)["observer"], "observer")
	for _, x := range list(e["entity"]) {
		m := object(x, "entity", []string{"what", "type"}, []string{"detail"})
		refers(m["what"], "entity.what")
		coded(m["type"], "entity.type")
		for _, d := range list(m["detail"]) {
			object(d, "detail", []string{"type", "valueString"}, nil)
		}
	}
	return faults
}

// Every action there is has its kind, so that none falls under another's by
// chance; the words for people are checked by cmd/relais.
func TestEventKinds(t *testing.T) {
	for action, want := range map[string]string{
		"message.read": "110110 R", "message.downloaded": "110106 R", "pathway.exported": "110106 R", "message.post": "110107 C",
		"delivery.sent": "110106 E", "account.login": "110114 E", "audit.exported": "110101 R", "pathway.included": "110110 C",
		"consent.withdrawn": "110110 D", "pathway.listed": "110112 R", "team.updated": "110110 U",
	} {
		tr := &store.Trace{Action: action, Pathway: "bcdfghj"}
		if got := eventType(tr).Code + " " + eventAction(action); got != want {
			t.Errorf("%s: %s, want %s", action, got, want)
		}
	}
	if got := eventType(&store.Trace{Action: "hub.started"}).Code; got != "110100" {
		t.Error(got)
	}
}

// A verification finds what was kept, and refuses what this hub did not sign.
func TestAuditVerify(t *testing.T) {
	h := busyHouse(t)
	head := must[HeadView](t)(h.AuditHead(t.Context(), testActor))
	must[ThreadView](t)(h.Thread(t.Context(), testActor, string(h.child), ""))
	r := must[AuditReport](t)(h.AuditVerify(t.Context(), testActor, AuditCheck{Heads: []string{head.Signed}}))
	if !r.Sound || r.Read == 0 || len(r.Kept) != 1 || r.Kept[0].Trace != head.Trace || r.Head.Trace != head.Trace+1 {
		t.Errorf("%+v", r)
	}
	other := busyHouse(t)
	if _, err := other.AuditVerify(t.Context(), testActor, AuditCheck{Heads: []string{head.Signed}}); failureCode(err) != "audit-head" {
		t.Error(err)
	}
}
