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
func must[V any](t testing.TB) func(V, error) V {
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
	var traces []*store.Trace
	err := h.store.View(context.Background(), func(v store.View) error {
		for _, f := range store.Families {
			all, err := v.Traces(f, 0, 0)
			if err != nil {
				return err
			}
			traces = append(traces, all...)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	slices.SortFunc(traces, func(a, b *store.Trace) int { return int(a.Seq) - int(b.Seq) })
	var actions []string
	for _, tr := range traces {
		if code == "" || tr.Pathway == code {
			actions = append(actions, tr.Action)
		}
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
