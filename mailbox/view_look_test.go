package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
)

// looksThrough looks at all of a folder and gives subject and content by UID.
func looksThrough(t *testing.T, f folder.Folder, uids []uint32, depth folder.Depth) map[uint32]string {
	t.Helper()
	var mu sync.Mutex
	have := map[uint32]string{}
	err := f.Look(context.Background(), uids, depth, func(uid uint32, m *folder.Shown, c folder.Content) error {
		var text bytes.Buffer
		if c != nil {
			if err := c.Copy(&text, 0, c.Size()); err != nil {
				return err
			}
		}
		for i := range m.Index.Fields {
			if m.Index.Fields[i].Name == "Subject" {
				fmt.Fprintf(&text, "|%s|%s", m.Index.Fields[i].Value, m.EmailID)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		have[uid] = text.String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func TestLookGivesWhatIsShown(t *testing.T) {
	h := newHouse(t)
	r := h.reads("roux@chu.test", "")
	var a folder.Append
	for i := range 300 { // more than a batch
		if i%60 == 0 {
			h.post(written{from: "moreau@chu.test", to: string(h.child), id: fmt.Sprintf("p%d@chu.test", i), subject: fmt.Sprint("Suite ", i), text: strings.Repeat("Bonjour. ", i)})
		}
		if a == nil {
			var err error
			if a, err = r.Append(t.Context(), "Brouillons"); err != nil {
				t.Fatal(err)
			}
		}
		mail := fmt.Sprintf("Subject: Note %d\r\n\r\nTexte %d.\r\n", i, i)
		if err := a.Message(int64(len(mail)), folder.Flags{}, time.Time{}, strings.NewReader(mail)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := a.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"Brouillons": 300, h.top() + "/Coordination": 5, folder.Inbox: 5, h.top(): 1} {
		f, table := openFolder(t, r, name)
		uids := uidsOf(table)
		if len(uids) < want {
			t.Fatalf("%s has %d messages", name, len(uids))
		}
		asked := append([]uint32{1 << 30}, uids...) // one that is not there
		shown := looksThrough(t, f, asked, folder.Whole)
		listed := looksThrough(t, f, asked, folder.Fields)
		for range 2 { // from the store, then from the slab
			if named := looksThrough(t, f, asked, folder.Envelope); !maps.Equal(named, listed) {
				t.Errorf("of %s envelopes say %d messages, fields %d: %.300v", name, len(named), len(listed), named)
			}
		}
		if len(shown) != len(uids) || len(listed) != len(uids) {
			t.Errorf("of %s %d and %d messages were looked at, want %d", name, len(shown), len(listed), len(uids))
		}
		for _, uid := range uids {
			if !strings.HasPrefix(shown[uid], whole(t, f, uid)+"|") || name != h.top() && !strings.HasSuffix(shown[uid], listed[uid]) {
				t.Errorf("message %d of %s looks like %.200q, listed %q", uid, name, shown[uid], listed[uid])
			}
		}
		enough := errors.New("enough")
		err := f.Look(t.Context(), uids, folder.Whole, func(uint32, *folder.Shown, folder.Content) error { return enough })
		if err != enough {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLookTracesWhatWasOpened: what was only listed is not traced as opened.
func TestLookTracesWhatWasOpened(t *testing.T) {
	h := newHouse(t)
	r := h.reads("roux@chu.test", "")
	for i := range 2 {
		h.post(written{from: "moreau@chu.test", to: string(h.child), id: fmt.Sprintf("p%d@chu.test", i), subject: "Suite", text: fmt.Sprint(i)})
	}
	f, table := openFolder(t, r, h.top()+"/Coordination")
	before := len(h.traced(h.child))
	err := f.Look(t.Context(), uidsOf(table), folder.Whole, func(uid uint32, _ *folder.Shown, c folder.Content) error {
		if uid != table.Rows[0].UID {
			return nil
		}
		return c.Copy(new(bytes.Buffer), 0, c.Size())
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if have := fmt.Sprint(h.traced(h.child)[before:]); have != fmt.Sprint([]string{string(ReadOpened), string(ReadListed)}) {
		t.Errorf("traced as %s", have)
	}
}
