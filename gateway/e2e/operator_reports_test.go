package e2e

import (
	"bytes"
	"strings"
)

// reports: what operators and people's clients write about a copy comes back to
// the box that it left from, and is known by what it returns of the copy. The
// operator accepts a mail that it then cannot deliver, and says so.
func (c *client) reports() {
	const programme = "parsac"
	t, code, box := c.t, c.include(len(logins), programme), c.box[programme]
	doctor, coordinator := "roux@"+atCHU, "petit@"+atTown
	c.hub.member(code, "Dr Anne Roux", "oncologue", doctor, "PER")
	c.hub.member(code, "Mme Sophie Petit", "idec", coordinator, "PER")
	c.hub.member(code, "M. Paul Loin", "kinesitherapeute", lostBox, "PER")
	c.send(doctor, box, letter(doctor, box, "["+strings.ToUpper(programme)+" "+code+"] Qui l'a lu ?", "Message-ID: <lu@chu.e2e.test>", "", "Bonjour.", ""))
	got := c.await(coordinator, "the copy is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Qui l'a lu") })

	c.send("", box, []byte(strings.Join([]string{
		"From: <" + coordinator + ">", "To: <" + box + ">", "Subject: Lu", "Message-ID: <mdn@ville.e2e.test>", "MIME-Version: 1.0",
		`Content-Type: multipart/report; report-type=disposition-notification; boundary="m"`, "",
		"--m", "Content-Type: text/plain", "", "Lu.", "",
		"--m", "Content-Type: message/disposition-notification", "", "Final-Recipient: rfc822;" + coordinator,
		"Original-Message-ID: " + got.Get("Message-Id"), "Disposition: manual-action/MDN-sent-manually; displayed", "",
		"--m--", "",
	}, "\n")))
	var thread struct {
		Messages []struct {
			Kind, Outcome string
			Summary       struct{ Boxes, Delivered, Read, Refused int }
		}
	}
	eventually(t, patience, "the thread tells the story", func() bool {
		c.hub.ask(&thread, "thread", "show", code)
		s := thread.Messages[0].Summary
		return s.Boxes == 2 && s.Delivered == 1 && s.Read == 1 && s.Refused == 1
	})
	kinds := map[string]string{}
	for _, m := range thread.Messages {
		kinds[m.Kind] = m.Outcome
	}
	if kinds["dsn"] != "failed" || kinds["mdn"] != "displayed" {
		t.Errorf("on the thread: %v", kinds)
	}
	told := c.await(doctor, "the author is told", func(a arrived) bool { return a.Get("X-Relais-Kind") == "not-delivered" })
	if !strings.Contains(told.Get("From"), box) || !bytes.Contains(told.body, []byte("Paul Loin")) {
		t.Errorf("the notice is from %q:\n%s", told.Get("From"), told.body)
	}
	if text := c.hub.run("--lang", "fr", "thread", "show", code); !strings.Contains(text, "remis à 1 boîte sur 2, lu par 1, refusé par 1") {
		t.Errorf("as people read it:\n%s", text)
	}
	if held := c.hub.run("triage", "list", "--json"); strings.TrimSpace(held) != "[]" {
		t.Errorf("held: %s", held)
	}
	eventually(t, patience, "the box is empty", func() bool { return len(c.inbox(box)) == 0 })
}
