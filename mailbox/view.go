package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// View: the structured mailbox read as somebody. What an account sees is what
// the rights function says of the members it stands for, asked again whenever
// anything it rests on has changed; see the rules of package folder.

// view_ files: names of folders; shelves, what is known of messages; desks, what
// is known of an account; tables; what is read; what is changed; what is put in.

// Reader is an account that reads. It implements [folder.User]; close it when
// the session is over.
type Reader struct {
	h     *Hub
	a     *Account
	where string
	desk  *desk
	gone  <-chan struct{}
	stop  func()
}

var _ folder.User = (*Reader)(nil)

// Read opens the structured mailbox for an account. where is its network
// address, for traces.
func (h *Hub) Read(ctx context.Context, a *Account, where string) (*Reader, error) {
	gone, stop, err := h.AccountGone(ctx, a)
	if err != nil {
		return nil, err
	}
	r := &Reader{h: h, a: a, where: where, desk: h.desks.get(a.ID), gone: gone, stop: stop}
	if err := r.furnish(ctx); err != nil {
		stop()
		return nil, err
	}
	return r, nil
}

// Close ends the session.
func (r *Reader) Close() error {
	r.stop()
	return nil
}

// Name implements [folder.User].
func (r *Reader) Name() string { return r.a.Username }

// Gone implements [folder.User].
func (r *Reader) Gone() <-chan struct{} { return r.gone }

// Wake implements [folder.User].
func (r *Reader) Wake() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	return c, r.h.store.Watch(c, r.a.ID.Topic(), r.a.Mailbox.Topic())
}

// furnish makes the folders every reader has, at the first login.
func (r *Reader) furnish(ctx context.Context) error {
	return r.h.change(ctx, func(tx store.Tx) error {
		have, err := tx.Reader(r.a.ID)
		if err != nil || have.Folders > 0 {
			return err
		}
		for _, f := range standardFolders {
			if err := r.newFolder(tx, f.name, f.use); err != nil {
				return err
			}
			have.Subscribed = append(have.Subscribed, f.name)
		}
		have.Subscribed = append(have.Subscribed, fixedMark+"inbox")
		return tx.PutReader(r.a.ID, have)
	})
}

func (r *Reader) newFolder(tx store.Tx, name string, use folder.Use) error {
	now := r.h.o.Now()
	err := tx.PutFolder(r.a.ID, &store.Folder{ID: store.FolderID(r.h.ids.next(now)), Name: name, Use: string(use), Created: now})
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	return nil
}

// source is a pathway as the reader has to do with it.
type source struct {
	p       *store.Pathway
	prog    *rules.Programme
	ever    []*store.Member // the account's, whether or not they may act now
	members []*store.Member // those who may act now; none: only changes count
	now     time.Time
	on      onShelf
}

// sources gives the pathways of the account's box: one of them, or all. Those
// of which the account is no longer a member are among them without members.
func (r *Reader) sources(ctx context.Context, only store.PathwayCode) ([]source, error) {
	var all []source
	err := r.h.view(ctx, func(v store.View) error {
		var err error
		all, err = r.pathways(v, only)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if s := &all[i]; len(s.members) > 0 {
			if s.on, err = r.h.shelf(ctx, s.p.Code); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// pathways is sources without what is on the shelves.
func (r *Reader) pathways(v store.View, only store.PathwayCode) ([]source, error) {
	codes := []store.PathwayCode{only}
	if only == "" {
		var err error
		if codes, err = v.PathwaysOfBox(r.a.Mailbox); err != nil {
			return nil, fmt.Errorf("looking up a box: %w", err)
		}
		slices.Sort(codes)
	}
	var all []source
	for _, code := range codes {
		p, err := v.Pathway(code)
		if errors.Is(err, store.ErrErased) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		s := source{p: p, prog: r.h.o.Programmes().ByID(p.Programme), now: r.h.o.Now()}
		alive := s.prog != nil && p.MergedInto == "" && p.Status != store.PathwayErasing
		for i := range p.Members {
			m := &p.Members[i]
			if !r.a.standsFor(m) {
				continue
			}
			s.ever = append(s.ever, m)
			if alive && mayAct(p, s.prog, m, s.now).ok {
				s.members = append(s.members, m)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// sees asks the rights function for the members the account stands for.
func (s *source) sees(m *store.Message) bool {
	if m.Retracted != nil {
		return false
	}
	for _, mem := range s.members {
		if mayLook(s.p, s.prog, mem, m, s.now).ok {
			return true
		}
	}
	return false
}

// openings counts what may have let the account see in a pathway what was there
// before: a consent given again, a return to the team, another role. It is part
// of UIDVALIDITY: what becomes visible late would otherwise lie below UIDs that
// clients know already, and be missed.
func (s *source) openings() uint32 {
	n := uint32(0)
	given := map[store.MemberID]bool{}
	for _, c := range s.p.Consents {
		mine := c.For == "" || slices.ContainsFunc(s.ever, func(m *store.Member) bool { return m.ID == c.For })
		if mine && given[c.For] {
			n++
		}
		given[c.For] = true
	}
	for _, m := range s.ever {
		n += m.Widened + uint32(max(0, len(m.Periods)-1))
	}
	return n
}

// List implements [folder.User].
func (r *Reader) List(ctx context.Context) ([]folder.Info, error) {
	sources, err := r.sources(ctx, "")
	if err != nil {
		return nil, err
	}
	all := []folder.Info{{Name: folder.Inbox, ID: "inbox", Fixed: true}}
	for i := range sources {
		all = append(all, r.pathwayFolders(&sources[i])...)
	}
	err = r.h.view(ctx, func(v store.View) error {
		folders, err := v.Folders(r.a.ID)
		if err != nil {
			return err
		}
		for _, f := range folders {
			if !f.Dropped && f.Use != sheetUse {
				all = append(all, folder.Info{Name: f.Name, ID: string(f.ID), Use: folder.Use(f.Use)})
			}
		}
		have, err := v.Reader(r.a.ID)
		if err != nil {
			return err
		}
		all = holding(subscribed(all, have.Subscribed))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing folders: %w", err)
	}
	slices.SortFunc(all, func(a, b folder.Info) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// holding adds names that are no folder and only hold some.
func holding(all []folder.Info) []folder.Info {
	known := map[string]bool{}
	for _, f := range all {
		known[f.Name] = true
	}
	for _, f := range all {
		for name := f.Name; ; {
			i := strings.LastIndexByte(name, folder.Delimiter)
			if i < 0 || known[name[:i]] {
				break
			}
			name = name[:i]
			known[name] = true
			all = append(all, folder.Info{Name: name, Missing: true, Fixed: isFixed(name)})
		}
	}
	return all
}

// subscribed marks what the reader subscribed to and adds names that are no
// folder (RFC 9051 §6.3.9.4). Those of pathways are left out: their names must
// not outlast the right to see them.
func subscribed(all []folder.Info, names []string) []folder.Info {
	for _, name := range names {
		i := slices.IndexFunc(all, func(f folder.Info) bool { return subscription(&f) == name })
		switch {
		case i >= 0:
			all[i].Subscribed = true
		case !strings.HasPrefix(name, fixedMark):
			all = append(all, folder.Info{Name: name, Subscribed: true, Missing: true})
		}
	}
	return all
}

// fixedMark begins what is kept of a subscription to one of the hub's folders:
// its id. Its name may say who the child is, and must not outlast the pathway.
const fixedMark = "\x00"

func subscription(f *folder.Info) string {
	if f.Fixed {
		return fixedMark + f.ID
	}
	return f.Name
}

// pathwayFolders are those of a pathway that the reader may see: its own with
// the relay sheet, the rubrics open to one of its roles, and any other in which
// something is to be seen (one's own posts, and the answers to them).
func (r *Reader) pathwayFolders(s *source) []folder.Info {
	if len(s.members) == 0 {
		return nil
	}
	name := pathwayFolder(s.p, s.prog)
	all := []folder.Info{{Name: name, ID: "p" + string(s.p.Code), Fixed: true}}
	for i := range s.prog.Rubrics {
		rubric := &s.prog.Rubrics[i]
		if r.rubricShown(s, rubric.ID) {
			all = append(all, folder.Info{Name: rubricFolder(name, rubric), ID: "p" + string(s.p.Code) + "." + rubric.ID, Fixed: true})
		}
	}
	return all
}

func (r *Reader) rubricShown(s *source, rubric string) bool {
	for _, m := range s.members {
		if role := s.prog.Role(m.Role); role != nil && role.CareTeam && s.prog.MayRole(role.ID, rubric) {
			return true
		}
	}
	return slices.ContainsFunc(s.on.items, func(it shelved) bool {
		return slices.ContainsFunc(it.m.Filings, func(f store.Filing) bool { return f.Rubric == rubric }) && s.sees(it.m)
	})
}

// desks are what is known of the accounts that read, those last used.
type desks struct {
	mu    sync.Mutex
	m     map[store.AccountID]*desk
	clock uint64
}

// maxDesks bounds the accounts kept at hand after their sessions are over.
const maxDesks = 2000

// desk is what is known of one account, shared by its sessions: its marks and
// the tables of the folders it looked at.
type desk struct {
	id   store.AccountID
	used uint64

	mu     sync.Mutex
	marks  map[store.MessageID]*store.ReaderMark
	upto   uint64 // modseq up to which marks are known
	tables map[string]*tables
	// private are the pages of the private folders, sheets the relay sheets.
	private map[store.FolderID]*privatePage
	sheets  map[store.PathwayCode]*sheet
}

func (d *desks) get(id store.AccountID) *desk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m == nil {
		d.m = map[store.AccountID]*desk{}
	}
	one := d.m[id]
	if one == nil {
		one = &desk{
			id: id, marks: map[store.MessageID]*store.ReaderMark{}, tables: map[string]*tables{},
			private: map[store.FolderID]*privatePage{}, sheets: map[store.PathwayCode]*sheet{},
		}
		d.m[id] = one
	}
	d.clock++
	one.used = d.clock
	if len(d.m) > maxDesks {
		oldest := one
		for _, o := range d.m {
			if o.used < oldest.used {
				oldest = o
			}
		}
		delete(d.m, oldest.id)
	}
	return one
}

// catchUp takes up the marks set since. The desk is locked.
func (d *desk) catchUp(v store.View) error {
	have, err := v.Reader(d.id)
	if err != nil {
		return err
	}
	if have.ModSeq == d.upto {
		return nil
	}
	changed, err := v.MarkChanges(d.id, d.upto)
	if err != nil {
		return err
	}
	for i := range changed {
		d.marks[changed[i].Message] = &changed[i]
	}
	d.upto = have.ModSeq
	return nil
}
