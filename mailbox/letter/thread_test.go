package letter

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestReferences(t *testing.T) {
	long := make([]string, 30)
	for i := range long {
		long[i] = fmt.Sprintf("%d@x", i)
	}
	for _, c := range []struct {
		name  string
		root  string
		chain []string
		want  []string
	}{
		{"root only", "r@x", nil, []string{"r@x"}},
		{"in order", "r@x", []string{"a@x", "b@x"}, []string{"r@x", "a@x", "b@x"}},
		{"root in the chain", "r@x", []string{"r@x", "a@x", "r@x"}, []string{"r@x", "a@x"}},
		{"twice", "r@x", []string{"a@x", "b@x", "a@x"}, []string{"r@x", "b@x", "a@x"}},
		{"last twenty", "r@x", long, append([]string{"r@x"}, long[10:]...)},
		{"invalid", "r@x", []string{"", "a b@x", "a\r\n@x", "é@x", "<<a@x>", strings.Repeat("a", 251), "ok"}, []string{"r@x", "ok"}},
		{"brackets", "r@x", []string{"<a@x>"}, []string{"r@x", "a@x"}},
		{"no root", "", []string{"a@x"}, []string{"a@x"}},
		{"nothing", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := References(c.root, c.chain)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if len(got) > 1 && c.root != "" {
				if again := References(got[0], got[1:]); !slices.Equal(again, got) {
					t.Errorf("not the same again: %q", again)
				}
			}
		})
	}
}

func TestThreadIndex(t *testing.T) {
	at := time.Date(2026, 1, 5, 9, 16, 30, 0, time.UTC)
	root := NewThreadIndex("root@x", at)
	if len(root) != 22 || root[0] != 1 {
		t.Fatalf("% x", root)
	}
	if got := NewThreadIndex("root@x", at.Add(time.Hour)); !bytes.Equal(got[6:], root[6:]) || bytes.Equal(got, root) {
		t.Error("the GUID must follow from the root alone, the time must not")
	}
	if got := NewThreadIndex("other@x", at); bytes.Equal(got[6:], root[6:]) {
		t.Error("two conversations share a GUID")
	}
	// 2026-01-05T09:16:30Z is FILETIME 0x01dc7e23fa25ab00.
	if want := []byte{0x01, 0xdc, 0x7e, 0x23, 0xfa, 0x25}; !bytes.Equal(root[:6], want) {
		t.Errorf("time is % x, want % x", root[:6], want)
	}

	child := ChildThreadIndex(root, at.Add(10*time.Second))
	if len(child) != 27 || !bytes.HasPrefix(child, root) {
		t.Fatalf("% x", child)
	}
	// 10 s are 100,000,000 units; the header dropped 0xab00 of them; >>18 is 381.
	if want := []byte{0, 0, 0x01, 0x7d}; !bytes.Equal(child[22:26], want) {
		t.Errorf("delta is % x, want % x", child[22:26], want)
	}
	late := ChildThreadIndex(root, at.AddDate(3, 0, 0))
	if late[22]&0x80 == 0 {
		t.Error("three years do not set the scale bit")
	}
	if early := ChildThreadIndex(root, at.Add(-time.Hour)); !bytes.Equal(early[22:], make([]byte, 5)) {
		t.Errorf("an answer before its question: % x", early[22:])
	}
	if ChildThreadIndex(root[:21], at) != nil || ChildThreadIndex(nil, at) != nil {
		t.Error("a child of nothing")
	}
	for range 200 {
		child = ChildThreadIndex(child, at.Add(time.Minute))
	}
	if len(child) != threadIndexMax {
		t.Errorf("the index grew to %d bytes", len(child))
	}
	// An index that Exchange wrote: reserved byte, then the time.
	exchange := append([]byte{1}, root[:5]...)
	exchange = append(exchange, root[6:]...)
	if got := ChildThreadIndex(exchange, at.Add(10*time.Second)); got[22] != 0 || got[23] != 0 || got[24] > 3 {
		t.Errorf("delta to an index of Exchange: % x", got[22:])
	}
}

// Answers sort after what they answer, and later ones after earlier ones: that
// is all Outlook does with the field.
func TestThreadIndexSorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(1_700_000_000, 2_500_000_000).Draw(t, "at"), 0)
		index := NewThreadIndex("root", at)
		for range rapid.IntRange(0, 5).Draw(t, "depth") {
			at = at.Add(time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "step")))
			index = ChildThreadIndex(index, at)
		}
		first := ChildThreadIndex(index, at.Add(time.Second))
		second := ChildThreadIndex(index, at.Add(3*time.Second))
		if bytes.Compare(index, first) >= 0 || bytes.Compare(first, second) >= 0 {
			t.Fatalf("% x, % x, % x are not in order", index, first, second)
		}
		guid, raw, ok := ParseThreadIndex(base64.StdEncoding.EncodeToString(second))
		if !ok || !bytes.Equal(raw, second) || !bytes.Equal(guid[:], second[6:22]) {
			t.Fatalf("does not read back")
		}
	})
}

func TestParseThreadIndex(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(NewThreadIndex("r", time.Unix(1767604590, 0)))
	for _, s := range []string{good, " " + good[:10] + "\r\n " + good[10:], strings.TrimRight(good, "=")} {
		if _, _, ok := ParseThreadIndex(s); !ok {
			t.Errorf("%q is not taken", s)
		}
	}
	for _, s := range []string{"", "?", good[:20], good + good, "A" + good, base64.StdEncoding.EncodeToString(make([]byte, 22)), strings.Repeat("A", 1<<20)} {
		if _, _, ok := ParseThreadIndex(s); ok {
			t.Errorf("%.40q is taken", s)
		}
	}
}
