package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/relais-sante/relais/store"
)

// Stats implements [store.Store]. Counters are kept with each commit; nothing is
// counted here.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	var out store.Stats
	err := s.View(ctx, func(sv store.View) error {
		v := sv.(*view)
		st, err := v.now()
		if err != nil {
			return err
		}
		out = store.Stats{
			Pathways: st.Pathways, Messages: st.Messages, Held: st.Held, Queued: st.Queued, Failed: st.Failed,
			SegmentBytes: st.SegmentBytes, Sequence: st.Seq,
		}
		for l := v.live(liveQueued, ""); l.id != nil; l.next() {
			d, err := v.Delivery(store.DeliveryID(l.id))
			if errors.Is(err, store.ErrErased) {
				continue
			}
			if err != nil {
				return err
			}
			out.OldestUndelivered = d.Created
			break
		}
		held, err := v.HeldList("", 1)
		if err != nil {
			return err
		}
		if len(held) > 0 {
			out.OldestHeld = held[0].Received
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("reading figures: %w", err)
	}
	fi, err := os.Stat(filepath.Join(s.o.Dir, "index.db"))
	if err != nil {
		return out, fmt.Errorf("reading figures: %w", fault(err))
	}
	out.IndexBytes = fi.Size()
	return out, nil
}

// Setting implements [store.View].
func (v *view) Setting(name string) ([]byte, error) {
	var b []byte
	if err := v.get(bucketSettings, []byte(name), hubOwner, &b); err != nil {
		return nil, fmt.Errorf("reading a setting: %w", err)
	}
	return b, nil
}

// PutSetting implements [store.Tx].
func (t *tx) PutSetting(name string, value []byte) error {
	if err := t.put(bucketSettings, []byte(name), hubOwner, nonNil(value)); err != nil {
		return fmt.Errorf("writing a setting: %w", err)
	}
	return nil
}

// needKey makes a key within a commit, for the rare owner that comes up there.
// The keystore is synced before the commit that names the key; a commit that
// fails leaves a key that the next one finds.
func (t *tx) needKey(o store.Owner) error { return t.s.keys.NewKey(context.Background(), o) }
