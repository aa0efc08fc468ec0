package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

type code string

func (c code) Journal() string { return string(c) }

type secret struct{ text string }

func (s secret) String() string { return s.text }
func (s secret) Error() string  { return s.text }

// Only values whose type says so are written; everything else is redacted.
func TestRedactedByType(t *testing.T) {
	const marker = "MARQUEUR"
	boom := secret{marker}
	for _, c := range []struct {
		name  string
		value any
		want  string // "" : redacted
	}{
		{"number", 42, "42"},
		{"duration", time.Second, "1000000000"},
		{"boolean", true, "true"},
		{"word", Word("closed"), "closed"},
		{"words", []Word{"a", "b"}, "a b"},
		{"safe type", code("k7f3q2x"), "k7f3q2x"},
		{"address", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 25}, "127.0.0.1:25"},
		{"string", marker, ""},
		{"stringer", boom, ""},
		{"struct", struct{ Name string }{marker}, ""},
		{"pointer", &boom, ""},
		{"slice", []string{marker}, ""},
		{"map", map[string]string{marker: marker}, ""},
		{"error of a library", errors.New(marker), ""},
		{"error of a type of its own", boom, ""},
		{"wrapped error of a library", fmt.Errorf("reading the list: %w", errors.New(marker)), "reading the list: "},
		{"group", slog.GroupValue(slog.String("name", marker)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			New(&out, slog.LevelInfo).Info("event", "value", c.value)
			if strings.Contains(out.String(), marker) {
				t.Errorf("leaked: %s", out.String())
			}
			if c.want != "" && !strings.Contains(out.String(), c.want) {
				t.Errorf("%s is missing in %s", c.want, out.String())
			}
		})
	}
}

func TestText(t *testing.T) {
	const notFound = Fault("not found")
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{notFound, "not found"},
		{fmt.Errorf("reading pathway %s: %w", code("k7f3q2x"), notFound), "reading pathway k7f3q2x: not found"},
		{fmt.Errorf("sending: %w", dial), "sending: dial tcp: connection refused"},
		{fmt.Errorf("sending: %w", context.DeadlineExceeded), "sending: context deadline exceeded"},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", io.ErrUnexpectedEOF)), "a: b: unexpected EOF"},
		{errors.Join(notFound, io.EOF), "not found; EOF"},
		{errors.New("x"), "[*errors.errorString]"},
		{fmt.Errorf("parsing: %w", secret{"x"}), "parsing: [journal.secret]"},
	} {
		if got := Text(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// TestMessagesAreConstants reads the whole module: the message of a log line
// is written in the source, never put together, and keys are too.
func TestMessagesAreConstants(t *testing.T) {
	levels := map[string]int{"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1}
	calls := 0
	sources(t, func(fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at, level := levels[sel.Sel.Name]
			if !level || !logger(sel.X) || len(call.Args) <= at {
				return true
			}
			calls++
			if lit, ok := call.Args[at].(*ast.BasicLit); !ok || lit.Kind != token.STRING {
				t.Errorf("%s: the message of a log line is not a constant", fset.Position(call.Pos()))
			}
			return true
		})
	})
	if calls == 0 {
		t.Fatal("no log line found: is this the module's root?")
	}
}

// TestPanicsAreNoted reads the whole module: whoever recovers says so, with what
// counts panics and makes test runs fail on them. Only torn pages of the index,
// which bbolt answers with a panic, are an error like others.
func TestPanicsAreNoted(t *testing.T) {
	found := 0
	sources(t, func(fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			var body *ast.BlockStmt
			switch n := n.(type) {
			case *ast.FuncDecl:
				body = n.Body
			case *ast.FuncLit:
				body = n.Body
			}
			if body == nil || !calls(body, "recover") || strings.Contains(fset.Position(body.Pos()).Filename, "store/storetest") {
				return true
			}
			found++
			at := fset.Position(body.Pos())
			if !calls(body, "Recovered") && !calls(body, "crash") && !strings.HasSuffix(at.Filename, "store/bolt/fence.go") {
				t.Errorf("%s: a panic is recovered and not noted", at)
			}
			return true
		})
	})
	if found == 0 {
		t.Fatal("nobody recovers: is this the module's root?")
	}
}

// calls reports whether a function's own body, those within it left out, calls
// a function or method of the name.
func calls(body *ast.BlockStmt, name string) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			switch f := n.Fun.(type) {
			case *ast.Ident:
				found = found || f.Name == name
			case *ast.SelectorExpr:
				found = found || f.Sel.Name == name && name != "recover" // a method of that name is another thing
			}
		}
		return true
	})
	return found
}

// sources reads every source file of the module that is no test.
func sources(t *testing.T, look func(*token.FileSet, *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && !strings.HasPrefix(d.Name(), "..") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		look(fset, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// logger reports whether an expression is a logger by its name: log, l.log,
// o.Log, logger…
func logger(x ast.Expr) bool {
	name := ""
	switch x := x.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	name = strings.ToLower(name)
	return name == "log" || name == "logger" || name == "slog"
}

// What was recovered is counted, and told without its value.
func TestRecovered(t *testing.T) {
	before := Panics()
	defer func() { panics.Store(before) }()
	var out bytes.Buffer
	func() {
		defer func() { Recovered(New(&out, slog.LevelInfo), recover(), "verb", Word("show")) }()
		panic("Jeanne")
	}()
	func() {
		defer func() { Recovered(New(&out, slog.LevelInfo), recover()) }()
		var none []int
		_ = none[len(out.String())]
	}()
	if Panics() != before+2 {
		t.Errorf("%d panics counted", Panics()-before)
	}
	for _, want := range []string{"panic recovered", `"verb":"show"`, "TestRecovered", "index out of range"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "Jeanne") {
		t.Error("the value of a panic is in the journal")
	}
}
