package identity

import (
	"errors"
	"testing"
)

func TestParseRPPS(t *testing.T) {
	for _, c := range []struct {
		in   string
		want RPPS
		key  bool
		err  error
	}{
		{"99900000012", "99900000012", false, nil},
		{"99900000011", "99900000011", true, nil},
		{"899900000011", "99900000011", true, nil},
		{" 999 000 000 11 ", "99900000011", true, nil},
		{"799900000011", "", false, ErrRPPSForm},
		{"9990000001", "", false, ErrRPPSForm},
		{"9990000001x", "", false, ErrRPPSForm},
		{"", "", false, ErrRPPSForm},
	} {
		got, err := ParseRPPS(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseRPPS(%q) = %q, %v", c.in, got, err)
		} else if err == nil && got.KeyOK() != c.key {
			t.Errorf("ParseRPPS(%q).KeyOK() = %v", c.in, got.KeyOK())
		}
	}
}

func TestParseFINESS(t *testing.T) {
	for _, c := range []struct {
		in   string
		want FINESS
		key  bool
		err  error
	}{
		{"990000003", "990000003", false, nil},
		{"990000002", "990000002", true, nil},
		{"1990000002", "990000002", true, nil},
		{"2a0000010", "2A0000010", true, nil},
		{"2990000002", "", false, ErrFINESSForm},
		{"2C0000010", "", false, ErrFINESSForm},
		{"99000000A", "", false, ErrFINESSForm},
	} {
		got, err := ParseFINESS(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseFINESS(%q) = %q, %v", c.in, got, err)
		} else if err == nil && got.KeyOK() != c.key {
			t.Errorf("ParseFINESS(%q).KeyOK() = %v", c.in, got.KeyOK())
		}
	}
}
