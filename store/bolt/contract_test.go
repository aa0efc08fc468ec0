package bolt

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
	"github.com/relais-sante/relais/store/storetest"
)

var bg = context.Background()

// place is a directory with keys, to open stores in.
type place struct {
	testing.TB
	seal seal.Options
	keys *seal.Keys
}

func newPlace(t testing.TB) *place {
	t.Helper()
	hub := make([]byte, 32)
	_, _ = rand.Read(hub)
	p := &place{TB: t, seal: seal.Options{DataDir: t.TempDir(), EpochDir: t.TempDir(), Hub: seal.Value(hex.EncodeToString(hub))}}
	if err := seal.Create(p.seal); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.keys != nil {
			p.keys.Close()
		}
	})
	return p
}

// open opens keystore and store, as a new process would.
func (p *place) open(change func(*Options)) (*Store, error) {
	p.Helper()
	if p.keys != nil {
		p.keys.Close()
	}
	var err error
	if p.keys, err = seal.Open(p.seal); err != nil {
		p.Fatal(err)
	}
	o := Options{Dir: p.seal.DataDir, Keys: p.keys}
	if change != nil {
		change(&o)
	}
	return Open(o)
}

// leave lets go of the keystore, for another process.
func (p *place) leave() {
	p.keys.Close()
}

func (p *place) mustOpen(change func(*Options)) *Store {
	p.Helper()
	s, err := p.open(change)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB) func() store.Store {
		p := newPlace(t)
		return func() store.Store { return p.mustOpen(nil) }
	})
}

// The same with limits so low that segments and large files come all the time.
func TestContractWithSmallSegments(t *testing.T) {
	storetest.Run(t, func(t testing.TB) func() store.Store {
		p := newPlace(t)
		return func() store.Store {
			return p.mustOpen(func(o *Options) { o.SegmentSize, o.SmallMessage = 2000, 50 })
		}
	})
}
