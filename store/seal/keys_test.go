package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store"
)

func testOptions(t testing.TB) Options {
	t.Helper()
	return Options{DataDir: t.TempDir(), EpochDir: t.TempDir(), Hub: Value(hex.EncodeToString(noise(t, keySize)))}
}

func open(t testing.TB, o Options) *Keys {
	t.Helper()
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func newKeys(t testing.TB) *Keys {
	t.Helper()
	o := testOptions(t)
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	return open(t, o)
}

var pathway = store.Owner{Kind: store.OwnedByPathway, ID: "k7f3q2x"}

func TestKeysSurviveReopening(t *testing.T) {
	o := testOptions(t)
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	k := open(t, o)
	if err := k.NewKey(t.Context(), pathway); err != nil {
		t.Fatal(err)
	}
	row, err := k.SealRow(nil, pathway, "b", []byte("k"), []byte("row"))
	if err != nil {
		t.Fatal(err)
	}
	session, _ := NewSession(rand.Reader)
	wrap, _ := k.Wrap(pathway, session)
	mac, look := k.Mac("m", "x"), k.Lookup("l", "x")
	k.Close()

	k = open(t, o)
	if err := k.NewKey(t.Context(), pathway); err != nil {
		t.Fatalf("making a key that exists: %v", err)
	}
	if got, err := k.OpenRow(nil, pathway, "b", []byte("k"), row); err != nil || string(got) != "row" {
		t.Errorf("row: %q, %v", got, err)
	}
	if got, err := k.Unwrap(pathway, wrap); err != nil || *got != *session {
		t.Errorf("session key: %v", err)
	}
	if k.Mac("m", "x") != mac || k.Lookup("l", "x") != look {
		t.Error("keyed hashes changed")
	}
	if got, ok := k.OwnerOf(k.Handle(pathway)); !ok || got != pathway {
		t.Errorf("handle leads to %v, %v", got, ok)
	}
}

func TestDroppedKeyIsErased(t *testing.T) {
	o := testOptions(t)
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	k := open(t, o)
	if err := k.NewKey(t.Context(), pathway); err != nil {
		t.Fatal(err)
	}
	row, _ := k.SealRow(nil, pathway, "b", nil, []byte("row"))
	if err := k.DropKey(t.Context(), pathway); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := k.OpenRow(nil, pathway, "b", nil, row); !errors.Is(err, store.ErrErased) {
			t.Errorf("got %v, want ErrErased", err)
		}
		if _, ok := k.OwnerOf(k.Handle(pathway)); ok {
			t.Error("the handle still leads somewhere")
		}
		k.Close()
		k = open(t, o)
	}
	if _, err := k.OpenRow(nil, store.Owner{Kind: store.OwnedByBox, ID: "x"}, "b", nil, row); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such key: got %v, want ErrNotFound", err)
	}
}

func TestConcurrentNewKeys(t *testing.T) {
	o := testOptions(t)
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	k := open(t, o)
	rows := make([][]byte, 64)
	owner := func(i int) store.Owner { return store.Owner{Kind: store.OwnedByTriage, ID: string(rune('a' + i%8))} }
	var wg sync.WaitGroup
	for i := range rows {
		wg.Go(func() {
			if err := k.NewKey(t.Context(), owner(i)); err != nil {
				t.Error(err)
				return
			}
			var err error
			if rows[i], err = k.SealRow(nil, owner(i), "b", nil, []byte{byte(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	k.Close()
	k = open(t, o)
	for i, row := range rows {
		if got, err := k.OpenRow(nil, owner(i), "b", nil, row); err != nil || !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("row %d: %v %v", i, got, err)
		}
	}
}

func TestOpeningRefuses(t *testing.T) {
	o := testOptions(t)
	o.Passphrase = Value("une phrase\n")
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Options)) Options { c := o; change(&c); return c }
	for _, tc := range []struct {
		name string
		o    Options
		want error
	}{
		{"other hub key", with(func(o *Options) { o.Hub = Value(hex.EncodeToString(make([]byte, keySize))) }), ErrHubKey},
		{"other passphrase", with(func(o *Options) { o.Passphrase = Value("autre") }), ErrHubKey},
		{"no passphrase", with(func(o *Options) { o.Passphrase = nil }), ErrHubKey},
		{"no epoch", with(func(o *Options) { o.EpochDir = t.TempDir() }), ErrNoEpoch},
		{"no hub key", with(func(o *Options) { o.Hub = nil }), os.ErrNotExist},
		{"short hub key", with(func(o *Options) { o.Hub = Value("abcd") }), ErrSecretForm},
	} {
		if _, err := Open(tc.o); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	if err := Create(o); !errors.Is(err, ErrExists) {
		t.Errorf("creating twice: got %v, want ErrExists", err)
	}
	k := open(t, o)
	if _, err := Open(o); !errors.Is(err, ErrInUse) {
		t.Errorf("opening twice: got %v, want ErrInUse", err)
	}
	k.Close()
	inside := o
	inside.EpochDir = filepath.Join(o.DataDir, "epochs")
	if err := Create(inside); err == nil {
		t.Error("epoch_dir inside data_dir was taken")
	}
}

// The recovery drill: the offline key alone gives back the epoch key.
func TestRecoveryKeyOpensTheEpoch(t *testing.T) {
	recovery, err := pgp.NewEntityWithoutId(&packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519})
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(t)
	o.Recovery = recovery
	if err := Create(o); err != nil {
		t.Fatal(err)
	}
	k := open(t, o)
	md, err := pgp.ReadMessage(bytes.NewReader(k.epoch.rescued), pgp.EntityList{recovery}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(md.UnverifiedBody); err != nil || !bytes.Equal(got.Bytes(), k.epoch.key[:]) {
		t.Errorf("recovered %d bytes that are not the epoch key: %v", got.Len(), err)
	}
}

func TestRowsAreBound(t *testing.T) {
	k := newKeys(t)
	other := store.Owner{Kind: store.OwnedByPathway, ID: "other"}
	for _, o := range []store.Owner{pathway, other} {
		if err := k.NewKey(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SliceOf(rapid.Byte()).Draw(t, "row")
		key := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "key")
		sealed, err := k.SealRow(nil, pathway, "b", key, row)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.OpenRow(nil, pathway, "b", key, sealed); err != nil || !bytes.Equal(got, row) {
			t.Fatalf("got %x, %v", got, err)
		}
		again, _ := k.SealRow(nil, pathway, "b", key, row)
		if bytes.Equal(sealed, again) {
			t.Fatal("sealed twice to the same bytes")
		}
		bad := bytes.Clone(sealed)
		bad[rapid.IntRange(0, len(bad)-1).Draw(t, "at")] ^= 1
		for name, open := range map[string]func() ([]byte, error){
			"changed":   func() ([]byte, error) { return k.OpenRow(nil, pathway, "b", key, bad) },
			"moved":     func() ([]byte, error) { return k.OpenRow(nil, pathway, "b", append(bytes.Clone(key), 1), sealed) },
			"bucket":    func() ([]byte, error) { return k.OpenRow(nil, pathway, "c", key, sealed) },
			"owner":     func() ([]byte, error) { return k.OpenRow(nil, other, "b", key, sealed) },
			"truncated": func() ([]byte, error) { return k.OpenRow(nil, pathway, "b", key, sealed[:len(sealed)-1]) },
			"empty":     func() ([]byte, error) { return k.OpenRow(nil, pathway, "b", key, nil) },
		} {
			if _, err := open(); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%s: got %v, want ErrCorrupt", name, err)
			}
		}
	})
}

func FuzzEpochFile(f *testing.F) {
	h := &hubSecret{key: make([]byte, keySize)}
	e := &epoch{number: 1, rescued: []byte("message"), rescuer: []byte("print")}
	for range 2 {
		w, err := e.wrapTo(h, e.made, rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		e.wraps = append(e.wraps, w)
		f.Add(e.encode())
	}
	never := e.encode()
	never[8] = 0 // a version that never was: found by fuzzing
	f.Add(never)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 { // past the checksum, which a fuzzer cannot make
			binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
		}
		e, err := decodeEpoch(b)
		if err != nil {
			return
		}
		if !bytes.Equal(e.encode(), b) {
			t.Error("read back to other bytes")
		}
		for i := range e.wraps {
			e.wraps[i][keyIDSize+8] = 0 // without Argon2id, which would be all the time goes to
		}
		if _, err := e.open(h); err == nil && e.number != 1 {
			t.Error("a changed epoch file was taken")
		}
	})
}

func FuzzKeystore(f *testing.F) {
	e := &epoch{number: 1}
	var recs []*record
	for _, id := range []string{"a", "bb"} {
		recs = append(recs, &record{kind: recordKey, owner: store.Owner{Kind: store.OwnedByTriage, ID: id}})
	}
	b, _, err := e.encodeKeystore(recs, 7, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := e.read(b, func(r *record) {
			if r.owner.ID != "a" && r.owner.ID != "bb" {
				t.Error("a record was made up")
			}
		})
		if c.tip.end > int64(max(len(b), storeHead)) {
			t.Error("read past the end")
		}
		if err == nil && c.tip.number != 7 {
			t.Errorf("a keystore that ends at %d was taken", c.tip.number)
		}
	})
}
