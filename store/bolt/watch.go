package bolt

import "sync"

// watches are the channels of those who wait for a topic. They are many (one
// for each open folder of each session), topics that change in one commit few:
// waking costs what it wakes.
type watches struct {
	mu sync.Mutex
	m  map[string]map[*watch]struct{}
}

type watch struct {
	c      chan<- struct{}
	topics []string
}

// Sequence implements [store.Store].
func (s *Store) Sequence() uint64 { return s.levels.Load().state.Seq }

// Watch implements [store.Store].
func (s *Store) Watch(c chan<- struct{}, topics ...string) (stop func()) {
	w := &watch{c: c, topics: topics}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	if s.watches.m == nil {
		s.watches.m = make(map[string]map[*watch]struct{})
	}
	for _, t := range topics {
		if s.watches.m[t] == nil {
			s.watches.m[t] = make(map[*watch]struct{})
		}
		s.watches.m[t][w] = struct{}{}
	}
	return func() { s.watches.drop(w) }
}

func (w *watches) drop(x *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range x.topics {
		delete(w.m[t], x)
		if len(w.m[t]) == 0 {
			delete(w.m, t)
		}
	}
}

func (w *watches) wake(topics map[string]struct{}) {
	if len(topics) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := range topics {
		for x := range w.m[t] {
			select {
			case x.c <- struct{}{}:
			default:
			}
		}
	}
}

// touched says that a topic changes with this Commit.
func (t *tx) touched(topic string) {
	if t.topics == nil {
		t.topics = make(map[string]struct{}, 4)
	}
	t.topics[topic] = struct{}{}
}
