package mailbox

import (
	"sync"

	"github.com/relais-sante/relais/store"
)

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

// forget drops what is at hand of one account.
func (d *desks) forget(id store.AccountID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.m, id)
}

// forgetUnread drops what is at hand of accounts that nobody reads with now, and
// of the others the sheet of a pathway, unless they are looking at it.
func (d *desks) forgetUnread(code store.PathwayCode, reads func(store.AccountID) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, one := range d.m {
		if !reads(id) {
			delete(d.m, id)
		} else if one.mu.TryLock() {
			delete(one.sheets, code)
			one.mu.Unlock()
		}
	}
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
