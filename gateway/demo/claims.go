package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/mailbox"
)

// delivery: every copy that was to come came, once, and nothing else did. The
// hub says the same.
func (j *judge) delivery(context.Context) error {
	expected, arrived, said := 0, 0, 0
	once := true
	left := maps.Clone(j.copies)
	for _, p := range j.posts {
		for _, box := range p.to {
			key := copyKey{p.id, box}
			expected++
			arrived += len(j.copies[key])
			once = once && len(j.copies[key]) == 1
			delete(left, key)
		}
		said += sent(j.entries[p.id])
	}
	for _, surplus := range left {
		arrived += len(surplus)
	}
	j.claim(once && len(left) == 0 && said == expected, "demo.claim-delivery", map[string]any{
		"expected": expected, "arrived": arrived, "said": said,
	})
	return nil
}

// bodies: what a box received is, after the header, byte for byte what was sent.
func (j *judge) bodies(context.Context) error {
	all, same := 0, 0
	for _, p := range j.posts {
		for _, box := range p.to {
			for _, m := range j.copies[copyKey{p.id, box}] {
				all++
				if bytes.Equal(m.body, p.body) {
					same++
				}
			}
		}
	}
	j.claim(all > 0 && same == all, "demo.claim-bodies", map[string]any{"n": same, "all": all})
	return nil
}

// filing: the report was recognised by its document alone.
func (j *judge) filing(context.Context) error {
	m := j.entries[j.posts[0].id]
	ok := slices.Equal(m.Rubrics, []string{"imagerie"}) && m.Author.Name == radiologist &&
		slices.ContainsFunc(m.Documents, func(d mailbox.DocumentView) bool { return d.Code == imagingReport })
	j.claim(ok, "demo.claim-filing", map[string]any{"rubrics": rubricNames(j.programme, m.Rubrics), "author": m.Author.Name})
	return nil
}

// authors: a box that is shared shows whom a copy is for; an answer from it
// shows who wrote, and nobody where that is not known.
func (j *judge) authors(context.Context) error {
	names := func(field string, p *post, box string) (name string) {
		if m := j.copyAt(box, p); m != nil {
			name, _ = m.names(field)
		}
		return name
	}
	report, signed, unsigned := j.posts[0], j.posts[1], j.posts[2]
	both := names("To", report, boxWard)
	other := names("To", signed, boxWard)
	j.claim(strings.Contains(both, nurse.name) && strings.Contains(both, colleague.name) &&
		strings.Contains(other, colleague.name) && !strings.Contains(other, nurse.name),
		"demo.claim-whom", map[string]any{"whom": both})

	known := j.entries[signed.id].Author
	ok := known.Name == nurse.name && known.Certainty == "sure"
	unknown := j.entries[unsigned.id].Author
	blank := unknown.Member == "" && unknown.Certainty == "box"
	for _, box := range except(boxes(), boxWard) {
		ok = ok && strings.Contains(names("From", signed, box), nurse.name)
		from := names("From", unsigned, box)
		blank = blank && from != "" && !strings.Contains(from, nurse.name) && !strings.Contains(from, colleague.name)
	}
	j.claim(ok, "demo.claim-author", map[string]any{"author": known.Name})
	j.claim(blank, "demo.claim-nobody", map[string]any{"author": j.author(unknown)})
	return nil
}

// thread: in every box all copies hang on the pathway's root, and each answer on
// a mail that this box has; and every member may see the same entries.
func (j *judge) thread(ctx context.Context) error {
	root := "parcours." + j.pathway.ID + "@" + hubDomain
	ok := true
	for _, box := range boxes() {
		var here []string
		for _, m := range j.received(box) {
			if m.kind() != "" {
				continue
			}
			refs := m.references()
			parent := m.parent()
			ok = ok && len(refs) > 0 && refs[0] == root && (parent == "" || slices.Contains(here, parent))
			here = append(here, m.id())
		}
	}
	for _, member := range j.members {
		view, err := j.client.Thread(ctx, nobody, j.pathway.ID, member)
		if err != nil {
			return fmt.Errorf("reading the thread as a member: %w", err)
		}
		ok = ok && len(view.Messages) == len(j.entries)
		for _, m := range view.Messages {
			ok = ok && j.entries[m.MessageID].ID == m.ID
		}
	}
	j.claim(ok && len(j.entries) == 4, "demo.claim-thread", map[string]any{
		"messages": len(j.entries), "people": len(j.members), "boxes": len(boxes()),
	})
	return nil
}

// wrong: the other child's report reached nobody; those concerned were told, and
// nobody else heard of it.
func (j *judge) wrong(context.Context) error {
	p := j.posts[len(j.posts)-1]
	leaked := 0
	for _, m := range j.everything() {
		if m.id() == p.id || bytes.Contains(m.raw, p.body[len(p.body)/2:len(p.body)/2+60]) {
			leaked++
		}
	}
	var told []string
	for _, n := range j.notices {
		told = append(told, n.box+" "+n.kind())
	}
	slices.Sort(told)
	want := []string{boxCoordinator + " held", boxDoctor + " held", boxDoctor + " not-transmitted"}
	_, filed := j.entries[p.id]
	j.claim(j.held.Reason == "wrong-patient" && leaked == 0 && !filed && slices.Equal(told, want),
		"demo.claim-wrong", map[string]any{"leaked": leaked, "notices": len(told)})
	return nil
}

// down: while the operator was away the others had their copies and its own
// waited; it came after, once.
func (j *judge) down(context.Context) error {
	o := j.outage
	ok := !o.hadArrived && o.unreached.State == "queued" && o.unreached.Attempts > 1
	for _, box := range o.post.to {
		got := j.copies[copyKey{o.post.id, box}]
		ok = ok && len(got) == 1 && got[0].at.After(o.ended) == (box == boxPractice)
	}
	j.claim(ok, "demo.claim-down", map[string]any{"nurse": homeNurse.name, "time": j.tell.seconds(o.ended.Sub(o.began))})
	return nil
}

// strangers: every delivery was between two that had proved who they are; whoever
// shows no certificate, or speaks for a domain that is not theirs, is refused.
func (j *judge) strangers(ctx context.Context) error {
	proved, doubted := 0, 0
	for _, o := range j.operators {
		o.mu.Lock()
		proved, doubted = proved+o.proved, doubted+o.doubted
		o.mu.Unlock()
	}
	j.claim(proved >= len(j.everything()) && doubted == 0, "demo.claim-secure", map[string]any{"n": proved})

	town := j.at(boxPractice).client
	bare := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: town.RootCAs, ServerName: hubDomain}
	raw := []byte("From: <" + boxDoctor + ">\r\nTo: <" + j.pathway.Address + ">\r\nSubject: ?\r\n\r\n?\r\n")
	refused := 0
	tries := []*tls.Config{bare, town} // nobody's certificate; another operator's
	for _, config := range tries {
		err := transmit(ctx, j.hub.inbound, config, boxDoctor, j.pathway.Address, raw)
		var answer *smtp.SMTPError
		if errors.As(err, &answer) && answer.Code/100 == 5 {
			refused++
		}
	}
	j.claim(refused == len(tries), "demo.claim-strangers", map[string]any{"tries": len(tries), "refused": refused})
	return nil
}

// disk: nothing of what was written, and no name, is readable in the hub's data
// or its journal.
func (j *judge) disk(context.Context) error {
	words := []string{lea.Family, lea.INS, tom.Family, tom.INS, radiologist, j.tell.text("demo.mail-home", nil)}
	for _, p := range team {
		words = append(words, p.name, p.box)
	}
	files, found, err := searched(words, j.hub.data, filepath.Join(j.dir, journalName))
	if err != nil {
		return err
	}
	j.claim(files > 0 && found == 0, "demo.claim-disk", map[string]any{"files": files, "found": found})
	return nil
}

// atRest: nothing is left to do.
func (j *judge) atRest(ctx context.Context) error {
	st, err := j.client.Status(ctx)
	if err != nil {
		return fmt.Errorf("asking for the status: %w", err)
	}
	j.claim(st.Queue.Queued == 0 && st.Queue.Failed == 0 && st.Held == 0, "demo.claim-rest", map[string]any{
		"queued": st.Queue.Queued, "failed": st.Queue.Failed, "held": st.Held,
	})
	return nil
}
