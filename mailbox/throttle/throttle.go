// Package throttle slows down who fails again and again: after some failures
// each further one makes the next attempt wait longer.
//
// The table is bounded whatever is thrown at it: it keeps two generations, and
// when the young one is full the old one is forgotten. Who was forgotten starts
// anew, so the size must be well above what attackers can fill in the longest
// wait from the addresses they have.
package throttle

import (
	"sync"
	"time"
)

// Rule says how failures make wait.
type Rule struct {
	Free   int           // failures without a wait
	First  time.Duration // wait after the next one; doubles with each
	Max    time.Duration // longest wait
	Forget time.Duration // after the last failure all is forgotten
	Size   int           // entries of one generation
}

// Table counts failures by key. Safe for concurrent use.
type Table[K comparable] struct {
	rule Rule

	mu         sync.Mutex
	young, old map[K]entry
}

type entry struct {
	failures int
	last     time.Time // failure
	until    time.Time
	real     bool
}

// New returns an empty table.
func New[K comparable](r Rule) *Table[K] {
	return &Table[K]{rule: r, young: map[K]entry{}}
}

// Wait says how long who has this key must still wait; zero: not at all.
func (t *Table[K]) Wait(key K, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.get(key, now).until.Sub(now))
}

// Failed counts a failure and gives the wait it leads to. Real says that there
// is something behind the key: only that is counted by Waiting.
func (t *Table[K]) Failed(key K, real bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.get(key, now)
	e.failures++
	e.last, e.real = now, real
	var wait time.Duration
	if over := e.failures - t.rule.Free; over > 0 {
		wait = t.rule.First
		for i := 1; i < over && wait < t.rule.Max; i++ {
			wait *= 2
		}
		wait = min(wait, t.rule.Max)
		e.until = now.Add(wait)
	}
	t.put(key, e)
	return wait
}

// Passed forgets the failures of a key.
func (t *Table[K]) Passed(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.young, key)
	delete(t.old, key)
}

// Waiting counts the real keys that must wait now.
func (t *Table[K]) Waiting(now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, e := range t.young {
		if e.real && e.until.After(now) {
			n++
		}
	}
	for key, e := range t.old {
		if _, again := t.young[key]; !again && e.real && e.until.After(now) {
			n++
		}
	}
	return n
}

func (t *Table[K]) get(key K, now time.Time) entry {
	e, ok := t.young[key]
	if !ok {
		e = t.old[key]
	}
	if now.Sub(e.last) > t.rule.Forget && !e.until.After(now) {
		return entry{}
	}
	return e
}

func (t *Table[K]) put(key K, e entry) {
	if _, ok := t.young[key]; !ok && len(t.young) >= t.rule.Size {
		t.old, t.young = t.young, map[K]entry{}
	}
	t.young[key] = e
}
