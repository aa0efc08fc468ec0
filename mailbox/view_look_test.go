package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// looksThrough looks at all of a folder and gives subject and content by UID.
func looksThrough(t *testing.T, f folder.Folder, uids []uint32, depth folder.Depth) map[uint32]string {
	t.Helper()
	var mu sync.Mutex
	have := map[uint32]string{}
	err := f.Look(context.Background(), uids, depth, func(uid uint32, m *folder.Shown, c folder.Content) (bool, error) {
		var text bytes.Buffer
		if c != nil {
			if err := c.Copy(&text, 0, c.Size()); err != nil {
				return false, err
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
		return true, nil
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
		err := f.Look(t.Context(), uids, folder.Whole, func(uint32, *folder.Shown, folder.Content) (bool, error) { return false, enough })
		if err != enough {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSearchesAreTraced: what was found is named, of the rest how much was looked
// through; a search that finds nothing leaves its trace too.
func TestSearchesAreTraced(t *testing.T) {
	h := newHouse(t)
	r := h.reads("roux@chu.test", "")
	for i := range 3 {
		h.post(written{from: "moreau@chu.test", to: string(h.child), id: fmt.Sprintf("p%d@chu.test", i), subject: "Suite", text: fmt.Sprint(i)})
	}
	f, table := openFolder(t, r, h.top()+"/Coordination")
	search := func(depth folder.Depth, found uint32) *store.Trace {
		t.Helper()
		before := len(h.traced(h.child))
		var emailID atomic.Pointer[string]
		err := f.Look(t.Context(), uidsOf(table), depth, func(uid uint32, m *folder.Shown, c folder.Content) (bool, error) {
			if uid == found {
				id := strings.TrimPrefix(m.EmailID, "M")
				emailID.Store(&id)
			}
			if c == nil {
				return uid == found, nil
			}
			return uid == found, c.Copy(new(bytes.Buffer), 0, c.Size())
		})
		if err == nil {
			err = f.Settle(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		have := h.traced(h.child)[before:]
		traces := must[AuditPage](t)(h.Audit(t.Context(), testActor, AuditQuery{Pathway: string(h.child), Action: "message."}))
		last := traces.Traces[len(traces.Traces)-1]
		if len(have) != 1 || have[0] != string(ReadSearched) || last.Action != have[0] {
			t.Fatalf("traced as %s", have)
		}
		if want := emailID.Load(); want != nil && last.Object != *want || want == nil && last.Object != "" || len(last.Objects) > 0 {
			t.Errorf("names %q and %q", last.Object, last.Objects)
		}
		return &store.Trace{Detail: last.Detail}
	}
	for depth, in := range map[folder.Depth]string{folder.Envelope: "header", folder.Whole: "content"} {
		for _, uid := range []uint32{table.Rows[1].UID, 0} {
			if have := search(depth, uid); have.Detail["among"] != fmt.Sprint(len(table.Rows)) || have.Detail["in"] != in {
				t.Errorf("detail %v", have.Detail)
			}
		}
	}
}
