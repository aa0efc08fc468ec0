package mailbox

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// cdaOf is a document of the type 18748-4 about somebody: "INS|NOM|Prénom|date",
// parts left out by leaving them empty.
func cdaOf(who string) string {
	part := strings.Split(who+"|||", "|")
	id := `<id nullFlavor="NI"/>`
	if part[0] != "" {
		id = `<id root="` + identity.OIDTestNIR + `" extension="` + part[0] + `"/>`
	}
	patient := ""
	if part[1] != "" {
		patient = fmt.Sprintf(`<patient><name><family qualifier="BR">%s</family><given qualifier="BR">%s</given></name><birthTime value="%s"/></patient>`, part[1], part[2], part[3])
	}
	return `<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument xmlns="urn:hl7-org:v3"><id root="2.25.9"/>` +
		`<code code="18748-4" codeSystem="2.16.840.1.113883.6.1"/><title>IRM</title>` +
		`<recordTarget><patientRole>` + id + patient + `</patientRole></recordTarget></ClinicalDocument>`
}

func cdaAttached(who string) string {
	return attachment("cr.xml", "text/xml", base64.StdEncoding.EncodeToString([]byte(cdaOf(who))))
}

// receipt gives the one receipt among what a box got, or fails.
func (h *house) receipt(got map[store.Address][]arrived, box store.Address) *arrived {
	h.t.Helper()
	var found *arrived
	for i := range got[box] {
		if m := &got[box][i]; m.header["x-relais-kind"] == noticeReceipt {
			if found != nil {
				h.t.Fatal("two receipts")
			}
			found = m
		}
	}
	return found
}

const lea = "279035121518989|MARTIN|LÉA|20150302"

// A post that asks for a receipt gets one, whatever becomes of it: processed
// when filed, processed/error with the national code when held.
func TestReceipts(t *testing.T) {
	zip := attachment("IHE_XDM.ZIP", "application/zip", base64.StdEncoding.EncodeToString([]byte("PK\x03\x04 broken")))
	for _, c := range []struct {
		name, from, to, subject, content string
		reason, code                     string
	}{
		{"filed", "roux@chu.test", "", "XDM/1.0/DDM+IRM MARTIN LÉA", cdaAttached(lea), "", ""},
		{"somebody unknown", "inconnu@chg.test", "", "Bilan", "", reasonUnknownSender, "901"},
		{"another child's INS", "roux@chu.test", "", "XDM/1.0/DDM+IRM", cdaAttached("288091234567823|ESSAI|ZOÉ|20160101"), reasonWrongPatient, "904"},
		{"the child's INS, another's name", "roux@chu.test", "", "IRM", cdaAttached("279035121518989|ESSAI|ZOÉ|20160101"), reasonWrongPatient, "904"},
		{"of nobody", "roux@chu.test", "", "IRM", cdaAttached(""), reasonWrongPatient, "903"},
		{"an archive that cannot be read", "roux@chu.test", "", "XDM/1.0/DDM+IRM", zip, reasonUnreadable, "906"},
		{"another child's tag", "roux@chu.test", "", "[PON TAG] Bilan", "", reasonConflicting, "906"},
		{"to the programme, of a child not followed", "roux@chu.test", "pon", "IRM", cdaAttached("288091234567823|ESSAI|ZOÉ|20160101"), reasonNoPathway, "902"},
		{"to the programme, without INS", "roux@chu.test", "pon", "IRM", cdaAttached("|MARTIN|LÉA|20150302"), reasonNoPathway, "903"},
		{"to the programme, a plain mail", "roux@chu.test", "pon", "Bonjour", "", reasonNoPathway, "902"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			to := string(h.child)
			if c.to != "" {
				to = c.to
			}
			other := string(h.second())
			subject := strings.Replace(c.subject, "TAG", other, 1)
			r, err := h.try(written{
				from: c.from, to: to, id: "a1@chu.test", subject: subject, text: "x", content: c.content,
				header: []string{"Disposition-Notification-To: <" + c.from + ">"},
			})
			if err != nil || r.Reason != c.reason {
				t.Fatalf("%+v, %v", r, err)
			}
			m := h.receipt(h.relay(), store.NewAddress(c.from))
			if m == nil {
				t.Fatal("no receipt")
			}
			disposition, errorLine := "processed", ""
			subject = strings.TrimPrefix(subject, "[PON "+other+"] ")
			if c.code != "" {
				disposition, errorLine = "processed/error", "\r\nError: "+c.code+"^"
				subject = "[KO Intégration système !][" + c.code + "] " + subject
			}
			if !strings.Contains(m.raw, "\r\nDisposition: automatic-action/MDN-sent-automatically; "+disposition+"\r\n") ||
				strings.Contains(m.raw, "\r\nError: ") != (c.code != "") || !strings.Contains(m.raw, errorLine) ||
				!strings.Contains(m.raw, "Original-Message-ID: <a1@chu.test>") || !strings.Contains(m.raw, "Final-Recipient: rfc822;"+to+"@"+testDomain) {
				t.Errorf("%s", m.raw)
			}
			if m.delivery.Subject != subject || m.delivery.Sender != "" || m.header["auto-submitted"] != "auto-replied" {
				t.Errorf("subject %q, envelope sender %q", m.delivery.Subject, m.delivery.Sender)
			}
		})
	}
}

// One for each post in all: what is let through later has had its receipt; what
// comes twice gets no second one; what is sent for a notice gets none at all.
func TestOneReceiptForAPost(t *testing.T) {
	h := newHouse(t)
	ask := []string{"Disposition-Notification-To: <inconnu@chg.test>"}
	w := written{from: "inconnu@chg.test", to: string(h.child), id: "x1@chg.test", subject: "Bilan", text: "x", header: ask}
	r, err := h.try(w)
	if err != nil || r.Held == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	got := h.relay()
	if h.receipt(got, "inconnu@chg.test") == nil {
		t.Fatal("no receipt when held")
	}
	if _, err := h.try(w); err != nil {
		t.Fatal(err)
	}
	must[Receipt](t)(h.Assign(t.Context(), testActor, TriageRequest{ID: string(r.Held), Member: "m4"}))
	if _, err := h.try(w); err != nil {
		t.Fatal(err)
	}
	h.settleNotices()
	if m := h.receipt(h.relay(), "inconnu@chg.test"); m != nil {
		t.Errorf("another receipt:\n%s", m.raw)
	}
	var notice string
	for _, m := range got["inconnu@chg.test"] {
		if m.header["x-relais-kind"] == noticeHeld {
			notice = m.header["message-id"]
		}
	}
	w.id, w.header = "x2@chg.test", append(ask, "In-Reply-To: "+notice)
	if r, err := h.try(w); err != nil || r.Held == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := h.relay(); len(got) != 0 {
		t.Errorf("an answer to a notice made %q", notices(got))
	}
	// Software that marks its posts as its own gets one as well; what answers by
	// itself none.
	for value, want := range map[string]bool{"auto-generated": true, "auto-replied": false} {
		w := written{from: "roux@chu.test", to: string(h.child), id: value + "@chu.test", subject: "x", text: "x", header: []string{"Disposition-Notification-To: <roux@chu.test>", "Auto-Submitted: " + value}}
		if _, err := h.try(w); err != nil {
			t.Fatal(err)
		}
		if m := h.receipt(h.relay(), "roux@chu.test"); (m != nil) != want {
			t.Errorf("%s: receipt %v", value, m != nil)
		}
	}
}

// In client mode the receipt comes from the operator's box, of a refusal too.
func TestReceiptsInClientMode(t *testing.T) {
	h := newClient(t)
	w := written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x", header: []string{"Disposition-Notification-To: <roux@chu.test>"}}
	h.fetched(w)
	m := h.receipt(h.relay(), "roux@chu.test")
	if m == nil || m.delivery.Sender != "" || m.delivery.Operator != "pon" || !strings.Contains(m.raw, "Final-Recipient: rfc822;"+clientBox) || m.delivery.Subject != "x" {
		t.Errorf("%+v", m)
	}
	must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), Reason: "fin"}))
	w.id = "a2@chu.test"
	for range 2 {
		if _, err := h.fetch(w, "<roux@chu.test>"); err == nil {
			t.Error("not refused")
		}
	}
	if m := h.receipt(h.relay(), "roux@chu.test"); m == nil || !strings.Contains(m.raw, "\r\nError: 906^") {
		t.Errorf("%+v", m)
	}
}

// The national errors in words, in both languages.
func TestErrorWords(t *testing.T) {
	h := openHouse(t)
	for _, l := range texts.Locales() {
		h.o.Locale = l
		seen := map[string]bool{}
		for code := 900; code <= 906; code++ {
			words := h.errorWords(fmt.Sprint(code))
			if seen[words] || strings.Contains(words, "receipts.") || strings.Contains(words, "90") {
				t.Errorf("%s: %d is %q", l, code, words)
			}
			seen[words] = true
		}
		if w := h.errorWords("101"); !strings.Contains(w, "101") {
			t.Errorf("%s: %q", l, w)
		}
	}
}

// mdnSaying is a receipt with these lines after Final-Recipient.
func mdnSaying(box, lines string) string {
	return "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=disposition-notification; boundary=\"=_d\"\n\n--=_d\nContent-Type: text/plain\n\nVoir ci-joint.\n--=_d\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; " +
		box + "\nOriginal-Message-ID: <a1@chu.test>\n" + lines + "\n\n--=_d--\n"
}

// However many receipts and notifications come back, in whichever shape, the
// thread tells one story of a post.
func TestReceiptsAreOneStory(t *testing.T) {
	h := newHouse(t)
	h.member(h.child, "Mme Nora Blanc", "pediatre", "blanc@autre.test", "APP", "CH Autre")
	post := h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "x", text: "x"})
	story := func() string {
		t.Helper()
		view := must[ThreadView](t)(h.Thread(t.Context(), testActor, string(h.child), ""))
		s := view.Messages[0].Summary
		text := fmt.Sprintf("boxes %d delivered %d partial %d read %d refused %d waiting %d", s.Boxes, s.Delivered, s.Partial, s.Read, s.Refused, s.Waiting)
		for _, d := range view.Messages[0].Deliveries {
			if d.Receipt != nil {
				text += "; " + strings.TrimSuffix(d.Mailbox, ".test") + " " + strings.TrimSpace(d.Receipt.Disposition+" "+d.Receipt.Code)
			}
		}
		return text
	}
	if got := story(); got != "boxes 5 delivered 0 partial 0 read 0 refused 0 waiting 5" {
		t.Errorf("at first: %s", got)
	}
	got := h.relay()
	n := 0
	say := func(box store.Address, content string) {
		t.Helper()
		n++
		h.post(written{from: "", to: string(h.bounceAddress(h.child, box)), id: fmt.Sprintf("r%d@x.test", n), subject: "Accusé", content: content, header: []string{"From: <" + string(box) + ">"}})
	}
	for _, step := range []struct {
		box   store.Address
		lines string // empty: a DSN
		want  string
	}{
		{"moreau@chu.test", "Disposition: manual-action/MDN-sent-manually; displayed", "boxes 5 delivered 5 partial 0 read 1 refused 0 waiting 0; moreau@chu displayed"},
		{"moreau@chu.test", "Disposition: manual-action/MDN-sent-manually; displayed\nReporting-UA: x", "boxes 5 delivered 5 partial 0 read 1 refused 0 waiting 0; moreau@chu displayed"},
		{"cabinet@idel.test", "Disposition: manual-action/MDN-sent-manually; displayed", "boxes 5 delivered 5 partial 0 read 2 refused 0 waiting 0; moreau@chu displayed; cabinet@idel displayed"},
		{"simon@chu.test", "Disposition: automatic-action/MDN-sent-automatically; processed", "boxes 5 delivered 5 partial 0 read 2 refused 0 waiting 0; moreau@chu displayed; simon@chu processed; cabinet@idel displayed"},
		{"blanc@autre.test", "Disposition: automatic-action/MDN-sent-automatically; processed/error\nError: 902^Identifiant de patient inconnu^applicationErrorCondition| E^Error^errorSeverity", "boxes 5 delivered 4 partial 0 read 2 refused 1 waiting 0; moreau@chu displayed; simon@chu processed; cabinet@idel displayed; blanc@autre processed/error 902"},
		{"simon@chu.test", "Disposition: automatic-action/MDN-sent-automatically; processed/Error: 904^INS^applicationErrorCondition", "boxes 5 delivered 3 partial 0 read 2 refused 2 waiting 0; moreau@chu displayed; simon@chu processed/error 904; cabinet@idel displayed; blanc@autre processed/error 902"},
		{"blanc@autre.test", "Disposition: automatic-action/MDN-sent-automatically; processed", "boxes 5 delivered 3 partial 0 read 2 refused 2 waiting 0; moreau@chu displayed; simon@chu processed/error 904; cabinet@idel displayed; blanc@autre processed/error 902"},
		{"bernard@kine.test", "", "boxes 5 delivered 2 partial 0 read 2 refused 3 waiting 0; moreau@chu displayed; simon@chu processed/error 904; cabinet@idel displayed; blanc@autre processed/error 902"},
	} {
		content := mdnSaying(string(step.box), step.lines)
		if step.lines == "" {
			content = strings.NewReplacer("BOX", string(step.box), "RETURNED", "X-Relais-Delivery: "+string(got[step.box][0].delivery.ID)).Replace(dsnOf)
		}
		say(step.box, content)
		if got := story(); got != step.want {
			t.Errorf("after %s %s:\n got %s\nwant %s", step.box.Local(), step.lines, got, step.want)
		}
	}
	// In the shared box nobody knows who read; of a person's own box it is known.
	ds := h.deliveries(post)
	if a, b := ds["moreau@chu.test"].Seen[0].State, ds["cabinet@idel.test"].Seen[0].State; a != "read" || b != "box" {
		t.Errorf("seen %s, %s", a, b)
	}
	view := must[ThreadView](t)(h.Thread(t.Context(), testActor, string(h.child), ""))
	for _, m := range view.Messages {
		if m.Kind == string(store.KindMDN) && m.AboutBox == "blanc@autre.test" && m.Outcome != "processed/error 902" && m.Outcome != "processed" {
			t.Errorf("on the thread: %q", m.Outcome)
		}
	}
	// Sent again, and taken this time: it is delivered.
	if _, err := h.Resend(t.Context(), testActor, MessageRequest{Message: string(post), Members: []string{"m4"}}); err != nil {
		t.Fatal(err)
	}
	h.relay()
	if got := story(); !strings.HasPrefix(got, "boxes 5 delivered 3 partial 0 read 2 refused 2 waiting 0") {
		t.Errorf("after another copy: %s", got)
	}
}
