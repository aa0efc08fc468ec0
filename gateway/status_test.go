package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox/texts"
)

// What the trusted space has to say is said in both languages.
func TestTrustHasTexts(t *testing.T) {
	var ids []texts.ID
	for _, kind := range trust.ConcernKinds() {
		ids = append(ids, texts.ID("status."+string(kind)))
	}
	for _, reason := range trust.Reasons() {
		if reason != trust.NotListed { // said of those who call
			ids = append(ids, texts.ID("cli.reason-untrusted-"+string(reason)))
		}
	}
	for _, fault := range operator.Faults() {
		ids = append(ids, texts.ID("operator.fault-"+string(fault)))
	}
	args := map[string]any{"authority": "AC", "count": 1, "of": 2, "age": "a", "when": "w"}
	for _, l := range texts.Locales() {
		for _, id := range ids {
			if texts.T(l, id, args) == string(id) {
				t.Errorf("%s has no text in %s", id, l)
			}
		}
	}
}

// The age of a directory is that of its extract, where the extract says it.
func TestOldDirectory(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	ago := func(days int) *time.Time { at := now.AddDate(0, 0, -days); return &at }
	for _, c := range []struct {
		issued, imported *time.Time
		old              bool
	}{
		{nil, nil, false},
		{nil, ago(29), false},
		{nil, ago(31), true},
		{ago(31), ago(1), true},
		{ago(30), ago(1), false},
	} {
		if _, old := oldDirectory(admin.Directory{Issued: c.issued, Imported: c.imported}, 30*24*time.Hour, now); old != c.old {
			t.Errorf("issued %v, imported %v: %v", c.issued, c.imported, old)
		}
	}
}

// Warnings are whole sentences in the hub's language.
func TestWarningsAreTranslated(t *testing.T) {
	for _, l := range texts.Locales() {
		d := &daemon{heads: new(heads), cfg: &configs.Config{Locale: l, Directory: configs.Directory{MaxAge: configs.Duration(30 * 24 * time.Hour)}}}
		was := time.Now().AddDate(0, -2, 0)
		s := admin.Status{
			Directory:    admin.Directory{Imported: &was},
			Certificates: []admin.Certificate{{Use: "server", NotAfter: was}, {Use: "client", NotAfter: time.Now().Add(time.Hour)}},
		}
		d.warn(&s)
		all := strings.Join(s.Warnings, "\n")
		if len(s.Warnings) != 3 || strings.Contains(all, "status.") || strings.Contains(all, "<no value>") {
			t.Errorf("%s:\n%s", l, all)
		}
		if l == texts.French && (strings.Contains(all, "server") || strings.Contains(all, "(client)")) {
			t.Errorf("not in French:\n%s", all)
		}
	}
}

// What keeps mail from leaving a box is told at once where somebody has to act,
// and after a while where it may pass.
func TestSendingIsTold(t *testing.T) {
	for _, l := range texts.Locales() {
		d := &daemon{cfg: &configs.Config{Locale: l}}
		s := admin.Status{Operators: []admin.OperatorBox{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}}
		d.tellSending(&s, []outbound.Health{
			{Box: "a"},
			{Box: "b", Trouble: outbound.TroubleLogin, Since: time.Now()},
			{Box: "c", Trouble: "dial", Since: time.Now()},
			{Box: "d", Trouble: "dial", Since: time.Now().Add(-time.Hour)},
			{Box: "gone", Trouble: "dial"},
		})
		var told []string
		for _, b := range s.Operators {
			told = append(told, b.Trouble)
		}
		all := strings.Join(s.Warnings, "\n")
		if strings.Join(told, " ") != " login dial dial" || len(s.Warnings) != 2 || strings.Contains(all, "operator.") || strings.Contains(all, "cli.") {
			t.Errorf("%s: %q\n%s", l, told, all)
		}
	}
}
