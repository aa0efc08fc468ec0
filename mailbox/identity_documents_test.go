package mailbox

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/rules"
)

// withMissing sets what becomes of a document that says of nobody whose it is.
func (h *house) withMissing(policy string) {
	set := *h.o.Programmes()
	set.Programmes = append([]*rules.Programme(nil), set.Programmes...)
	for i, p := range set.Programmes {
		if p.ID == "pon" {
			with := *p
			with.MissingIdentity = policy
			set.Programmes[i] = &with
		}
	}
	h.o.Programmes = func() *rules.Set { return &set }
}

// Whose a document is: Léa is 279035121518989 under the test OID, MARTIN Léa,
// 2 March 2015.
func TestIdentityOfDocuments(t *testing.T) {
	nobody := cdaDoc{ins: "-", family: "-"}
	byTraits := func(d cdaDoc) cdaDoc { d.ins = "-"; return d }
	xml := func(docs ...cdaDoc) string {
		var files []string
		for i, d := range docs {
			files = append(files, fmt.Sprintf("d%d.xml", i), d.xml())
		}
		return carrying(files...)
	}
	xdm := func(d cdaDoc) string { return carrying("IHE_XDM.ZIP", xdmWith("", d)) }
	tom := cdaDoc{ins: "114076300100140", family: "LEFÈVRE", given: "TOM", birth: "2014-07-12"}
	for _, c := range []struct {
		name, content string
		change        func(*house)
		reason        string // "" filed
	}{
		{"the child's, by INS and traits", xml(cdaDoc{}), nil, ""},
		{"the same INS under the real OID, at a hub for trials", xml(cdaDoc{oid: identity.OIDNIR}), nil, ""},
		{"the same at any other hub", xml(cdaDoc{oid: identity.OIDNIR}), func(h *house) { h.o.Dev = false }, reasonWrongPatient},
		{"an INS written with spaces", xml(cdaDoc{ins: "2 79 03 51 215 189 89"}), nil, ""},
		{"another INS under the right names", xml(cdaDoc{ins: "215036300100177"}), nil, reasonWrongPatient},
		{"the right INS under other names", xml(cdaDoc{family: "DURAND", given: "ZOÉ", birth: "2012-01-01"}), nil, reasonWrongPatient},
		{"another followed child's", xml(tom), nil, reasonWrongPatient},
		{"two children's", xml(cdaDoc{}, tom), nil, reasonTwoPatients},
		{"two children's, neither followed here", xml(tom, cdaDoc{ins: "215036300100177", family: "CARON", given: "ZOÉ", birth: "2016-03-09"}), nil, reasonTwoPatients},
		{"without INS, the traits the child's", xml(byTraits(cdaDoc{})), nil, ""},
		{"without INS, in an archive", xdm(byTraits(cdaDoc{})), nil, ""},
		{"without INS, the traits another's", xml(byTraits(tom)), nil, reasonWrongPatient},
		{"without INS, another birth date", xml(byTraits(cdaDoc{birth: "2015-03-03"})), nil, reasonWrongPatient},
		{"of nobody", xml(nobody), nil, reasonWrongPatient},
		{"of nobody, in an archive", xdm(nobody), nil, reasonWrongPatient},
		{"of nobody, where the programme files them", xml(nobody), func(h *house) { h.withMissing("file") }, ""},
		{"of another child, where the programme files those of nobody", xml(tom), func(h *house) { h.withMissing("file") }, reasonWrongPatient},
		{"a malformed INS and no traits", xml(cdaDoc{ins: "12345", family: "-"}), nil, reasonWrongPatient},
		{"of nobody beside the child's own", xml(cdaDoc{}, nobody), nil, reasonWrongPatient},
		{"a plain attachment has no identity to check", carrying("photo.pdf", "%PDF-1.4"), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			other := h.include("114076300100140", "Lefèvre", "Tom", "2014-07-12")
			h.member(other, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
			if c.change != nil {
				c.change(h)
			}
			r, err := h.try(written{from: "roux@chu.test", to: string(h.child), id: "i1@chu.test", subject: "Document", content: c.content})
			if err != nil || r.Reason != c.reason || (r.Message == "") != (c.reason != "") {
				t.Fatalf("%+v, %v, want %q", r, err, c.reason)
			}
			if b := boxes(h.relay()); c.reason != "" && b != "" {
				t.Errorf("held, and relayed to %q", b)
			}
		})
	}
}

// Corsican numbers have a letter, in documents as in a citizen's address.
func TestCorsicanINS(t *testing.T) {
	const ins = "253072A07300047"
	h := newHouse(t)
	code := h.include(ins, "Leca", "Ange", "2015-07-01")
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	h.member(code, "Mme Leca", "parent", strings.ToLower(ins)+"@patient.mssante.fr", "", "")
	for i, form := range []string{ins, strings.ToLower(ins)} {
		d := cdaDoc{id: fmt.Sprint(i), ins: form, family: "LECA", given: "ANGE", birth: "2015-07-01"}
		h.post(written{from: "roux@chu.test", to: string(code), id: fmt.Sprintf("c%d@chu.test", i), subject: "Document", content: carrying("d.xml", d.xml())})
	}
	for _, m := range must[[]MemberView](t)(h.Team(t.Context(), testActor, string(code), false)) {
		if len(m.Warnings) > 0 || strings.Contains(strings.ToUpper(m.Mailbox), ins) {
			t.Errorf("%+v", m)
		}
	}
}

// No view of the administration shows a whole INS.
func TestINSIsMasked(t *testing.T) {
	const ins = "279035121518989"
	h := newHouse(t)
	h.family()
	h.holdOne()
	code := string(h.child)
	id := h.post(written{from: "roux@chu.test", to: code, id: "i1@chu.test", subject: "Plan", content: carrying("d.xml", cdaDoc{}.xml())})
	h.post(written{from: childBox, to: code, id: "q1@patient.mssante.fr", subject: "Question", text: "x"})
	h.relayWith(func(Job) Outcome { return Outcome{Kind: OutcomeTemporary, Code: 451} })
	ctx := t.Context()
	show := func(name string, view any, err error) {
		t.Helper()
		b, jerr := json.Marshal(view)
		if err != nil || jerr != nil || len(b) < 20 {
			t.Fatalf("%s: %v, %v, %s", name, err, jerr, b)
		}
		if strings.Contains(string(b), ins) {
			t.Errorf("%s shows the INS: %s", name, b)
		}
	}
	pathway, err := h.Pathway(ctx, testActor, code)
	show("pathway show", pathway, err)
	pathways, err := h.Pathways(ctx, testActor, PathwayFilter{})
	show("pathway list", pathways, err)
	team, err := h.Team(ctx, testActor, code, true)
	show("team show", team, err)
	boxes, err := h.Boxes(ctx, testActor, "", 0)
	show("mailbox list", boxes, err)
	thread, err := h.Thread(ctx, testActor, code, "")
	show("thread show", thread, err)
	message, err := h.Message(ctx, testActor, string(id))
	show("message show", message, err)
	queue, err := h.Queue(ctx, testActor, QueueFilter{})
	show("queue list", queue, err)
	held, err := h.TriageList(ctx, testActor)
	show("triage list", held, err)
	story, err := h.Explain(ctx, testActor, code, childBox, strings.NewReader("From: <"+childBox+">\r\nSubject: x\r\n\r\nx\r\n"))
	show("rules explain", story, err)
}

// What is made to do harm is never unpacked beyond its bounds, and held.
func TestMaliciousArchives(t *testing.T) {
	packed := func(entries func(add func(name string, content io.Reader))) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		entries(func(name string, content io.Reader) {
			w, err := z.Create(name)
			if err == nil {
				_, err = io.Copy(w, content)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const folder, metadata = "IHE_XDM/SUBSET01/", "IHE_XDM/SUBSET01/METADATA.XML"
	sound := xdmWith("", cdaDoc{})
	for name, archive := range map[string]func() string{
		"a bomb": func() string {
			return packed(func(add func(string, io.Reader)) {
				add(metadata, strings.NewReader("<x/>"))
				add(folder+"DOC.XML", io.LimitReader(zeros{}, 192<<20))
			})
		},
		"metadata that are the bomb": func() string {
			return packed(func(add func(string, io.Reader)) { add(metadata, io.LimitReader(zeros{}, 64<<20)) })
		},
		"a way out of the folder": func() string {
			return packed(func(add func(string, io.Reader)) {
				add(metadata, strings.NewReader("<x/>"))
				add("../../../../tmp/evil.xml", strings.NewReader(cdaDoc{}.xml()))
			})
		},
		"entities that multiply": func() string {
			return packed(func(add func(string, io.Reader)) {
				text := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">`
				for c := 'b'; c < 'l'; c++ {
					text += fmt.Sprintf(`<!ENTITY %c "%s">`, c, strings.Repeat(fmt.Sprintf("&%c;", c-1), 10))
				}
				add(metadata, strings.NewReader(text+"]><x>&k;</x>"))
			})
		},
		"an entity that reads a file": func() string {
			return packed(func(add func(string, io.Reader)) {
				add(metadata, strings.NewReader(`<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>`))
			})
		},
		"10,000 entries": func() string {
			return packed(func(add func(string, io.Reader)) {
				add(metadata, strings.NewReader("<x/>"))
				for i := range 10000 {
					add(fmt.Sprintf("%sD%05d.XML", folder, i), strings.NewReader("x"))
				}
			})
		},
		"an archive in the archive": func() string {
			return packed(func(add func(string, io.Reader)) {
				add(metadata, strings.NewReader("<x/>"))
				add(folder+"MORE.ZIP", strings.NewReader(sound))
			})
		},
		"a directory cut off": func() string { return sound[:len(sound)-30] },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			w := written{from: "roux@chu.test", to: string(h.child), id: "m1@chu.test", subject: "XDM/1.0/DDM+Document", content: carrying("IHE_XDM.ZIP", archive())}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			r, err := h.try(w)
			runtime.ReadMemStats(&after)
			if err != nil || r.Reason != reasonUnreadable {
				t.Errorf("%+v, %v", r, err)
			}
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 128<<20 || time.Since(begun) > 20*time.Second {
				t.Errorf("%d MiB, %v", spent>>20, time.Since(begun))
			}
			if b := boxes(h.relay()); b != "" {
				t.Errorf("relayed to %q", b)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
