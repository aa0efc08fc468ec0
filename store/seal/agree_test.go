package seal

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// Messages that follow each other closely share an ephemeral key, a bounded
// number for a bounded time; each is opened as any other, by its owner alone.
func TestSharedEphemeralKey(t *testing.T) {
	k := newKeys(t)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	k.now = func() time.Time { return now }
	owner, other := store.Owner{Kind: store.OwnedByPathway, ID: "k7f3q2x"}, store.Owner{Kind: store.OwnedByPathway, ID: "bbbbbbb"}
	for _, o := range []store.Owner{owner, other} {
		if err := k.NewKey(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	type wrapped struct {
		session *SessionKey
		pkesk   []byte
	}
	var all []wrapped
	used := map[string]int{}
	wrap := func(times int) {
		t.Helper()
		for range times {
			session, _ := NewSession(rand.Reader)
			pkesk, err := k.Wrap(owner, session)
			if err != nil {
				t.Fatal(err)
			}
			used[string(pkesk[5+fingerprintV6+1:pkeskSize-esk-1])]++
			all = append(all, wrapped{session, pkesk})
		}
	}
	wrap(1 + sharedTimes)
	if len(used) != 2 {
		t.Errorf("%d messages in a row took %d ephemeral keys, want 2", len(all), len(used))
	}
	wrap(1)
	if len(used) != 3 {
		t.Errorf("an ephemeral key was used more than %d times", sharedTimes)
	}
	for range 3 { // far apart
		now = now.Add(sharedTime)
		wrap(1)
	}
	if len(used) != 6 {
		t.Errorf("messages far apart share an ephemeral key: %d in all", len(used))
	}
	for i, w := range all {
		if got, err := k.Unwrap(owner, w.pkesk); err != nil || *got != *w.session {
			t.Fatalf("message %d: %v", i, err)
		}
		if _, err := k.Unwrap(other, w.pkesk); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("message %d opened by another owner: %v", i, err)
		}
		damaged := append([]byte(nil), w.pkesk...)
		damaged[len(damaged)-1] ^= 1
		if _, err := k.Unwrap(owner, damaged); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("damaged wrap %d: %v", i, err)
		}
	}
	if err := k.DropKey(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Unwrap(owner, all[len(all)-1].pkesk); !errors.Is(err, store.ErrErased) {
		t.Errorf("opened after its key was dropped: %v", err)
	}
}
