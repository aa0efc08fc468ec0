package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/store"
)

func TestSignedStatement(t *testing.T) {
	k := newKeys(t)
	mine, other := store.Owner{Kind: store.OwnedByTrace}, store.Owner{Kind: store.OwnedByHub}
	for _, o := range []store.Owner{mine, other} {
		if err := k.NewKey(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	const statement = "count 12\n- a line that begins with a dash\n\nlast 12\n"
	signed, err := k.Sign(mine, []byte(statement))
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Signed(mine, append([]byte("Kept on Monday.\r\n\r\n"), signed...))
	if err != nil || string(got) != statement {
		t.Fatalf("got %q, %v", got, err)
	}
	if _, err := k.Signed(other, signed); !errors.Is(err, ErrSignature) {
		t.Errorf("another key's: %v", err)
	}
	for name, changed := range map[string]string{
		"count": strings.Replace(string(signed), "count 12", "count 11", 1), "line gone": strings.Replace(string(signed), "\nlast 12", "", 1),
		"unsigned": statement, "cut": string(signed[:len(signed)/2]), "empty": "",
	} {
		if _, err := k.Signed(mine, []byte(changed)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}

	// Another program needs the public key alone.
	public, err := k.PublicKey(mine)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := pgp.ReadArmoredKeyRing(bytes.NewReader(public))
	if err != nil || ring[0].PrivateKey != nil {
		t.Fatalf("public key: %v", err)
	}
	block, _ := clearsign.Decode(signed)
	if _, _, err := pgp.VerifyDetachedSignature(ring, bytes.NewReader(block.Bytes), block.ArmoredSignature.Body, nil); err != nil {
		t.Error(err)
	}
}

func TestChainIsApart(t *testing.T) {
	k := newKeys(t)
	o := store.Owner{Kind: store.OwnedByTrace}
	if err := k.NewKey(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	c, err := k.Chain(o)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := k.Chain(o)
	if c.Sum("a", []byte("x")) != again.Sum("a", []byte("x")) || c.Sum("a", []byte("x")) == c.Sum("b", []byte("x")) || c.Sum("a", nil) == k.Mac("a", "") {
		t.Error("the keyed hash is not one of its own")
	}
}
