package letter

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// report writes a multipart/report of a human text, a machine part and what
// came back.
func report(kind, machine, returned string) string {
	return crlf("From: MAILER-DAEMON@mx.example\nSubject: rapport\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/report; report-type=" + kind + "; boundary=r\n\n" +
		"--r\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nNon distribué.\n" +
		"--r\nContent-Type: message/" + kind + "\n\n" + machine + "\n--r\n" + returned + "\n--r--\n")
}

func TestDSN(t *testing.T) {
	r := read(t, report("delivery-status",
		"Original-Envelope-Id: d-77\nReporting-MTA: dns; mx.example\nArrival-Date: x\n\n"+
			"Original-Recipient: rfc822;Roux@chu.example\nFinal-Recipient: rfc822; roux@chu.example\nAction: Failed\n"+
			"Status: 5.2.1 (closed)\nDiagnostic-Code: smtp; 550 5.2.1\n mailbox closed\nRemote-MTA: dns; mx2.example\n\n"+
			"Final-Recipient: rfc822;<petit@chg.example>\nAction: delayed\nStatus: 4.4.1\n",
		"Content-Type: text/rfc822-headers\n\nMessage-ID:\n <a1@hub.example>\nX-Relais-Delivery: 01H Z\nSubject: x\n"))
	if !IsDSN(r.Index) || IsMDN(r.Index) || r.ReportType != "delivery-status" {
		t.Fatalf("not a DSN: %q", r.ReportType)
	}
	if a := Automatic(r.Index); a != (Auto{Replied, "dsn"}) || !a.Answer() {
		t.Errorf("automatic: %+v", a)
	}
	if r.Text != "Non distribué." {
		t.Errorf("text %q", r.Text)
	}
	got, err := ReadDSN(r.Report)
	want := DSN{EnvelopeID: "d-77", ReportingMTA: "mx.example", Recipients: []DSNRecipient{
		{"roux@chu.example", "Roux@chu.example", "failed", "5.2.1", "550 5.2.1 mailbox closed", "mx2.example"},
		{Final: "petit@chg.example", Action: "delayed", Status: "4.4.1"},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	id, delivery := ReturnedIDs(r.ReturnedHeader)
	if id != "a1@hub.example" || delivery != "01HZ" {
		t.Errorf("returned %q, %q", id, delivery)
	}
}

func TestDSNForms(t *testing.T) {
	for _, c := range []struct {
		name, report string
		finals       string
		err          error
	}{
		{"no empty lines", "Reporting-MTA: dns; m\nFinal-Recipient: rfc822; a@x\nAction: failed\nFinal-Recipient: rfc822; b@x\nAction: failed", "a@x b@x", nil},
		{"no empty lines, originals first", "Original-Recipient: rfc822;A@x\nFinal-Recipient: rfc822;a@x\nAction: failed\nOriginal-Recipient: rfc822;B@x\nFinal-Recipient: rfc822;b@x\nAction: failed", "a@x b@x", nil},
		{"many empty lines", "\n\nReporting-MTA: dns; m\n\n\n\nFinal-Recipient: rfc822; a@x\n\n\n", "a@x", nil},
		{"no type", "Final-Recipient: a@x\n", "a@x", nil},
		{"only the original", "Original-Recipient: rfc822;a@x\nAction: failed\n", "", nil},
		{"nobody", "Reporting-MTA: dns; m\n", "", ErrNoRecipient},
		{"empty", "", "", ErrNoRecipient},
	} {
		d, err := ReadDSN([]byte(crlf(c.report)))
		var finals []string
		for _, r := range d.Recipients {
			if r.Final != "" {
				finals = append(finals, r.Final)
			}
		}
		if got := strings.Join(finals, " "); got != c.finals || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}

func TestMDN(t *testing.T) {
	common := "Reporting-UA: ch.example; PFI 1.0\nOriginal-Recipient: rfc822;auto@ch.example\nFinal-Recipient: rfc822;auto@ch.example\n" +
		"Original-Message-ID: <m1@hub.example>\n"
	base := MDN{
		FinalRecipient: "auto@ch.example", OriginalRecipient: "auto@ch.example", OriginalMessageID: "m1@hub.example",
		ReportingUA: "ch.example; PFI 1.0", Action: "automatic-action", Sending: "mdn-sent-automatically", Type: "processed",
	}
	ko := base
	ko.Modifiers, ko.ErrorCode, ko.ErrorText = []string{"error"}, "902", "Identifiant inconnu"
	shown := base
	shown.Action, shown.Sending, shown.Type = "manual-action", "mdn-sent-manually", "displayed"
	plain := base
	plain.Modifiers, plain.ErrorText = []string{"error", "warning"}, "disk full"
	for _, c := range []struct {
		name, lines string
		want        MDN
		failed      bool
	}{
		{"success", "Disposition: automatic-action/MDN-sent-automatically; processed\n", base, false},
		{"read by a person", "Disposition: manual-action/MDN-sent-manually; displayed\n", shown, false},
		{
			"error, own line",
			"Disposition: automatic-action/MDN-sent-automatically; processed/error\nError: 902^Identifiant inconnu^applicationErrorCondition| E^Error^errorSeverity\n", ko, true,
		},
		{"error, inside", "Disposition: automatic-action/MDN-sent-automatically;\n processed/Error: 902^Identifiant inconnu\n", ko, true},
		{"error without code", "Disposition: automatic-action/MDN-sent-automatically; processed/error, warning\nError: disk full\n", plain, true},
	} {
		r := read(t, report("disposition-notification", common+c.lines, "Content-Type: message/rfc822\n\nMessage-ID: <m1@hub.example>\n\nx"))
		if !IsMDN(r.Index) || IsDSN(r.Index) {
			t.Fatalf("%s: not an MDN", c.name)
		}
		got, err := ReadMDN(r.Report)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
		if got.Failed() != c.failed {
			t.Errorf("%s: failed is %v", c.name, got.Failed())
		}
		if id, _ := ReturnedIDs(r.ReturnedHeader); id != "m1@hub.example" {
			t.Errorf("%s: returned %q", c.name, id)
		}
	}
	if _, err := ReadMDN([]byte("Final-Recipient: x\r\n")); !errors.Is(err, ErrNoDisposition) {
		t.Errorf("got %v", err)
	}
}

func TestReturnedIDsOfPlainBounce(t *testing.T) {
	text := "Sorry.\n\n> From: x\n> Message-ID: <a@hub.example>\n> X-Relais-Delivery: d1\n"
	if id, delivery := ReturnedIDs([]byte(text)); id != "a@hub.example" || delivery != "d1" {
		t.Errorf("got %q, %q", id, delivery)
	}
}

// A report that somebody forwards inside a mail is not this mail's report.
func TestReportInside(t *testing.T) {
	inner := report("delivery-status", "Final-Recipient: rfc822;a@x\nAction: failed\n", "Content-Type: text/rfc822-headers\n\nMessage-ID: <z@x>\n")
	r := read(t, crlf("From: a@x\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\nVu\n--o\nContent-Type: message/rfc822\n\n")+inner+"\r\n--o--\r\n")
	if IsDSN(r.Index) || r.Report != nil || r.ReturnedHeader != nil || r.ReportType != "" {
		t.Errorf("taken for a report: %q", r.ReportType)
	}
	if r.Text != "Vu" {
		t.Errorf("text %q", r.Text)
	}
	// A gateway that wraps a report leaves it one.
	r = read(t, crlf("From: a@x\nContent-Type: multipart/mixed; boundary=o\n\n--o\n")+inner+crlf("\n--o\n\nScanned\n--o--\n"))
	if !IsDSN(r.Index) || r.Report == nil || r.ReturnedHeader == nil {
		t.Error("wrapped report not read")
	}
}

func FuzzReports(f *testing.F) {
	f.Add([]byte("Final-Recipient: rfc822;a@x\nAction: failed\n\nDisposition: a/b; c/d: 902^e^f\n"))
	f.Fuzz(func(t *testing.T, report []byte) {
		d, err := ReadDSN(report)
		if err == nil && len(d.Recipients) == 0 {
			t.Error("no recipient and no error")
		}
		m, err := ReadMDN(report)
		if (err == nil) != (m.Type != "") {
			t.Errorf("type %q, error %v", m.Type, err)
		}
		if strings.ContainsAny(m.ErrorText+d.EnvelopeID+m.OriginalMessageID, "\r\n") {
			t.Error("a line end got into a value")
		}
		ReturnedIDs(report)
	})
}
