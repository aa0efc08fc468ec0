package bolt

import (
	"slices"
	"sync"

	"github.com/relais-sante/relais/store"
)

// pathwayCache keeps pathways as they were last decoded. An entry counts only
// for the very sealed bytes it was opened from (they begin with a random nonce),
// so readers of older and newer snapshots never mix them up. Nobody changes them,
// and none is given away.
type pathwayCache struct {
	mu sync.RWMutex
	m  map[store.PathwayCode]cachedPathway
}

type cachedPathway struct {
	nonce [13]byte // version and nonce of the row
	p     *store.Pathway
}

// maxPathways bounds the cache to some tens of megabytes.
const maxPathways = 4096

func (c *pathwayCache) get(code store.PathwayCode, row []byte) *store.Pathway {
	if len(row) < len(cachedPathway{}.nonce) {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e, ok := c.m[code]; ok && e.nonce == [13]byte(row) {
		return e.p
	}
	return nil
}

func (c *pathwayCache) put(code store.PathwayCode, row []byte, p *store.Pathway) {
	e := cachedPathway{nonce: [13]byte(row), p: p}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[store.PathwayCode]cachedPathway)
	}
	if _, ok := c.m[code]; !ok && len(c.m) >= maxPathways {
		for old := range c.m { // any one: the map's order is random
			delete(c.m, old)
			break
		}
	}
	c.m[code] = e
}

func (c *pathwayCache) forget(code store.PathwayCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, code)
}

// clonePathway copies all that a caller could change. A test compares it with
// what encoding and decoding would give, so that a field cannot be forgotten.
func clonePathway(p *store.Pathway) *store.Pathway {
	q := *p
	q.Consents = slices.Clone(p.Consents)
	q.Events = slices.Clone(p.Events)
	q.Merged = slices.Clone(p.Merged)
	q.Members = slices.Clone(p.Members)
	for i := range q.Members {
		m := &q.Members[i]
		m.AlsoFrom = slices.Clone(m.AlsoFrom)
		m.Periods = slices.Clone(m.Periods)
		m.Former = slices.Clone(m.Former)
	}
	return &q
}
