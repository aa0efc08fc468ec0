package storetest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store"
)

func concurrentClaims(t *testing.T, b *bench) {
	const n, workers = 200, 8
	var all []store.Item
	for i := range n {
		all = append(all, item(store.ItemID(fmt.Sprintf("i%03d", i)), "lane", noon))
	}
	b.put(all...)
	var mu sync.Mutex
	done := map[store.ItemID]int{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for {
				var mine []store.Item
				err := b.Commit(background(), func(t store.Tx) (err error) {
					mine, err = t.Claim("lane", noon, time.Hour, fmt.Sprint(w), 7)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				if len(mine) == 0 {
					return
				}
				for _, it := range mine {
					if err := b.Commit(background(), func(t store.Tx) error { return t.DropItem(it) }); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					done[it.ID]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for id, times := range done {
		if times != 1 {
			t.Errorf("item %s was done %d times", id, times)
		}
	}
	if len(done) != n {
		t.Errorf("%d items done, want %d", len(done), n)
	}
}

// queueModel compares the queue with a map under random puts, claims, drops and
// stale holders.
func queueModel(t *testing.T, b *bench) {
	world := map[store.ItemID]store.Item{}
	var stale []store.Item
	var token uint64
	lanes := []string{"a", "ab", "b"}
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			id := store.ItemID(rapid.SampledFrom([]string{"1", "2", "3", "4", "5"}).Draw(rt, "id"))
			lane := rapid.SampledFrom(lanes).Draw(rt, "lane")
			now := noon.Add(time.Duration(rapid.IntRange(0, 100).Draw(rt, "now")) * time.Second)
			switch rapid.SampledFrom([]string{"put", "claim", "drop", "stale", "finish"}).Draw(rt, "what") {
			case "put":
				it := item(id, lane, now)
				if err := b.Commit(background(), func(t store.Tx) error { return t.PutItem(it) }); err != nil {
					rt.Fatal(err)
				}
				world[id] = it
			case "drop":
				if err := b.Commit(background(), func(t store.Tx) error { return t.DropItem(store.Item{ID: id}) }); err != nil {
					rt.Fatal(err)
				}
				delete(world, id)
			case "claim":
				var have []store.Item
				if err := b.Commit(background(), func(t store.Tx) (err error) {
					have, err = t.Claim(lane, now, 10*time.Second, "w", 2)
					return err
				}); err != nil {
					rt.Fatal(err)
				}
				if want := dueOf(world, lane, now, 2); !slices.Equal(names(have), want) {
					rt.Fatalf("claimed %v, want %v", names(have), want)
				}
				for _, it := range have {
					if it.Token <= token {
						rt.Fatalf("token %d after %d", it.Token, token)
					}
					token = it.Token
					world[it.ID] = it
					stale = append(stale, it)
				}
			case "stale", "finish":
				if len(stale) == 0 {
					continue
				}
				it := rapid.SampledFrom(stale).Draw(rt, "holder")
				err := b.Commit(background(), func(t store.Tx) error { return t.DropItem(it) })
				if held := world[it.ID].Token == it.Token; held != (err == nil) {
					rt.Fatalf("dropping with token %d while %d is current: %v", it.Token, world[it.ID].Token, err)
				}
				if err == nil {
					delete(world, it.ID)
				}
			}
		}
		for id, want := range world {
			have, err := read(b, func(v store.View) (*store.Item, error) { return v.Item(id) })
			if err != nil || *have != want {
				rt.Fatalf("item %s is %+v, %v, want %+v", id, have, err, want)
			}
		}
	})
}

func dueOf(world map[store.ItemID]store.Item, lane string, now time.Time, most int) []store.ItemID {
	var due []store.Item
	for _, id := range slices.Sorted(maps.Keys(world)) {
		if it := world[id]; it.Lane == lane && !it.Due.After(now) {
			due = append(due, it)
		}
	}
	slices.SortStableFunc(due, func(a, b store.Item) int { return a.Due.Compare(b.Due) })
	return names(due[:min(most, len(due))])
}
