package mailbox

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// failureCode is the code of a Failure, or what the error is instead.
func failureCode(err error) string {
	var f *Failure
	switch {
	case err == nil:
		return ""
	case errors.As(err, &f):
		return f.Code
	}
	return "fault: " + err.Error()
}

// wantFailure checks that an operation was refused for a reason.
func wantFailure(t *testing.T, err error, code string) {
	t.Helper()
	if got := failureCode(err); got != code {
		t.Errorf("got %q, want failure %q", got, code)
	}
}

// must gives the value of an operation that must be done.
func must[V any](t *testing.T) func(V, error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatalf("%v (%s)", err, failureCode(err))
		}
		return v
	}
}

// traced lists the actions traced about a pathway, or all of them, in order.
func (h *house) traced(code store.PathwayCode) []string {
	h.t.Helper()
	var actions []string
	err := h.store.View(context.Background(), func(v store.View) error {
		all, err := v.Traces(store.Application, 0, 0)
		for _, tr := range all {
			if code == "" || tr.Pathway == code {
				actions = append(actions, tr.Action)
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return actions
}

// timers works everything due, after moving the clock to just past at.
func (h *house) timers() {
	h.t.Helper()
	if _, err := h.workTimers(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// Every code that a Failure is made with has a text in both languages which
// uses exactly the arguments it is given; and no text is there for nothing.
func TestFailuresHaveTexts(t *testing.T) {
	codes := map[string][]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	add := func(code string, args []string) {
		if old, ok := codes[code]; !ok || old == nil {
			codes[code] = args
		}
	}
	scan := func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "fail" {
			return true
		}
		args := literalArgs(call.Args[1])
		switch code := call.Args[0].(type) {
		case *ast.BasicLit:
			s, _ := strconv.Unquote(code.Value)
			add(s, args)
		case *ast.BinaryExpr: // put together from a closed vocabulary
			prefix, _ := strconv.Unquote(code.X.(*ast.BasicLit).Value)
			for _, word := range vocabulary[prefix] {
				add(prefix+word, args)
			}
		}
		return true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, scan)
	}
	if len(codes) < 40 {
		t.Fatalf("only %d codes found: the scan is broken", len(codes))
	}
	for code, args := range codes {
		values := map[string]any{}
		for _, name := range args {
			values[name] = "‹" + name + "›"
		}
		f := &Failure{Code: code, Args: values}
		for _, l := range texts.Locales() {
			text := f.Text(l)
			switch {
			case text == "op."+code:
				t.Errorf("%s: no text for %q", l, code)
			case strings.Contains(text, "<no value>"):
				t.Errorf("%s: %q needs more than %v: %s", l, code, args, text)
			case strings.Contains(text, "\n"):
				t.Errorf("%s: %q is more than one line", l, code)
			}
		}
	}
}

// vocabulary lists the words that codes are put together from.
var vocabulary = map[string][]string{
	"pathway-status-": {"open", "suspended", "closed"},
	"still-held-":     {reasonUnknownSender, reasonConsent, reasonSuspended},
}

func literalArgs(e ast.Expr) []string {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return []string{"from", "into"} // the shared map of mergeable
	}
	var names []string
	for _, elt := range lit.Elts {
		name, _ := strconv.Unquote(elt.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
		names = append(names, name)
	}
	return names
}

func TestWarningsHaveTexts(t *testing.T) {
	for _, w := range []string{
		warnINSKey, warnINSBirthDate, warnINSSex, warnNoINS, warnNoConsent, warnSameChild, warnSameName, warnPersonalBox,
		warnUnlisted, warnPending, warnAlready, warnOtherCitizen, warnRPPS, warnAlsoBox, warnRequeued,
	} {
		for _, l := range texts.Locales() {
			if text := WarningText(l, w+" x7"); text == "op.warning-"+w || strings.Contains(text, "<no value>") {
				t.Errorf("%s: %s: %s", l, w, text)
			}
		}
	}
}

func TestReasonsHaveTexts(t *testing.T) {
	for _, reason := range []string{
		reasonUnknownSender, reasonConflicting, reasonWrongPatient, reasonTwoPatients, reasonConsent, reasonSuspended,
		reasonRule, reasonUnreadable, reasonNoPathway,
	} {
		for _, l := range texts.Locales() {
			if id := texts.ID("notices.why-" + reason); texts.T(l, id, nil) == string(id) {
				t.Errorf("%s: no text for %s", l, reason)
			}
		}
	}
}

// A failure that holds another says both in the same language, and a failure
// gives nothing but its code to a log.
func TestFailureText(t *testing.T) {
	inner := &Failure{Code: "mailbox-form", Args: map[string]any{"mailbox": "x@"}}
	f := &Failure{Code: "import-line", Args: map[string]any{"line": 3, "problem": inner}}
	if got, want := f.Text(texts.English), "Line 3, nothing was imported: \"x@\" is not a mail address"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q", got)
	}
	if got := f.Text(texts.French); !strings.Contains(got, "n'est pas une adresse") {
		t.Errorf("got %q", got)
	}
	if strings.Contains(inner.Error()+inner.Journal(), "x@") {
		t.Error("the error quotes its argument")
	}
}

// Whatever is asked of the hub leaves a trace of who asked.
func TestEverythingIsTraced(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	id := string(h.post(written{from: "roux@chu.test", to: code, id: "t1@chu.test", subject: "Bilan", text: "x"}))
	held, err := h.try(written{from: "inconnu@chu.test", to: code, id: "t2@chu.test", subject: "Bilan", text: "y"})
	if err != nil || held.Held == "" {
		t.Fatalf("held: %v %v", held, err)
	}
	entry := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{}))[0].ID
	phone := "02 00 00 00 00"
	for _, op := range []struct {
		action string
		do     func() error
	}{
		{"pathway.read", func() error { _, err := h.Pathway(ctx, testActor, code); return err }},
		{"pathway.listed", func() error { _, err := h.Pathways(ctx, testActor, PathwayFilter{}); return err }},
		{"pathway.updated", func() error {
			_, err := h.UpdatePathway(ctx, testActor, PathwayUpdate{Pathway: code, Phone: &phone})
			return err
		}},
		{"consent.recorded", func() error {
			_, err := h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: code, Kind: "written", From: "mère", For: "m7"})
			return err
		}},
		{"consent.read", func() error { _, err := h.Consents(ctx, testActor, code); return err }},
		{"consent.withdrawn", func() error {
			_, err := h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, For: "m7"})
			return err
		}},
		{"team.added", func() error {
			_, err := h.AddMember(ctx, testActor, MemberRequest{Pathway: code, Name: "M. Jean Le Goff", Role: "pediatre", Mailbox: "legoff@chg.test"})
			return err
		}},
		{"team.updated", func() error {
			_, err := h.UpdateMember(ctx, testActor, MemberUpdate{Pathway: code, Member: "m8", Service: &phone})
			return err
		}},
		{"team.removed", func() error {
			_, err := h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: "m8"})
			return err
		}},
		{"team.read", func() error { _, err := h.Team(ctx, testActor, code, true); return err }},
		{"team.imported", func() error {
			_, err := h.ImportTeam(ctx, testActor, code, strings.NewReader("name,role,mailbox\nMme Zoé Blin,pediatre,blin@chg.test\n"), false)
			return err
		}},
		{"mailbox.listed", func() error { _, err := h.Boxes(ctx, testActor, "", 0); return err }},
		{"mailbox.read", func() error { _, err := h.Box(ctx, testActor, "cabinet@idel.test"); return err }},
		{"mailbox.updated", func() error {
			_, err := h.UpdateBox(ctx, testActor, BoxUpdate{Mailbox: "cabinet@idel.test", Name: &phone})
			return err
		}},
		{"thread.read", func() error { _, err := h.Thread(ctx, testActor, code, ""); return err }},
		{"message.read", func() error { _, err := h.Message(ctx, testActor, id); return err }},
		{"message.downloaded", func() error {
			r, err := h.RawMessage(ctx, testActor, id)
			if err == nil {
				r.Close()
			}
			return err
		}},
		{"message.author", func() error {
			_, err := h.SetAuthor(ctx, testActor, MessageRequest{Message: id, Member: "m2"})
			return err
		}},
		{"message.refiled", func() error {
			_, err := h.Refile(ctx, testActor, MessageRequest{Message: id, Rubrics: []string{"imagerie"}})
			return err
		}},
		{"message.resent", func() error {
			_, err := h.Resend(ctx, testActor, MessageRequest{Message: id, Members: []string{"m1"}})
			return err
		}},
		{"queue.listed", func() error { _, err := h.Queue(ctx, testActor, QueueFilter{}); return err }},
		{"queue.read", func() error { _, err := h.QueueEntry(ctx, testActor, entry); return err }},
		{"delivery.held", func() error { _, err := h.HoldDelivery(ctx, testActor, QueueRequest{ID: entry}); return err }},
		{"delivery.retried", func() error { _, err := h.RetryDelivery(ctx, testActor, QueueRequest{ID: entry}); return err }},
		{"delivery.dropped", func() error { _, err := h.DropDelivery(ctx, testActor, QueueRequest{ID: entry}); return err }},
		{"message.retracted", func() error { _, err := h.Retract(ctx, testActor, MessageRequest{Message: id}); return err }},
		{"triage.listed", func() error { _, err := h.TriageList(ctx, testActor); return err }},
		{"triage.read", func() error { _, err := h.Hub.Held(ctx, testActor, string(held.Held)); return err }},
		{"triage.downloaded", func() error {
			r, err := h.RawHeld(ctx, testActor, string(held.Held))
			if err == nil {
				r.Close()
			}
			return err
		}},
		{"triage.assigned", func() error {
			_, err := h.Assign(ctx, testActor, TriageRequest{ID: string(held.Held), Member: "m2"})
			return err
		}},
		{"pathway.suspended", func() error { _, err := h.SuspendPathway(ctx, testActor, StatusChange{Pathway: code}); return err }},
		{"pathway.closed", func() error { _, err := h.ClosePathway(ctx, testActor, StatusChange{Pathway: code}); return err }},
		{"pathway.reopened", func() error { _, err := h.ReopenPathway(ctx, testActor, StatusChange{Pathway: code}); return err }},
	} {
		before := len(h.traced(""))
		if err := op.do(); err != nil {
			t.Errorf("%s: %v (%s)", op.action, err, failureCode(err))
			continue
		}
		if after := h.traced("")[before:]; !slices.Contains(after, op.action) {
			t.Errorf("%s left %v", op.action, after)
		}
	}
}
