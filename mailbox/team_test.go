package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

func (h *house) pathway(code store.PathwayCode) *store.Pathway {
	h.t.Helper()
	var p *store.Pathway
	err := h.store.View(context.Background(), func(v store.View) (err error) {
		p, err = v.Pathway(code)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func TestAddMember(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	base := MemberRequest{Pathway: string(h.child), Name: "M. Jean Le Goff", Role: "pediatre", Mailbox: "legoff@chg.test"}
	for _, c := range []struct {
		name   string
		change func(*MemberRequest)
		code   string
	}{
		{"role", func(r *MemberRequest) { r.Role = "roi" }, "role-unknown"},
		{"no name", func(r *MemberRequest) { r.Name = " " }, "member-name"},
		{"no address", func(r *MemberRequest) { r.Mailbox = "legoff" }, "mailbox-form"},
		{"address with name", func(r *MemberRequest) { r.Mailbox = "Le Goff <legoff@chg.test>" }, "mailbox-form"},
		{"8-bit address", func(r *MemberRequest) { r.Mailbox = "légoff@chg.test" }, "mailbox-form"},
		{"header injection", func(r *MemberRequest) { r.Mailbox = "a@chg.test\r\nBcc: x@y.test" }, "mailbox-form"},
		{"the hub's own", func(r *MemberRequest) { r.Mailbox = "x@PARCOURS.test" }, "mailbox-own"},
		{"sending from the hub's own", func(r *MemberRequest) { r.AlsoFrom = []string{"x@parcours.test"} }, "mailbox-own"},
		{"type", func(r *MemberRequest) { r.Type = "XXX" }, "box-type-unknown"},
		{"another type for the box", func(r *MemberRequest) { r.Mailbox, r.Type = "cabinet@idel.test", "PER" }, "box-type"},
		{"a citizen's box of another type", func(r *MemberRequest) { r.Mailbox, r.Type = "279035121518989@patient.mssante.fr", "ORG" }, "box-citizen"},
		{"rpps", func(r *MemberRequest) { r.RPPS = "12" }, "rpps"},
		{"phone", func(r *MemberRequest) { r.Phone = "poste 12" }, "phone"},
		{"twice", func(r *MemberRequest) { r.Name, r.Mailbox = "dr  anne ROUX", "Roux@chu.test" }, "member-exists"},
		{"pathway", func(r *MemberRequest) { r.Pathway = "" }, "pathway-missing"},
	} {
		r := base
		c.change(&r)
		_, err := h.AddMember(ctx, testActor, r)
		if got := failureCode(err); got != c.code {
			t.Errorf("%s: got %q, want %q", c.name, got, c.code)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*MemberRequest)
		want   string
		state  string
	}{
		{"teacher", func(r *MemberRequest) { r.Role = "enseignant" }, warnPending, "pending"},
		{"same name in one box", func(r *MemberRequest) { r.Name, r.Mailbox = "Petit", "cabinet@idel.test" }, warnSameName + " m5", "active"},
		{"second person in a personal box", func(r *MemberRequest) { r.Mailbox = "roux@chu.test" }, warnPersonalBox + " m1", "active"},
		{"outside the trusted space", func(r *MemberRequest) { r.Mailbox = "x@mail.outside" }, warnUnlisted + " mail.outside", "active"},
		{"another person's Mon espace santé", func(r *MemberRequest) { r.Role, r.Mailbox = "parent", "255069900100132@patient.mssante.fr" }, warnOtherCitizen, "pending"},
		{"sends from another's box", func(r *MemberRequest) { r.Name, r.Mailbox, r.AlsoFrom = "Z", "z@chg.test", []string{"moreau@chu.test"} }, warnAlsoBox + " m2", "active"},
		{"rpps key", func(r *MemberRequest) { r.Name, r.RPPS = "Dr Key", "10003456789" }, warnRPPS, "active"},
	} {
		r := base
		c.change(&r)
		m, err := h.AddMember(ctx, testActor, r)
		if err != nil || !slices.Contains(m.Warnings, c.want) || m.State != c.state {
			t.Errorf("%s: %v, %s, warnings %q", c.name, err, m.State, m.Warnings)
		}
	}
	m := must[MemberView](t)(h.AddMember(ctx, testActor, MemberRequest{Pathway: string(h.child), Name: "Mère", Role: "parent", Mailbox: "279035121518989@patient.mssante.fr"}))
	if m.Mailbox != "boîte de l'enfant (••••989)" || m.Type != "MES" || slices.Contains(m.Warnings, warnOtherCitizen) {
		t.Errorf("%+v", m)
	}
}

// A member who comes back has the same id and two periods.
func TestMemberComesBack(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	h.clock.advance(time.Hour)
	left := must[MemberView](t)(h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: "M4", Reason: "mutation"}))
	if left.State != "left" || left.Periods[0].To == nil {
		t.Errorf("%+v", left)
	}
	_, err := h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: "m4"})
	wantFailure(t, err, "member-left")
	_, err = h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: "m99"})
	wantFailure(t, err, "member-unknown")
	h.clock.advance(time.Hour)
	back := must[MemberView](t)(h.AddMember(ctx, testActor, MemberRequest{Pathway: code, Name: "M Luc BERNARD", Role: "kinesitherapeute", Mailbox: "bernard@kine.test"}))
	if back.Member == "m4" { // "M." and "M" fold alike
		if len(back.Periods) != 2 || back.State != "active" {
			t.Errorf("%+v", back)
		}
	} else {
		t.Errorf("came back as %s", back.Member)
	}
	if now, ever := must[[]MemberView](t)(h.Team(ctx, testActor, code, false)), must[[]MemberView](t)(h.Team(ctx, testActor, code, true)); len(now) != 7 || len(ever) != 7 {
		t.Errorf("%d now, %d ever", len(now), len(ever))
	}
}

// Who leaves gets nothing that is still in the queue; who shares the box does.
func TestRemovalCancelsCopies(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "q1@chu.test", subject: "Bilan", text: "x"})
	must[MemberView](t)(h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: string(h.child), Member: "m4"}))
	must[MemberView](t)(h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: string(h.child), Member: "m5"}))
	if left := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{Mailbox: "bernard@kine.test"})); len(left) != 0 {
		t.Errorf("still queued: %+v", left)
	}
	if got := boxes(h.relay()); got != "cabinet moreau simon" {
		t.Errorf("copies to %q", got)
	}
}

// A new mailbox takes over what waits for the old one, and what the hub once
// wrote as an address of the old one still works.
func TestMemberChangesBox(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "q1@chu.test", subject: "Bilan", text: "x"})
	old := h.replyAddress(h.child, "bernard@kine.test")
	box := "luc.bernard@nouveau.test"
	m := must[MemberView](t)(h.UpdateMember(ctx, testActor, MemberUpdate{Pathway: string(h.child), Member: "m4", Mailbox: &box}))
	if m.Member != "m4" || m.Mailbox != box || !slices.Contains(m.Warnings, warnRequeued+" 1") {
		t.Errorf("%+v", m)
	}
	if got := boxes(h.relay()); got != "cabinet luc.bernard moreau simon" {
		t.Errorf("copies to %q", got)
	}
	env := Envelope{MailFrom: "bernard@kine.test"}
	if r, err := h.Recipient(ctx, &env, old); err != nil || r.Box != "bernard@kine.test" {
		t.Errorf("the old reply address: %+v, %v", r, err)
	}
	own := "x@" + testDomain
	_, err := h.UpdateMember(ctx, testActor, MemberUpdate{Pathway: string(h.child), Member: "m4", Mailbox: &own})
	wantFailure(t, err, "mailbox-own")
	name, other := "Mme Inès Moreau", "moreau@chu.test"
	_, err = h.UpdateMember(ctx, testActor, MemberUpdate{Pathway: string(h.child), Member: "m4", Name: &name, Mailbox: &other})
	wantFailure(t, err, "member-exists")
}

// Whatever is done to a team: ids count up and are never used again, nobody's
// history is lost, periods follow one another, only the last may last, and
// whoever is active is found exactly once under name and box.
func TestTeamHistory(t *testing.T) {
	h := New(Options{Domain: testDomain})
	prog := &rules.Programme{ID: "pon", Roles: []rules.Role{{ID: "pediatre", CareTeam: true}}}
	rapid.Check(t, func(rt *rapid.T) {
		p := &store.Pathway{Code: "testing"}
		at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
		var before []store.Member
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "wait")) * time.Minute)
			id := fmt.Sprintf("m%d", rapid.IntRange(1, 6).Draw(rt, "member"))
			name := rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, "name")
			box := rapid.SampledFrom([]string{"x@chu.test", "y@chu.test"}).Draw(rt, "box")
			next := *p // as an operation does: kept only if it is done
			next.Members = slices.Clone(p.Members)
			m, err := memberNamed(&next, id)
			switch rapid.IntRange(0, 2).Draw(rt, "step") {
			case 0:
				var n *store.Member
				if n, _, err = h.newMember(prog, MemberRequest{Name: name, Role: "pediatre", Mailbox: box}); err == nil {
					_, err = admit(&next, n, at)
				}
			case 1:
				if err == nil {
					leave(m, at, "")
				}
			case 2:
				if err == nil {
					_, _, err = h.amend(&next, prog, m, MemberUpdate{Mailbox: &box, Name: &name}, "")
				}
			}
			if c := failureCode(err); strings.HasPrefix(c, "fault") {
				rt.Fatal(c)
			}
			if err == nil {
				p = &next
			}
			checkHistory(rt, before, p.Members, at)
			before = p.Members
		}
	})
}

func checkHistory(t *rapid.T, before, now []store.Member, at time.Time) {
	if len(now) < len(before) || len(now) > len(before)+1 {
		t.Fatalf("%d members became %d", len(before), len(now))
	}
	who := map[string]bool{}
	for i, m := range now {
		if m.ID != store.MemberID(fmt.Sprintf("m%d", i+1)) {
			t.Fatalf("member %d is %s", i+1, m.ID)
		}
		for j, p := range m.Periods {
			last := j == len(m.Periods)-1
			if p.From.After(at) || !last && p.To.IsZero() || !p.To.IsZero() && p.To.Before(p.From) || j > 0 && p.From.Before(m.Periods[j-1].To) {
				t.Fatalf("%s: periods %v", m.ID, m.Periods)
			}
		}
		if key := m.Name + string(m.Mailbox); who[key] {
			t.Fatalf("%s stands twice", key)
		} else {
			who[key] = true
		}
		if i < len(before) {
			old := before[i]
			if len(m.Periods) < len(old.Periods) || !m.Periods[len(old.Periods)-1].From.Equal(old.Periods[len(old.Periods)-1].From) {
				t.Fatalf("%s lost history: %v became %v", m.ID, old.Periods, m.Periods)
			}
			if old.Mailbox != m.Mailbox && !slices.Contains(m.Former, old.Mailbox) {
				t.Fatalf("%s lost its former box", m.ID)
			}
		}
	}
}

func TestImportTeam(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	table := "\xef\xbb\xbfNom;Rôle;Boîte;Type;Établissement;Aussi;Tél.\r\n" +
		"Dr Anne Roux;oncologue;roux@chu.test;;;\r\n" +
		"\"Mme Zoé Blin\";dieteticien;blin@chg.test;PER;CHG Lisieux;zoe@chg.test, z.blin@chg.test;02.00.00.00.07\r\n\r\n" +
		"M. Éric Faure;enseignant;faure@ecole.test;;;\r\n"
	dry := must[[]MemberView](t)(h.ImportTeam(ctx, testActor, code, strings.NewReader(table), true))
	if n := len(h.pathway(h.child).Members); n != 7 || len(dry) != 3 {
		t.Errorf("a dry run left %d members and showed %d", n, len(dry))
	}
	latin := strings.NewReplacer("ô", "\xf4", "î", "\xee", "É", "\xc9", "é", "\xe9").Replace(strings.TrimPrefix(table, "\xef\xbb\xbf"))
	got := must[[]MemberView](t)(h.ImportTeam(ctx, testActor, code, strings.NewReader(latin), false))
	if len(got) != 3 || !slices.Contains(got[0].Warnings, warnAlready) || got[1].Name != "Mme Zoé Blin" || got[1].Phone != "02 00 00 00 07" || len(got[1].AlsoFrom) != 2 || got[2].State != "pending" {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct{ table, code string }{
		{"", "import-empty"},
		{"name,role,mailbox\n", "import-empty"},
		{"name,role\nA,pediatre\n", "import-columns"},
		{"name,role,mailbox\n\"A,pediatre,a@chg.test\n", "import-form"},
		{"name,role,mailbox\nA,pediatre,a@chg.test\nB,roi,b@chg.test\n", "import-line"},
		{strings.Repeat("x", maxTeamFile+1), "import-size"},
		{"name,role,mailbox\n" + strings.Repeat("A,pediatre,a@chg.test\n", maxTeamRows+1), "import-size"},
	} {
		_, err := h.ImportTeam(ctx, testActor, code, strings.NewReader(c.table), false)
		if got := failureCode(err); got != c.code {
			t.Errorf("got %q, want %q", got, c.code)
		}
	}
	if n := len(h.pathway(h.child).Members); n != 9 {
		t.Errorf("a refused table left %d members", n)
	}
}

func FuzzTeamTable(f *testing.F) {
	f.Add([]byte("Nom;Rôle;Boîte\nA;pediatre;a@chg.test\n"))
	f.Add([]byte("name\trole\tmailbox\n\"A\"\"\tx\n"))
	f.Add([]byte("\xff,\xfe\n,,,\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		rows, err := readTeam(strings.NewReader(string(table)))
		if c := failureCode(err); strings.HasPrefix(c, "fault") {
			t.Fatal(c)
		}
		if err == nil && (len(rows) == 0 || len(rows) > maxTeamRows) {
			t.Fatalf("%d rows", len(rows))
		}
	})
}

func TestBoxes(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	b := must[BoxView](t)(h.Box(ctx, testActor, "Cabinet@idel.test"))
	if b.Type != "ORG" || !b.CopyBack || b.Software || len(b.Members) != 2 || !slices.Equal(b.Pathways, []string{string(h.child)}) {
		t.Errorf("%+v", b)
	}
	yes, no, name := true, false, "Cabinet infirmier du Port"
	b = must[BoxView](t)(h.UpdateBox(ctx, testActor, BoxUpdate{Mailbox: "cabinet@idel.test", Software: &yes, CopyBack: &no, Name: &name}))
	if !b.Software || b.CopyBack || b.Name != name {
		t.Errorf("%+v", b)
	}
	_, err := h.UpdateBox(ctx, testActor, BoxUpdate{Mailbox: "cabinet@idel.test"})
	wantFailure(t, err, "nothing-to-change")
	_, err = h.Box(ctx, testActor, "x@y.test")
	wantFailure(t, err, "mailbox-unknown")
	all := must[[]BoxView](t)(h.Boxes(ctx, testActor, "", 0))
	var paged []BoxView
	for after := ""; ; {
		page := must[[]BoxView](t)(h.Boxes(ctx, testActor, after, 2))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		after = page[len(page)-1].Mailbox
	}
	if len(all) != 6 || len(paged) != 6 || paged[5].Mailbox != all[5].Mailbox {
		t.Errorf("%d boxes, %d by pages", len(all), len(paged))
	}
}
