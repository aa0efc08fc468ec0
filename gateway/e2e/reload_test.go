package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// A reload takes who may log in and how at once, and names what has to wait for
// a restart; of a file with an error nothing is taken.
func TestReload(t *testing.T) {
	h := newHub(t, settings{outbound: deferred, rest: withIMAP})
	h.start()
	h.teams()
	var a struct{ Username, Password string }
	h.ask(&a, "account", "create", "--mailbox", "moreau@chu.test")
	change := func(said string, old ...string) {
		t.Helper()
		b, err := os.ReadFile(h.config)
		must(t, err)
		must(t, os.WriteFile(h.config, []byte(strings.NewReplacer(old...).Replace(string(b))), 0o600))
		before := strings.Count(h.log.text(), said)
		must(t, h.cmd.Process.Signal(syscall.SIGHUP))
		eventually(t, patience, said, func() bool { return strings.Count(h.log.text(), said) > before })
	}
	login := func(want string) {
		t.Helper()
		if answer := h.login(a.Username, a.Password); !strings.HasPrefix(answer, want) {
			t.Errorf("the login is answered %q, want %s", answer, want)
		}
	}
	warned := func() string {
		t.Helper()
		var st struct{ Warnings []string }
		h.ask(&st, "status")
		return strings.Join(st.Warnings, "\n")
	}
	login("t OK")
	change(`"msg":"reloaded"`, `password = "on"`, `password = ["192.0.2.0/24"]`)
	login("t NO")
	if w := warned(); strings.Contains(w, "redémarrage") {
		t.Errorf("what was taken waits for a restart: %s", w)
	}
	change("reload refused", `"192.0.2.0/24"`, `"ici"`)
	change(`"msg":"reloaded"`, `["ici"]`, `"on"`, `level = "info"`, `level = "debug"`, `[submission]`, "[triage]\nalert = \"2h\"\n[submission]")
	login("t OK")
	if w := warned(); !strings.Contains(w, "log.level") || !strings.Contains(w, "triage.alert") || strings.Contains(w, "imap") {
		t.Errorf("status says %q", w)
	}
	if !strings.Contains(h.log.text(), `"settings":"log.level triage.alert"`) {
		t.Error("the journal does not name what waits for a restart")
	}
	change(`"msg":"reloaded"`, `level = "debug"`, `level = "info"`, `alert = "2h"`, `alert = "30m"`)
	if w := warned(); strings.Contains(w, "redémarrage") {
		t.Errorf("what was put back waits for a restart: %s", w)
	}
}
