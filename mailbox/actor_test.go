package mailbox

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// twoProgrammes are pon, and the same under the name of another.
func (h *house) twoProgrammes() {
	h.t.Helper()
	text, err := configs.Programmes.ReadFile("programmes/pon.toml")
	if err != nil {
		h.t.Fatal(err)
	}
	dir := h.t.TempDir()
	for _, id := range []string{"pon", "nutripac"} {
		renamed := bytes.Replace(text, []byte(`id = "pon"`), []byte(`id = "`+id+`"`), 1)
		if err := os.WriteFile(filepath.Join(dir, id+".toml"), renamed, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	set, problems := rules.LoadFS(os.DirFS(dir), ".", rules.LoadOptions{Dev: true})
	if set.ByID("nutripac") == nil {
		h.t.Fatalf("%+v", problems)
	}
	h.o.Programmes = func() *rules.Set { return set }
}

// Every operation, asked for by a coordinator of another programme about what
// is of this one, is refused or shows nothing of it. One that is not in this
// table fails the test: whoever adds an operation says what it reaches.
func TestProgrammesOfAnActor(t *testing.T) {
	h := newHouse(t)
	h.twoProgrammes()
	child := string(h.child)
	m := string(h.post(written{from: "roux@chu.test", to: child, text: "Bonjour."}))
	var delivery string
	for _, d := range h.deliveries(store.MessageID(m)) {
		delivery = string(d.ID)
	}
	held := string(h.holdOne())
	h.account(AccountRequest{Mailbox: "roux@chu.test"})
	stranger := Actor{Name: "cert:CN=paul", Where: "192.0.2.9", Programmes: []string{"nutripac"}}

	const box = "roux@chu.test"
	on := MessageRequest{Message: m, Members: []string{"m2"}, Member: "m1", Rubrics: []string{"pps"}, Pathway: child}
	triage := TriageRequest{ID: held, Pathway: child, Reason: "r"}
	queue := QueueRequest{ID: delivery}
	name := "Autre"
	var checked []string
	// The arguments after the actor. "refused": as outside-programmes; "hidden":
	// nothing of the child is shown; "free": it is about no child, and the admin
	// API says by role who may ask.
	for op, c := range map[string]struct {
		want string
		args []any
	}{
		"Include":         {"refused", []any{IncludeRequest{Programme: "pon", FamilyName: "A", GivenName: "B", BirthDate: "2015-03-02", Sex: "F"}}},
		"Pathways":        {"hidden", []any{PathwayFilter{}}},
		"Pathway":         {"refused", []any{child}},
		"Export":          {"refused", []any{ExportRequest{Pathway: child}}},
		"UpdatePathway":   {"refused", []any{PathwayUpdate{Pathway: child, Phone: &name}}},
		"MergePathways":   {"refused", []any{child, child}},
		"SuspendPathway":  {"refused", []any{StatusChange{Pathway: child, Reason: "r"}}},
		"ClosePathway":    {"refused", []any{StatusChange{Pathway: child, Reason: "r"}}},
		"ReopenPathway":   {"refused", []any{StatusChange{Pathway: child, Reason: "r"}}},
		"RecordConsent":   {"refused", []any{ConsentRequest{Pathway: child, Kind: "oral", From: "mère"}}},
		"WithdrawConsent": {"refused", []any{WithdrawRequest{Pathway: child}}},
		"Consents":        {"refused", []any{child}},
		"AddMember":       {"refused", []any{MemberRequest{Pathway: child, Name: "X", Role: "idec", Mailbox: "x@chu.test"}}},
		"UpdateMember":    {"refused", []any{MemberUpdate{Pathway: child, Member: "m1", Name: &name}}},
		"RemoveMember":    {"refused", []any{MemberRemoval{Pathway: child, Member: "m1", Reason: "r"}}},
		"Team":            {"refused", []any{child, true}},
		"ImportTeam":      {"refused", []any{child, io.Reader(strings.NewReader("name,role,mailbox\nX,idec,x@chu.test\n")), true}},
		"Boxes":           {"hidden", []any{"", 0}},
		"Box":             {"refused", []any{box}},
		"UpdateBox":       {"refused", []any{BoxUpdate{Mailbox: box, Name: &name}}},
		"CreateAccount":   {"refused", []any{AccountRequest{Mailbox: box}}},
		"Accounts":        {"hidden", []any{""}},
		"RevokeAccount":   {"refused", []any{AccountRevoke{Username: box}}},
		"Thread":          {"refused", []any{child, ""}},
		"Message":         {"refused", []any{m}},
		"RawMessage":      {"refused", []any{m}},
		"Retract":         {"refused", []any{on}},
		"MoveMessage":     {"refused", []any{on}},
		"Refile":          {"refused", []any{on}},
		"Resend":          {"refused", []any{on}},
		"SetAuthor":       {"refused", []any{on}},
		"TriageList":      {"hidden", nil},
		"Held":            {"refused", []any{held}},
		"RawHeld":         {"refused", []any{held}},
		"Assign":          {"refused", []any{triage}},
		"Release":         {"refused", []any{triage}},
		"Reject":          {"refused", []any{triage}},
		"Queue":           {"hidden", []any{QueueFilter{}}},
		"QueueEntry":      {"refused", []any{delivery}},
		"RetryDelivery":   {"refused", []any{queue}},
		"HoldDelivery":    {"refused", []any{queue}},
		"DropDelivery":    {"refused", []any{queue}},
		"ErasePathway":    {"refused", []any{ErasureRequest{Pathway: child}}},
		"Keys":            {"refused", nil},
		"RotateKey":       {"refused", []any{KeyRotation{Key: "epoch"}}},
		"ForgetPlace":     {"refused", []any{"/gone"}},
		"ImportDirectory": {"free", nil},
		"Audit":           {"refused", []any{AuditQuery{}}},
		"AuditExport":     {"refused", []any{AuditExport{AuditQuery: AuditQuery{Pathway: child}}}},
		"AuditSeen":       {"refused", []any{child}},
		"AuditHead":       {"free", nil},
		"AuditVerify":     {"free", nil},
		"TraceRefusal":    {"free", nil},
		"Record":          {"free", nil}, // of the operator's verbs, about the hub as a whole
		"TraceReads":      {"free", nil}, // of accounts, not of the admin API
		"SearchDirectory": {"free", nil},
		"Explain":         {"refused", []any{child, box, io.Reader(strings.NewReader("From: <roux@chu.test>\r\n\r\na\r\n"))}},
	} {
		t.Run(op, func(t *testing.T) {
			method, ok := reflect.TypeFor[*Hub]().MethodByName(op)
			if !ok {
				t.Fatal("no such operation any more: take it out of the table")
			}
			if c.want == "free" {
				return
			}
			in := []reflect.Value{reflect.ValueOf(h.Hub), reflect.ValueOf(t.Context()), reflect.ValueOf(stranger)}
			for i, a := range c.args {
				in = append(in, reflect.ValueOf(a).Convert(method.Type.In(3+i)))
			}
			out := method.Func.Call(in)
			err, _ := out[len(out)-1].Interface().(error)
			if c.want == "refused" {
				if failureOf(t, err) != OutsideProgrammes {
					t.Errorf("got %v", err)
				}
				return
			}
			shown, jsonErr := json.Marshal(out[0].Interface())
			if err != nil || jsonErr != nil {
				t.Fatal(err, jsonErr)
			}
			for _, secret := range []string{child, box, m, delivery, held} {
				if strings.Contains(string(shown), secret) {
					t.Errorf("shows %q: %s", secret, shown)
				}
			}
			// The same list, asked for by a coordinator of the programme.
			in[2] = reflect.ValueOf(Actor{Name: "x", Programmes: []string{"pon"}})
			if shown, _ := json.Marshal(method.Func.Call(in)[0].Interface()); len(shown) < 10 {
				t.Errorf("a coordinator of the programme is shown %s", shown)
			}
		})
		checked = append(checked, op)
	}
	hub := reflect.TypeFor[*Hub]()
	for i := range hub.NumMethod() {
		m := hub.Method(i)
		if m.Type.NumIn() > 2 && m.Type.In(2) == reflect.TypeFor[Actor]() && !slices.Contains(checked, m.Name) {
			t.Errorf("%s is not in this table: may coordinators of other programmes ask for it?", m.Name)
		}
	}
	if p := h.pathway(h.child); p.Status != store.PathwayOpen || len(p.Members) != 7 {
		t.Errorf("something was changed: %+v", p)
	}
}

// A box with members in two programmes belongs to neither alone.
func TestSharedBoxIsNobodysAlone(t *testing.T) {
	h := newHouse(t)
	h.twoProgrammes()
	p, err := h.Include(t.Context(), testActor, IncludeRequest{Programme: "nutripac", FamilyName: "Petit", GivenName: "Tom", BirthDate: "2014-02-07", Sex: "M"})
	if err != nil {
		t.Fatal(err)
	}
	h.member(store.PathwayCode(p.ID), "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "")
	here := Actor{Name: "x", Programmes: []string{"nutripac"}}
	if _, err := h.CreateAccount(t.Context(), here, AccountRequest{Mailbox: "roux@chu.test"}); failureOf(t, err) != OutsideProgrammes {
		t.Errorf("an account that reads another programme: %v", err)
	}
	box, err := h.Box(t.Context(), here, "roux@chu.test")
	if err != nil || !slices.Equal(box.Pathways, []string{p.ID}) || len(box.Members) != 1 {
		t.Errorf("shown %+v, %v", box, err)
	}
	both := Actor{Name: "x", Programmes: []string{"nutripac", "pon"}}
	if _, err := h.CreateAccount(t.Context(), both, AccountRequest{Mailbox: "roux@chu.test"}); err != nil {
		t.Errorf("for a coordinator of both: %v", err)
	}
}
