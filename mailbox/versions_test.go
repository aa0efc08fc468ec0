package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store"
)

// library is a house where documents are posted and told by short names.
type library struct {
	*house
	n    int
	name map[string]string // MESSAGE/1 of a post → its name
	id   map[string]store.MessageID
}

func newLibrary(t *testing.T) *library {
	h := newHouse(t)
	h.withDesk()
	return &library{house: h, name: map[string]string{}, id: map[string]store.MessageID{}}
}

// send posts a document as Dr Roux, unless told otherwise, and relays it.
func (s *library) send(name string, d cdaDoc, change ...func(*written)) map[store.Address][]arrived {
	s.t.Helper()
	s.n++
	d.id = name
	w := written{from: "roux@chu.test", to: string(s.child), id: fmt.Sprintf("%s-%d@chu.test", name, s.n), subject: "Document " + name, content: carrying(name+".xml", d.xml())}
	for _, c := range change {
		c(&w)
	}
	r, err := s.try(w)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Message != "" {
		s.id[name], s.name[string(r.Message)+"/1"] = r.Message, name
	}
	return s.relay()
}

// story tells what became of every document: "a→b" replaced by, "a†" deleted,
// "(a)" in a post that was withdrawn.
func (s *library) story() string {
	s.t.Helper()
	view := must[ThreadView](s.t)(s.Thread(s.t.Context(), testActor, string(s.child), ""))
	var all []string
	for _, m := range view.Messages {
		for i, d := range m.Documents {
			says := s.name[m.ID+"/1"]
			if i > 0 {
				says += fmt.Sprint("/", i+1)
			}
			if d.ReplacedBy != "" {
				says += "→" + s.name[d.ReplacedBy]
			}
			if d.Deleted != nil {
				says += "†"
			}
			if m.Retracted != nil {
				says = "(" + says + ")"
			}
			all = append(all, says)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (s *library) exportedNow(q ExportRequest) string {
	s.t.Helper()
	x, _ := s.exported(q)
	var all []string
	for _, d := range x.Documents {
		all = append(all, d.Title)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func by(from string) func(*written) { return func(w *written) { w.from = from } }

func versioned(set, version string) cdaDoc {
	return cdaDoc{set: set, version: version, text: "version " + version}
}

func TestVersions(t *testing.T) {
	for _, order := range [][]string{{"1", "2", "3"}, {"1", "3", "2"}, {"2", "1", "3"}, {"2", "3", "1"}, {"3", "1", "2"}, {"3", "2", "1"}} {
		t.Run(strings.Join(order, ""), func(t *testing.T) {
			s := newLibrary(t)
			for _, v := range order {
				if n := notices(s.send("v"+v, versioned("s", v))); n != "" {
					t.Errorf("notices %q", n)
				}
			}
			if got := s.story(); got != "v1→v2 v2→v3 v3" {
				t.Errorf("%q", got)
			}
			if got := s.exportedNow(ExportRequest{}); got != "version 3" {
				t.Errorf("exported %q", got)
			}
			if got := s.exportedNow(ExportRequest{AllVersions: true}); got != "version 1 version 2 version 3" {
				t.Errorf("all versions: %q", got)
			}
			if got := s.exportedNow(ExportRequest{Documents: []string{string(s.id["v1"])}}); got != "version 1" {
				t.Errorf("named: %q", got)
			}
		})
	}
}

func TestVersionViews(t *testing.T) {
	s := newLibrary(t)
	s.send("v1", versioned("s", "1"))
	s.send("v2", versioned("s", "2"))
	first := must[MessageView](t)(s.Message(t.Context(), testActor, string(s.id["v1"]))).Documents[0]
	second := must[MessageView](t)(s.Message(t.Context(), testActor, string(s.id["v2"]))).Documents[0]
	if first.Version != "1" || first.ReplacedBy != string(s.id["v2"])+"/1" || first.Replaces != "" {
		t.Errorf("first %+v", first)
	}
	if second.Version != "2" || second.Replaces != string(s.id["v1"])+"/1" || second.ReplacedBy != "" {
		t.Errorf("second %+v", second)
	}
	// Withdrawn by hand, the new version leaves the old one as it was.
	must[MessageView](t)(s.Retract(t.Context(), testActor, MessageRequest{Message: string(s.id["v2"])}))
	if got := s.story(); got != "(v2) v1" {
		t.Errorf("after the retraction %q", got)
	}
}

// Who may replace what.
func TestWhoReplaces(t *testing.T) {
	other := func(d cdaDoc) cdaDoc { d.author, d.institution = "899900000029", "1990000002"; return d }
	for _, c := range []struct {
		name, want, notices string
		second              cdaDoc
		change              []func(*written)
	}{
		{"the author", "a→b b", "", versioned("s", "2"), nil},
		{"the document named, without a set", "a→b b", "", cdaDoc{replaces: "a", text: "b"}, nil},
		{"a colleague of the same hospital", "a→b b", "", func() cdaDoc { d := versioned("s", "2"); d.author = "899900000037"; return d }(), []func(*written){by("moreau@chu.test")}},
		{"somebody else", "a b", "bernard:not-replaced pon:not-replaced", other(versioned("s", "2")), []func(*written){by("bernard@kine.test")}},
		{"somebody else who writes the author's name", "a b", "bernard:not-replaced pon:not-replaced", versioned("s", "2"), []func(*written){by("bernard@kine.test")}},
		{"the sender for somebody else's document", "a b", "pon:not-replaced roux:not-replaced", other(versioned("s", "2")), nil},
		{"another type under the same set and no word of replacing", "a b", "", func() cdaDoc { d := versioned("s", "2"); d.code = "18748-4"; return d }(), nil},
		{"the same set and version, as some generators write", "a b", "", versioned("s", "1"), nil},
		{"another set", "a b", "", versioned("t", "2"), nil},
		{"an older version", "a b→a", "", versioned("s", "0"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLibrary(t)
			s.send("a", versioned("s", "1"))
			got := s.send("b", c.second, c.change...)
			if story := s.story(); story != c.want {
				t.Errorf("%q, want %q", story, c.want)
			}
			if n := notices(got); n != c.notices {
				t.Errorf("notices %q, want %q", n, c.notices)
			}
			if len(got["simon@chu.test"]) != 1 {
				t.Error("it was not relayed")
			}
		})
	}
}

// The same version sent twice is replaced twice.
func TestSentTwice(t *testing.T) {
	s := newLibrary(t)
	s.send("a", versioned("s", "1"))
	d := versioned("s", "1")
	again := cdaDoc{set: d.set, version: d.version, text: d.text}
	again.id = "a"
	s.send("b", again, func(w *written) { w.content = carrying("a.xml", again.xml()) })
	s.send("c", versioned("s", "2"))
	if got := s.story(); got != "a→c b→c c" {
		t.Errorf("%q", got)
	}
}

// "[Annule et remplace]" is a hint, for whoever sent the first.
func TestCancelsAndReplaces(t *testing.T) {
	pdf := func(name, text string) func(*written) {
		return func(w *written) { w.content = carrying(name, "%PDF-1.4 "+text) }
	}
	answer := func(subject, id string) func(*written) {
		return func(w *written) { w.subject, w.header = subject, []string{"In-Reply-To: <" + id + ">"} }
	}
	const first = "a-1@chu.test"
	for _, c := range []struct {
		name, want string
		change     []func(*written)
	}{
		{"the same file name", "a→b b", []func(*written){pdf("bilan.pdf", "two"), answer("[Annule et remplace] Bilan", first)}},
		{"the only document", "a→b b", []func(*written){pdf("autre.pdf", "two"), answer("Annule et remplace : bilan", first)}},
		{"an answer to such a mail", "a b", []func(*written){pdf("bilan.pdf", "two"), answer("Re: [Annule et remplace] Bilan", first)}},
		{"no answer", "a b", []func(*written){pdf("bilan.pdf", "two"), func(w *written) { w.subject = "[Annule et remplace] Bilan" }}},
		{"somebody else", "a b", []func(*written){pdf("bilan.pdf", "two"), answer("[Annule et remplace] Bilan", first), by("simon@chu.test")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLibrary(t)
			s.send("a", cdaDoc{}, pdf("bilan.pdf", "one"))
			s.send("b", cdaDoc{}, c.change...)
			if got := s.story(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func deleting(d cdaDoc) func(*written) {
	return func(w *written) { w.content = carrying("IHE_XDM.ZIP", xdmWith("D", d)) }
}

func TestDeletion(t *testing.T) {
	doc := cdaDoc{id: "a", set: "s", version: "1", text: "a"}
	t.Run("by its author", func(t *testing.T) {
		s := newLibrary(t)
		s.send("a", doc)
		s.send("other", cdaDoc{text: "other"})
		got := s.send("d", cdaDoc{}, deleting(doc))
		if b := boxes(got); b != "" {
			t.Errorf("what was deleted was relayed again to %q", b)
		}
		if n := notices(got); n != "bernard:retracted cabinet:retracted moreau:retracted simon:retracted" {
			t.Errorf("notices %q", n)
		}
		if story := s.story(); story != "(a†) (d†) other" {
			t.Errorf("%q", story)
		}
		if x := s.exportedNow(ExportRequest{AllVersions: true}); x != "other" {
			t.Errorf("exported %q", x)
		}
	})
	t.Run("before it came", func(t *testing.T) {
		s := newLibrary(t)
		s.send("d", cdaDoc{}, deleting(doc))
		if b := boxes(s.send("a", doc)); b != "" {
			t.Errorf("relayed to %q", b)
		}
		if story := s.story(); story != "(a†) (d†)" {
			t.Errorf("%q", story)
		}
	})
	t.Run("one of several", func(t *testing.T) {
		s := newLibrary(t)
		s.send("a", doc, func(w *written) {
			w.content = carrying("a.xml", doc.xml(), "b.xml", cdaDoc{id: "b", text: "b"}.xml())
		})
		got := s.send("d", cdaDoc{}, deleting(doc))
		if n := notices(got); n != "bernard:document-deleted cabinet:document-deleted moreau:document-deleted simon:document-deleted" {
			t.Errorf("notices %q", n)
		}
		if story := s.story(); story != "(d†) a/2 a†" {
			t.Errorf("%q", story)
		}
		if x := s.exportedNow(ExportRequest{}); x != "b" {
			t.Errorf("exported %q", x)
		}
	})
	t.Run("by somebody else", func(t *testing.T) {
		s := newLibrary(t)
		s.send("a", doc)
		s.send("d", cdaDoc{}, deleting(doc), by("bernard@kine.test"))
		held := s.heldNow()
		if len(held) != 1 || held[0].Reason != reasonRule {
			t.Fatalf("held: %+v", held)
		}
		if story := s.story(); story != "a" {
			t.Errorf("%q", story)
		}
		// Let through by a human, it is a mail like any other.
		must[Receipt](t)(s.Release(t.Context(), testActor, TriageRequest{ID: held[0].ID}))
		if b := boxes(s.relay()); b != "cabinet moreau roux simon" {
			t.Errorf("released to %q", b)
		}
	})
	t.Run("of the last version", func(t *testing.T) {
		s := newLibrary(t)
		s.send("a", doc)
		last := cdaDoc{id: "b", set: "s", version: "2", text: "b"}
		s.send("b", last)
		s.send("d", cdaDoc{}, deleting(last))
		// What its author had replaced does not come back.
		if story := s.story(); story != "(b†) (d†) a→b" {
			t.Errorf("%q", story)
		}
	})
}

// A new version is seen by no more roles than the one it replaces, whichever
// comes first; its rubric follows its own type.
func TestReplacingNeverWidens(t *testing.T) {
	narrow := cdaDoc{set: "s", version: "1", code: "83901-9", text: "bilan psychologique"}
	wide := cdaDoc{set: "s", version: "2", code: "18748-4", replaces: "n", text: "imagerie"}
	t.Run("in order", func(t *testing.T) {
		s := newLibrary(t)
		s.send("n", narrow)
		got := s.send("w", wide)
		if b := boxes(got); b != "moreau simon" {
			t.Errorf("the new version went to %q", b)
		}
		if m := s.message(s.id["w"]); strings.Join(m.Rubrics(), " ") != "imagerie" {
			t.Errorf("filed in %q", m.Rubrics())
		}
	})
	t.Run("as an answer", func(t *testing.T) {
		s := newLibrary(t)
		s.send("n", narrow)
		got := s.send("w", wide, func(w *written) { w.header = []string{"In-Reply-To: <n-1@chu.test>"} })
		if b := boxes(got); b != "moreau simon" {
			t.Errorf("the new version went to %q", b)
		}
		if m := s.message(s.id["w"]); strings.Join(m.Rubrics(), " ") != "imagerie" {
			t.Errorf("filed in %q", m.Rubrics())
		}
	})
	t.Run("the old one last", func(t *testing.T) {
		s := newLibrary(t)
		if b := boxes(s.send("w", wide)); b != allButRoux {
			t.Fatalf("the new version went to %q", b)
		}
		got := s.send("n", narrow)
		if n := notices(got); n != "bernard:retracted cabinet:retracted" {
			t.Errorf("asked to delete: %q", n)
		}
		view := must[ThreadView](t)(s.Thread(t.Context(), testActor, string(s.child), "m4"))
		if len(view.Messages) != 0 {
			t.Errorf("the physiotherapist sees %d messages", len(view.Messages))
		}
		if story := s.story(); story != "n→w w" {
			t.Errorf("%q", story)
		}
	})
	t.Run("secret for parents", func(t *testing.T) {
		s := newLibrary(t)
		s.openToFamilies()
		s.family()
		s.send("a", cdaDoc{set: "s", version: "1", words: []string{"INVISIBLE_PATIENT"}})
		if f := toFamily(s.send("b", versioned("s", "2"))); f != "" {
			t.Errorf("the new version went to %q", f)
		}
	})
}

func TestVersionsOfAMergedPathway(t *testing.T) {
	s := newLibrary(t)
	twin := s.include("", "Martin", "Léa", "2015-03-02")
	s.member(twin, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	s.send("v1", versioned("s", "1"), func(w *written) { w.to = string(twin) })
	s.send("v3", versioned("s", "3"), func(w *written) { w.to = string(twin) })
	s.send("v2", versioned("s", "2"))
	must[PathwayView](t)(s.MergePathways(t.Context(), testActor, string(twin), string(s.child)))
	s.timers()
	view := must[ThreadView](t)(s.Thread(t.Context(), testActor, string(s.child), ""))
	links := map[string]string{}
	names := map[string]string{}
	for _, m := range view.Messages {
		names[m.ID+"/1"] = "v" + m.Documents[0].Version
	}
	for _, m := range view.Messages {
		links["v"+m.Documents[0].Version] = names[m.Documents[0].ReplacedBy]
	}
	if links["v1"] != "v2" || links["v2"] != "v3" || links["v3"] != "" {
		t.Errorf("%v", links)
	}
}

// Where nobody says anything of versions, nothing is looked at; that must be
// where nothing would follow.
func TestVersionsWhereNobodySaysSo(t *testing.T) {
	h := newHouse(t)
	p := h.pathway(h.child)
	check := 0
	rapid.Check(t, func(rt *rapid.T) {
		check++
		named := func(kind string, n int) string { return fmt.Sprintf("%s-%d-%d", kind, check, n) }
		few := rapid.IntRange(0, 2)
		drawn := func() *store.Message {
			m := &store.Message{
				ID: store.MessageID(h.ids.next(h.clock.now())), Pathway: h.child, Kind: store.KindPost, Received: h.clock.now(),
				Author: store.Author{Member: "m1", Mailbox: "roux@chu.test"},
			}
			for range rapid.IntRange(1, 2).Draw(rt, "documents") {
				d := store.Document{SHA256: []byte(named("content", few.Draw(rt, "content")))}
				if rapid.Bool().Draw(rt, "says more") {
					switch few.Draw(rt, "what") {
					case 0:
						d.UniqueID = named("id", few.Draw(rt, "id"))
					case 1:
						d.Replaces = keyOfContent([]byte(named("content", few.Draw(rt, "replaced"))))
					case 2:
						d.SetID, d.Version = named("set", 0), fmt.Sprint(few.Draw(rt, "version"))
					}
					if few.Draw(rt, "action") == 2 {
						d.Action = actionDelete
					}
				}
				m.Documents = append(m.Documents, d)
				m.Keys = addMissing(m.Keys, filedKeys(&d)...)
			}
			return m
		}
		var docs, all []docAt
		first := drawn()
		err := h.store.Commit(t.Context(), func(tx store.Tx) error {
			for range rapid.IntRange(0, 4).Draw(rt, "messages") {
				if err := tx.FileMessage(drawn(), nil, nil); err != nil {
					return err
				}
			}
			var err error
			if docs, err = h.versionsOf(tx, first); err != nil {
				return err
			}
			all, err = h.lineage(tx, first)
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
		if docs != nil {
			return
		}
		chains, refused := chains(p, all)
		for _, c := range chains {
			if len(c) > 1 {
				rt.Fatalf("a version passed over: %+v", c)
			}
		}
		if len(refused) > 0 || len(deletions(all)) > 0 {
			rt.Fatal("a claim passed over")
		}
	})
}

// However often a document came before, taking it again costs the same.
func TestSameDocumentAgainAndAgain(t *testing.T) {
	h := newHouse(t)
	again := func(n int) store.MessageID {
		return h.post(written{from: "roux@chu.test", to: string(h.child), id: fmt.Sprintf("logo-%d@chu.test", n), subject: "Logo", content: attached(1 << 10)})
	}
	m := h.message(again(0))
	err := h.store.Commit(t.Context(), func(tx store.Tx) error {
		for range 2 * maxLineage {
			m.ID, m.RFCID, m.KnownAs, m.Fingerprint = store.MessageID(h.ids.next(h.clock.now())), "", nil, [32]byte{}
			if err := tx.FileMessage(m, nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read := &countedView{}
	h.Hub.store = &countedStore{Store: h.store, seen: read}
	again(1)
	if read.messages > 2 {
		t.Errorf("%d messages read to take one more", read.messages)
	}
}

// countedStore counts the messages read of a store.
type countedStore struct {
	store.Store
	seen *countedView
}

type countedView struct {
	store.View
	messages int
}

func (s *countedStore) View(ctx context.Context, fn func(store.View) error) error {
	return s.Store.View(ctx, func(v store.View) error {
		s.seen.View = v
		return fn(s.seen)
	})
}

func (v *countedView) Message(c store.PathwayCode, id store.MessageID) (*store.Message, error) {
	v.messages++
	return v.View.Message(c, id)
}

func (v *countedView) MessagesOfKey(c store.PathwayCode, key string, limit int) ([]store.MessageID, error) {
	ids, err := v.View.MessagesOfKey(c, key, limit)
	v.messages += len(ids)
	return ids, err
}
