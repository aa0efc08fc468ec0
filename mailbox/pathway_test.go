package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/identity"
)

func includeRequest() IncludeRequest {
	return IncludeRequest{
		Programme: "pon", INS: "279035121518989", INSOID: identity.OIDTestNIR, FamilyName: "Martin", GivenName: "Léa",
		BirthDate: "1979-03-02", Sex: "F", Establishment: "CHU Caen", Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC PON",
	}
}

func TestInclude(t *testing.T) {
	h := openHouse(t)
	ctx := context.Background()
	r := includeRequest()
	r.INSOID = "" // the national NIR
	p := must[PathwayView](t)(h.Include(ctx, testActor, r))
	if !identity.CheckCode(p.ID) || p.Address != p.ID+"@"+testDomain || p.Status != "open" || p.Consent != "recorded" {
		t.Errorf("%+v", p)
	}
	if p.INS != "••••989" {
		t.Errorf("the INS is shown as %q", p.INS)
	}
	if len(p.Warnings) > 0 {
		t.Errorf("warnings %q", p.Warnings)
	}
	_, err := h.Include(ctx, testActor, r)
	wantFailure(t, err, "ins-followed")
	if !strings.Contains(err.(*Failure).Text("fr"), p.ID) {
		t.Error("the pathway is not named")
	}
	r.INSOID = identity.OIDTestNIR // the same number under another OID
	_, err = h.Include(ctx, testActor, r)
	wantFailure(t, err, "ins-followed")
	r.Programme = "nutripac" // another programme may follow the child too
	must[PathwayView](t)(h.Include(ctx, testActor, r))

	// Closed, the number is free again; then the old one may not reopen.
	must[PathwayView](t)(h.ClosePathway(ctx, testActor, StatusChange{Pathway: p.ID, Reason: "fin de suivi"}))
	r.Programme = "pon"
	must[PathwayView](t)(h.Include(ctx, testActor, r))
	_, err = h.ReopenPathway(ctx, testActor, StatusChange{Pathway: p.ID})
	wantFailure(t, err, "ins-followed")
}

func TestIncludeRefusals(t *testing.T) {
	h := openHouse(t)
	for _, c := range []struct {
		name   string
		change func(*IncludeRequest)
		code   string
	}{
		{"programme", func(r *IncludeRequest) { r.Programme = "nope" }, "programme-unknown"},
		{"no name", func(r *IncludeRequest) { r.FamilyName = " - " }, "patient-name"},
		{"month only", func(r *IncludeRequest) { r.BirthDate = "2015-03" }, "birth-date"},
		{"future", func(r *IncludeRequest) { r.BirthDate = "2027-03-02" }, "birth-date"},
		{"sex", func(r *IncludeRequest) { r.Sex = "X" }, "sex"},
		{"short INS", func(r *IncludeRequest) { r.INS = "2790351" }, "ins-form"},
		{"wrong key", func(r *IncludeRequest) { r.INS, r.INSOID = "279035121518988", identity.OIDNIR }, "ins-key"},
		{"OID", func(r *IncludeRequest) { r.INSOID = "1.2.3" }, "ins-oid"},
		{"consent kind", func(r *IncludeRequest) { r.Consent = "yes" }, "consent-kind"},
		{"consent of nobody", func(r *IncludeRequest) { r.ConsentFrom = "" }, "consent-from"},
		{"control character", func(r *IncludeRequest) { r.GivenName = "Lé\x00a" }, "text-form"},
		{"long", func(r *IncludeRequest) { r.Phone = strings.Repeat("1", 300) }, "text-long"},
	} {
		r := includeRequest()
		c.change(&r)
		_, err := h.Include(context.Background(), testActor, r)
		if got := failureCode(err); got != c.code {
			t.Errorf("%s: got %q, want %q", c.name, got, c.code)
		}
	}
	if all := must[[]PathwayView](t)(h.Pathways(context.Background(), testActor, PathwayFilter{})); len(all) != 0 {
		t.Errorf("%d pathways were made all the same", len(all))
	}
}

func TestIncludeWarnings(t *testing.T) {
	h := openHouse(t)
	for _, c := range []struct {
		name   string
		change func(*IncludeRequest)
		want   string
	}{
		{"birth date", func(r *IncludeRequest) { r.BirthDate = "2015-03-02" }, warnINSBirthDate},
		{"sex", func(r *IncludeRequest) { r.INS, r.Sex = "255069900100132", "M" }, warnINSSex},
		{"key of a test INS", func(r *IncludeRequest) { r.INS = "279035121518901" }, warnINSKey},
		{"no INS", func(r *IncludeRequest) { r.INS = "" }, warnNoINS},
		{"no consent", func(r *IncludeRequest) { r.INS, r.Consent = "", "" }, warnNoConsent},
	} {
		r := includeRequest()
		c.change(&r)
		p, err := h.Include(context.Background(), testActor, r)
		if err != nil || !slices.Contains(p.Warnings, c.want) {
			t.Errorf("%s: %v, warnings %q", c.name, err, p.Warnings)
		}
	}
	// The same names and birth date without a number to tell them apart.
	r := includeRequest()
	r.INS, r.FamilyName, r.BirthDate = "", "MARTIN", "2015-03-02"
	p := must[PathwayView](t)(h.Include(context.Background(), testActor, r))
	if !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.HasPrefix(w, warnSameChild+" ") }) {
		t.Errorf("warnings %q", p.Warnings)
	}
}

func TestUpdatePathway(t *testing.T) {
	h := openHouse(t)
	ctx := context.Background()
	p := must[PathwayView](t)(h.Include(ctx, testActor, includeRequest()))
	name, date, bad := "Martin-Petit", "02/03/1979", "2015"
	q := must[PathwayView](t)(h.UpdatePathway(ctx, testActor, PathwayUpdate{Pathway: strings.ToUpper(p.ID), FamilyName: &name, BirthDate: &date}))
	if q.FamilyName != name || q.BirthDate != "1979-03-02" || q.INS != p.INS {
		t.Errorf("%+v", q)
	}
	_, err := h.UpdatePathway(ctx, testActor, PathwayUpdate{Pathway: p.ID, BirthDate: &bad})
	wantFailure(t, err, "birth-date")
	_, err = h.UpdatePathway(ctx, testActor, PathwayUpdate{Pathway: p.ID})
	wantFailure(t, err, "nothing-to-change")
	_, err = h.UpdatePathway(ctx, testActor, PathwayUpdate{Pathway: "bcdfghj", FamilyName: &name})
	if c := failureCode(err); c != "pathway-unknown" && c != "pathway-code" {
		t.Error(c)
	}
}

func TestStatuses(t *testing.T) {
	h := openHouse(t)
	ctx := context.Background()
	p := must[PathwayView](t)(h.Include(ctx, testActor, includeRequest()))
	for _, step := range []struct {
		do   func(context.Context, Actor, StatusChange) (PathwayView, error)
		want string // status, or failure
	}{
		{h.ReopenPathway, "pathway-status-open"},
		{h.SuspendPathway, "suspended"},
		{h.SuspendPathway, "pathway-status-suspended"},
		{h.ReopenPathway, "open"},
		{h.ClosePathway, "closed"},
		{h.SuspendPathway, "pathway-status-closed"},
		{h.ClosePathway, "pathway-status-closed"},
		{h.ReopenPathway, "open"},
	} {
		q, err := step.do(ctx, testActor, StatusChange{Pathway: p.ID, Reason: "essai"})
		if got := q.Status + failureCode(err); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}

// What was posted before a pathway is suspended or closed still goes.
func TestQueuedCopiesOutliveTheStatus(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	for i, do := range []func(context.Context, Actor, StatusChange) (PathwayView, error){h.SuspendPathway, h.ClosePathway} {
		h.post(written{from: "roux@chu.test", to: string(h.child), id: fmt.Sprintf("q%d@chu.test", i), subject: "Bilan", text: "x"})
		must[PathwayView](t)(do(ctx, testActor, StatusChange{Pathway: string(h.child)}))
		if got := h.relay(); boxes(got) != allButRoux || notices(got) != "" {
			t.Errorf("%d: copies %q, notices %q", i, boxes(got), notices(got))
		}
		must[PathwayView](t)(h.ReopenPathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	}
}

func TestListPathways(t *testing.T) {
	h := openHouse(t)
	ctx := context.Background()
	var codes []string
	for _, name := range []string{"Adam", "Blot", "Cauvin", "Duval"} {
		r := includeRequest()
		r.INS, r.FamilyName = "", name
		codes = append(codes, must[PathwayView](t)(h.Include(ctx, testActor, r)).ID)
	}
	lea := must[PathwayView](t)(h.Include(ctx, testActor, includeRequest())).ID
	must[MemberView](t)(h.AddMember(ctx, testActor, MemberRequest{Pathway: codes[2], Name: "Dr Roux", Role: "oncologue", Mailbox: "roux@chu.test"}))
	must[PathwayView](t)(h.ClosePathway(ctx, testActor, StatusChange{Pathway: codes[1]}))
	var all []string
	for _, p := range must[[]PathwayView](t)(h.Pathways(ctx, testActor, PathwayFilter{})) {
		all = append(all, p.ID)
	}
	if want := append(slices.Clone(codes), lea); len(all) != len(want) || !sameSet(all, want) {
		t.Fatalf("listed %q, want %q", all, want)
	}
	for _, c := range []struct {
		f    PathwayFilter
		want []string
	}{
		{PathwayFilter{Limit: 2}, all[:2]},
		{PathwayFilter{After: all[1], Limit: 2}, all[2:4]},
		{PathwayFilter{Status: "closed"}, codes[1:2]},
		{PathwayFilter{Programme: "nutripac"}, nil},
		{PathwayFilter{INS: "2 79 03 51 215 189 89"}, []string{lea}},
		{PathwayFilter{Mailbox: "ROUX@chu.test"}, codes[2:3]},
		{PathwayFilter{Mailbox: "roux@chu.test", INS: "279035121518989"}, nil},
	} {
		var got []string
		for _, p := range must[[]PathwayView](t)(h.Pathways(ctx, testActor, c.f)) {
			got = append(got, p.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.f, got, c.want)
		}
	}
}
