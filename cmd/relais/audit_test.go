package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

var tracedAction = regexp.MustCompile(`"((?:pathway|consent|team|mailbox|thread|message|triage|queue|delivery|rules|directory|account|audit|retention|majority|key)\.[a-z-]+)"`)

// Every action that the hub traces has its words in both languages.
func TestActionsHaveWords(t *testing.T) {
	files, err := filepath.Glob("../../mailbox/*.go")
	if err != nil {
		t.Fatal(err)
	}
	actions := map[string]bool{}
	for _, state := range []store.DeliveryState{store.Sent, store.Partial} {
		actions["delivery."+string(state)] = true
	}
	for _, kind := range []store.MessageKind{store.KindAuto, store.KindDSN, store.KindMDN} {
		actions["message."+string(kind)] = true
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range tracedAction.FindAllStringSubmatch(string(b), -1) {
			actions[m[1]] = true
		}
	}
	if len(actions) < 50 {
		t.Errorf("only %d actions were found", len(actions))
	}
	for _, l := range texts.Locales() {
		c, _ := newCLI(l)
		for action := range actions {
			if c.action(action) == action {
				t.Errorf("%s: no words for %s", l, action)
			}
		}
		for _, f := range []store.TraceFault{
			store.TraceUnreadable, store.TraceMissing, store.TraceBroken, store.TraceBehind, store.TraceCount, store.TraceStray,
			store.TraceHeadFault, store.TraceRejoined, store.TraceHidden, store.TraceNotKept,
		} {
			id := texts.ID("traces.fault-" + string(f))
			if texts.T(l, id, nil) == string(id) {
				t.Errorf("%s: no words for %s", l, f)
			}
		}
	}
}
