package imap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
)

// memoryUser is an account whose folders are kept in memory: all private, with
// the full meaning of IMAP. It is the reference for other implementations of
// package folder.
type memoryUser struct {
	name     string
	gone     chan struct{}
	mu       sync.Mutex
	boxes    map[string]*memoryBox
	subs     map[string]bool
	validity uint32
	wakes    map[chan struct{}]bool
	fixed    map[string]bool // folders that belong to the hub
	limit    int64           // quota in bytes
	fault    error           // of Content and Each, for tests
}

type memoryBox struct {
	id       string
	use      folder.Use
	validity uint32
	next     uint32
	modseq   uint64
	messages []*memoryMessage
	table    *folder.Table // nil: to be made
	wakes    map[chan struct{}]bool
	gone     bool
}

type memoryMessage struct {
	folder.Row
	raw   []byte
	index *letter.Index
	saved time.Time
}

func newMemoryUser(name string) *memoryUser {
	u := &memoryUser{
		name: name, gone: make(chan struct{}), boxes: map[string]*memoryBox{}, subs: map[string]bool{},
		validity: 1000, wakes: map[chan struct{}]bool{}, fixed: map[string]bool{folder.Inbox: true},
	}
	u.add(folder.Inbox, folder.NoUse)
	return u
}

func (u *memoryUser) add(name string, use folder.Use) *memoryBox {
	u.validity++
	b := &memoryBox{id: "F" + strconv.Itoa(int(u.validity)), use: use, validity: u.validity, next: 1, modseq: 1, wakes: map[chan struct{}]bool{}}
	u.boxes[name] = b
	return b
}

func (u *memoryUser) Name() string          { return u.name }
func (u *memoryUser) Gone() <-chan struct{} { return u.gone }
func (u *memoryUser) Close() error          { return nil }

func (u *memoryUser) Wake() (<-chan struct{}, func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := make(chan struct{}, 1)
	u.wakes[c] = true
	return c, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.wakes, c)
	}
}

func ring(chans map[chan struct{}]bool) {
	for c := range chans {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// changed makes a box's table anew when it is next asked for.
func (u *memoryUser) changed(b *memoryBox) {
	b.table = nil
	ring(b.wakes)
	ring(u.wakes)
}

func (u *memoryUser) List(context.Context) (list []folder.Info, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	names := map[string]bool{}
	above := func(n string) {
		for i := range n {
			if n[i] == folder.Delimiter {
				names[n[:i]] = true
			}
		}
	}
	for n := range u.boxes {
		names[n] = true
		above(n)
	}
	for n := range u.subs {
		names[n] = true
	}
	for n := range names {
		info := folder.Info{Name: n, Subscribed: u.subs[n], Missing: true, Fixed: u.fixed[n]}
		if b := u.boxes[n]; b != nil {
			info.ID, info.Use, info.Missing = b.id, b.use, false
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b folder.Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// box finds a folder; u.mu is held.
func (u *memoryUser) box(name string) (*memoryBox, error) {
	if b := u.boxes[name]; b != nil {
		return b, nil
	}
	return nil, folder.ErrNone
}

func (u *memoryUser) Stat(_ context.Context, name string) (folder.State, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	b, err := u.box(name)
	if err != nil {
		return folder.State{}, err
	}
	return b.current().State, nil
}

// current gives the table; u.mu is held.
func (b *memoryBox) current() *folder.Table {
	if b.table != nil {
		return b.table
	}
	t := &folder.Table{State: folder.State{
		ID: b.id, UIDValidity: b.validity, UIDNext: b.next, HighestModSeq: b.modseq, Messages: len(b.messages),
		LastUID: b.next - 1, LastModSeq: b.modseq,
	}, Rows: make([]folder.Row, len(b.messages))}
	for i, m := range b.messages {
		t.Rows[i] = m.Row
		t.Size += m.Size
		if !m.Flags.Has(folder.Seen) {
			t.Unseen++
		}
		if m.Flags.Has(folder.Deleted) {
			t.Deleted++
		}
		t.Keywords = append(t.Keywords, m.Flags.Keywords...)
	}
	t.Keywords = sortKeywords(t.Keywords)
	b.table = t
	return t
}

func (u *memoryUser) Open(_ context.Context, name string, readOnly bool) (folder.Folder, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	b, err := u.box(name)
	if err != nil {
		return nil, err
	}
	f := &memoryFolder{user: u, box: b, name: name, readOnly: readOnly, wake: make(chan struct{}, 1)}
	b.wakes[f.wake] = true
	return f, nil
}

func validName(name string) bool {
	return name != "" && len(name) <= 500 && !strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && !strings.Contains(name, "//") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '*' || r == '%' })
}

func (u *memoryUser) Create(_ context.Context, name string, use folder.Use) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !validName(name) {
		return folder.ErrName
	}
	if u.boxes[name] != nil {
		return folder.ErrExists
	}
	for i := range name {
		if name[i] == folder.Delimiter && name[:i] != folder.Inbox && u.fixed[name[:i]] {
			return folder.ErrFixed
		}
	}
	if len(u.boxes) >= 10_000 {
		return folder.ErrLimit
	}
	u.add(name, use)
	ring(u.wakes)
	return nil
}

func (u *memoryUser) Delete(_ context.Context, name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	b, err := u.box(name)
	if err != nil {
		return err
	}
	if u.fixed[name] {
		return folder.ErrFixed
	}
	delete(u.boxes, name) // folders below it stay, and its name as that of none
	b.gone = true
	u.changed(b)
	return nil
}

func (u *memoryUser) Rename(_ context.Context, from, to string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	b, err := u.box(from)
	switch {
	case err != nil:
		return err
	case !validName(to) || strings.HasPrefix(to, from+"/"):
		return folder.ErrName
	case u.boxes[to] != nil:
		return folder.ErrExists
	}
	if from == folder.Inbox { // RFC 9051 §6.3.6: its messages go, it stays
		moved := u.add(to, folder.NoUse)
		moved.messages, moved.next, moved.modseq = b.messages, b.next, b.modseq
		b.messages = nil
		b.modseq++
		u.changed(b)
		return nil
	}
	if u.fixed[from] {
		return folder.ErrFixed
	}
	for name, inner := range u.boxes {
		if name == from || strings.HasPrefix(name, from+"/") {
			delete(u.boxes, name)
			u.boxes[to+name[len(from):]] = inner
			defer ring(inner.wakes)
		}
	}
	ring(u.wakes)
	return nil
}

func (u *memoryUser) Subscribe(_ context.Context, name string, on bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !validName(name) {
		return folder.ErrName
	}
	delete(u.subs, name)
	if on {
		u.subs[name] = true
	}
	ring(u.wakes)
	return nil
}

func (u *memoryUser) Quota(context.Context) (folder.Quota, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return folder.Quota{Size: u.size(), SizeLimit: u.limit}, nil
}

func (u *memoryUser) size() (n int64) {
	for _, b := range u.boxes {
		for _, m := range b.messages {
			n += m.Size
		}
	}
	return n
}

func (u *memoryUser) Rights(_ context.Context, name string) ([]folder.Right, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := u.box(name); err != nil {
		return nil, err
	}
	if u.fixed[name] {
		return []folder.Right{{Who: u.name, Mine: true, May: "lrswite"}, {Who: "infirmier", May: "lr"}}, nil
	}
	return []folder.Right{{Who: u.name, Mine: true, May: "lrswikxte"}}, nil
}

// memoryAppend holds messages until they are put.
type memoryAppend struct {
	user     *memoryUser
	name     string
	messages []*memoryMessage
	done     bool
}

func (u *memoryUser) Append(_ context.Context, name string) (folder.Append, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := u.box(name); err != nil {
		return nil, err
	}
	return &memoryAppend{user: u, name: name}, nil
}

func (a *memoryAppend) Message(size int64, flags folder.Flags, received time.Time, r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if size >= 0 && int64(len(raw)) != size {
		return errors.New("another size than announced")
	}
	a.messages = append(a.messages, newMemoryMessage(raw, flags, received))
	return nil
}

func newMemoryMessage(raw []byte, flags folder.Flags, received time.Time) *memoryMessage {
	reading, err := letter.Read(bytes.NewReader(raw), letter.Limits{})
	if err != nil {
		panic(err) // of a bytes.Reader: cannot be
	}
	return &memoryMessage{
		Row: folder.Row{Size: int64(len(raw)), Received: received.Unix(), Flags: flags},
		raw: raw, index: reading.Index, saved: theTime,
	}
}

func (a *memoryAppend) Commit(context.Context) (uint32, []uint32, error) {
	u := a.user
	u.mu.Lock()
	defer u.mu.Unlock()
	b, err := u.box(a.name)
	if err != nil {
		return 0, nil, err
	}
	more := int64(0)
	for _, m := range a.messages {
		more += m.Size
	}
	if u.limit > 0 && u.size()+more > u.limit {
		return 0, nil, folder.ErrQuota
	}
	a.done = true
	return b.validity, u.put(b, a.messages), nil
}

func (a *memoryAppend) Abort() {
	if !a.done {
		a.messages = nil
	}
}

// put files messages; u.mu is held.
func (u *memoryUser) put(b *memoryBox, messages []*memoryMessage) (uids []uint32) {
	for _, m := range messages {
		b.modseq++
		m.UID, m.ModSeq, m.saved = b.next, b.modseq, theTime
		b.next++
		b.messages = append(b.messages, m)
		uids = append(uids, m.UID)
	}
	u.changed(b)
	return uids
}

// theTime is the clock of the tests, where one is needed.
var theTime = time.Date(2026, time.June, 1, 8, 0, 0, 0, time.UTC)

// deliver puts a message into a folder as the hub would.
func (u *memoryUser) deliver(t testing.TB, name, raw string) uint32 {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	b, err := u.box(name)
	if err != nil {
		t.Fatal(err)
	}
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	return u.put(b, []*memoryMessage{newMemoryMessage([]byte(raw), folder.Flags{}, theTime)})[0]
}
