package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// A ledger is a store with traces, closed, and what somebody who tampers with it
// may have: its files, older copies of them, and (the worst) the key of its rows.
type ledger struct {
	*testing.T
	p     *place
	now   map[string][]byte // the files
	older map[string][]byte // the same, some commits before
	old   *bolt.DB          // the index among them
	head  store.TraceHead
	rand  *rand.Rand
	tx    *bolt.Tx // of the attempt under way
	then  *bolt.Tx // of the older file
	keys  [][]byte // of the traces, in order of numbers
}

const tracePathway = store.PathwayCode("bcdfghj")

// someTraces commits n traces, of both families, most of them about a pathway.
func someTraces(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		r := store.Trace{
			Family: store.Application, At: time.Unix(int64(1e9+i), 0), Actor: "member:m1", Action: "post.read", Outcome: "done", Pathway: tracePathway,
			Object: fmt.Sprintf("01m%x", rand.Uint64()),
		}
		if i%3 == 0 {
			r.Family = store.Technical
		}
		if i%4 == 3 {
			r.Pathway = ""
		}
		if err := s.Commit(bg, func(t store.Tx) error { return t.Trace(r) }); err != nil {
			t.Fatal(err)
		}
	}
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{T: t, p: newPlace(t), rand: rand.New(rand.NewPCG(rand.Uint64(), 1))}
	s := l.p.mustOpen(nil)
	if err := s.NewKey(bg, pathwayOwner(tracePathway)); err != nil {
		t.Fatal(err)
	}
	someTraces(t, s, 30)
	if err := s.Commit(bg, func(t store.Tx) error {
		_, err := t.PurgeTraces(store.Technical, 4, func(*store.Trace) bool { return true })
		return err
	}); err != nil {
		t.Fatal(err)
	}
	someTraces(t, s, 10)
	l.older = l.closed(s)
	then := filepath.Join(t.TempDir(), "older.db")
	if err := os.WriteFile(then, l.older["index.db"], 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := bolt.Open(then, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { old.Close() })
	l.old = old
	s = l.p.mustOpen(nil)
	someTraces(t, s, sinceOlder)
	if l.head, err = s.TraceHead(bg); err != nil {
		t.Fatal(err)
	}
	l.now = l.closed(s)
	return l
}

// closed closes a store and copies its files.
func (l *ledger) closed(s *Store) map[string][]byte {
	l.Helper()
	if err := s.Close(); err != nil {
		l.Fatal(err)
	}
	files := map[string][]byte{}
	segments, err := filepath.Glob(filepath.Join(l.p.seal.DataDir, "segments", "*"))
	if err != nil {
		l.Fatal(err)
	}
	for _, path := range segments {
		if files[filepath.Join("segments", filepath.Base(path))], err = os.ReadFile(path); err != nil {
			l.Fatal(err)
		}
	}
	db, err := bolt.Open(l.file(), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		l.Fatal(err)
	}
	defer db.Close()
	var b bytes.Buffer // without the room the file has set aside
	if err := db.View(func(btx *bolt.Tx) error { _, err := btx.WriteTo(&b); return err }); err != nil {
		l.Fatal(err)
	}
	files["index.db"] = b.Bytes()
	return files
}

// putBack puts files in the place of those that are there.
func (l *ledger) putBack(files map[string][]byte) {
	l.Helper()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(l.p.seal.DataDir, name), b, 0o600); err != nil {
			l.Fatal(err)
		}
	}
}

func (l *ledger) file() string { return filepath.Join(l.p.seal.DataDir, "index.db") }

// tampered edits a fresh copy of the file with bbolt itself.
func (l *ledger) tampered(edit func()) {
	l.Helper()
	l.putBack(l.now)
	db, err := bolt.Open(l.file(), 0o600, &bolt.Options{NoSync: true, NoGrowSync: true, NoFreelistSync: true})
	if err != nil {
		l.Fatal(err)
	}
	if err := db.Update(func(btx *bolt.Tx) error {
		return l.old.View(func(then *bolt.Tx) error {
			l.tx, l.then, l.keys = btx, then, nil
			_ = btx.Bucket(bucketTraces).ForEach(func(k, _ []byte) error {
				l.keys = append(l.keys, slices.Clone(k))
				return nil
			})
			slices.SortFunc(l.keys, func(a, b []byte) int { return bytes.Compare(a[1:], b[1:]) })
			edit()
			return nil
		})
	}); err != nil {
		l.Fatal(err)
	}
	if err := db.Close(); err != nil {
		l.Fatal(err)
	}
}

// verify verifies the file as it now is, offline.
func (l *ledger) verify(kept ...store.TraceHead) (store.TraceReport, error) {
	s, err := OpenReader(Options{Dir: l.p.seal.DataDir, Keys: l.p.keys})
	if err != nil {
		return store.TraceReport{}, err
	}
	defer s.Close()
	return s.VerifyTraces(bg, kept...)
}

// What an attempt is made of.

func (l *ledger) row(k []byte) []byte { return slices.Clone(l.tx.Bucket(bucketTraces).Get(k)) }

func (l *ledger) put(bucket, k, row []byte) {
	if err := l.tx.Bucket(bucket).Put(k, row); err != nil {
		l.Fatal(err)
	}
}

func (l *ledger) drop(bucket, k []byte) {
	if err := l.tx.Bucket(bucket).Delete(k); err != nil {
		l.Fatal(err)
	}
}

func (l *ledger) any() int { return l.rand.IntN(len(l.keys)) }

// open and seal use the key of the rows, which an outsider does not have.
func (l *ledger) open(k, row []byte) *store.Trace {
	clear, err := l.p.keys.OpenRow(nil, traceOwner, string(bucketTraces), k, row)
	if err != nil {
		l.Fatal(err)
	}
	r := new(store.Trace)
	if err := decode(bucketTraces, clear, r); err != nil {
		l.Fatal(err)
	}
	return r
}

func (l *ledger) seal(bucket, k []byte, record any) {
	clear, err := encode(record)
	if err != nil {
		l.Fatal(err)
	}
	row, err := l.p.keys.SealRow(nil, traceOwner, string(bucket), k, clear)
	if err != nil {
		l.Fatal(err)
	}
	l.put(bucket, k, row)
}

// headRow opens the head with the key of the rows.
func (l *ledger) headRow() *headRow {
	clear, err := l.p.keys.OpenRow(nil, traceOwner, string(bucketHeads), keyHeads, l.tx.Bucket(bucketHeads).Get(keyHeads))
	h := new(headRow)
	if err != nil || decode(bucketHeads, clear, h) != nil {
		l.Fatal("head does not open")
	}
	return h
}

// fromOlder puts a row back as it was.
func (l *ledger) fromOlder(bucket, k []byte) { l.put(bucket, k, l.then.Bucket(bucket).Get(k)) }

// cut takes away everything after the older copy, or the last n.
func (l *ledger) cut(n int) {
	for _, k := range l.keys[len(l.keys)-n:] {
		l.drop(bucketTraces, k)
	}
}

const sinceOlder = 20

// Every way of tampering that was thought of. Positions are drawn.
var tamperings = map[string]func(*ledger){
	"a byte changed": func(l *ledger) {
		k := l.keys[l.any()]
		row := l.row(k)
		row[l.rand.IntN(len(row))] ^= byte(1 + l.rand.IntN(255))
		l.put(bucketTraces, k, row)
	},
	"a row cut short": func(l *ledger) {
		k := l.keys[l.any()]
		row := l.row(k)
		l.put(bucketTraces, k, row[:l.rand.IntN(len(row))])
	},
	"one dropped": func(l *ledger) { l.drop(bucketTraces, l.keys[l.any()]) },
	"a stretch dropped": func(l *ledger) {
		i := l.any()
		for _, k := range l.keys[i:min(len(l.keys), i+1+l.rand.IntN(8))] {
			l.drop(bucketTraces, k)
		}
	},
	"one dropped with its pointer": func(l *ledger) {
		k := l.keys[l.any()]
		l.drop(bucketTraces, k)
		h := l.p.keys.Handle(pathwayOwner(tracePathway))
		l.drop(bucketThreads, joined(h[:], []byte{'t'}, k[1:]))
	},
	"a pointer dropped": func(l *ledger) {
		h := l.p.keys.Handle(pathwayOwner(tracePathway))
		for {
			k := joined(h[:], []byte{'t'}, l.keys[l.any()][1:])
			if l.tx.Bucket(bucketThreads).Get(k) != nil {
				l.drop(bucketThreads, k)
				return
			}
		}
	},
	"two swapped": func(l *ledger) {
		i := l.any()
		j := (i + 1 + l.rand.IntN(len(l.keys)-1)) % len(l.keys)
		a, b := l.row(l.keys[i]), l.row(l.keys[j])
		l.put(bucketTraces, l.keys[i], b)
		l.put(bucketTraces, l.keys[j], a)
	},
	"one moved": func(l *ledger) {
		k := l.keys[l.any()]
		row := l.row(k)
		l.drop(bucketTraces, k)
		l.put(bucketTraces, joined(k[:1], u64(binary.BigEndian.Uint64(k[1:])+1000)), row)
	},
	"one doubled": func(l *ledger) {
		k := l.keys[l.any()]
		l.put(bucketTraces, joined(k[:1], u64(l.head.Trace+10+l.rand.Uint64N(9))), l.row(k))
	},
	"one under the other family": func(l *ledger) {
		k := l.keys[l.any()]
		l.put(bucketTraces, joined([]byte{familyKeys[0] ^ familyKeys[1] ^ k[0]}, k[1:]), l.row(k))
	},
	"a row of another kind": func(l *ledger) {
		l.put(bucketTraces, joined([]byte{familyKeys[l.rand.IntN(2)] + byte(l.rand.IntN(2))}, []byte("extra")), []byte("x"))
	},
	"one from before a purge": func(l *ledger) {
		// Its true bytes, as an older copy has them, are not to be had here: any
		// record under such a number is one too many.
		l.put(bucketTraces, traceKey(1, 1), l.row(l.keys[l.any()]))
	},
	"the end cut off": func(l *ledger) { l.cut(1 + l.rand.IntN(len(l.keys))) },
	"the end of one family cut off": func(l *ledger) {
		family := familyKeys[l.rand.IntN(2)]
		n := 1 + l.rand.IntN(5)
		for _, k := range slices.Backward(l.keys) {
			if k[0] == family && n > 0 {
				l.drop(bucketTraces, k)
				n--
			}
		}
	},
	"the end cut off, the head an older one": func(l *ledger) {
		l.cut(sinceOlder)
		l.fromOlder(bucketHeads, keyHeads)
	},
	"the end cut off, head and state older ones": func(l *ledger) {
		l.cut(sinceOlder)
		l.fromOlder(bucketHeads, keyHeads)
		l.fromOlder(bucketMeta, keyState)
	},
	"the head an older one": func(l *ledger) { l.fromOlder(bucketHeads, keyHeads) },
	"the head dropped":      func(l *ledger) { l.drop(bucketHeads, keyHeads) },
	"the head changed": func(l *ledger) {
		row := slices.Clone(l.tx.Bucket(bucketHeads).Get(keyHeads))
		row[l.rand.IntN(len(row))] ^= byte(1 + l.rand.IntN(255))
		l.put(bucketHeads, keyHeads, row)
	},

	// With the key of the rows, but not that of the chain.
	"rewritten": func(l *ledger) {
		k := l.keys[l.any()]
		r := l.open(k, l.row(k))
		r.Actor = "member:m9"
		l.seal(bucketTraces, k, r)
	},
	"dropped, the head counted anew": func(l *ledger) {
		i := l.any()
		l.drop(bucketTraces, l.keys[i])
		h := l.headRow()
		h.Ends[bytes.IndexByte(familyKeys[:], l.keys[i][0])].Count--
		l.seal(bucketHeads, keyHeads, h)
	},
	"the last dropped, the head set back": func(l *ledger) {
		k := l.keys[len(l.keys)-1]
		family := bytes.IndexByte(familyKeys[:], k[0])
		last := l.open(k, l.row(k))
		l.drop(bucketTraces, k)
		h := l.headRow()
		e := &h.Ends[family]
		e.Count, e.Hash, h.Trace = e.Count-1, [32]byte(last.Prev), h.Trace-1
		for _, before := range slices.Backward(l.keys[:len(l.keys)-1]) {
			if before[0] == k[0] {
				e.Last = binary.BigEndian.Uint64(before[1:])
				break
			}
		}
		l.seal(bucketHeads, keyHeads, h)
	},
	"two reordered under their new numbers": func(l *ledger) {
		i := l.rand.IntN(len(l.keys) - 1)
		a, b := l.open(l.keys[i], l.row(l.keys[i])), l.open(l.keys[i+1], l.row(l.keys[i+1]))
		a.Object, b.Object, a.Action, b.Action = b.Object, a.Object, b.Action, a.Action
		l.seal(bucketTraces, l.keys[i], a)
		l.seal(bucketTraces, l.keys[i+1], b)
	},
	"one taken out, the rest moved up": func(l *ledger) {
		i := l.any()
		for ; i+1 < len(l.keys); i++ {
			r := l.open(l.keys[i+1], l.row(l.keys[i+1]))
			r.Seq = binary.BigEndian.Uint64(l.keys[i][1:])
			r.Family = store.Families[bytes.IndexByte(familyKeys[:], l.keys[i][0])]
			l.seal(bucketTraces, l.keys[i], r)
		}
		l.drop(bucketTraces, l.keys[i])
	},
	"one made up at the end": func(l *ledger) {
		k := traceKey(0, l.head.Trace+1)
		l.seal(bucketTraces, k, &store.Trace{Seq: l.head.Trace + 1, Family: store.Application, Actor: "member:m2", Action: "post.read"})
		h := l.headRow()
		h.Trace++
		h.Ends[0].Count++
		h.Ends[0].Last++
		l.seal(bucketHeads, keyHeads, h)
	},
	"a purge that never was": func(l *ledger) {
		k := l.keys[slices.IndexFunc(l.keys, func(k []byte) bool { return k[0] == familyKeys[0] })]
		l.drop(bucketTraces, k)
		h := l.headRow()
		h.Ends[0].Purged++
		h.Ends[0].PurgedLast = binary.BigEndian.Uint64(k[1:])
		l.seal(bucketHeads, keyHeads, h)
	},
}

// Must show 1 of the traces: each of 1,000 changes is detected; what nobody
// touched verifies.
func TestTamperedTracesShow(t *testing.T) {
	l := newLedger(t)
	if report, err := l.verify(l.head); err != nil || !report.Sound() || report.Read != 56 {
		t.Fatalf("untouched: %+v, %v", report, err)
	}
	names := slices.Sorted(maps.Keys(tamperings))
	for i := range 1000 {
		name := names[i%len(names)]
		l.tampered(func() { tamperings[name](l) })
		report, err := l.verify()
		if err == nil && report.Sound() || err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("%d, %s: not detected (%v)", i, name, err)
		}
	}
}

// What was tampered with still shows when the hub went on over it.
func TestTamperingShowsLater(t *testing.T) {
	l := newLedger(t)
	for name, edit := range tamperings {
		if name == "the end cut off, head and state older ones" {
			continue // only heads kept elsewhere tell, once numbers were given anew
		}
		t.Run(name, func(t *testing.T) {
			l.tampered(func() { edit(l) })
			s := l.p.mustOpen(nil)
			someTraces(t, s, 5)
			report, err := s.VerifyTraces(bg)
			if err != nil || report.Sound() {
				t.Errorf("does not show: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A store put back whole to an older state is sound in itself: the head that
// was kept elsewhere says otherwise, also when the hub went on since.
func TestKeptHeadTellsOfAnOlderCopy(t *testing.T) {
	l := newLedger(t)
	l.putBack(l.older)
	s := l.p.mustOpen(nil)
	for range 3 {
		report, err := s.VerifyTraces(bg)
		if err != nil || !report.Sound() {
			t.Fatalf("an older copy by itself: %+v, %v", report, err)
		}
		report, err = s.VerifyTraces(bg, l.head)
		if err != nil || report.Sound() || report.Problems[0].Fault != store.TraceNotKept {
			t.Fatalf("against the head kept: %+v, %v", report, err)
		}
		someTraces(t, s, 20) // other records under the same numbers
	}
}

// Where each thing lies is said.
func TestTamperingIsPlaced(t *testing.T) {
	l := newLedger(t)
	l.tampered(func() { l.drop(bucketTraces, l.keys[20]) })
	seq := binary.BigEndian.Uint64(l.keys[20][1:])
	report, err := l.verify()
	if err != nil || len(report.Problems) != 1 || report.Problems[0] != (store.TraceProblem{Fault: store.TraceMissing, From: seq, To: seq}) {
		t.Errorf("one dropped: %+v, %v", report.Problems, err)
	}
	l.tampered(func() { tamperings["a byte changed"](l) })
	if report, err = l.verify(); err != nil || len(report.Problems) != 1 || report.Problems[0].Fault != store.TraceUnreadable {
		t.Errorf("one changed: %+v, %v", report.Problems, err)
	}
}

// Reading changes no byte, and takes no commit.
func TestReaderChangesNothing(t *testing.T) {
	l := newLedger(t)
	l.putBack(l.now)
	s, err := OpenReader(Options{Dir: l.p.seal.DataDir, Keys: l.p.keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(bg, func(t store.Tx) error { return t.Trace(store.Trace{Family: store.Technical}) }); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a commit: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(l.file()); err != nil || !bytes.Equal(b, l.now["index.db"]) {
		t.Errorf("the index changed (%v)", err)
	}
}

// A verification beside commits and purges finds nothing wrong.
func TestVerifyBesideCommits(t *testing.T) {
	s := newPlace(t).mustOpen(nil)
	if err := s.Commit(bg, func(t store.Tx) error {
		for i := range 2500 {
			if err := t.Trace(store.Trace{Family: store.Families[i%3%2], Action: "post.read"}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for i := range 50 {
			err := s.Commit(bg, func(t store.Tx) error {
				_, err := t.PurgeTraces(store.Families[i%2], 40, func(*store.Trace) bool { return true })
				return errors.Join(err, t.Trace(store.Trace{Family: store.Technical, Action: "audit.purged"}))
			})
			if err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		report, err := s.VerifyTraces(bg)
		if err != nil || !report.Sound() {
			t.Fatalf("%+v, %v", report.Problems, err)
		}
	}
}

// FuzzSignedHead: whatever is given as a head kept elsewhere, only what this
// store signed is one.
func FuzzSignedHead(f *testing.F) {
	s := newPlace(f).mustOpen(nil)
	if err := s.Commit(bg, func(t store.Tx) error { return t.Trace(store.Trace{Family: store.Technical, Action: "x"}) }); err != nil {
		f.Fatal(err)
	}
	signed, err := s.SignHead(bg)
	if err != nil {
		f.Fatal(err)
	}
	want, err := s.ReadHead(signed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}\n-----BEGIN PGP SIGNATURE-----\n\nwpM=\n-----END PGP SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := s.ReadHead(b); err == nil && (h.Trace != want.Trace || h.Of(store.Technical) != want.Of(store.Technical)) {
			t.Errorf("read %+v", h)
		}
	})
}
