package strict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type sample struct {
	Name  string     `toml:"name"`
	Word  string     `toml:"word" default:"a" enum:"a,b"`
	On    bool       `toml:"on" default:"true"`
	N     int        `toml:"n" default:"3" min:"1" max:"9"`
	Wait  Duration   `toml:"wait" default:"1m" min:"1s"`
	Waits []Duration `toml:"waits" default:"1s,2s" min:"1s"`
	List  []string   `toml:"list"`
	In    inner      `toml:"in"`
	Items []inner    `toml:"item"`
}

type inner struct {
	Text string `toml:"text" default:"none"`
	Wait Duration
}

// lines writes problems as line:column id key.
func lines(problems []Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, fmt.Sprintf("%d:%d %s %v", p.Line, p.Column, strings.TrimPrefix(string(p.ID), "check."), p.Args["key"]))
	}
	return out
}

func TestDecode(t *testing.T) {
	var got sample
	_, problems := Decode("f.toml", []byte("\ufeff"+`
name = 'é'
list = ["x", "y"]
in.text = "dotted"
[[item]]
text = "first"
[[item]]
`), &got)
	if problems != nil {
		t.Fatal(lines(problems))
	}
	want := sample{
		Name: "é", Word: "a", On: true, N: 3, Wait: Duration(time.Minute), Waits: []Duration{Duration(time.Second), Duration(2 * time.Second)},
		List: []string{"x", "y"}, In: inner{Text: "dotted"}, Items: []inner{{Text: "first"}, {Text: "none"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"everything at once, in order", `
name = 1
word = "c"
on = "yes"
  n = 12
wait = "5 minutes"
unknown = 1
`, []string{"2:1 not-text name", "3:1 not-allowed word", "4:1 not-bool on", "5:3 too-big n", "6:1 bad-duration wait", "7:1 unknown-key unknown"}},
		{"numbers", "n = 0", []string{"1:1 too-small n"}},
		{"a number that is a text", `n = "1"`, []string{"1:1 not-number n"}},
		{"a duration that is a number", `wait = 60`, []string{"1:1 not-text wait"}},
		{"in a list", "waits = [\"1s\",\n  \"1x\"]", []string{"2:3 bad-duration waits"}},
		{"bounds of a list", `waits = ["0s"]`, []string{"1:1 too-small waits"}},
		{"not a list", `list = "x"`, []string{"1:1 not-list list"}},
		{"not a table", `in = 1`, []string{"1:1 not-table in"}},
		{"not a list of tables", `item = 1`, []string{"1:1 not-list item"}},
		{"in the second of two tables", "[[item]]\ntext = 'a'\n[[item]]\n\ntekst = 'b'", []string{"5:1 unknown-key item.tekst"}},
		{"in a table in line", "in = { text = 'a', x = 1 }", []string{"1:20 unknown-key in.x"}},
		{"after accents, in characters", "in = { text = 'éé', x = 1 }", []string{"1:21 unknown-key in.x"}},
		{"unknown table", "[other]\na = 1\n", []string{"1:2 unknown-key other"}},
		{"not TOML", "name = 'a'\nx = ?", []string{"2:5 syntax <nil>"}},
		{"a key twice", "n = 1\nn = 2", []string{"2:1 syntax <nil>"}},
		{"too large", strings.Repeat("#", MaxBytes+1), []string{"0:0 too-large <nil>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Decode("f.toml", []byte(c.src), &sample{})
			if diff := cmp.Diff(c.want, lines(problems)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The place of a character inside a text, however it is quoted.
func TestProblemInText(t *testing.T) {
	for _, c := range []struct {
		src  string
		at   int
		want string
	}{
		{`name = 'abc'`, 0, "1:9"},
		{`name = "abc"`, 2, "1:11"},
		{"name = '''abc\ndéf'''", 6, "2:3"},
		{"name = '''\nabc'''", 1, "2:2"},
		{"name = \"\"\"\r\nabc\r\nd\"\"\"", 5, "3:1"},
		{`name = "a\tbc"`, 2, "1:8"}, // escapes: the value's beginning
		{`name = 'ab'`, 9, "1:11"},   // beyond its end
	} {
		var s sample
		doc, problems := Decode("f.toml", []byte(c.src), &s)
		if problems != nil {
			t.Fatal(lines(problems))
		}
		p := doc.ProblemInText("x", nil, s.Name, c.at, "name")
		if got := fmt.Sprintf("%d:%d", p.Line, p.Column); got != c.want {
			t.Errorf("%q at %d: got %s, want %s", c.src, c.at, got, c.want)
		}
	}
}

func TestNearestPlace(t *testing.T) {
	doc, _ := Decode("f.toml", []byte("\n[[item]]\ntext = 'a'\n"), &sample{})
	for _, c := range []struct {
		want int
		path []any
	}{{0, []any{"name"}}, {2, []any{"item", 0, "wait"}}, {3, []any{"item", 0, "text"}}, {2, []any{"item", 5}}, {0, nil}} {
		if got := doc.Problem("x", nil, c.path...).Line; got != c.want {
			t.Errorf("%v: line %d, want %d", c.path, got, c.want)
		}
	}
	if doc.Has("item", 0, "wait") || !doc.Has("item", 0, "text") {
		t.Error("Has does not say what the file says")
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "4h": 4 * time.Hour, "48h": 48 * time.Hour, "2d": 48 * time.Hour, "1h30m": 90 * time.Minute,
		"250ms": 250 * time.Millisecond, "0s": 0,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q: %v, %v", text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"", "4", "h", "-1h", "1.5h", "4 h", "4H", "106752d", "99999999999999999999s", "1w"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, time.Duration(d))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, 1<<40).Draw(t, "ms")) * Duration(time.Millisecond)
		text, _ := d.MarshalText()
		var back Duration
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Fatalf("%v is written %q and read %v, %v", time.Duration(d), text, time.Duration(back), err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name = 'a'\n[[item]]\ntext = \"\"\"\nx\"\"\"\nin.text = 1\n"))
	f.Add([]byte("a.b.c = {x = [1, {y = 2}]}\n[a.b.d]\n[[a.e]]\n[a.e.f]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		var s sample
		doc, problems := Decode("f.toml", src, &s)
		last := strings.Count(string(src), "\n") + 1
		for _, p := range problems {
			if p.Line > last || p.Line < 0 || p.Column < 0 {
				t.Errorf("%s at %d:%d of a file of %d lines", p.ID, p.Line, p.Column, last)
			}
		}
		doc.ProblemInText("x", nil, s.Name, len(s.Name), "name")
	})
}
