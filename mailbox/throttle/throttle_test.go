package throttle

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var rule = Rule{Free: 2, First: time.Second, Max: 5 * time.Second, Forget: time.Minute, Size: 4}

func TestGrowing(t *testing.T) {
	table := New[string](rule)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for i, want := range []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		if got := table.Failed("a", true, now); got != want {
			t.Errorf("after failure %d: wait %v, want %v", i+1, got, want)
		}
		if got := table.Wait("a", now); got != want {
			t.Errorf("asked after failure %d: %v, want %v", i+1, got, want)
		}
	}
	if got := table.Wait("a", now.Add(3*time.Second)); got != 2*time.Second {
		t.Errorf("three seconds later: %v", got)
	}
	if got := table.Wait("b", now); got != 0 {
		t.Errorf("somebody else waits %v", got)
	}
	if got := table.Waiting(now); got != 1 {
		t.Errorf("%d wait", got)
	}
	if got := table.Waiting(now.Add(time.Minute)); got != 0 {
		t.Errorf("%d wait a minute later", got)
	}
	if got := table.Failed("a", true, now.Add(2*time.Minute)); got != 0 {
		t.Errorf("nothing was forgotten: %v", got)
	}
}

func TestPassed(t *testing.T) {
	table := New[string](rule)
	now := time.Now()
	for range 5 {
		table.Failed("a", true, now)
	}
	table.Passed("a")
	if got := table.Wait("a", now); got != 0 {
		t.Errorf("waits %v after it passed", got)
	}
	for range 5 {
		table.Failed("made up", false, now)
	}
	if table.Wait("made up", now) == 0 || table.Waiting(now) != 0 {
		t.Error("what is not real must wait too, and not be counted")
	}
}

// Whatever comes, the table stays small, no wait is longer than allowed, and
// who fails often within the size of a generation does wait.
func TestBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := New[int](rule)
		now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 100).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			key := rapid.IntRange(0, 20).Draw(t, "key")
			if rapid.IntRange(0, 9).Draw(t, "passed") == 0 {
				table.Passed(key)
				continue
			}
			if wait := table.Failed(key, true, now); wait > rule.Max || wait != table.Wait(key, now) {
				t.Fatalf("wait %v, asked %v", wait, table.Wait(key, now))
			}
			if n := len(table.young) + len(table.old); n > 2*rule.Size {
				t.Fatalf("%d entries", n)
			}
			if n := table.Waiting(now); n > 2*rule.Size {
				t.Fatalf("%d waiting", n)
			}
		}
		for range rule.Free + 1 {
			table.Failed(99, true, now)
		}
		if table.Wait(99, now) == 0 {
			t.Fatal("no wait after more failures than are free")
		}
	})
}
