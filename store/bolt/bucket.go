package bolt

import (
	"encoding/binary"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Every bucket has a number, which stands for it in commit records and in the
// levels in memory. Numbers are never given to another bucket.
const (
	numPathways   = 1
	numThreads    = 2
	numBoxes      = 3
	numDeliveries = 4
	numHeld       = 5
	numItems      = 6
	numTraces     = 7
	numHeads      = 8
	numSettings   = 9
	numAccounts   = 10
	numReaders    = 11
	numTaken      = 12
	numErasures   = 13
	numMeta       = 14 // keyLookups only
	numLocated    = 15
	numIDs        = 16
	numPrints     = 17
	numLive       = 18
	numHeldIndex  = 19
	numHeldOf     = 20
	numHeldPrints = 21
	numDue        = 22
	numLeases     = 23
	numLarge      = 24
	numSegments   = 25
	numLookups    = 26 // all generations: the key begins with the number of one

	numBuckets = 27
)

var numbers = map[string]byte{
	string(bucketPathways): numPathways, string(bucketThreads): numThreads, string(bucketBoxes): numBoxes,
	string(bucketDeliveries): numDeliveries, string(bucketHeld): numHeld, string(bucketItems): numItems,
	string(bucketTraces): numTraces, string(bucketHeads): numHeads, string(bucketSettings): numSettings,
	string(bucketAccounts): numAccounts, string(bucketReaders): numReaders, string(bucketTaken): numTaken,
	string(bucketErasures): numErasures, string(bucketMeta): numMeta, string(bucketLocated): numLocated,
	string(bucketIDs): numIDs, string(bucketPrints): numPrints, string(bucketLive): numLive,
	string(bucketHeldIndex): numHeldIndex, string(bucketHeldOf): numHeldOf, string(bucketHeldPrints): numHeldPrints,
	string(bucketDue): numDue, string(bucketLeases): numLeases, string(bucketLarge): numLarge,
	string(bucketSegments): numSegments,
}

// byNumber are the buckets by their numbers; look-ups have one each generation.
var byNumber = func() (list [numBuckets][]byte) {
	for name, n := range numbers {
		list[n] = []byte(name)
	}
	return list
}()

var places = func() (list [numBuckets][]byte) {
	for i := range list {
		list[i] = []byte{byte(i)}
	}
	return list
}()

// bucketPlace is what the keys of a bucket begin with in a level.
func bucketPlace(name []byte) []byte {
	if n, ok := numbers[string(name)]; ok {
		return places[n]
	}
	generation, err := strconv.ParseUint(strings.TrimPrefix(string(name), lookupsPrefix), 10, 32)
	if err != nil {
		panic("bucket without a number") // only for names that are constants here
	}
	return binary.BigEndian.AppendUint32([]byte{numLookups}, uint32(generation))
}

// splitPlace takes a key of a level apart: the name of the bucket, and the key there.
func splitPlace(key []byte) (bucket, rest []byte, ok bool) {
	switch {
	case len(key) < 2 || key[0] >= numBuckets:
		return nil, nil, false
	case key[0] != numLookups:
		return byNumber[key[0]], key[1:], byNumber[key[0]] != nil
	case len(key) < 6:
		return nil, nil, false
	}
	return lookupsBucket(binary.BigEndian.Uint32(key[1:])), key[5:], true
}

// bucket is one bucket as a reader sees it: the index under the levels.
type bucket struct {
	v     *view
	name  []byte
	place []byte
	base  *bolt.Bucket // see index
	asked bool
}

// bucket finds a bucket, which may be empty.
func (v *view) bucket(name []byte) *bucket {
	n := numbers[string(name)]
	if b := v.buckets[n]; b != nil && n != 0 {
		return b
	}
	b := &bucket{v: v, name: name, place: bucketPlace(name)}
	if n != 0 {
		v.buckets[n] = b
	}
	return b
}

// index gives the bucket in the index, nil if that has none. What is found or
// written in the levels need not ask for it.
func (b *bucket) index() *bolt.Bucket {
	if !b.asked && b.v.tx != nil {
		b.asked, b.base = true, b.v.tx.Bucket(b.name)
	}
	return b.base
}

// find finds a row in one level.
func (b *bucket) find(l *level, key []byte) (*entry, bool) {
	if l.empty() {
		return nil, false
	}
	p := &b.v.pivot
	p.key = append(append(p.key[:0], b.place...), key...)
	return l.rows.Get(p)
}

// Get gives a row, nil if there is none. It must not be changed, and stays as it
// is until the view ends.
func (b *bucket) Get(key []byte) []byte {
	if lv := b.v.over; lv != nil {
		if e, ok := b.find(lv.active, key); ok {
			return e.row
		}
	}
	return b.below(key)
}

// below gives what the row is without the active level.
func (b *bucket) below(key []byte) []byte {
	if lv := b.v.over; lv != nil {
		if e, ok := b.find(lv.frozen, key); ok {
			return e.row
		}
	}
	if base := b.index(); base != nil {
		return base.Get(key)
	}
	return nil
}

// missing tells a bucket that the index should have and has not.
func (b *bucket) missing() bool { return b.index() == nil }
