package e2e

import (
	"bytes"
	endian "encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// An adversary has a folder of a hub and every key there is. What they can read
// is everything that any of these keys opens: rows of the index, rows that the
// segments carry, messages.

// owners are all owners in a keystore.
func owners(k *seal.Keys) []store.Owner {
	var all []store.Owner
	for _, kind := range []store.OwnerKind{
		store.OwnedByPathway, store.OwnedByTriage, store.OwnedByBox, store.OwnedByAccount, store.OwnedByHub, store.OwnedByTrace,
	} {
		all = append(all, k.Owners(kind)...)
	}
	return all
}

// loot is what could be read: everything in clear, one after the other.
type loot struct {
	t       *testing.T
	keys    *seal.Keys
	owners  []store.Owner
	clear   bytes.Buffer
	rows    int
	mails   int
	session []*seal.SessionKey
}

func (l *loot) holds(word string) bool {
	return bytes.Contains(bytes.ToLower(l.clear.Bytes()), []byte(strings.ToLower(word)))
}

// plunder opens what it can of a data folder with the keys of k.
func plunder(t *testing.T, k *seal.Keys, dir string) *loot {
	t.Helper()
	l := &loot{t: t, keys: k, owners: owners(k)}
	l.index(filepath.Join(dir, "index.db"))
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
		l.wraps(b)
		l.clear.Write(b) // whatever is in clear
	}
	for _, mails := range []bool{false, true} { // rows hold keys of messages
		for _, b := range all {
			l.records(b, mails)
		}
	}
	return l
}

func (l *loot) index(path string) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				l.clear.Write(k)
				l.clear.Write(v)
				l.row(string(name), k, v)
				return nil
			})
		})
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// row tries every key on a row, with and without a handle before it.
func (l *loot) row(bucket string, key, row []byte) {
	for _, sealed := range [][]byte{row, row[min(len(row), len(seal.Handle{})):]} {
		if len(sealed) < 30 {
			continue
		}
		for _, o := range l.owners {
			clear, err := l.keys.OpenRow(nil, o, bucket, key, sealed)
			if err != nil {
				continue
			}
			l.rows++
			l.clear.Write(clear)
			l.wraps(clear)
			return
		}
	}
}

// wraps tries every key on every wrapped session key (PKESK version 6, RFC 9580
// §5.1.2) in b.
func (l *loot) wraps(b []byte) {
	for i := 0; i+5 < len(b); i++ {
		if b[i] != 0xC1 || b[i+2] != 6 || b[i+3] != 33 || b[i+4] != 6 {
			continue
		}
		n := int(b[i+1]) + 2
		if i+n > len(b) {
			continue
		}
		for _, o := range l.owners {
			if s, err := l.keys.Unwrap(o, b[i:i+n]); err == nil {
				l.session = append(l.session, s)
				break
			}
		}
	}
}

// loggedIn are the buckets of the rows that segments carry, by number.
var loggedIn = []string{
	1: "pathways", 2: "threads", 3: "boxes", 4: "deliveries", 5: "held", 6: "items", 7: "traces", 8: "heads", 9: "settings", 10: "accounts",
	11: "readers", 12: "taken", 13: "erasures", 14: "meta", 15: "located", 16: "ids", 17: "prints", 18: "live", 19: "heldindex", 20: "heldof",
	21: "heldprints", 22: "due", 23: "leases", 24: "large", 25: "segments", 26: "lookups",
}

// commit tries every key on the rows of a commit record; its state has no
// owner but the hub, and is nobody's.
func (l *loot) commit(payload []byte) {
	var c struct {
		Rows []struct {
			_      struct{} `cbor:",toarray"`
			Bucket byte
			Key    []byte
			Row    []byte
		} `cbor:"1,keyasint"`
	}
	if err := cbor.Unmarshal(payload, &c); err != nil {
		l.t.Errorf("a commit record: %v", err)
	}
	for _, r := range c.Rows {
		if int(r.Bucket) >= len(loggedIn) {
			l.t.Fatalf("rows of a bucket %d that this test does not know", r.Bucket)
		}
		l.row(loggedIn[r.Bucket], r.Key, r.Row)
	}
}

// records goes through a segment: rows and messages are tried with every key.
func (l *loot) records(b []byte, mails bool) {
	const head = 4 + 4 + 8 + 16 + 8 + 32 + 4
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("RREC"))
		if i < 0 || at+i+head > len(b) {
			return
		}
		at += i
		n := int(endian.BigEndian.Uint64(b[at+32:]))
		kind := b[at+4]
		at += head
		if n < 0 || at+n > len(b) {
			continue
		}
		payload := b[at : at+n]
		switch {
		case kind == 1 && mails:
			l.mail(payload)
		case kind == 2 && !mails:
			l.commit(payload)
		}
		at += n
	}
}

func (l *loot) mail(sealed []byte) {
	h := seal.PacketHeader(int64(len(sealed)))
	for _, s := range l.session {
		p, err := packet.Read(io.MultiReader(bytes.NewReader(h[:]), bytes.NewReader(sealed)))
		if err != nil {
			return
		}
		se, ok := p.(*packet.SymmetricallyEncrypted)
		if !ok {
			return
		}
		r, err := se.Decrypt(packet.CipherAES256, s[:])
		if err != nil {
			continue
		}
		clear, err := io.ReadAll(r)
		if err != nil {
			continue
		}
		l.mails++
		l.clear.Write(clear)
		return
	}
}

// keyring opens the keys of a hub that is stopped, through a copy of its folder.
func (h *hub) keyring(t *testing.T) *seal.Keys {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hub")
	if err := os.CopyFS(dir, regular{os.DirFS(h.dir)}); err != nil {
		t.Fatal(err)
	}
	k, err := seal.Open(seal.Options{
		DataDir: filepath.Join(dir, "data"), EpochDir: filepath.Join(dir, "keys/epochs"), Hub: seal.File(filepath.Join(dir, "keys/hub.key")),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// regular is a folder without its sockets, which cannot be copied.
type regular struct{ fs.FS }

func (r regular) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(r.FS, name)
	var out []fs.DirEntry
	for _, e := range all {
		if e.IsDir() || e.Type().IsRegular() {
			out = append(out, e)
		}
	}
	return out, err
}
