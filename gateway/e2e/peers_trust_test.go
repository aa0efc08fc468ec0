package e2e

import "strings"

// onlyTheTrusted: an operator speaks for its own domains; without certificate
// it does not speak at all; and to an operator that is not the domain's nothing
// is sent.
func onlyTheTrusted(w *world) {
	m := w.newTeam(2, "refus")
	refused := func(op *operator, from, why string) {
		w.t.Helper()
		raw := letter(from, m.address(), "Refus attendu", "", "Bonjour.", "")
		before := strings.Count(op.Log(), "status=bounced")
		w.swaksAt(op, from, m.address(), raw)
		eventually(w.t, patience, "the mail of "+from+" is refused", func() bool { return strings.Count(op.Log(), "status=bounced") > before })
		line := bounced(op.Log(), from, m.address())
		if !strings.Contains(line, why) {
			w.t.Errorf("%s: want %s, the operator logs %q", from, why, line)
		}
	}
	// A domain that is not on the list; the author finds the bounce in the box.
	refused(w.chu, "dubois@"+unlisted, "said: 550 5.7.1")
	bounce := w.awaitMail("dubois@"+unlisted, "the author has the bounce", func(a arrived) bool {
		return strings.HasPrefix(a.Get("Content-Type"), "multipart/report")
	})
	if !strings.Contains(string(bounce.body), "5.7.1") {
		w.t.Errorf("the bounce does not say why:\n%s", bounce.body)
	}
	// Another operator's domain.
	refused(w.chu, m.ward, "said: 550 5.7.1")
	// No certificate.
	refused(w.impostor, m.ward, "5.7.")

	// A box whose domain's mail host shows a certificate that is not the
	// domain's: the copy waits, and not a word of it was said.
	away := "roux.refus@" + atAnnexe
	w.hub.member(m.code, "Dr Paul Vidal", "pediatre", away, "PER")
	w.swaks(m.doctor, m.address(), letter(m.doctor, m.address(), "Pour tous", "", "Bonjour.", ""))
	eventually(w.t, patience, "the copy for the annexe was tried", func() bool {
		d, ok := w.hub.delivery(m.code, away)
		return ok && d.Attempts > 0 && d.LastError != ""
	})
	d, _ := w.hub.delivery(m.code, away)
	if d.State != "queued" && d.State != "sending" {
		w.t.Errorf("the copy is %s (%s)", d.State, d.LastError)
	}
	w.t.Logf("not sent, because: %s", d.LastError)
	// It was called, TLS was made, and that was all (the mail that it sent itself
	// came by the other door).
	talks := 0
	for _, line := range strings.Split(w.impostor.Log(), "\n") {
		if strings.Contains(line, "postfix/smtpd") && strings.Contains(line, "starttls=1") {
			talks++
			if strings.Contains(line, "mail=") {
				w.t.Errorf("the impostor was told of a copy: %s", line)
			}
		}
	}
	if talks == 0 {
		w.t.Error("the impostor was not called")
	}
	var waiting []struct{ ID, Mailbox string }
	w.hub.ask(&waiting, "queue", "list")
	for _, q := range waiting {
		if q.Mailbox == away {
			w.hub.run("queue", "drop", q.ID, "--yes")
		}
	}
}

// bounced is the operator's line about a mail that was refused.
func bounced(log, from, to string) string {
	id := ""
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, "from=<"+from+">") && strings.Contains(line, "qmgr") {
			_, id, _ = strings.Cut(line, "]: ")
			id, _, _ = strings.Cut(id, ":")
		}
	}
	for _, line := range strings.Split(log, "\n") {
		if id != "" && strings.Contains(line, id) && strings.Contains(line, "to=<"+to+">") && strings.Contains(line, "status=bounced") {
			return line
		}
	}
	return ""
}
