package storetest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store"
)

const reader store.AccountID = "01areader"

func folder(id store.FolderID, name string) *store.Folder {
	return &store.Folder{ID: id, Name: name, Created: noon}
}

func (b *bench) folder(f *store.Folder) *store.Folder {
	b.Helper()
	b.key(reader.Owner())
	b.commit(func(t store.Tx) error { return t.PutFolder(reader, f) })
	return f
}

func (b *bench) entries(id store.FolderID) []store.Entry {
	b.Helper()
	return got(b, func(v store.View) ([]store.Entry, error) { return v.Entries(reader, id, 0, 0) })
}

func (b *bench) folderNow(id store.FolderID) *store.Folder {
	b.Helper()
	return got(b, func(v store.View) (*store.Folder, error) { return v.Folder(reader, id) })
}

func folders(t *testing.T, b *bench) {
	notes := b.folder(folder("01f1", "Notes"))
	sent := b.folder(folder("01f2", "Envoyés"))
	if notes.UIDValidity == 0 || notes.UIDNext != 1 || sent.UIDValidity <= notes.UIDValidity {
		t.Errorf("folders begin as %+v and %+v", notes, sent)
	}
	clear := []byte("un brouillon")
	d := b.draft(clear)
	defer d.Discard()
	e := &store.Entry{Mail: "01m1", Size: 12, Received: 10, Saved: 20, Keywords: []string{"relu"}}
	b.commit(func(t store.Tx) error { return t.AddEntry(reader, notes.ID, e, []byte("index"), d) })
	again := &store.Entry{Mail: "01m1", Size: 12, System: 1}
	b.commit(func(t store.Tx) error { return t.AddEntry(reader, sent.ID, again, nil, nil) })
	b.reopen()

	b.same("entry", b.entries(notes.ID), []store.Entry{*e})
	f := b.folderNow(notes.ID)
	if f.UIDNext != 2 || f.Count != 1 || f.Size != 12 || f.HighestModSeq < e.ModSeq || f.UIDValidity != notes.UIDValidity {
		t.Errorf("the folder has %+v", f)
	}
	m := got(b, func(v store.View) (*store.Mail, error) { return v.Mail(reader, "01m1") })
	b.holds(m.Blob, clear)
	if m.Entries != 2 {
		t.Errorf("in %d folders, want 2", m.Entries)
	}
	b.same("index", got(b, func(v store.View) ([]byte, error) { return v.MailIndex(reader, "01m1") }), []byte("index"))
	b.view(func(v store.View) error {
		return v.MailIndexes(reader, []store.MailID{"01m0", "01m1", "01m2", "01m1"}, func(i int, index []byte) error {
			if i != 1 && i != 3 || string(index) != "index" {
				t.Errorf("place %d has the index %q", i, index)
			}
			return nil
		})
	})
	r := got(b, func(v store.View) (*store.Reader, error) { return v.Reader(reader) })
	if r.Messages != 2 || r.Size != 24 || r.Folders != 2 {
		t.Errorf("the account has %+v", r)
	}

	// A name that changes keeps its counters; a folder with something in it stays.
	f.Name, f.UIDNext = "Notes de garde", 99
	b.commit(func(t store.Tx) error { return t.PutFolder(reader, f) })
	if f.UIDNext != 2 || f.Count != 1 {
		t.Errorf("renamed, the folder has %+v", f)
	}
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.DropFolder(reader, notes.ID) })

	// The bytes go with the last entry.
	b.commit(func(t store.Tx) error { return t.DropEntry(reader, notes.ID, 1) })
	b.holds(m.Blob, clear)
	b.commit(func(t store.Tx) error { return t.DropEntry(reader, sent.ID, 1) })
	missing(b, store.ErrNotFound, func(v store.View) (*store.Mail, error) { return v.Mail(reader, "01m1") })
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.MailIndex(reader, "01m1") })
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.DropEntry(reader, sent.ID, 1) })
	b.commit(func(t store.Tx) error { return t.DropFolder(reader, notes.ID) })
	missing(b, store.ErrNotFound, func(v store.View) (*store.Folder, error) { return v.Folder(reader, notes.ID) })
	back := b.folder(folder("01f3", "Notes de garde"))
	if back.UIDValidity <= sent.UIDValidity {
		t.Errorf("a folder made again has UIDVALIDITY %d after %d", back.UIDValidity, sent.UIDValidity)
	}
}

func entryRefusals(_ *testing.T, b *bench) {
	f := b.folder(folder("01f1", "Notes"))
	add := func(e store.Entry, d store.Draft) func(store.Tx) error {
		return func(t store.Tx) error { return t.AddEntry(reader, f.ID, &e, nil, d) }
	}
	b.refusedAny(add(store.Entry{}, nil))
	b.refused(store.ErrNotFound, add(store.Entry{Mail: "01unknown"}, nil))
	d := b.draft([]byte("x"))
	defer d.Discard()
	b.refusedAny(add(store.Entry{}, d))
	f.Dropped = true
	b.commit(func(t store.Tx) error { return t.PutFolder(reader, f) })
	b.refused(store.ErrNotFound, add(store.Entry{Mail: "01m1"}, d))
	b.refused(store.ErrNotFound, func(t store.Tx) error {
		return t.AddEntry(reader, "01nowhere", &store.Entry{Mail: "01m1"}, nil, d)
	})
}

func marks(t *testing.T, b *bench) {
	b.key(reader.Owner())
	p := b.pathway("bbbbbbb")
	other := b.pathway("ccccccc")
	m1 := b.file(message(p.Code, messageID(1), "imagerie"), nil)
	m2 := b.file(message(other.Code, messageID(2), "imagerie"), nil)
	one := &store.ReaderMark{Message: m1.ID, Pathway: p.Code, System: 1, Keywords: []string{"vu"}}
	two := &store.ReaderMark{Message: m2.ID, Pathway: other.Code, Hidden: []string{"inbox"}}
	for _, m := range []*store.ReaderMark{one, two} {
		b.commit(func(t store.Tx) error { return t.PutMark(reader, m) })
	}
	since := func(n uint64) []store.ReaderMark {
		return got(b, func(v store.View) ([]store.ReaderMark, error) { return v.MarkChanges(reader, n) })
	}
	b.same("changes", since(0), []store.ReaderMark{*one, *two})
	first := one.ModSeq
	one.System = 3
	b.commit(func(t store.Tx) error { return t.PutMark(reader, one) })
	b.reopen()
	b.same("changed again", since(0), []store.ReaderMark{*two, *one})
	b.same("since", since(two.ModSeq), []store.ReaderMark{*one})
	if one.ModSeq <= two.ModSeq || first >= two.ModSeq {
		t.Errorf("modseqs are %d, %d and %d", first, two.ModSeq, one.ModSeq)
	}
	b.same("of a pathway", got(b, func(v store.View) ([]store.ReaderMark, error) { return v.Marks(reader, p.Code) }), []store.ReaderMark{*one})
	b.same("of another account", got(b, func(v store.View) ([]store.ReaderMark, error) { return v.Marks("01other", p.Code) }), []store.ReaderMark(nil))
	r := got(b, func(v store.View) (*store.Reader, error) { return v.Reader(reader) })
	if r.ModSeq != one.ModSeq {
		t.Errorf("the account is at %d, want %d", r.ModSeq, one.ModSeq)
	}
	b.refused(store.ErrNotFound, func(t store.Tx) error {
		return t.PutMark(reader, &store.ReaderMark{Message: messageID(9), Pathway: p.Code})
	})
	// Erased with its pathway.
	if err := b.DropKey(t.Context(), owner(other.Code)); err != nil {
		t.Fatal(err)
	}
	b.same("after an erasure", since(0), []store.ReaderMark{*one})
}

// inboxes: a box gets one UID for a message, when it is first addressed to it.
func inboxes(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m := message(p.Code, messageID(1), "imagerie")
	m.Boxes = []store.BoxUID{{Box: "a@chu.example"}, {Box: "b@chu.example"}}
	b.file(m, nil)
	n := message(p.Code, messageID(2), "imagerie")
	n.Boxes = []store.BoxUID{{Box: "a@chu.example", UID: 77}}
	b.file(n, nil)
	a, bb, second := m.Boxes[0].UID, m.Boxes[1].UID, n.Boxes[0].UID
	if a == 0 || a != bb || second <= a {
		t.Errorf("UIDs are %d, %d, then %d", a, bb, second)
	}
	m.Boxes = append(m.Boxes, store.BoxUID{Box: "c@chu.example"})
	m.Boxes[1].UID = 0
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m) })
	b.reopen()
	have := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
	if have.Boxes[0].UID != a || have.Boxes[1].UID <= second || have.Boxes[2].UID != have.Boxes[1].UID {
		t.Errorf("after an update they are %+v", have.Boxes)
	}
	if got(b, func(v store.View) (uint32, error) { return v.InboxValidity(), nil }) == 0 {
		t.Error("no UIDVALIDITY")
	}
}

func updated(_ *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m1 := b.file(message(p.Code, messageID(1), "imagerie"), nil)
	m2 := b.file(message(p.Code, messageID(2), "imagerie"), nil)
	since := func(n uint64) []store.MessageID {
		return got(b, func(v store.View) ([]store.MessageID, error) { return v.Updated(p.Code, n) })
	}
	b.same("only filed", since(0), []store.MessageID(nil))
	for _, m := range []*store.Message{m1, m2, m1} {
		b.commit(func(t store.Tx) error { return t.UpdateMessage(m) })
	}
	b.same("each once", since(0), []store.MessageID{m2.ID, m1.ID})
	b.same("since", since(m2.ModSeq), []store.MessageID{m1.ID})
	b.same("nothing since", since(m1.ModSeq), []store.MessageID(nil))
	if last := got(b, store.View.ModSeq); last != m1.ModSeq {
		b.Errorf("the store is at modseq %d, want %d", last, m1.ModSeq)
	}
}

func watch(t *testing.T, b *bench) {
	b.key(reader.Owner())
	p := b.pathway("bbbbbbb")
	other := b.pathway("ccccccc")
	woken := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	before := b.Sequence()
	b.view(func(v store.View) error { _, err := v.ModSeq(); return err })
	if b.Sequence() != before {
		t.Error("looking is taken for a change")
	}
	thread, mine := make(chan struct{}, 1), make(chan struct{}, 1)
	stop := b.Watch(thread, p.Code.Topic())
	defer b.Watch(mine, reader.Topic(), store.Address("anne@chu.example").Topic())()
	b.file(message(other.Code, messageID(1)), nil)
	if woken(thread) || woken(mine) {
		t.Error("woken by another pathway")
	}
	b.file(message(p.Code, messageID(2)), nil)
	if !woken(thread) || woken(mine) {
		t.Error("a message wakes its pathway alone")
	}
	if b.Sequence() <= before {
		t.Error("the sequence stands still while messages come")
	}
	m := message(other.Code, messageID(4))
	m.Boxes = []store.BoxUID{{Box: "anne@chu.example"}}
	b.file(m, nil)
	if woken(thread) || !woken(mine) {
		t.Error("a message for a box wakes the box")
	}
	b.commit(func(t store.Tx) error { return t.PutPathway(p) })
	if !woken(thread) || !woken(mine) {
		t.Error("a change of the team wakes pathway and boxes")
	}
	b.commit(func(t store.Tx) error { return t.PutFolder(reader, folder("01f1", "Notes")) })
	if woken(thread) || !woken(mine) {
		t.Error("a folder wakes its account alone")
	}
	b.refused(store.ErrNotFound, func(t store.Tx) error {
		_ = t.PutFolder(reader, folder("01f2", "Autres"))
		return store.ErrNotFound
	})
	if woken(mine) {
		t.Error("woken by a commit that failed")
	}
	stop()
	b.file(message(p.Code, messageID(3)), nil)
	if woken(thread) {
		t.Error("woken after stop")
	}
}

// folderModel compares a folder with a plain list under random changes: what a
// reader knew, and the changes since, give what is there.
func folderModel(t *testing.T, b *bench) {
	b.key(reader.Owner())
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		id := store.FolderID(fmt.Sprintf("01f%d", n))
		f := folder(id, "Modèle")
		b.commit(func(tx store.Tx) error { return tx.PutFolder(reader, f) })
		var model, known []store.Entry
		knownSeq, next := f.HighestModSeq, uint32(1)
		rounds := rapid.IntRange(1, 30).Draw(t, "rounds")
		for i := range rounds {
			switch op := rapid.IntRange(0, 5).Draw(t, "op"); {
			case op <= 1 || len(model) == 0:
				mail := store.MailID(fmt.Sprintf("01m%d-%d", n, i))
				e := store.Entry{Mail: mail, Size: int64(i)}
				d := b.draft([]byte("x"))
				b.commit(func(tx store.Tx) error { return tx.AddEntry(reader, id, &e, nil, d) })
				if e.UID != next {
					t.Fatalf("UID %d, want %d", e.UID, next)
				}
				next++
				model = append(model, e)
			case op == 2:
				i := rapid.IntRange(0, len(model)-1).Draw(t, "gone")
				b.commit(func(tx store.Tx) error { return tx.DropEntry(reader, id, model[i].UID) })
				model = slices.Delete(model, i, i+1)
			default:
				e := &model[rapid.IntRange(0, len(model)-1).Draw(t, "flagged")]
				e.System = rapid.Uint8Range(0, 31).Draw(t, "flags")
				b.commit(func(tx store.Tx) error { return tx.UpdateEntry(reader, id, e) })
			}
			if !rapid.Bool().Draw(t, "look") && i < rounds-1 {
				continue
			}
			known, knownSeq = follow(b, id, known, knownSeq)
			b.same("followed", known, model)
			now := b.folderNow(id)
			if int(now.Count) != len(model) || now.HighestModSeq != knownSeq {
				t.Fatalf("the folder has %+v, want %d entries and modseq %d", now, len(model), knownSeq)
			}
		}
		b.same("whole", b.entries(id), model)
	})
}

// follow brings what was known up to date as a reader does: what is above the
// last UID, then the changes above the last modseq.
func follow(b *bench, id store.FolderID, known []store.Entry, since uint64) ([]store.Entry, uint64) {
	b.Helper()
	last := uint32(0)
	if len(known) > 0 {
		last = known[len(known)-1].UID
	}
	var out []store.Entry
	b.view(func(v store.View) error {
		f, err := v.Folder(reader, id)
		if err != nil {
			return err
		}
		changes, err := v.EntryChanges(reader, id, since)
		if err != nil {
			return err
		}
		gone := make(map[uint32]bool)
		for _, c := range changes {
			gone[c.UID] = c.Gone
		}
		for _, e := range known {
			if was, changed := gone[e.UID]; changed && was {
				continue
			} else if changed {
				now, err := v.Entry(reader, id, e.UID)
				if err != nil {
					return err
				}
				e = *now
			}
			out = append(out, e)
		}
		added, err := v.Entries(reader, id, last, 0)
		out = append(out, added...)
		since = f.HighestModSeq
		return err
	})
	return out, since
}
