package bolt

import (
	"errors"
	"testing"

	"github.com/relais-sante/relais/store"
)

// A message opens by the session key in its row, and by the wrapped one alone;
// once its owner's key is dropped or forgotten, by neither.
func TestSessionInRow(t *testing.T) {
	p, thread := filled(t)
	s := p.mustOpen(nil)
	ways := func(b store.Blob) map[string]store.Blob {
		wrapped, plain := b, b
		wrapped.Session, plain.Key = nil, nil
		return map[string]store.Blob{"both": b, "wrapped": wrapped, "in the row": plain}
	}
	for _, m := range thread {
		for name, b := range ways(*m.Blob) {
			if n, err := drain(s, b); err != nil || n != b.Size {
				t.Errorf("%s, %s: %d bytes of %d, %v", m.ID, name, n, b.Size, err)
			}
		}
	}
	if err := s.DropKey(bg, thread[0].Blob.Owner); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		for name, b := range ways(*thread[0].Blob) {
			if _, err := drain(s, b); !errors.Is(err, store.ErrErased) && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s: %v without a key", name, err)
			}
		}
	}
	refused()
	if _, err := s.Forget(bg, []store.Owner{thread[0].Blob.Owner}); err != nil {
		t.Fatal(err)
	}
	refused()
}
