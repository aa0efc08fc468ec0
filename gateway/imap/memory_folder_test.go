package imap

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
)

// memoryFolder is an open folder.
type memoryFolder struct {
	user     *memoryUser
	box      *memoryBox
	name     string
	readOnly bool
	wake     chan struct{}
	read     int // messages read since the last Settle
	settled  int
}

func (f *memoryFolder) Name() string          { return f.name }
func (f *memoryFolder) ID() string            { return f.box.id }
func (f *memoryFolder) ReadOnly() bool        { return f.readOnly }
func (f *memoryFolder) Keeps() bool           { return true }
func (f *memoryFolder) Wake() <-chan struct{} { return f.wake }

func (f *memoryFolder) Sync(_ context.Context, from *folder.Table) (*folder.Table, folder.Delta, error) {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	if f.box.gone {
		return nil, folder.Delta{}, folder.ErrNone
	}
	t := f.box.current()
	if t == from {
		return t, folder.Delta{}, nil
	}
	return t, folder.Diff(from, t), nil
}

// find gives a message by UID; mu is held.
func (b *memoryBox) find(uid uint32) *memoryMessage {
	i, ok := slices.BinarySearchFunc(b.messages, uid, func(m *memoryMessage, u uint32) int { return int(int64(m.UID) - int64(u)) })
	if !ok {
		return nil
	}
	return b.messages[i]
}

func (f *memoryFolder) SetFlags(_ context.Context, uids []uint32, how folder.FlagChange, flags folder.Flags, unchanged *uint64) (rows []folder.Row, modified []uint32, err error) {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	b := f.box
	if f.readOnly {
		return nil, nil, folder.ErrReadOnly
	}
	if b.gone {
		return nil, nil, folder.ErrNone
	}
	changed := false
	for _, uid := range uids {
		m := b.find(uid)
		if m == nil {
			continue
		}
		if unchanged != nil && m.ModSeq > *unchanged {
			modified = append(modified, uid)
			continue
		}
		now := m.Flags.With(how, flags)
		if !now.Equal(m.Flags) {
			b.modseq++
			m.Flags, m.ModSeq = now, b.modseq
			changed = true
		}
		rows = append(rows, m.Row)
	}
	if changed {
		f.user.changed(b)
	}
	return rows, modified, nil
}

func (f *memoryFolder) Expunge(_ context.Context, uids []uint32) error {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	if f.readOnly {
		return folder.ErrReadOnly
	}
	f.take(func(m *memoryMessage) bool {
		_, asked := slices.BinarySearch(uids, m.UID)
		return asked && m.Flags.Has(folder.Deleted)
	})
	return nil
}

// take takes messages out; mu is held.
func (f *memoryFolder) take(which func(*memoryMessage) bool) {
	b := f.box
	kept := make([]*memoryMessage, 0, len(b.messages))
	for _, m := range b.messages {
		if !which(m) {
			kept = append(kept, m)
		}
	}
	if len(kept) == len(b.messages) {
		return
	}
	b.messages = kept
	b.modseq++
	f.user.changed(b)
}

func (f *memoryFolder) Copy(_ context.Context, uids []uint32, to string) (folder.Copied, error) {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	return f.copy(uids, to)
}

func (f *memoryFolder) copy(uids []uint32, to string) (folder.Copied, error) {
	target, err := f.user.box(to)
	if err != nil {
		return folder.Copied{}, err
	}
	done := folder.Copied{UIDValidity: target.validity}
	var copies []*memoryMessage
	for _, uid := range uids {
		if m := f.box.find(uid); m != nil {
			c := *m
			copies = append(copies, &c)
		}
	}
	put := f.user.put(target, copies)
	for _, uid := range uids {
		if f.box.find(uid) == nil {
			done.UIDs = append(done.UIDs, 0)
			continue
		}
		done.UIDs = append(done.UIDs, put[0])
		put = put[1:]
	}
	return done, nil
}

func (f *memoryFolder) Move(_ context.Context, uids []uint32, to string) (folder.Copied, error) {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	if f.readOnly {
		return folder.Copied{}, folder.ErrReadOnly
	}
	done, err := f.copy(uids, to)
	if err != nil {
		return done, err
	}
	f.take(func(m *memoryMessage) bool {
		_, asked := slices.BinarySearch(uids, m.UID)
		return asked
	})
	return done, nil
}

func (f *memoryFolder) Each(_ context.Context, uids []uint32, depth folder.Depth, fn func(uint32, *folder.Shown) error) error {
	f.user.mu.Lock()
	if f.user.fault != nil {
		defer f.user.mu.Unlock()
		return f.user.fault
	}
	found := make([]*memoryMessage, 0, len(uids))
	for _, uid := range uids {
		if m := f.box.find(uid); m != nil && !f.box.gone {
			found = append(found, m)
		}
	}
	f.user.mu.Unlock()
	var shown folder.Shown
	for _, m := range found {
		f.read++
		x := m.index
		if depth != folder.Whole {
			x = &letter.Index{Size: x.Size, Fields: x.Fields}
		}
		if depth == folder.Envelope {
			x.Fields = slices.DeleteFunc(slices.Clone(x.Fields), func(f letter.Field) bool { return !folder.InEnvelope(f.Name) })
		}
		shown = folder.Shown{Index: x, Saved: m.saved, ID: x.Envelope.MessageID, References: x.Envelope.References}
		if len(shown.References) == 0 && len(x.Envelope.InReplyTo) > 0 {
			shown.References = x.Envelope.InReplyTo[:1]
		}
		shown.EmailID = "E" + hex.EncodeToString(m.index.BodySum[:8])
		shown.ThreadID = "T1"
		if err := fn(m.UID, &shown); err != nil {
			return err
		}
	}
	return nil
}

func (f *memoryFolder) Look(ctx context.Context, uids []uint32, depth folder.Depth, fn func(uint32, *folder.Shown, folder.Content) (bool, error)) error {
	var all []func() error
	err := f.Each(ctx, uids, depth, func(uid uint32, m *folder.Shown) error {
		shown := *m
		if depth != folder.Whole {
			all = append(all, func() error { _, err := fn(uid, &shown, nil); return err })
			return nil
		}
		content, err := f.Content(ctx, uid)
		if errors.Is(err, folder.ErrGone) {
			return nil
		}
		all = append(all, func() error { _, err := fn(uid, &shown, content); return err })
		return err
	})
	if err != nil {
		return err
	}
	faults := make([]error, 2)
	var wg sync.WaitGroup
	for n := range faults {
		wg.Go(func() {
			for i := n; i < len(all) && faults[n] == nil; i += len(faults) {
				faults[n] = all[i]()
			}
		})
	}
	wg.Wait()
	return cmp.Or(faults...)
}

func (f *memoryFolder) Content(_ context.Context, uid uint32) (folder.Content, error) {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	m := f.box.find(uid)
	if m == nil || f.box.gone {
		return nil, folder.ErrGone
	}
	f.read++
	return &memoryContent{m.raw}, nil
}

func (f *memoryFolder) Settle(context.Context) error {
	f.settled += f.read
	f.read = 0
	return nil
}

func (f *memoryFolder) Close() error {
	f.user.mu.Lock()
	defer f.user.mu.Unlock()
	delete(f.box.wakes, f.wake)
	return nil
}

type memoryContent struct{ raw []byte }

func (c *memoryContent) Size() int64  { return int64(len(c.raw)) }
func (c *memoryContent) Close() error { return nil }

func (c *memoryContent) Copy(w io.Writer, off, n int64) error {
	if off < 0 || n < 0 || off+n > int64(len(c.raw)) {
		return io.ErrUnexpectedEOF
	}
	_, err := w.Write(c.raw[off : off+n])
	return err
}
