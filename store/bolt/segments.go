package bolt

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/relais-sante/relais/store"
)

// segments reads segment files through a bounded number of open ones.
type segments struct {
	dir   string
	files files

	mu   sync.Mutex
	open map[string]*segFile
	// While a snapshot is open nothing is removed: what would be waits.
	pins   int
	waits  []string
	drafts map[string]bool // large segments that no commit names yet
}

type segFile struct {
	f    *os.File
	refs int
	gone bool // close when the last reader leaves
}

const maxOpenSegments = 128

func (g *segments) init(dir string, fs files) {
	g.dir, g.files, g.open, g.drafts = dir, fs, map[string]*segFile{}, map[string]bool{}
}

func (g *segments) path(name string) string { return filepath.Join(g.dir, name) }

// acquire opens a segment for reading; release must follow.
func (g *segments) acquire(name string) (*segFile, error) {
	if filepath.Base(name) != name || !strings.HasSuffix(name, segSuffix) {
		return nil, fmt.Errorf("opening a segment: %w", store.ErrCorrupt)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.open[name]; f != nil {
		f.refs++
		return f, nil
	}
	if len(g.open) >= maxOpenSegments {
		for n, f := range g.open {
			if f.refs == 0 {
				f.f.Close()
				delete(g.open, n)
				break
			}
		}
	}
	osf, err := g.files.OpenFile(g.path(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", name, err)
	}
	head := make([]byte, segHead)
	if _, err = io.ReadFull(osf, head); err != nil {
		err = store.ErrCorrupt
	} else {
		err = checkSegmentHead(head)
	}
	if err != nil {
		osf.Close()
		return nil, fmt.Errorf("opening segment %s: %w", name, err)
	}
	f := &segFile{f: osf, refs: 1}
	g.open[name] = f
	return f, nil
}

func (g *segments) release(f *segFile) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.refs--; f.refs == 0 && f.gone {
		f.f.Close()
	}
}

// remove deletes a segment file that nothing names any more.
func (g *segments) remove(name string) error {
	g.mu.Lock()
	if f := g.open[name]; f != nil {
		delete(g.open, name)
		if f.refs == 0 {
			f.f.Close()
		} else {
			f.gone = true
		}
	}
	pinned := g.pins > 0 && !g.drafts[name]
	if pinned {
		g.waits = append(g.waits, name)
	}
	g.mu.Unlock()
	if pinned {
		return nil
	}
	return os.Remove(g.path(name))
}

// pin keeps every segment until unpin, which gives those that waited to go once
// nobody needs them any more.
func (g *segments) pin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins++
}

func (g *segments) unpin() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pins--; g.pins > 0 {
		return nil
	}
	gone := g.waits
	g.waits = nil
	return gone
}

// drafting notes a large segment that is being written, until a commit names it
// or it is discarded.
func (g *segments) drafting(name string, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if is {
		g.drafts[name] = true
	} else {
		delete(g.drafts, name)
	}
}

// loose lists large segments that an index need not name: drafts, and those that
// wait to go.
func (g *segments) loose() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := maps.Clone(g.drafts)
	for _, name := range g.waits {
		all[name] = true
	}
	return all
}

func (g *segments) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, f := range g.open {
		if f.refs == 0 {
			f.f.Close()
		} else {
			f.gone = true
		}
		delete(g.open, n)
	}
}
