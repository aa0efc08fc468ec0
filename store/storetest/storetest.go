// Package storetest is the contract of package store as a test suite: every
// engine passes it, so that another engine can take the place of store/bolt
// without a change above.
//
// Each test gets a store of its own and uses nothing but the interfaces. All
// people, addresses and texts in it are invented.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/relais-sante/relais/store"
)

// Fresh makes a new, empty store for a test and returns how to open it. It is
// opened again after a Close and must then hold what was committed. The suite
// closes what it opened.
type Fresh func(t testing.TB) (open func() store.Store)

// Run runs the suite.
func Run(t *testing.T, fresh Fresh) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"pathways", pathways},
		{"stale revision", staleRevision},
		{"look-ups follow", lookupsFollow},
		{"boxes", boxes},
		{"accounts", accounts},
		{"account look-ups", accountLookups},
		{"erasing", erasing},
		{"settings", settings},
		{"taken", taken},
		{"taken and purged", takenPurged},
		{"messages", messages},
		{"many indexes", manyIndexes},
		{"message sizes", messageSizes},
		{"message look-ups", messageLookups},
		{"copy look-ups", copyLookups},
		{"thread order", threadOrder},
		{"events", events},
		{"duplicates", duplicates},
		{"rubrics", rubrics},
		{"update", update},
		{"touch", touch},
		{"drafts", drafts},
		{"draft reuse", draftReuse},
		{"deliveries", deliveries},
		{"delivery list", deliveryList},
		{"notices purged", noticesPurged},
		{"held", held},
		{"held is filed", heldIsFiled},
		{"held is dropped", heldIsDropped},
		{"held look-ups", heldLookups},
		{"queue order", queueOrder},
		{"leases", leases},
		{"fencing", fencing},
		{"reused item id", reusedItem},
		{"lanes", lanes},
		{"wake", wake},
		{"folders", folders},
		{"refused entries", entryRefusals},
		{"marks", marks},
		{"inboxes", inboxes},
		{"updated", updated},
		{"watch", watch},
		{"traces", traces},
		{"trace of many", traceOfMany},
		{"purges", purges},
		{"signed heads", signedHeads},
		{"stats", stats},
		{"mac", mac},
		{"keys", keys},
		{"erased", erased},
		{"failed commit leaves nothing", failedCommit},
		{"durable soon", durableSoon},
		{"failure beside success", failureBeside},
		{"panic", panicInside},
		{"end of goroutine", goexitInside},
		{"cancelled", cancelled},
		{"snapshot", snapshot},
		{"values stay valid", valuesStay},
		{"sees its own writes", seesOwnWrites},
		{"reopening", reopening},
		{"concurrent commits", concurrentCommits},
		{"concurrent claims", concurrentClaims},
		{"model of a rubric", rubricModel},
		{"model of the queue", queueModel},
		{"model of a folder", folderModel},
		{"closed", closedStore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{T: t, open: fresh(t)}
			b.Store = b.open()
			t.Cleanup(func() { b.Store.Close() })
			tc.test(t, b)
		})
	}
}

// bench is a store under test and short ways to use it.
type bench struct {
	*testing.T
	store.Store
	open func() store.Store
}

// reopen closes and opens the store.
func (b *bench) reopen() {
	b.Helper()
	if err := b.Close(); err != nil {
		b.Fatal(err)
	}
	b.Store = b.open()
}

// commit must succeed.
func (b *bench) commit(fn func(store.Tx) error) {
	b.Helper()
	if err := b.Commit(b.Context(), fn); err != nil {
		b.Fatalf("commit: %v", err)
	}
}

// refused must fail with want.
func (b *bench) refused(want error, fn func(store.Tx) error) {
	b.Helper()
	if err := b.Commit(b.Context(), fn); !errors.Is(err, want) {
		b.Fatalf("commit: got %v, want %v", err, want)
	}
}

// view must succeed.
func (b *bench) view(fn func(store.View) error) {
	b.Helper()
	if err := b.View(b.Context(), fn); err != nil {
		b.Fatalf("view: %v", err)
	}
}

// read runs one reading function on a snapshot.
func read[T any](b *bench, fn func(store.View) (T, error)) (out T, err error) {
	verr := b.View(b.Context(), func(v store.View) error {
		out, err = fn(v)
		return nil
	})
	if verr != nil {
		err = verr
	}
	return out, err
}

// got is read that must succeed.
func got[T any](b *bench, fn func(store.View) (T, error)) T {
	b.Helper()
	out, err := read(b, fn)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// missing is read that must fail with want.
func missing[T any](b *bench, want error, fn func(store.View) (T, error)) {
	b.Helper()
	if out, err := read(b, fn); !errors.Is(err, want) {
		b.Fatalf("got %v and %v, want %v", out, err, want)
	}
}

// same compares records; nil and empty lists are the same.
func (b *bench) same(what string, got, want any) {
	b.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		b.Errorf("%s (-want +got):\n%s", what, d)
	}
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 123456789, time.UTC)

// pathway makes the key and the record of a pathway.
func (b *bench) pathway(code store.PathwayCode) *store.Pathway {
	b.Helper()
	b.key(store.Owner{Kind: store.OwnedByPathway, ID: string(code)})
	p := &store.Pathway{
		Code: code, Programme: "pon", Status: store.PathwayOpen, Establishment: "CHU de Test", Created: noon,
		Patient: store.Patient{INS: "1" + string(code), INSOID: "1.2.3", FamilyName: "Lune", GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F", NameKey: "lune"},
		Members: []store.Member{{
			ID: "m1", Name: "Dr Anne Essai", Role: "oncologue", Mailbox: "anne@chu.example", AlsoFrom: []store.Address{"anne2@chu.example"},
			Type: store.BoxPER, Periods: []store.Period{{From: noon}},
		}},
		NextMember: 2,
	}
	b.commit(func(t store.Tx) error { return t.PutPathway(p) })
	return p
}

func (b *bench) key(o store.Owner) {
	b.Helper()
	if err := b.NewKey(b.Context(), o); err != nil {
		b.Fatal(err)
	}
}

func triage(id store.HeldID) store.Owner {
	return store.Owner{Kind: store.OwnedByTriage, ID: string(id)}
}

func owner(code store.PathwayCode) store.Owner {
	return store.Owner{Kind: store.OwnedByPathway, ID: string(code)}
}

// draft is a finished draft of the given bytes.
func (b *bench) draft(clear []byte) store.Draft {
	b.Helper()
	d, err := b.Create(b.Context(), int64(len(clear)))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := d.Write(clear); err != nil {
		b.Fatal(err)
	}
	if err := d.Finish(); err != nil {
		b.Fatal(err)
	}
	return d
}

// message is a record with something in most fields.
func message(code store.PathwayCode, id store.MessageID, rubrics ...string) *store.Message {
	m := &store.Message{
		ID: id, Pathway: code, Kind: store.KindPost, Received: noon, Date: noon.Add(-time.Minute),
		RFCID: string(id) + "@chu.example", KnownAs: []string{string(id) + "@chu.example"}, Root: "parcours@hub.example",
		Topic: "Compte rendu", Subject: "Compte rendu \xff de Léa", From: "anne@chu.example", MailFrom: "anne@chu.example",
		Author:    store.Author{Member: "m1", Name: "Dr Anne Essai", Mailbox: "anne@chu.example", Certainty: store.Sure},
		Documents: []store.Document{{Part: "2", Filename: "cr.pdf", Media: "application/pdf", Size: 3, SHA256: []byte{1, 2, 3}}},
		Audience:  store.Audience{All: true, Only: []string{"idec"}},
	}
	for _, r := range rubrics {
		m.Filings = append(m.Filings, store.Filing{Rubric: r})
	}
	return m
}

// file files a message with the given bytes.
func (b *bench) file(m *store.Message, clear []byte) *store.Message {
	b.Helper()
	d := b.draft(clear)
	defer d.Discard()
	b.commit(func(t store.Tx) error { return t.FileMessage(m, []byte("index of "+m.ID), d) })
	return m
}

// bytesOf reads a message whole.
func (b *bench) bytesOf(blob *store.Blob) ([]byte, error) {
	if blob == nil {
		return nil, errors.New("no bytes")
	}
	r, err := b.Open(b.Context(), *blob)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func (b *bench) holds(blob *store.Blob, want []byte) {
	b.Helper()
	have, err := b.bytesOf(blob)
	if err != nil || !bytes.Equal(have, want) {
		b.Fatalf("%d bytes came back (want %d), equal %v, error %v", len(have), len(want), bytes.Equal(have, want), err)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func background() context.Context { return context.Background() }

func messageID(n int) store.MessageID { return store.MessageID(fmt.Sprintf("01m%023d", n)) }
