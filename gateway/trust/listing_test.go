package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

// domains is a white list of n domains, all of one operator.
func domains(t *testing.T, n int) string {
	t.Helper()
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{fmt.Sprintf("etab-%d.example", i), parsed(t, dnCHU)}
	}
	var text bytes.Buffer
	if err := WriteWhiteList(&text, time.Now(), entries); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// A list that is gone or broken leaves the last good one, also over a restart,
// and whoever asks is told.
func TestLastGoodWhiteList(t *testing.T) {
	h := newHouse(t)
	h.options.KeepDir = h.path("data/trust")
	g := h.guard(t)
	kept := h.read(t, "data/trust/white-list.xml")
	if strings.Contains(kept, "personne@") || !strings.Contains(kept, "chu.example") {
		t.Errorf("the copy holds people to contact, or no domain:\n%s", kept)
	}
	if info, err := os.Stat(h.path("data/trust/white-list.xml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info.Mode(), err)
	}
	for name, spoil := range map[string]func(){
		"gone":   func() { os.Remove(h.path("list.xml")) },
		"broken": func() { h.write(t, "list.xml", national[:len(national)-40]) },
		"empty":  func() { h.write(t, "list.xml", "") },
		"wrong":  func() { h.write(t, "list.xml", "<html/>") },
	} {
		spoil()
		if err := g.Reload(h.options); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for when, guard := range map[string]*Guard{"reloaded": g, "restarted": h.guard(t)} {
			cs, _ := handshake(t, guard.ServerConfig(), caller(issue(t, h.authority, Request{Name: dnCHU2})))
			identity, err := guard.Inbound(cs)
			if err != nil || !guard.SpeaksFor(identity, "chu.example") || guard.SpeaksFor(identity, "chg.example") {
				t.Errorf("%s, %s: %v", name, when, err)
			}
			s := guard.Status()
			made := time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC)
			if !hasConcern(s, ListUnusable) || s.WhiteList.Domains != 2 || !s.WhiteList.Generated.Equal(made) {
				t.Errorf("%s, %s: status %+v, %+v", name, when, s.WhiteList, s.Concerns)
			}
		}
	}
	h.write(t, "list.xml", national)
	if err := g.Reload(h.options); err != nil || hasConcern(g.Status(), ListUnusable) {
		t.Errorf("mended: %v, %+v", err, g.Status().Concerns)
	}
	os.Remove(h.path("list.xml"))
	os.Remove(h.path("data/trust/white-list.xml"))
	if _, err := New(h.options, h.now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("starting without any list: %v", err)
	}
}

// A list that lost too much is refused, by a running hub and by one that starts,
// until an operator says that it is meant.
func TestShrunkWhiteList(t *testing.T) {
	confirm := map[string]func(*house){
		"the copy removed":  func(h *house) { os.Remove(h.path("data/white-list.xml")) },
		"max_shrink raised": func(h *house) { h.options.MaxShrink = 100 },
	}
	for way, confirmed := range confirm {
		t.Run(way, func(t *testing.T) {
			h := newHouse(t)
			h.options.KeepDir = h.path("data")
			h.write(t, "list.xml", domains(t, 10))
			g := h.guard(t)
			want := func(what string, n int, refused bool) {
				t.Helper()
				if err := g.Reload(h.options); err != nil {
					t.Fatal(err)
				}
				for when, guard := range map[string]*Guard{"reloaded": g, "restarted": h.guard(t)} {
					s := guard.Status()
					if s.WhiteList.Domains != n || hasConcern(s, ListShrunk) != refused {
						t.Errorf("%s, %s: %d domains, %+v", what, when, s.WhiteList.Domains, s.Concerns)
					}
				}
			}
			h.write(t, "list.xml", domains(t, 8))
			want("a fifth less", 8, false)
			h.write(t, "list.xml", domains(t, 6))
			want("a quarter less", 8, true)
			want("still there", 8, true)
			if c := g.Status().Concerns[0]; c.Count != 6 || c.Of != 8 {
				t.Errorf("told of %d of %d", c.Count, c.Of)
			}
			confirmed(h)
			want("confirmed", 6, false)
			h.options.MaxShrink = 20
			h.write(t, "list.xml", domains(t, 3))
			want("half less, later", 6, true)
			h.write(t, "list.xml", domains(t, 40))
			want("more", 40, false)
		})
	}
}

// Without a place to keep anything a running hub still compares.
func TestNothingKept(t *testing.T) {
	for name, dir := range map[string]string{"no folder": "", "a file in its way": "hub.pem"} {
		h := newHouse(t)
		if dir != "" {
			h.options.KeepDir = h.path(dir)
		}
		h.write(t, "list.xml", domains(t, 10))
		g := h.guard(t)
		if hasConcern(g.Status(), CopyNotKept) != (dir != "") {
			t.Errorf("%s: %+v", name, g.Status().Concerns)
		}
		h.write(t, "list.xml", domains(t, 5))
		if err := g.Reload(h.options); err != nil || !hasConcern(g.Status(), ListShrunk) || g.Status().WhiteList.Domains != 10 {
			t.Errorf("%s: %v, %+v", name, err, g.Status().Concerns)
		}
	}
}
