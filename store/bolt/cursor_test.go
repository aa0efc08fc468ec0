package bolt

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// layered is a bucket in three layers, and what it should look like.
type layered struct {
	v     *view
	t     *tx
	plain map[string]string
}

func (l *layered) keys() []string {
	var list []string
	for k := range l.plain {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

var anyKey = rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00\xff")), 1, 3, 9)

// draw fills the layers; the bucket beside it, with numbers on both sides, too.
func (l *layered) draw(t *rapid.T, db *bolt.DB, name []byte) {
	l.plain = map[string]string{}
	rows := func(label string, put func(bucket []byte, k string, row []byte)) {
		for _, k := range rapid.SliceOfN(anyKey, 0, 12).Draw(t, label) {
			if rapid.IntRange(0, 3).Draw(t, "deleted") == 0 {
				put(name, k, nil)
				delete(l.plain, k)
				continue
			}
			row := label + k
			put(name, k, []byte(row))
			l.plain[k] = row
			for _, beside := range [][]byte{bucketLocated, bucketPrints} {
				put(beside, k, []byte("not this one"))
			}
		}
	}
	if err := db.Update(func(btx *bolt.Tx) error {
		for _, b := range [][]byte{name, bucketLocated, bucketPrints} {
			if btx.Bucket(b) != nil {
				if err := btx.DeleteBucket(b); err != nil {
					return err
				}
			}
			if _, err := btx.CreateBucket(b); err != nil {
				return err
			}
		}
		rows("index", func(b []byte, k string, row []byte) {
			put := func() error { return btx.Bucket(b).Put([]byte(k), row) }
			if row == nil {
				put = func() error { return btx.Bucket(b).Delete([]byte(k)) }
			}
			if err := put(); err != nil {
				t.Fatal(err)
			}
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	frozen, active := newLevel(), newLevel()
	into := func(lv *level) func(b []byte, k string, row []byte) {
		return func(b []byte, k string, row []byte) { lv.set(&entry{key: joined(bucketPlace(b), []byte(k)), row: row}) }
	}
	rows("frozen", into(frozen))
	rows("active", into(active))
	l.t = &tx{g: new(group), turn: 1}
	l.t.over, l.t.writes = &levels{active: active, frozen: frozen}, true
	l.v = &l.t.view
}

// The merged cursor goes as one over a plain sorted map would, forwards and
// backwards, also where rows are written between its steps.
func TestCursorLikeAMap(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "x.db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, name := range [][]byte{bucketIDs, lookupsBucket(255)} {
		rapid.Check(t, func(t *rapid.T) {
			var l layered
			l.draw(t, db, name)
			if err := db.View(func(btx *bolt.Tx) error {
				l.v.tx = btx
				l.walk(t, name)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func (l *layered) walk(t *rapid.T, name []byte) {
	b := l.v.bucket(name)
	c := b.Cursor()
	at := "" // where it stands, "" nowhere
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		keys := l.keys()
		want := -1
		var k, row []byte
		switch what := rapid.SampledFrom([]string{"first", "last", "seek", "next", "next", "prev", "prev", "put", "drop", "get"}).Draw(t, "what"); what {
		case "first":
			k, row = c.First()
			want = 0
		case "last":
			k, row = c.Last()
			want = len(keys) - 1
		case "seek":
			to := anyKey.Draw(t, "to")
			k, row = c.Seek([]byte(to))
			want, _ = slices.BinarySearch(keys, to)
		case "next":
			if at == "" {
				continue
			}
			k, row = c.Next()
			i, found := slices.BinarySearch(keys, at)
			if want = i; found {
				want++
			}
		case "prev":
			if at == "" {
				continue
			}
			k, row = c.Prev()
			i, _ := slices.BinarySearch(keys, at)
			want = i - 1
		case "get":
			key := anyKey.Draw(t, "key")
			have := b.Get([]byte(key))
			if w, ok := l.plain[key]; (have != nil) != ok || string(have) != w {
				t.Fatalf("get %q: %q, want %q", key, have, w)
			}
			continue
		default:
			// What is written at the cursor's own place or beyond is met or not.
			// So write, then stand anew where it stood.
			key := anyKey.Draw(t, "key")
			if what == "put" {
				if err := l.t.putRaw(name, []byte(key), []byte("new"+key)); err != nil {
					t.Fatal(err)
				}
				l.plain[key] = "new" + key
			} else {
				if err := l.t.drop(name, []byte(key)); err != nil {
					t.Fatal(err)
				}
				delete(l.plain, key)
			}
			if rapid.Bool().Draw(t, "go on") {
				l.goOn(t, c, at)
			}
			at = ""
			continue
		}
		if want < 0 || want >= len(keys) {
			if k != nil {
				t.Fatalf("at %q, want the end", k)
			}
			at = ""
			continue
		}
		if at = keys[want]; string(k) != at || string(row) != l.plain[at] {
			t.Fatalf("at %q %q, want %q %q", k, row, at, l.plain[at])
		}
	}
}

// goOn steps to the end while rows were written under the cursor: keys come in
// order, and rows that were there all the time come all.
func (l *layered) goOn(t *rapid.T, c *cursor, at string) {
	if at == "" {
		return
	}
	last := []byte(at)
	for k, row := c.Next(); k != nil; k, row = c.Next() {
		if bytes.Compare(k, last) <= 0 {
			t.Fatalf("%q comes after %q", k, last)
		}
		if w := l.plain[string(k)]; w != "" && w[:3] != "new" && w != string(row) {
			t.Fatalf("%q: %q, want %q", k, row, w)
		}
		for _, between := range l.keys() {
			if between > string(last) && between < string(k) && l.plain[between][:3] != "new" {
				t.Fatalf("%q was left out", between)
			}
		}
		last = k
	}
}

// What commits write and delete is seen as in a plain map, whichever of them fail
// and are undone, and whenever a level is frozen and comes to be in the index; and
// nothing is left in the levels of what came and went in the active one. Replay of
// what they logged gives the same.
func TestLevelsLikeAMap(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "x.db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := bucketDue
	rapid.Check(t, func(t *rapid.T) {
		if err := db.Update(func(btx *bolt.Tx) error {
			if btx.Bucket(name) != nil {
				if err := btx.DeleteBucket(name); err != nil {
					return err
				}
			}
			_, err := btx.CreateBucket(name)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var (
			active, frozen = newLevel(), (*level)(nil)
			plain          = map[string]string{}
			lower          = map[string]bool{} // what the index or the frozen level has
			log            = newLevel()
			turn           uint64
		)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch what := rapid.SampledFrom([]string{"commit", "commit", "commit", "fail", "freeze", "flush"}).Draw(t, "what"); what {
			case "freeze":
				if frozen == nil {
					frozen, active = active, newLevel()
					lower = map[string]bool{}
					for k := range plain {
						lower[k] = true
					}
				}
			case "flush":
				if frozen == nil {
					continue
				}
				if err := db.Update(func(btx *bolt.Tx) error {
					var err error
					frozen.rows.Scan(func(e *entry) bool {
						if _, key, _ := splitPlace(e.key); e.row == nil {
							err = btx.Bucket(name).Delete(key)
						} else {
							err = btx.Bucket(name).Put(key, e.row)
						}
						return err == nil
					})
					return err
				}); err != nil {
					t.Fatal(err)
				}
				frozen = nil
			default:
				turn++
				then := maps.Clone(plain)
				before := active.copied() // as a reader has it
				rows := before.rows.Items()
				if err := db.View(func(btx *bolt.Tx) error {
					w := &tx{g: new(group), turn: turn}
					w.tx, w.over, w.writes = btx, &levels{active: active, frozen: frozen}, true
					for range rapid.IntRange(1, 8).Draw(t, "rows") {
						k := anyKey.Draw(t, "key")
						if rapid.Bool().Draw(t, "put") {
							row := fmt.Sprint(k, turn, len(w.log))
							if err := w.putRaw(name, []byte(k), []byte(row)); err != nil {
								return err
							}
							then[k] = row
						} else {
							if err := w.drop(name, []byte(k)); err != nil {
								return err
							}
							delete(then, k)
						}
					}
					if what == "fail" {
						w.undo()
						return nil
					}
					plain = then
					for _, c := range w.log {
						log.set(&entry{key: c.is.key, row: c.is.row})
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(before.rows.Items(), rows) {
					t.Fatal("a reader's copy of the level was changed")
				}
			}
			bytes := 0
			active.rows.Scan(func(e *entry) bool {
				bytes += e.size()
				if e.row == nil && frozen == nil && !lower[string(e.key[1:])] {
					t.Fatalf("a deletion of %q lies in the level for nothing", e.key[1:])
				}
				return true
			})
			if bytes != active.bytes {
				t.Fatalf("the level says it has %d bytes, not %d", active.bytes, bytes)
			}
			if err := db.View(func(btx *bolt.Tx) error {
				v := &view{tx: btx, over: &levels{active: active, frozen: frozen}}
				seen := map[string]string{}
				c := v.bucket(name).Cursor()
				for k, row := c.First(); k != nil; k, row = c.Next() {
					seen[string(k)] = string(row)
				}
				if !maps.Equal(seen, plain) {
					t.Fatalf("there is %q, want %q", seen, plain)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			replayed := map[string]string{}
			log.rows.Scan(func(e *entry) bool {
				if e.row != nil {
					replayed[string(e.key[1:])] = string(e.row)
				}
				return true
			})
			if !maps.Equal(replayed, plain) {
				t.Fatalf("the log tells %q, want %q", replayed, plain)
			}
		}
	})
}
