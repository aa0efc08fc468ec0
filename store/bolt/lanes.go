package bolt

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/relais-sante/relais/store"
)

// Lanes are ordered on disk by a key that is in clear: there only the kind of a
// lane stands, up to its colon. What follows, the domain a copy goes to, is a
// keyed hash, for segments and backups keep every key there ever was and must
// not tell to whom the hub writes. The name itself is in the sealed item.

// maxLaneNames bounds the names kept at hand; more domains than the trusted
// space has.
const maxLaneNames = 20_000

// laneNames are the keys of lanes and their names, those met since the start.
type laneNames struct {
	mu    sync.RWMutex
	keys  map[string]string
	names map[string]string
}

// laneKey is what stands for a lane in bucketDue. A kind of lanes, "out:",
// stands for itself.
func (s *Store) laneKey(lane string) string {
	kind, rest, _ := strings.Cut(lane, ":")
	if rest == "" {
		return lane
	}
	n := &s.laneNames
	n.mu.RLock()
	key, ok := n.keys[lane]
	n.mu.RUnlock()
	if ok {
		return key
	}
	sum := s.keys.Lookup("lane", lane)
	key = kind + ":" + hex.EncodeToString(sum[:8])
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys == nil || len(n.keys) >= maxLaneNames {
		n.keys, n.names = map[string]string{}, map[string]string{}
	}
	n.keys[lane], n.names[key] = key, lane
	return key
}

// laneName gives the name of a lane by its key and one of its items.
func (v *view) laneName(key string, of store.ItemID) (string, error) {
	if !strings.Contains(key, ":") {
		return key, nil
	}
	n := &v.s.laneNames
	n.mu.RLock()
	name, ok := n.names[key]
	n.mu.RUnlock()
	if ok {
		return name, nil
	}
	it, err := v.Item(of)
	if err != nil {
		return "", err
	}
	if v.s.laneKey(it.Lane) != key {
		return "", fmt.Errorf("item %s: %w", of, store.ErrCorrupt)
	}
	return it.Lane, nil
}
