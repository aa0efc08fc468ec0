package mailbox

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// Kinds of open folders.
type folderKind int

const (
	kindShared folderKind = iota // INBOX or a rubric
	kindPrivate
	kindSheet // a pathway's own, with the relay sheet
)

// opened is a folder opened in a session.
type opened struct {
	r        *Reader
	name, id string
	kind     folderKind
	readOnly bool
	view     viewOf // kindShared, and the pathway of kindSheet
	private  store.FolderID
	page     *page // as of the last Sync
	wake     chan struct{}
	stop     func()
	reads    reads
}

var _ folder.Folder = (*opened)(nil)

// find resolves a folder's name. folder.ErrNone is said of what is not there
// and of what may not be seen.
func (r *Reader) find(ctx context.Context, name string) (*opened, error) {
	o := &opened{r: r, name: name}
	if strings.EqualFold(name, folder.Inbox) {
		o.name, o.id, o.kind = folder.Inbox, "inbox", kindShared
		return o, nil
	}
	if code, below, ok := codeIn(name); ok {
		return r.findPathway(ctx, o, code, below)
	}
	if isFixed(name) {
		return nil, folder.ErrNone
	}
	err := r.h.view(ctx, func(v store.View) error {
		f, err := r.folderNamed(v, name)
		if err == nil {
			o.id, o.kind, o.private = string(f.ID), kindPrivate, f.ID
		}
		return err
	})
	return o, err
}

func (r *Reader) findPathway(ctx context.Context, o *opened, code store.PathwayCode, below string) (*opened, error) {
	sources, err := r.sources(ctx, code)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 || len(sources[0].members) == 0 {
		return nil, folder.ErrNone
	}
	s := &sources[0]
	top := pathwayFolder(s.p, s.prog)
	if o.name == top {
		o.id, o.kind, o.view = "p"+string(code), kindSheet, viewOf{code: code}
		return o, nil
	}
	for i := range s.prog.Rubrics {
		rubric := &s.prog.Rubrics[i]
		if level(rubric.Name) == below && o.name == rubricFolder(top, rubric) && r.rubricShown(s, rubric.ID) {
			o.id, o.kind, o.view = "p"+string(code)+"."+rubric.ID, kindShared, viewOf{code, rubric.ID}
			return o, nil
		}
	}
	return nil, folder.ErrNone
}

// Open implements [folder.User].
func (r *Reader) Open(ctx context.Context, name string, readOnly bool) (folder.Folder, error) {
	o, err := r.find(ctx, name)
	if err != nil {
		return nil, err
	}
	o.readOnly = readOnly
	o.wake = make(chan struct{}, 1)
	topics := []string{r.a.ID.Topic()}
	switch {
	case o.kind == kindPrivate, o.view.code == "":
		topics = append(topics, r.a.Mailbox.Topic())
	default:
		topics = append(topics, o.view.code.Topic())
	}
	o.stop = r.h.store.Watch(o.wake, topics...)
	return o, nil
}

// Stat implements [folder.User].
func (r *Reader) Stat(ctx context.Context, name string) (folder.State, error) {
	o, err := r.find(ctx, name)
	if err != nil {
		return folder.State{}, err
	}
	t, err := o.current(ctx)
	if err != nil {
		return folder.State{}, err
	}
	st := t.page.State
	st.ID = o.id
	return st, nil
}

// current gives the folder's tables as they are now.
func (o *opened) current(ctx context.Context) (*tables, error) {
	o.r.desk.mu.Lock()
	defer o.r.desk.mu.Unlock()
	t, err := o.brought(ctx)
	if err != nil {
		return nil, err
	}
	now := *t // as it is under the lock
	return &now, nil
}

// brought brings the tables up to date. The desk is locked.
func (o *opened) brought(ctx context.Context) (*tables, error) {
	switch o.kind {
	case kindPrivate:
		return o.r.privatePage(ctx, o.private)
	case kindSheet:
		return o.r.sheetPage(ctx, o.view.code)
	}
	return o.r.sharedPage(ctx, o.view)
}

// Sync implements [folder.Folder].
func (o *opened) Sync(ctx context.Context, from *folder.Table) (*folder.Table, folder.Delta, error) {
	t, err := o.current(ctx)
	if err != nil {
		return nil, folder.Delta{}, err
	}
	o.page = t.page
	return &t.page.Table, t.since(from), nil
}

// Name implements [folder.Folder].
func (o *opened) Name() string { return o.name }

// ID implements [folder.Folder].
func (o *opened) ID() string { return o.id }

// ReadOnly implements [folder.Folder].
func (o *opened) ReadOnly() bool { return o.readOnly }

// Keeps implements [folder.Folder].
func (o *opened) Keeps() bool { return true }

// Wake implements [folder.Folder].
func (o *opened) Wake() <-chan struct{} { return o.wake }

// Close implements [folder.Folder].
func (o *opened) Close() error {
	o.stop()
	return nil
}

// row finds a message of the last table by UID.
func (o *opened) row(uid uint32) (i int, ok bool) {
	if o.page == nil {
		return 0, false
	}
	return o.page.Find(uid)
}

// Rights implements [folder.User]: which roles of the programme may see a
// rubric, the reader first (RFC 4314).
func (r *Reader) Rights(ctx context.Context, name string) ([]folder.Right, error) {
	o, err := r.find(ctx, name)
	if err != nil {
		return nil, err
	}
	// lookup, read, keep \Seen, write flags, delete (hide), expunge.
	const reads, posts, owns = "lrste", "lrswite", "lrswipkxtea"
	mine := folder.Right{Who: r.a.Username, Mine: true, May: reads + "w"}
	switch {
	case o.kind == kindPrivate:
		mine.May = owns
		return []folder.Right{mine}, nil
	case o.kind == kindSheet || o.view.code == "":
		return []folder.Right{mine}, nil
	}
	sources, err := r.sources(ctx, o.view.code)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 || len(sources[0].members) == 0 {
		return nil, folder.ErrNone
	}
	s := &sources[0]
	if slices.ContainsFunc(s.members, func(m *store.Member) bool { return s.prog.MayRole(m.Role, o.view.rubric) }) {
		mine.May = posts
	}
	all := []folder.Right{mine}
	for i := range s.prog.Roles {
		if role := &s.prog.Roles[i]; role.CareTeam && s.prog.MayRole(role.ID, o.view.rubric) {
			all = append(all, folder.Right{Who: "role:" + role.ID, May: posts})
		}
	}
	return all, nil
}

var errGone = errors.New("gone") // inner: passed over

// uids of the last table that are among those asked for.
func (o *opened) present(uids []uint32) []int {
	var at []int
	for _, uid := range uids {
		if i, ok := o.row(uid); ok {
			at = append(at, i)
		}
	}
	return at
}
