package identity

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"testing"
)

func TestNewCode(t *testing.T) {
	for range 1000 {
		code, err := NewCode(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if len(code) != CodeLength || strings.Trim(code, codeSymbols) != "" || !CheckCode(code) {
			t.Fatalf("NewCode gave %q", code)
		}
	}
	if _, err := NewCode(bytes.NewReader([]byte{1, 2, 3})); !errors.Is(err, io.EOF) {
		t.Errorf("randomness that ends: got %v, want EOF", err)
	}
}

func TestNewCodeIsDeterministic(t *testing.T) {
	seed := [32]byte{7}
	a, _ := NewCode(mathrand.NewChaCha8(seed))
	b, _ := NewCode(mathrand.NewChaCha8(seed))
	if a != b {
		t.Errorf("same randomness, different codes: %s and %s", a, b)
	}
}

// The check is linear, so that it is enough to look, for every place and every
// pair of symbols, whether the sum moves by a multiple of the modulus. This
// covers all codes there are.
func TestCodeCatchesEveryChangeAndSwap(t *testing.T) {
	const n = len(codeSymbols)
	for i := range CodeLength {
		for d := 1; d < n; d++ {
			if (i+1)*d%codeModulus == 0 {
				t.Errorf("changing character %d by %d goes unseen", i, d)
			}
			for j := i + 1; j < CodeLength; j++ {
				if (j-i)*d%codeModulus == 0 {
					t.Errorf("swapping characters %d and %d that are %d apart goes unseen", i, j, d)
				}
			}
		}
	}
}

// The same through CheckCode itself, on codes as they are drawn.
func TestCheckCodeRefusesNeighbours(t *testing.T) {
	random := mathrand.NewChaCha8([32]byte{1})
	for range 2000 {
		code, err := NewCode(random)
		if err != nil {
			t.Fatal(err)
		}
		for i := range CodeLength {
			for _, c := range []byte(codeSymbols) {
				changed := []byte(code)
				changed[i] = c
				if c != code[i] && CheckCode(string(changed)) {
					t.Fatalf("%s and %s are both codes", code, changed)
				}
			}
			for j := range i {
				swapped := []byte(code)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				if code[i] != code[j] && CheckCode(string(swapped)) {
					t.Fatalf("%s and %s are both codes", code, swapped)
				}
			}
		}
	}
}

func TestCheckCodeRefuses(t *testing.T) {
	for _, s := range []string{"", "b", "bbbbbb", "bbbbbbbb", "BBBBBBB", "aaaaaaa", "bbbbbb1", "bbbbbb\x00", "ébbbbb"} {
		if CheckCode(s) {
			t.Errorf("CheckCode(%q) is true", s)
		}
	}
	if !CheckCode("bbbbbbb") { // all values zero
		t.Error("CheckCode refuses a sum of zero")
	}
}
