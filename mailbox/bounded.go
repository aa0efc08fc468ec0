package mailbox

import "sync"

// bounded remembers the last so many sums it was given, in two generations: the
// older one is forgotten when the younger one is full. Safe for concurrent use.
type bounded struct {
	mu         sync.Mutex
	young, old map[[32]byte]struct{}
}

const boundedSize = 1 << 14

func (b *bounded) has(sum [32]byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.young[sum]; ok {
		return true
	}
	_, ok := b.old[sum]
	return ok
}

func (b *bounded) add(sum [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.young == nil || len(b.young) >= boundedSize {
		b.old, b.young = b.young, make(map[[32]byte]struct{})
	}
	b.young[sum] = struct{}{}
}
