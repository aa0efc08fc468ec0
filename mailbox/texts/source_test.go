package texts

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// use is one place where the source names a text.
type use struct {
	at      string
	id      string
	prefix  bool     // the id only begins so: ID("held.reason-" + reason)
	args    []string // keys of a literal map of arguments
	literal bool     // args is all there is
	sure    bool     // it stands where only an id can
}

// idLike is the shape of an id; whether a literal of that shape is one where
// its type does not say so depends on the names of the catalogues.
var idLike = regexp.MustCompile(`^([a-z]+)\.[a-z][a-z0-9-]*$`)

// idTypes are the types whose constants name texts. Packages below the texts
// (rules) have a TextID of their own.
var idTypes = map[string]bool{"ID": true, "TextID": true}

// idArgument tells which argument of which function is an id.
var idArgument = map[string]int{"T": 1, "Both": 0, "ASCII": 0}

// uses finds every place of a file that names a text.
func uses(set *token.FileSet, file *ast.File) []use {
	inside := file.Name.Name == "texts"
	// ours gives the name if the expression is texts.NAME, or NAME in here.
	ours := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			if inside || e.Name == "TextID" {
				return e.Name
			}
		case *ast.SelectorExpr:
			if x, ok := e.X.(*ast.Ident); ok && (x.Name == "texts" || e.Sel.Name == "TextID") {
				return e.Sel.Name
			}
		}
		return ""
	}
	var found []use
	seen := map[token.Pos]bool{}
	add := func(e, args ast.Expr) {
		u := use{at: set.Position(e.Pos()).String(), sure: true}
		if sum, ok := e.(*ast.BinaryExpr); ok && sum.Op == token.ADD {
			u.prefix, e = true, sum.X
			for inner, ok := e.(*ast.BinaryExpr); ok; inner, ok = e.(*ast.BinaryExpr) {
				e = inner.X
			}
		}
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		seen[lit.Pos()] = true
		u.id, _ = strconv.Unquote(lit.Value)
		u.args, u.literal = literalKeys(args)
		found = append(found, u)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ours(n.Fun)
			if idTypes[name] && len(n.Args) == 1 {
				add(n.Args[0], nil)
			}
			if i, ok := idArgument[name]; ok && len(n.Args) == i+2 {
				add(n.Args[i], n.Args[i+1])
			}
		case *ast.ValueSpec: // const x texts.ID = "…"
			if idTypes[ours(n.Type)] {
				for _, v := range n.Values {
					add(v, nil)
				}
			}
		case *ast.CompositeLit:
			addElements(n, ours, add)
		}
		return true
	})
	// An id handed to a function of one's own, c.section("cli.title"), is seen
	// by its shape; the literal map after it holds its arguments.
	ast.Inspect(file, func(n ast.Node) bool {
		list := []ast.Expr(nil)
		switch n := n.(type) {
		case *ast.CallExpr:
			list = n.Args
		case *ast.BasicLit:
			list = []ast.Expr{n}
		}
		for i, e := range list {
			lit, ok := e.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING || seen[lit.Pos()] {
				continue
			}
			seen[lit.Pos()] = true
			u := use{at: set.Position(lit.Pos()).String()}
			if u.id, _ = strconv.Unquote(lit.Value); !idLike.MatchString(u.id) {
				continue
			}
			if i+1 < len(list) {
				if _, isMap := list[i+1].(*ast.CompositeLit); isMap {
					u.args, u.literal = literalKeys(list[i+1])
				}
			}
			found = append(found, u)
		}
		return true
	})
	return found
}

// addElements finds ids in literal slices and maps of ids, and in literal
// structs of this package whose first field is one.
func addElements(lit *ast.CompositeLit, ours func(ast.Expr) string, add func(e, args ast.Expr)) {
	var key, value bool
	switch typ := lit.Type.(type) {
	case *ast.ArrayType:
		value = idTypes[ours(typ.Elt)]
		if s, ok := typ.Elt.(*ast.StructType); ok && len(s.Fields.List) > 0 && idTypes[ours(s.Fields.List[0].Type)] {
			for _, e := range lit.Elts {
				if inner, ok := e.(*ast.CompositeLit); ok && len(inner.Elts) > 0 {
					add(inner.Elts[0], nil)
				}
			}
		}
	case *ast.MapType:
		key, value = idTypes[ours(typ.Key)], idTypes[ours(typ.Value)]
	}
	for _, e := range lit.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			if key {
				add(pair.Key, nil)
			}
			e = pair.Value
		}
		if value {
			add(e, nil)
		}
	}
}

// literalKeys gives the keys of nil or of a literal map of arguments.
func literalKeys(e ast.Expr) (keys []string, literal bool) {
	switch e := e.(type) {
	case *ast.Ident:
		return nil, e.Name == "nil"
	case *ast.CompositeLit:
		for _, elt := range e.Elts {
			pair, ok := elt.(*ast.KeyValueExpr)
			if !ok {
				return nil, false
			}
			lit, ok := pair.Key.(*ast.BasicLit)
			if !ok {
				return nil, false
			}
			key, _ := strconv.Unquote(lit.Value)
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return keys, true
	}
	return nil, false
}

// moduleUses scans the source of the whole module, tests excepted.
func moduleUses(t *testing.T) []use {
	t.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above this package")
		}
		root = filepath.Dir(root)
	}
	var found []use
	set := token.NewFileSet()
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found = append(found, uses(set, parsed)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// notIDs are literals of the source that look like ids and are not.
var notIDs = map[string]bool{"admin.sock": true, "inbound.listen": true}

func TestSourceAndCatalogueAgree(t *testing.T) {
	texts := load(t)[French]
	names := map[string]bool{}
	for id := range texts {
		name, _, _ := strings.Cut(id, ".")
		names[name] = true
	}
	used := map[string]bool{}
	for _, u := range moduleUses(t) {
		if u.prefix {
			some := false
			for id := range texts {
				if strings.HasPrefix(id, u.id) {
					some, used[id] = true, true
				}
			}
			if !some {
				t.Errorf("%s: no text begins with %q", u.at, u.id)
			}
			continue
		}
		entry, ok := texts[u.id]
		if m := idLike.FindStringSubmatch(u.id); !ok && !u.sure && (m == nil || !names[m[1]] || notIDs[u.id]) {
			continue // a literal that only looks like an id
		}
		if !ok {
			t.Errorf("%s: there is no text %q", u.at, u.id)
			continue
		}
		used[u.id] = true
		if u.literal && !slices.Equal(u.args, entry.args) {
			t.Errorf("%s: %s is given %q, its text has %q", u.at, u.id, u.args, entry.args)
		}
	}
	for id, entry := range texts {
		if !used[id] {
			t.Errorf("%s: %s is not used", entry.file, id)
		}
	}
}

func TestScannerSees(t *testing.T) {
	const src = `package p
const held texts.ID = "a.const"
var byState = map[string]texts.ID{"x": "a.value"}
var list = []texts.ID{"a.one", "a.two"}
func f(l texts.Locale, r string, m map[string]any) {
	texts.T(l, "a.t", map[string]any{"who": 1, "at": 2})
	texts.Both("a.both", nil)
	texts.ASCII("a.ascii", m)
	g(texts.ID("a.conv"), TextID("a.below"), rules.TextID("a.beside"))
	texts.T(l, texts.ID("a.reason-" + r + "x"), nil)
	other.T(l, "not.ours", nil)
	texts.T(l, held, nil)
	section(l, "a.shape", map[string]any{"n": 1})
	open("not an.id")
}`
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range uses(set, file) {
		got = append(got, fmt.Sprintf("%s sure=%t prefix=%t literal=%t %v", u.id, u.sure, u.prefix, u.literal, u.args))
	}
	slices.Sort(got)
	want := []string{
		"a.ascii sure=true prefix=false literal=false []",
		"a.below sure=true prefix=false literal=false []",
		"a.beside sure=true prefix=false literal=false []",
		"a.both sure=true prefix=false literal=true []",
		"a.const sure=true prefix=false literal=false []",
		"a.conv sure=true prefix=false literal=false []",
		"a.one sure=true prefix=false literal=false []",
		"a.reason- sure=true prefix=true literal=false []",
		"a.shape sure=false prefix=false literal=true [n]",
		"a.t sure=true prefix=false literal=true [at who]",
		"a.two sure=true prefix=false literal=false []",
		"a.value sure=true prefix=false literal=false []",
		"not.ours sure=false prefix=false literal=false []",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
