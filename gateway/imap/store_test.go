package imap

import (
	"context"
	"slices"
	"testing"

	"github.com/relais-sante/relais/mailbox/folder"
)

// meddled is an account where another client changes flags whenever one does:
// before, and before the one is told.
type meddled struct {
	*memoryUser
	before, after func(f folder.Folder, uids []uint32)
}

type meddledFolder struct {
	folder.Folder
	by *meddled
}

func (m *meddled) Open(ctx context.Context, name string, readOnly bool) (folder.Folder, error) {
	f, err := m.memoryUser.Open(ctx, name, readOnly)
	return &meddledFolder{f, m}, err
}

func (f *meddledFolder) SetFlags(ctx context.Context, uids []uint32, how folder.FlagChange, flags folder.Flags, unchanged *uint64) ([]folder.Row, []uint32, error) {
	if f.by.before != nil {
		f.by.before(f.Folder, uids)
	}
	rows, modified, err := f.Folder.SetFlags(ctx, uids, how, flags, unchanged)
	if f.by.after != nil {
		f.by.after(f.Folder, uids)
	}
	return rows, modified, err
}

// What a client is told last of a message is what it has, whoever changed it
// while the client did.
func TestStoreWhileAnotherDoes(t *testing.T) {
	deletes := func(f folder.Folder, uids []uint32) {
		f.SetFlags(t.Context(), uids, folder.AddFlags, folder.Flags{System: folder.Deleted}, nil)
	}
	for _, tc := range []struct {
		name, command string
		before, after func(folder.Folder, []uint32)
		want          []string
	}{
		{"overtaken", `b STORE 1 +FLAGS (\Seen)`, nil, deletes, []string{
			`* 1 FETCH (FLAGS (\Deleted \Seen) MODSEQ (4))`, `* 1 FETCH (FLAGS (\Deleted \Seen) MODSEQ (4))`, "b OK STORE completed",
		}},
		{"overtaken, UID", `b UID STORE 1 FLAGS (\Seen)`, nil, deletes, []string{
			`* 1 FETCH (FLAGS (\Deleted \Seen) MODSEQ (4))`, `* 1 FETCH (UID 1 FLAGS (\Deleted \Seen) MODSEQ (4))`, "b OK UID STORE completed",
		}},
		{"overtaken, silent", `b STORE 1 +FLAGS.SILENT (\Seen)`, nil, deletes, []string{
			`* 1 FETCH (FLAGS (\Deleted \Seen) MODSEQ (4))`, "b OK STORE completed",
		}},
		{"another before", `b STORE 1 +FLAGS (\Seen)`, deletes, nil, []string{
			`* 1 FETCH (FLAGS (\Deleted \Seen) MODSEQ (4))`, "b OK STORE completed",
		}},
		{"another before, silent", `b STORE 1 +FLAGS.SILENT (\Seen)`, deletes, nil, []string{
			`* 1 FETCH (FLAGS (\Deleted \Seen) MODSEQ (4))`, `* 1 FETCH (UID 1 MODSEQ (4))`, "b OK STORE completed",
		}},
		{"another before, replaced", `b STORE 1 FLAGS.SILENT (\Seen)`, deletes, nil, []string{`* 1 FETCH (UID 1 MODSEQ (4))`, "b OK STORE completed"}},
		{"alone, silent", `b STORE 1 +FLAGS.SILENT (\Seen)`, nil, nil, []string{`* 1 FETCH (UID 1 MODSEQ (3))`, "b OK STORE completed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := open(t, nil)
			h.user().deliver(t, folder.Inbox, "Subject: one\n\none\n")
			k := h.serveTo(t, &meddled{h.user(), tc.before, tc.after})
			k.do("x SELECT INBOX") // takes \Recent
			k.do("a SELECT INBOX (CONDSTORE)")
			if got := k.do(tc.command); !slices.Equal(got, tc.want) {
				t.Errorf("%q", got)
			}
		})
	}
}
