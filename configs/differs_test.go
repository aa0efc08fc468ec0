package configs_test

import (
	"slices"
	"testing"

	"github.com/relais-sante/relais/configs"
)

func TestDiffers(t *testing.T) {
	a, b := new(configs.Config), new(configs.Config)
	a.File, b.File = "a", "b"
	if got := a.Differs(b); len(got) != 0 {
		t.Errorf("of two that are equal: %q", got)
	}
	b.Domain = "other.test"
	b.IMAP.Password.On = true
	b.Triage.Alert++
	b.Administrators = append(b.Administrators, configs.Administrator{Role: "auditor"})
	if got, want := a.Differs(b), []string{"domain", "imap.password", "triage.alert", "administrator"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
