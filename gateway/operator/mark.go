package operator

import (
	"errors"

	"github.com/emersion/go-imap/v2"
)

// mark shows in the box what became of messages: moved to the folder of the
// settings, or marked where they are. Doing it again changes nothing, but that
// a server without MOVE (RFC 6851) may be left with a second copy in the folder.
func (s *session) mark(uids imap.UIDSet, aside bool) error {
	folder, flag := s.o.Settings.Done, imap.FlagSeen
	if aside {
		folder, flag = s.o.Settings.Aside, imap.FlagFlagged
	}
	if folder == "" {
		return s.flag(uids, flag)
	}
	err := s.move(uids, folder)
	if !errors.Is(err, errNo) {
		return err
	}
	// Most likely there is no such folder yet.
	s.step()
	if err := s.broken(s.imap.Create(folder, nil).Wait(), errNo); err != nil && !errors.Is(err, errNo) {
		return err
	}
	return s.move(uids, folder)
}

func (s *session) flag(uids imap.UIDSet, flag imap.Flag) error {
	s.step()
	return s.broken(s.imap.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}, nil).Close(), errNo)
}

// move puts messages into a folder. imapclient's own way for servers without
// MOVE would expunge whatever else is marked as deleted.
func (s *session) move(uids imap.UIDSet, folder string) error {
	caps := s.imap.Caps()
	s.step()
	if caps.Has(imap.CapMove) {
		_, err := s.imap.Move(uids, folder).Wait()
		return s.broken(err, errNo)
	}
	if _, err := s.imap.Copy(uids, folder).Wait(); err != nil {
		return s.broken(err, errNo)
	}
	if err := s.flag(uids, imap.FlagDeleted); err != nil {
		return err
	}
	s.step()
	if caps.Has(imap.CapUIDPlus) {
		return s.broken(s.imap.UIDExpunge(uids).Close(), errNo)
	}
	alone, err := s.onlyDeleted(uids)
	if err != nil || !alone {
		return err // they stay, marked as deleted
	}
	s.step()
	return s.broken(s.imap.Expunge().Close(), errNo)
}

// onlyDeleted reports whether nothing but the messages is marked as deleted.
func (s *session) onlyDeleted(uids imap.UIDSet) (bool, error) {
	s.step()
	data, err := s.imap.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagDeleted}}, nil).Wait()
	if err != nil {
		return false, s.broken(err, errNo)
	}
	found, ok := data.All.(imap.UIDSet)
	if !ok {
		return false, nil
	}
	// Ranges come from the server: they are compared, not counted out.
	for _, r := range found {
		if r.Start == 0 || r.Stop < r.Start || r.Stop-r.Start > mostPending {
			return false, nil
		}
		for uid := r.Start; ; uid++ {
			if !uids.Contains(uid) {
				return false, nil
			}
			if uid == r.Stop {
				break
			}
		}
	}
	return true, nil
}
