package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// oneThread: ten answers from both sides, by a real client's reply and as
// software spoils them; everybody has one thread, which is the whole story.
func oneThread(w *world) {
	m := w.newTeam(1, "fil")
	w.swaks(m.doctor, m.address(), letter(m.doctor, m.address(), "Sortie de mardi", "Message-ID: <premier@poste.chu.e2e.test>", "", "Bonjour,", "Qui passe mardi ?", ""))
	count := 1
	arrive := func() {
		w.t.Helper()
		eventually(w.t, patience, fmt.Sprintf("%d messages are in the thread", count), func() bool { return len(w.hub.thread(m.code).Messages) == count })
		w.settled()
		count++
	}
	arrive()
	for i := range 5 {
		// A person answers the last mail of their box in mutt.
		box := []string{m.practice, m.doctor}[i%2]
		w.reply(box, "Réponse "+fmt.Sprint(i))
		arrive()
		// Another one's software spoils what threads hang on.
		box = []string{m.coordinator, m.ward}[i%2]
		w.spoiled(box, i)
		arrive()
	}
	if held := w.hub.run("triage", "list", "--json"); strings.TrimSpace(held) != "[]" {
		w.t.Errorf("held: %s", held)
	}
	for box, mails := range map[string]int{m.doctor: 8, m.coordinator: 8, m.ward: 11, m.practice: 8} { // without their own
		w.checkThreads(box, 1, mails)
		if n := w.muttThread(box); n != mails {
			w.t.Errorf("mutt shows %d mails of %s in the first one's thread, want %d", n, box, mails)
		}
	}
	// A mail that is none of the pathway's, to see that they can tell.
	w.swaks(m.doctor, m.coordinator, letter(m.doctor, m.coordinator, "Cantine", "Message-ID: <autre@poste.chu.e2e.test>", "", "Midi ?", ""))
	w.awaitMail(m.coordinator, "another mail is there", func(a arrived) bool { return a.Get("Subject") == "Cantine" })
	w.checkThreads(m.coordinator, 2, 9)
	if n := w.muttThread(m.coordinator); n != 8 {
		w.t.Errorf("with another mail mutt shows %d in the first one's thread", n)
	}
}

// reply answers the last mail of a box as a person does in mutt: reply, write
// above what is quoted, send.
func (w *world) reply(box, text string) {
	w.t.Helper()
	editor := filepath.Join(w.t.TempDir(), "editor")
	save(w.t, editor, []byte("sed -i '1i "+text+"' \"$1\"\n"))
	w.press(box, "Une personne", "<last-entry><reply><send-message><exit>", `set editor="sh `+editor+`"`)
}

// spoiled answers the last mail of a box as software does that spoils one thing.
func (w *world) spoiled(box string, how int) {
	w.t.Helper()
	all := w.box(box)
	last := all[len(all)-1]
	id, to := last.Get("Message-Id"), address(last.Get("Reply-To"))
	subject := "Re: " + last.Get("Subject")
	var threading []string
	switch how {
	case 0: // as a client should
		threading = []string{"In-Reply-To: " + id, "References: " + last.Get("References") + " " + id}
	case 1: // nothing to hang on
	case 2: // the operator's gateway gave the mail another id
		threading = []string{"In-Reply-To: <réécrit.0001@passerelle.example>", "References: <rewritten.0001@gateway.example>"}
	case 3: // ids without brackets, and another subject
		threading = []string{"In-Reply-To: " + strings.Trim(id, "<>"), "References: " + strings.Trim(id, "<>")}
		subject = "Autre chose"
	case 4: // Outlook's own way
		threading = []string{"Thread-Topic: " + last.Get("Thread-Topic"), "Thread-Index: " + last.Get("Thread-Index")}
	}
	more := append([]string{fmt.Sprintf("Message-ID: <gate.%d@poste.e2e.test>", how)}, threading...)
	more = append(more, "", "Bien reçu.", "", "> texte cité", "")
	w.swaks(box, to, letter(box, to, subject, more...))
}

// address is what stands in angle brackets.
func address(field string) string {
	_, a, _ := strings.Cut(field, "<")
	a, _, _ = strings.Cut(a, ">")
	if a == "" {
		return strings.TrimSpace(field)
	}
	return a
}

// checkThreads asks Dovecot how the mails of a box hang together. REFERENCES
// also goes by subjects (RFC 5256), REFS only by identifiers.
func (w *world) checkThreads(box string, threads, mails int) {
	w.t.Helper()
	c := w.at(box).boxes.Login(w.t, box)
	defer c.Close()
	for _, algorithm := range []string{"REFERENCES", "REFS"} {
		answer := ""
		for _, r := range c.Do("THREAD " + algorithm + " UTF-8 ALL") {
			if text, ok := strings.CutPrefix(r.Text, "* THREAD "); ok {
				answer = text
			}
		}
		numbers := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(answer))
		if n := topThreads(answer); n != threads || len(numbers) != mails {
			w.t.Errorf("THREAD %s at %s: %d threads of %d mails, want %d of %d: %s", algorithm, box, n, len(numbers), threads, mails, answer)
		}
	}
}

// topThreads counts the groups of a THREAD response (RFC 5256 §4).
func topThreads(answer string) int {
	n, depth := 0, 0
	for _, c := range answer {
		switch c {
		case '(':
			if depth == 0 {
				n++
			}
			depth++
		case ')':
			depth--
		}
	}
	return n
}

// muttThread opens the box in mutt, sorted by threads without regard to
// subjects, and counts the mails in the thread of the first one.
func (w *world) muttThread(box string) int {
	w.t.Helper()
	out := filepath.Join(w.t.TempDir(), "thread")
	w.press(box, "Une personne", "<first-entry><tag-thread><tag-prefix><pipe-message>cat >> "+out+"<enter><exit>",
		"set sort=threads strict_threads=yes pipe_split=yes pipe_decode=no")
	text, err := os.ReadFile(out)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Count("\n"+string(text), "\nX-Relais-Delivery: ")
}
