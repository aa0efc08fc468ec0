package gateway

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The floors of the house, from the top. A package may import its own floor's
// neighbours and anything below.
var floors = []string{"cmd", "gateway", "mailbox", "rules", "store"}

// leaves may be imported from any floor.
var leaves = []string{"mailbox/texts", "store/journal", "rules/strict"}

const module = "github.com/relais-sante/relais/"

func floorOf(pkg string) int {
	for i, f := range floors {
		if pkg == f || strings.HasPrefix(pkg, f+"/") {
			return i
		}
	}
	return -1
}

func leaf(pkg string) bool {
	for _, l := range leaves {
		if pkg == l {
			return true
		}
	}
	return false
}

// TestArrowsGoDown reads the imports of the whole module.
func TestArrowsGoDown(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		rel, err := filepath.Rel("..", path)
		if err != nil {
			return err
		}
		return arrows(t, filepath.ToSlash(filepath.Dir(rel)), path)
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Fatalf("only %d files read: is this the module's root?", files)
	}
}

func arrows(t *testing.T, from, path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		return err
	}
	for _, imp := range f.Imports {
		name, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return err
		}
		to, ours := strings.CutPrefix(name, module)
		if !ours || leaf(to) {
			continue
		}
		a, b := floorOf(from), floorOf(to)
		switch {
		case leaf(from):
			t.Errorf("%s is a leaf and imports %s", from, to)
		case a >= 0 && b >= 0 && b < a:
			t.Errorf("an arrow up: %s imports %s", path, to)
		case floors[max(a, 0)] == "rules" && floors[max(b, 0)] == "store":
			t.Errorf("rules are pure: %s imports %s", path, to)
		case a >= 0 && b < 0 && to != "configs" && !strings.HasPrefix(to, "configs/"):
			t.Errorf("%s imports %s, which is on no floor", path, to)
		}
	}
	return nil
}
