package identity

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePhone(t *testing.T) {
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"02 00 00 00 01", "02 00 00 00 01", nil},
		{"0200000001", "0200000001", nil},
		{" 02.00.00-00/01 ", "02 00 00 00 01", nil},
		{"02\u00a000\u202f00 00 01", "02 00 00 00 01", nil},
		{"+33 (0)2 00 00 00 01", "+33 2 00 00 00 01", nil},
		{"(02) 00 00 00 01", "02 00 00 00 01", nil},
		{"4512", "4512", nil},
		{"", "", nil},
		{" \t", "", nil},
		{"+", "", ErrPhoneForm},
		{"02 00+00", "", ErrPhoneForm},
		{"poste 45", "", ErrPhoneForm},
		{"02 00 00 00 01 / poste 4", "", ErrPhoneForm},
		{"02 00\x0000", "", ErrPhoneForm},
		{"\xff12", "", ErrPhoneForm},
		{"٠١٢٣", "", ErrPhoneForm},
		{strings.Repeat("12 ", 11), strings.Repeat("12 ", 10) + "12", nil},
		{strings.Repeat("1", 33), "", ErrPhoneForm},
	} {
		got, err := ParsePhone(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParsePhone(%q) = %q, %v", c.in, got, err)
		}
	}
}

func FuzzParsePhone(f *testing.F) {
	f.Add("+33 (0)2.00-00")
	f.Add("(0) ")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParsePhone(s)
		if err != nil {
			return
		}
		if again, err := ParsePhone(got); again != got || err != nil || len(got) > maxPhone || strings.Trim(got, "+0123456789 ") != "" {
			t.Fatalf("%q becomes %q, then %q, %v", s, got, again, err)
		}
	})
}
