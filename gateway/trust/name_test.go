package trust

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesThatAreTheSame(t *testing.T) {
	const want = "CN=mail.chg.example,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR"
	for _, same := range []string{
		"C=FR,ST=Calvados (14),O=CHG L'EXEMPLE,OU=1990000036,CN=mail.chg.example", // order
		"cn = MAIL.chg.example , ou = 1990000036 , o = chg  l'exemple , st = calvados (14) , c = fr",
		"CN=mail.chg.example;OU=1990000036;O=CHG L'EXEMPLE;ST=Calvados (14);C=FR",
		"CN=mail.chg.example+OU=1990000036,O=CHG L'EXEMPLE,S=Calvados (14),C=FR", // multi-valued RDN
		`CN=mail.chg.example,OU=1990000036,O="CHG L'EXEMPLE",ST=Calvados \2814\29,C=FR`,
		`CN=mail.chg.example,OU=1990000036,O=CHG\20L\'EXEMPLE,ST=Calvados\ (14),C=FR`,
		"2.5.4.3=mail.chg.example,OID.2.5.4.11=1990000036,O=#0c0d434847204c274558454d504c45,ST=Calvados (14),C=FR",
		"CN=mail.chg.example,OU=1990000036,O=CHG L'EXEMPLE,stateOrProvinceName=Calvados (14),C=FR,",
	} {
		if !parsed(t, want).Equal(parsed(t, same)) {
			t.Errorf("%s\nis not taken for\n%s", same, want)
		}
	}
	for _, other := range []string{
		"CN=mail.chg.example,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14)",             // one less
		"CN=mail.chg.example,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR,L=Caen", // one more
		"CN=mail.chg.example,CN=mail.chg.example,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR",
		"CN=1990000036,OU=mail.chg.example,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR",
		"CN=mail.chg.example.evil,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR",
		`CN=mail.chg.example\,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR`, // the comma is in the CN
	} {
		if parsed(t, want).Equal(parsed(t, other)) {
			t.Errorf("%s\nis taken for\n%s", other, want)
		}
	}
}

func TestNameValues(t *testing.T) {
	for in, want := range map[string]string{
		`O=CLINIQUE A, SERVICE B,C=FR`: "CLINIQUE A, SERVICE B", // nobody escaped the comma
		`O=A\+B,C=FR`:                  "A+B",
		`O=A+B,C=FR`:                   "A+B",
		`O="A, B; C",C=FR`:             "A, B; C",
		`O=CLINIQUE "A",C=FR`:          `CLINIQUE "A"`,
		`O=L"UNE,C=FR`:                 `L"UNE`,
		`O=H\C3\B4pital,C=FR`:          "Hôpital",
		`O=Hôpital,C=FR`:               "Hôpital",
		`C=FR,O=X=Y`:                   "X=Y",
		`O=A\`:                         "A",
	} {
		if got := parsed(t, in).Organization(); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	if !parsed(t, "O=Hôpital").Equal(parsed(t, "O=Ho\u0302pital")) {
		t.Error("a composed and a decomposed accent differ")
	}
	for _, bad := range []string{"", " , ", "mail.example", "X=1", "=", "CN=#zz", "CN=#0500", "CN=a\x00b", `CN=\FF`, "CN=" + strings.Repeat("a", maxName)} {
		if n, err := ParseName(bad); !errors.Is(err, ErrName) {
			t.Errorf("%.20q was read as %s (%v)", bad, n, err)
		}
	}
	if (Name{}).Equal(Name{}) {
		t.Error("no name equals no name")
	}
}

// Any name survives being written, being reordered, and a certificate.
func TestNameRoundTrip(t *testing.T) {
	authority := newAuthority(t)
	rapid.Check(t, func(t *rapid.T) {
		types := []string{"CN", "OU", "O", "ST", "C", "L", "serialNumber", "2.5.4.97", "1.2.250.1.71"}
		n := rapid.IntRange(1, 6).Draw(t, "n")
		var attributes []attribute
		for range n {
			oid, _ := attributeType(rapid.SampledFrom(types).Draw(t, "type"))
			value := rapid.StringMatching(`[A-Za-z0-9éÀœ',+"\\<>;=# ().-]{1,20}`).Filter(func(s string) bool { return strings.TrimSpace(s) == s }).Draw(t, "value")
			attributes = append(attributes, attribute{oid, value})
		}
		name, err := newName(attributes)
		if err != nil {
			t.Fatal(err)
		}
		shuffled, err := newName(rapid.Permutation(attributes).Draw(t, "order"))
		if err != nil || !name.Equal(shuffled) {
			t.Fatalf("order changes the name: %v", err)
		}
		back, err := ParseName(name.String())
		if err != nil || !back.Equal(name) || back.String() != name.String() {
			t.Fatalf("%s came back as %s (%v)", name, back, err)
		}
		der, err := name.der()
		if err != nil {
			t.Fatal(err)
		}
		read, err := NameOf(&x509.Certificate{RawSubject: der})
		if err != nil || read.String() != name.String() {
			t.Fatalf("%s came out of a certificate as %s (%v)", name, read, err)
		}
	})
	if _, err := NameOf(authority.Certificate()); err != nil {
		t.Error(err)
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("CN=mail.chg.example,OU=1990000036,O=CHG L'EXEMPLE,ST=Calvados (14),C=FR")
	f.Add(`O="a,b"+C=#0c0141;L=\C3\A9\`)
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if err != nil {
			return
		}
		back, err := ParseName(name.String())
		if err != nil && len(name.String()) <= maxName || err == nil && !back.Equal(name) {
			t.Fatalf("%q: written %q, read %q (%v)", s, name, back, err)
		}
	})
}

func parsed(t testing.TB, s string) Name {
	t.Helper()
	n, err := ParseName(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return n
}
