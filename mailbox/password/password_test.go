package password

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"strings"
	"testing"
)

var cheap = Cost{Memory: 64, Passes: 1, Threads: 1}

func TestNew(t *testing.T) {
	if bits := secret * math.Log2(float64(len(alphabet))); bits < 100 || len(alphabet) != 27 {
		t.Errorf("%.0f bits from %d characters", bits, len(alphabet))
	}
	seen := map[string]bool{}
	used := map[rune]int{}
	for range 500 {
		id, text, err := New(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		folded := Fold(text)
		if len(folded) != length || IDOf(folded) != id || strings.Count(text, "-") != 4 || seen[text] {
			t.Fatalf("password of form %d characters, id %q", len(text), id)
		}
		if Fold(" "+strings.ToUpper(text)+" ") != folded {
			t.Fatal("capitals and spaces count")
		}
		seen[text] = true
		for _, r := range folded {
			used[r]++
		}
	}
	if len(used) != len(alphabet) {
		t.Errorf("%d characters used of %d", len(used), len(alphabet))
	}
	for r, n := range used { // 12,500 characters, 463 each; the deviation is 21
		if n < 330 || n > 600 {
			t.Errorf("%q came %d times of 12500", r, n)
		}
	}
}

func TestCheck(t *testing.T) {
	h := NewHasher(cheap, 1)
	hash, err := h.Hash(rand.Reader, "one")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := h.Hash(rand.Reader, "one")
	if string(hash) == string(again) {
		t.Error("the same password has the same hash twice: no salt")
	}
	// A hash made at another cost is checked at its own.
	later := NewHasher(Cost{Memory: 128, Passes: 2, Threads: 1}, 1)
	for folded, want := range map[string]bool{"one": true, "two": false, "": false, "one ": false} {
		if ok, err := later.Check(hash, folded); err != nil || ok != want {
			t.Errorf("%q: %v, %v", folded, ok, err)
		}
	}
	h.Waste("one") // must not panic
}

func TestBadHash(t *testing.T) {
	h := NewHasher(cheap, 1)
	good, _ := h.Hash(rand.Reader, "one")
	for _, bad := range []string{
		"", "one", "$argon2id$", strings.Replace(string(good), "argon2id", "argon2i", 1), strings.Replace(string(good), "v=19", "v=16", 1),
		strings.Replace(string(good), "t=1", "t=0", 1), strings.Replace(string(good), "p=1", "p=0", 1), strings.Replace(string(good), "p=1", "p=300", 1),
		strings.Replace(string(good), "m=64", "m=4000000000", 1), string(good) + "$", string(good[:len(good)-4]),
	} {
		if ok, err := h.Check([]byte(bad), "one"); ok || !errors.Is(err, errHash) {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}

func TestTurns(t *testing.T) {
	h := NewHasher(cheap, 1)
	done, err := h.Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Turn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second turn: %v", err)
	}
	done()
	if done, err = h.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	done()
}

func BenchmarkCheck(b *testing.B) {
	h := NewHasher(DefaultCost, 1)
	for b.Loop() {
		h.Waste("one")
	}
}
