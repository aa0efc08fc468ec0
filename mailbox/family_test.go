package mailbox

import (
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// openToFamilies lets the programme of the house give families whatever is
// typed, so that nothing but secrecy keeps anything from them.
func (h *house) openToFamilies() {
	h.t.Helper()
	src, err := fs.ReadFile(configs.Programmes, "programmes/pon.toml")
	if err != nil {
		h.t.Fatal(err)
	}
	src = append(src, `
[[rubric]]
id = "ado"
name = "Ado"
types = ["ADO-1"]
hidden_from_parents = true

[[rule]]
name = "tout pour la famille"
when = 'len(documents) > 0'
to = ["all", "parent"]
`...)
	set, problems := rules.LoadFS(fstest.MapFS{"p/pon.toml": {Data: src}}, "p", rules.LoadOptions{Dev: true})
	for _, p := range problems {
		if !p.Warning {
			h.t.Fatalf("line %d: %s", p.Line, p.ID)
		}
	}
	h.o.Programmes = func() *rules.Set { return set }
}

const childBox = "279035121518989@patient.mssante.fr"

// family gives the house a father, and the child's own box, both with consent.
func (h *house) family() {
	h.t.Helper()
	h.member(h.child, "M. Jean Martin", "parent", "pere@famille.test", "PER", "")
	h.member(h.child, "Famille Martin", "parent", childBox, "", "")
	for _, id := range []string{"m7", "m8", "m9"} {
		must[[]ConsentView](h.t)(h.RecordConsent(h.t.Context(), testActor, ConsentRequest{Pathway: string(h.child), Kind: "oral", From: "mère", By: "IDEC", For: id}))
	}
}

var familyBoxes = []store.Address{"mere@famille.test", "pere@famille.test", childBox}

func toFamily(got map[store.Address][]arrived) string {
	var all []string
	for _, box := range familyBoxes {
		if n := len(got[box]); n > 0 {
			all = append(all, fmt.Sprintf("%s×%d", box.Local()[:4], n))
		}
	}
	return strings.Join(all, " ")
}

const everyParent = "mere×1 pere×1 2790×1"

func TestSecretForParents(t *testing.T) {
	h := newHouse(t)
	h.openToFamilies()
	h.family()
	n := 0
	say := func(from, to, subject, content string, more ...string) (store.MessageID, map[store.Address][]arrived) {
		n++
		id := h.post(written{from: from, to: to, id: fmt.Sprintf("s%d@chu.test", n), subject: subject, content: content, text: "x", header: more})
		return id, h.relay()
	}
	code := string(h.child)
	plan := func(words ...string) string {
		return carrying("plan.xml", cdaDoc{id: fmt.Sprint("p", n), words: words, text: fmt.Sprint("plan ", n)}.xml())
	}
	_, got := say("roux@chu.test", code, "Plan", plan("N"))
	if f := toFamily(got); f != everyParent {
		t.Fatalf("what is not secret went to %q", f)
	}
	first, got := say("roux@chu.test", code, "Suivi", plan("N", "INVISIBLE_REPRESENTANTS_LEGAUX"))
	if f := toFamily(got); f != "" {
		t.Fatalf("a secret document went to %q", f)
	}
	secretID := got["moreau@chu.test"][0].header["message-id"]
	hidden := got["moreau@chu.test"][0]

	for _, c := range []struct {
		name, from, to, subject, content string
		header                           []string
	}{
		{"an answer with an ordinary document", "moreau@chu.test", code, "Re: Suivi", plan("N"), []string{"In-Reply-To: " + secretID}},
		{"an answer filed elsewhere", "moreau@chu.test", code + ".pps", "Re: Suivi", plan("N"), []string{"In-Reply-To: " + secretID}},
		{"one that only refers to it", "moreau@chu.test", code, "Autre chose", plan("N"), []string{"In-Reply-To: <s1@chu.test>", "References: " + secretID + " <s1@chu.test>"}},
		{"an answer by the reply address alone", "moreau@chu.test", strings.Trim(hidden.header["reply-to"], "<>"), "Re: Suivi", plan("N"), nil},
		{"a word of the subject", "moreau@chu.test", code, "Secret parents : plan", plan("N"), nil},
		{"written to a hidden rubric", "moreau@chu.test", code + ".ado", "Plan", plan("N"), nil},
		{"by its type of a hidden rubric", "moreau@chu.test", code, "Plan", carrying("cs.xml", cdaDoc{id: "c", code: "ADO-1"}.xml()), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := say(c.from, c.to, c.subject, c.content, c.header...)
			if f := toFamily(got); f != "" {
				t.Errorf("went to %q", f)
			}
			if len(got["roux@chu.test"]) == 0 && c.from != "roux@chu.test" {
				t.Error("did not reach the oncologist")
			}
		})
	}

	// The same bytes again, without the words that hid them: from a rubric.
	secretPDF := carrying("note.xml", cdaDoc{id: "n", text: "the same file"}.xml())
	say("roux@chu.test", code+".ado", "Note", secretPDF)
	if _, got := say("roux@chu.test", code, "Transmis pour information", secretPDF); toFamily(got) != "" {
		t.Error("a file known as secret went to the family under another subject")
	}
	// Refiled by hand, sent again, exported, read.
	if _, err := h.Refile(t.Context(), testActor, MessageRequest{Message: string(first), Rubrics: []string{"coordination"}}); err != nil {
		t.Fatal(err)
	}
	if f := toFamily(h.relay()); f != "" {
		t.Errorf("refiled, it went to %q", f)
	}
	for _, id := range []string{"m7", "m9"} {
		_, err := h.Resend(t.Context(), testActor, MessageRequest{Message: string(first), Members: []string{id}})
		wantFailure(t, err, "member-not-entitled")
	}
	view := must[ThreadView](t)(h.Thread(t.Context(), testActor, code, "m7"))
	if len(view.Messages) != 1 {
		t.Errorf("the mother sees %d messages of the thread, want the first alone", len(view.Messages))
	}
	s, _ := h.exported(ExportRequest{As: "m8"})
	if len(s.Documents) != 1 {
		t.Errorf("exported as the father: %d documents", len(s.Documents))
	}
}

// Put into a hidden rubric by hand, a message goes with its answers: the
// family is asked to delete what it got, and gets no more.
func TestHiddenAfterwards(t *testing.T) {
	h := newHouse(t)
	h.openToFamilies()
	h.family()
	code := string(h.child)
	first := h.post(written{from: "roux@chu.test", to: code, id: "a1@chu.test", subject: "Plan", content: carrying("a.xml", cdaDoc{id: "a"}.xml())})
	if f := toFamily(h.relay()); f != everyParent {
		t.Fatalf("went to %q", f)
	}
	h.post(written{from: "moreau@chu.test", to: code, id: "a2@chu.test", subject: "Re: Plan", header: []string{"In-Reply-To: <a1@chu.test>"}, content: carrying("b.xml", cdaDoc{id: "b"}.xml())})
	// The answer is still in the queue.
	if _, err := h.Refile(t.Context(), testActor, MessageRequest{Message: string(first), Rubrics: []string{"ado"}}); err != nil {
		t.Fatal(err)
	}
	got := h.relay()
	for _, box := range familyBoxes {
		if len(got[box]) != 1 || got[box][0].header["x-relais-kind"] != noticeRetracted {
			t.Errorf("%s… got %s", box[:4], notices(got))
		}
	}
	if len(got["roux@chu.test"]) != 1 {
		t.Error("the answer did not reach the team")
	}
	// There is no way back.
	if _, err := h.Refile(t.Context(), testActor, MessageRequest{Message: string(first), Rubrics: []string{"pps"}}); err != nil {
		t.Fatal(err)
	}
	if f := toFamily(h.relay()); f != "" {
		t.Errorf("refiled out of the hidden rubric, it went to %q", f)
	}
}

// A nurse who shares a box with a parent gets nothing there that is secret.
func TestBoxSharedWithAParent(t *testing.T) {
	h := newHouse(t)
	h.openToFamilies()
	h.family()
	h.member(h.child, "Mme Sophie Martin, infirmière", "infirmier", "mere@famille.test", "", "")
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Secret parents", text: "x"})
	if f := toFamily(h.relay()); f != "" {
		t.Errorf("went to %q", f)
	}
}

// checks has a property tried n times, and a hundred where time does not count:
// a house a try is slow.
func checks(t *testing.T, n int) {
	t.Helper()
	if os.Getenv("RELAIS_LONG") != "" {
		return
	}
	f := flag.Lookup("rapid.checks")
	old := f.Value.String()
	if err := f.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) })
}

// TestNothingSecretReachesTheFamily does to random messages whatever can be
// done, and looks at everything the family could see.
func TestNothingSecretReachesTheFamily(t *testing.T) {
	const secretMark = "JARDIN" // in whatever is secret, and nowhere else
	checks(t, 8)
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t)
		h.openToFamilies()
		h.family()
		other := h.second()
		h.member(other, "Mme Sophie Martin", "parent", "mere@famille.test", "", "")
		var (
			ids     []store.MessageID // still there
			rfc     = map[store.MessageID]string{}
			secrets = map[store.MessageID]bool{}
			docs    = map[store.MessageID]string{}
		)
		pick := func(label string) store.MessageID { return rapid.SampledFrom(ids).Draw(rt, label) }
		check := func() {
			for _, box := range familyBoxes {
				for _, m := range h.relayed(box) {
					if strings.Contains(m.raw, secretMark) || m.header["x-relais-kind"] == "" && secrets[m.delivery.Message] {
						rt.Fatalf("the family got something secret:\n%s", m.raw)
					}
				}
			}
		}
		for i := range rapid.IntRange(3, 14).Draw(rt, "steps") {
			how := rapid.SampledFrom([]string{"post", "post", "answer", "answer", "again", "refile", "resend", "move", "retract", "author", "time"}).Draw(rt, "how")
			if len(ids) == 0 {
				how = "post"
			}
			switch how {
			case "post", "answer", "again":
				from := rapid.SampledFrom([]string{"roux@chu.test", "moreau@chu.test", "simon@chu.test", "mere@famille.test"}).Draw(rt, "from")
				w := written{from: from, to: string(h.child), id: fmt.Sprintf("m%d@chu.test", i), subject: fmt.Sprint("Suivi ", i)}
				if rubric := rapid.SampledFrom([]string{"", "", ".pps", ".ado", ".coordination"}).Draw(rt, "rubric"); rubric != "" {
					w.to += rubric
				}
				d := cdaDoc{id: fmt.Sprint("d", i), code: rapid.SampledFrom([]string{"18776-5", "18748-4", "ADO-1"}).Draw(rt, "code"), text: fmt.Sprint("texte ", i)}
				isSecret := strings.HasSuffix(w.to, ".ado")
				if how != "post" {
					of := pick("of")
					isSecret = isSecret || secrets[of]
					if how == "answer" {
						w.header = []string{"In-Reply-To: <" + rfc[of] + ">"}
					} else if docs[of] != "" {
						w.content = carrying("doc.xml", docs[of])
						docs[store.MessageID(w.id)] = docs[of]
					}
				}
				if rapid.Bool().Draw(rt, "label") {
					d.words = []string{rapid.SampledFrom([]string{"N", "R", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX", "MASQUE_PT"}).Draw(rt, "word")}
				}
				if w.content == "" { // a document of its own
					isSecret = isSecret || d.code == "ADO-1" || len(d.words) > 0 && len(d.words[0]) > 1
				}
				if rapid.IntRange(0, 3).Draw(rt, "marked") == 0 {
					w.subject += ", secret parents"
					isSecret = true
				}
				if isSecret {
					w.subject += " " + secretMark
				}
				xml := docs[store.MessageID(w.id)]
				if w.content == "" {
					if isSecret {
						d.text += " " + secretMark
					}
					xml = d.xml()
					w.content = carrying("doc.xml", xml)
				}
				r, err := h.try(w)
				if err != nil {
					rt.Fatal(err)
				}
				if r.Held != "" || r.Duplicate {
					continue
				}
				ids = append(ids, r.Message)
				rfc[r.Message], secrets[r.Message], docs[r.Message] = w.id, isSecret, xml
			case "refile":
				of, to := pick("of"), rapid.SampledFrom([]string{"pps", "ado", "imagerie"}).Draw(rt, "to")
				_, err := h.Refile(t.Context(), testActor, MessageRequest{Message: string(of), Rubrics: []string{to}})
				if to == "ado" && err == nil {
					check() // what left before this is not secret yet
					h.markBelow(of, secrets)
				}
			case "resend":
				_, _ = h.Resend(t.Context(), testActor, MessageRequest{Message: string(pick("of")), Members: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"m1", "m7", "m8", "m9"}), 0, 2, rapid.ID[string]).Draw(rt, "to")})
			case "move":
				of := pick("of")
				v, err := h.MoveMessage(t.Context(), testActor, MessageRequest{Message: string(of), Pathway: string(other)})
				if err == nil && v.HeldAs == "" {
					secrets[store.MessageID(v.ID)] = secrets[of]
					ids = slices.DeleteFunc(ids, func(id store.MessageID) bool { return id == of })
				}
			case "retract":
				_, _ = h.Retract(t.Context(), testActor, MessageRequest{Message: string(pick("of"))})
			case "author":
				_, _ = h.SetAuthor(t.Context(), testActor, MessageRequest{Message: string(pick("of")), Member: rapid.SampledFrom([]string{"m1", "m7", "m9"}).Draw(rt, "to")})
			case "time":
				check()
			}
		}
		check()
		for _, id := range []string{"m7", "m8", "m9"} {
			view, err := h.Thread(t.Context(), testActor, string(h.child), id)
			if err != nil {
				rt.Fatal(err)
			}
			for _, m := range view.Messages {
				if secrets[store.MessageID(m.ID)] || strings.Contains(m.Subject, secretMark) {
					rt.Fatalf("%s sees %q in the thread", id, m.Subject)
				}
			}
			r, err := h.Export(t.Context(), testActor, ExportRequest{Pathway: string(h.child), As: id})
			if err != nil {
				continue // nothing to export
			}
			x, err := h.exportedTitles(r)
			if err != nil || strings.Contains(x, secretMark) {
				rt.Fatalf("exported as %s: %s (%v)", id, x, err)
			}
		}
	})
}

// relayed gives what a box gets now; what others get meanwhile is kept for them.
func (h *house) relayed(box store.Address) []arrived {
	for addr, ms := range h.relay() {
		h.sent[addr] = append(h.sent[addr], ms...)
	}
	got := h.sent[box]
	delete(h.sent, box)
	return got
}

// markBelow notes that a message is secret from now on, with all that answers
// it or carries its documents, as the test's own reading of the thread has it.
func (h *house) markBelow(of store.MessageID, secrets map[store.MessageID]bool) {
	view, err := h.Thread(h.t.Context(), testActor, string(h.child), "")
	if err != nil {
		h.t.Fatal(err)
	}
	sums := map[string]bool{}
	for _, m := range view.Messages {
		below := m.ID == string(of) || secrets[store.MessageID(m.Parent)] && m.Parent != ""
		for _, d := range m.Documents {
			below = below || sums[d.SHA256]
		}
		if !below {
			continue
		}
		secrets[store.MessageID(m.ID)] = true
		for _, d := range m.Documents {
			sums[d.SHA256] = true
		}
	}
}

func (h *house) exportedTitles(r io.ReadCloser) (string, error) {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	return titlesOf(b)
}

func TestCitizenBoxIsOfTheFamily(t *testing.T) {
	h := newHouse(t)
	_, err := h.AddMember(t.Context(), testActor, MemberRequest{Pathway: string(h.child), Name: "Mme Martin", Role: "infirmier", Mailbox: childBox})
	wantFailure(t, err, "citizen-role")
	box := childBox
	_, err = h.UpdateMember(t.Context(), testActor, MemberUpdate{Pathway: string(h.child), Member: "m4", Mailbox: &box})
	wantFailure(t, err, "citizen-role")
}

// checkMarks looks at all messages that a test left: what is marked is found by
// the mark.
func checkMarks(t testing.TB, s store.Store) {
	t.Helper()
	if _, benchmark := t.(*testing.B); benchmark {
		return
	}
	err := s.View(context.Background(), func(v store.View) error {
		pathways, err := v.Pathways("", 0)
		if err != nil {
			return err
		}
		for _, p := range pathways {
			thread, err := v.Thread(p.Code, 0, 0)
			if err != nil {
				return err
			}
			for _, m := range thread {
				for _, key := range m.Keys {
					if m.Audience.HiddenFromParents && strings.HasPrefix(key, keyContent) && !slices.Contains(m.Keys, keySecret+key) {
						t.Errorf("message %s is secret for parents, and not found to be", m.ID)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
