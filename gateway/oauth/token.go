package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // registers the hashes of the algorithms below
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"

	"github.com/relais-sante/relais/mailbox"
)

// algorithm is a signature algorithm (RFC 7518 §3.1).
type algorithm struct {
	hash  crypto.Hash
	check func(k publicKey, hash crypto.Hash, digest, signature []byte) bool
}

var algorithms = map[string]algorithm{
	"RS256": {crypto.SHA256, checkRSA}, "RS384": {crypto.SHA384, checkRSA}, "RS512": {crypto.SHA512, checkRSA},
	"PS256": {crypto.SHA256, checkPSS}, "PS384": {crypto.SHA384, checkPSS}, "PS512": {crypto.SHA512, checkPSS},
	"ES256": {crypto.SHA256, checkEC}, "ES384": {crypto.SHA384, checkEC},
}

func checkRSA(k publicKey, hash crypto.Hash, digest, signature []byte) bool {
	key, ok := k.key.(*rsa.PublicKey)
	return ok && rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
}

func checkPSS(k publicKey, hash crypto.Hash, digest, signature []byte) bool {
	key, ok := k.key.(*rsa.PublicKey)
	return ok && rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

// checkEC: the signature is r and s, side by side (RFC 7518 §3.4).
func checkEC(k publicKey, hash crypto.Hash, digest, signature []byte) bool {
	key, ok := k.key.(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	// ES256 goes with P-256, ES384 with P-384.
	size := key.Curve.Params().BitSize / 8
	if size != hash.Size() || len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(key, digest, r, s)
}

// parsed is a token in parts: a JWS in compact form (RFC 7515 §3.1).
type parsed struct {
	algorithm string
	key       string // its id
	input     string // what was signed
	signature []byte
	payload   []byte
}

// parse takes a token apart. Nothing of it is believed yet.
func parse(token string) (parsed, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return parsed{}, false
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return parsed{}, false
		}
	}
	var head struct {
		Algorithm string   `json:"alg"`
		Key       string   `json:"kid"`
		Critical  []string `json:"crit"`
	}
	if json.Unmarshal(raw[0], &head) != nil || len(head.Critical) > 0 { // RFC 7515 §4.1.11: we understand no extension
		return parsed{}, false
	}
	return parsed{algorithm: head.Algorithm, key: head.Key, input: parts[0] + "." + parts[1], payload: raw[1], signature: raw[2]}, true
}

// signed judges a token by the provider's keys.
func (v *Verifier) signed(ctx context.Context, token string) (claims, error) {
	t, ok := parse(token)
	if !ok {
		return nil, mailbox.ErrLogin
	}
	a, ok := algorithms[t.algorithm]
	if !ok {
		return nil, mailbox.ErrLogin
	}
	k, err := v.key(ctx, t.key)
	if err != nil {
		return nil, err
	}
	h := a.hash.New()
	h.Write([]byte(t.input))
	// A key that says which algorithm it is for is for no other.
	if k.key == nil || k.algorithm != "" && k.algorithm != t.algorithm || !a.check(k, a.hash, h.Sum(nil), t.signature) {
		return nil, mailbox.ErrLogin
	}
	var c claims
	if json.Unmarshal(t.payload, &c) != nil || c.text("iss") != v.o.Issuer {
		return nil, mailbox.ErrLogin
	}
	return c, nil
}
