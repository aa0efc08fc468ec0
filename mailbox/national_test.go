package mailbox

import (
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// What the contract says of headers, field by field: kept, set anew, or gone.
// An XDM subject is for software: people do not see its prefix.
func TestNationalHeaders(t *testing.T) {
	h := newHouse(t)
	missing := map[string]int{}
	h.o.MissingHeader = func(header string) { missing[header]++ }
	h.member(h.child, "Dossier de pédiatrie", "pediatre", "dpi@autre.test", "APP", "CH Autre")
	kept := map[string]string{
		"X-MSS-INS": "O", "X-MSS-CODECDA": "18748-4", "X-MSS-MES": "FIN",
		"Importance": "high", "X-Priority": "1 (Highest)", "Sensitivity": "Personal",
	}
	gone := map[string]string{
		"Cc": "<x@chu.test>", "Bcc": "<y@chu.test>", "Sender": "<z@chu.test>", "Resent-From": "<z@chu.test>", "Resent-To": "<z@chu.test>",
		"Return-Path": "<roux@chu.test>", "Delivered-To": "x@chu.test", "Return-Receipt-To": "<roux@chu.test>",
		"DKIM-Signature": "v=1; a=rsa-sha256", "Authentication-Results": "mx.chu.test; none", "Disposition-Notification-To": "<autre@chu.test>",
		"List-Id": "<l.chu.test>", "Precedence": "bulk", "X-Mailer": "Dossier 3.1", "Comments": "x", "X-Relais-Secret": "forged", "Received": "from a by b; Mon, 23 Nov 2026 09:00:00 +0100",
	}
	w := written{
		from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "XDM/1.0/DDM+IRM MARTIN LEA 02/03/2015", content: cdaAttached(lea),
		header: []string{"X-MSS-NIL: FOREIGN1", "X-Relais-Pathway: forged", "Reply-To: <ailleurs@chu.test>"},
	}
	for _, fields := range []map[string]string{kept, gone} {
		for name, value := range fields {
			w.header = append(w.header, name+": "+value)
		}
	}
	h.post(w)
	got := h.relay()
	for box, subject := range map[store.Address]string{
		"dpi@autre.test":    "XDM/1.0/DDM+IRM MARTIN LEA 02/03/2015",
		"bernard@kine.test": "[PON " + string(h.child) + " L.M.] IRM MARTIN LEA 02/03/2015",
	} {
		c := got[box][0]
		if c.header["subject"] != subject {
			t.Errorf("%s: subject %q", box.Local(), c.header["subject"])
		}
		for name, value := range kept {
			if c.header[strings.ToLower(name)] != value {
				t.Errorf("%s: %s is %q", box.Local(), name, c.header[strings.ToLower(name)])
			}
		}
		for name := range gone {
			if v, ok := c.header[strings.ToLower(name)]; ok {
				t.Errorf("%s: %s went through: %q", box.Local(), name, v)
			}
		}
		if c.header["x-mss-nil"] != "DEV000000" || c.header["x-relais-pathway"] != string(h.child) || strings.Contains(c.raw, "FOREIGN1") || strings.Contains(c.raw, "ailleurs@") {
			t.Errorf("%s: %+v", box.Local(), c.header)
		}
	}
	if len(missing) != 0 {
		t.Errorf("missing %v", missing)
	}
	// A CDA of which its sender says nothing: each copy counts, once.
	w.id, w.header, w.subject = "a2@chu.test", []string{"X-MSS-INS: O"}, "IRM"
	h.post(w)
	for range 2 {
		h.relayWith(func(j Job) Outcome { h.read(j); return temporary(j) })
		h.clock.advance(time.Minute)
	}
	if missing["codecda"] != 5 || missing["ins"] != 0 || missing["nil"] != 0 {
		t.Errorf("missing %v", missing)
	}
	// A plain mail has nothing to say, and a notice is no mail of documents: the
	// product's reference only.
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a3@chu.test", subject: "x", text: "x"})
	h.holdOne()
	clear(missing)
	for _, ms := range h.relay() {
		for _, m := range ms {
			if m.header["x-mss-nil"] != "DEV000000" || m.header["x-mss-ins"]+m.header["x-mss-codecda"] != "" && m.delivery.Attempts == 1 {
				t.Errorf("%+v", m.header)
			}
		}
	}
	if len(missing) != 0 {
		t.Errorf("missing %v", missing)
	}
}
