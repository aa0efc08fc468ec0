package identity

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// withKey ends a thirteen-character number with its key.
func withKey(number string) string {
	n, err := strconv.Atoi(strings.NewReplacer("2A", "19", "2B", "18").Replace(number))
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s%02d", number, 97-n%97)
}

func TestParseINS(t *testing.T) {
	good := withKey("2150314118001")
	corsican := withKey("115032A004001")
	for _, c := range []struct {
		name, matricule, oid string
		want                 error
	}{
		{"plain", good, OIDNIR, nil},
		{"default OID", good, "", nil},
		{"OID as URN", good, "urn:oid:" + OIDNIA, nil},
		{"spaces", " " + good[:1] + " " + good[1:3] + "\u00a0" + good[3:13] + "\u202f" + good[13:] + "\n", OIDNIR, nil},
		{"Corsica", corsican, OIDNIR, nil},
		{"Corsica in lower case", strings.ToLower(corsican), OIDNIR, nil},
		{"short", good[:14], OIDNIR, ErrINSForm},
		{"long", good + "0", OIDNIR, ErrINSForm},
		{"2C", good[:5] + "2C" + good[7:], OIDNIR, ErrINSForm},
		{"2A elsewhere", "2A" + good[2:], OIDNIR, ErrINSForm},
		{"letters", good[:8] + "x" + good[9:], OIDNIR, ErrINSForm},
		{"full-width digits", "２" + good[1:], OIDNIR, ErrINSForm},
		{"empty", "", OIDNIR, ErrINSForm},
		{"very long", strings.Repeat(" ", 1<<20) + good, OIDNIR, ErrINSForm},
		{"local number", good, "1.2.250.1.999.1", ErrINSOID},
		{"INS-C", good, OIDINSC, ErrINSOID},
	} {
		t.Run(c.name, func(t *testing.T) {
			i, err := ParseINS(c.matricule, c.oid)
			if !errors.Is(err, c.want) || (err == nil) == i.IsZero() {
				t.Fatalf("got %v, %v; want %v", i, err, c.want)
			}
			if err == nil && (len(i.Matricule()) != 15 || !i.KeyOK()) {
				t.Errorf("matricule has %d characters, key right: %v", len(i.Matricule()), i.KeyOK())
			}
		})
	}
}

func mustINS(t *testing.T, matricule, oid string) INS {
	t.Helper()
	i, err := ParseINS(matricule, oid)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCheckINS(t *testing.T) {
	girl := withKey("2150314118001")
	wrong := girl[:13] + map[bool]string{true: "02", false: "01"}[girl[13:] == "01"]
	for _, c := range []struct {
		name           string
		matricule, oid string
		traits         Traits
		warnings       []Warning
		err            error
	}{
		{"all agrees", girl, OIDNIR, Traits{Birth: "2015-03-02", Sex: "F"}, nil, nil},
		{"traits not known", girl, OIDNIR, Traits{}, nil, nil},
		{"wrong key", wrong, OIDNIR, Traits{}, nil, ErrINSKey},
		{"wrong key of a NIA", wrong, OIDNIA, Traits{}, nil, ErrINSKey},
		{"wrong key for tests", wrong, OIDTestNIR, Traits{}, []Warning{WarnKey}, nil},
		{"born another year", girl, OIDNIR, Traits{Birth: "02/03/2014"}, []Warning{WarnBirthDate}, nil},
		{"born another month", girl, OIDNIR, Traits{Birth: "20150402"}, []Warning{WarnBirthDate}, nil},
		{"only the year is known", girl, OIDNIR, Traits{Birth: "2015"}, nil, nil},
		{"month not known to the matricule", withKey("2153314118001"), OIDNIR, Traits{Birth: "20150402"}, nil, nil},
		{"other sex", girl, OIDNIR, Traits{Sex: "M"}, []Warning{WarnSex}, nil},
		{"sex not known", girl, OIDNIR, Traits{Sex: "U"}, nil, nil},
		{"several", wrong, OIDTestNIR, Traits{Sex: "M", Birth: "2011-01-01"}, []Warning{WarnKey, WarnBirthDate, WarnSex}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			warnings, err := CheckINS(mustINS(t, c.matricule, c.oid), c.traits)
			if !errors.Is(err, c.err) || !slices.Equal(warnings, c.warnings) {
				t.Errorf("got %v, %v; want %v, %v", warnings, err, c.warnings, c.err)
			}
		})
	}
}

func TestSameINS(t *testing.T) {
	m, other := withKey("2150314118001"), withKey("2150314118002")
	for _, c := range []struct {
		name       string
		a, b       INS
		real, test bool // on a real hub, on a development one
	}{
		{"same", mustINS(t, m, OIDNIR), mustINS(t, m, OIDNIR), true, true},
		{"other person", mustINS(t, m, OIDNIR), mustINS(t, other, OIDNIR), false, false},
		{"test for real", mustINS(t, m, OIDNIR), mustINS(t, m, OIDTestNIR), false, true},
		{"test and demonstration", mustINS(t, m, OIDDemoNIR), mustINS(t, m, OIDTestNIR), false, true},
		{"NIA is not NIR", mustINS(t, m, OIDNIR), mustINS(t, m, OIDNIA), false, false},
		{"none", INS{}, INS{}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := SameINS(c.a, c.b, false); got != c.real {
				t.Errorf("real hub: %v", got)
			}
			if got := SameINS(c.b, c.a, true); got != c.test {
				t.Errorf("development hub: %v", got)
			}
		})
	}
}

// No way of printing or encoding gives more than the last three characters.
func TestINSNeverShowsItself(t *testing.T) {
	i := mustINS(t, withKey("2150314118001"), OIDNIR)
	digits := i.Matricule()[:12]
	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3s"} {
		shown = append(shown, fmt.Sprintf(verb, i), fmt.Sprintf(verb, &i), fmt.Sprintf(verb, struct{ I INS }{i}))
	}
	text, _ := json.Marshal(struct{ I INS }{i})
	shown = append(shown, i.String(), i.Journal(), i.Mask(), string(text))
	for _, s := range shown {
		if strings.Contains(s, digits[:6]) || strings.Contains(s, digits[6:]) || strings.Contains(s, fmt.Sprintf("%x", digits[:6])) {
			t.Errorf("shows the matricule: %q", s)
		}
	}
	if got := Mask("279000000000989"); got != "••••989" {
		t.Errorf("Mask gave %q", got)
	}
	if got := Mask("12"); got != "••••" {
		t.Errorf("Mask of something else gave %q", got)
	}
}

// Any matricule whose key is right stops being right when a digit of the
// number changes.
func TestINSKeyCatchesEveryDigit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`[12][0-9]{2}(0[1-9]|1[0-2])([0-9]{2}|2A|2B)[0-9]{6}`).Draw(t, "number")
		i, err := ParseINS(withKey(number), OIDNIR)
		if err != nil || !i.KeyOK() {
			t.Fatalf("%v, %v", i, err)
		}
		at := rapid.SampledFrom([]int{0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12}).Draw(t, "at")
		m := []byte(i.Matricule())
		m[at] = '0' + (m[at]-'0'+byte(rapid.IntRange(1, 9).Draw(t, "by")))%10
		if j, _ := ParseINS(string(m), OIDNIR); j.KeyOK() {
			t.Fatalf("a change at %d goes unseen", at)
		}
	})
}

func FuzzParseINS(f *testing.F) {
	f.Add(withKey("2150314118001"), OIDNIR)
	f.Add("115032b00400112", "urn:oid:"+OIDTestNIR)
	f.Add("", "")
	f.Fuzz(func(t *testing.T, matricule, oid string) {
		i, err := ParseINS(matricule, oid)
		if err != nil {
			return
		}
		again, err := ParseINS(i.Matricule(), i.OID())
		if err != nil || again != i {
			t.Errorf("does not read back: %v, %v", again, err)
		}
		_, _ = CheckINS(i, Traits{Birth: oid})
	})
}

// samples opens a file of the shared samples, which are not part of the
// project, and skips the test where they are not there.
func samples(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "samples", "synthetic", name))
	if err != nil {
		t.Skip("no shared samples here")
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSampleVectors(t *testing.T) {
	r := csv.NewReader(samples(t, "ins-vecteurs.csv"))
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for n, row := range rows[1:] {
		want := row[2]
		i, err := ParseINS(row[0], row[1])
		got := "valide"
		switch {
		case errors.Is(err, ErrINSForm):
			got = "invalide"
		case !i.KeyOK():
			got = "cle invalide"
		}
		if !strings.Contains(want, got) || (got == "valide") != strings.HasPrefix(want, "valide") {
			t.Errorf("row %d: got %s, want %s", n+2, got, want)
		}
	}

	r = csv.NewReader(samples(t, "luhn-vecteurs.csv"))
	r.Comma = ';'
	if rows, err = r.ReadAll(); err != nil {
		t.Fatal(err)
	}
	for n, row := range rows[1:] {
		var got bool
		switch row[0] {
		case "RPPS":
			v, err := ParseRPPS(row[1])
			got = err == nil && v.KeyOK()
		case "FINESS":
			v, err := ParseFINESS(row[1])
			got = err == nil && v.KeyOK()
		default:
			got = luhn(row[1])
		}
		if want := row[2] == "vrai"; got != want {
			t.Errorf("row %d: Luhn is %v, want %v", n+2, got, want)
		}
	}
}
