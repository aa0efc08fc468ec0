package demo

import (
	"context"
	"fmt"
	stdmail "net/mail"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

// post is a mail written to the pathway.
type post struct {
	id   string // its Message-ID
	body []byte
	to   []string // boxes that must get a copy, and no others
}

// outage is the time in which an operator is away.
type outage struct {
	post       *post
	began      time.Time
	ended      time.Time
	unreached  mailbox.QueueView // the copy that waited, as the hub told it
	hadArrived bool              // it was there before the operator came back
}

// Play plays the story and gives the verdict. An error is something that did
// not come to pass, so that the story could not go on.
func (s *Stage) Play(ctx context.Context) (Result, error) {
	s.tell.say("demo.ready", nil)
	s.tell.item("demo.house-chu", map[string]any{"house": chu, "doctor": doctor.name, "coordinator": coordinator.name})
	s.tell.item("demo.house-bocage", map[string]any{"house": bocage, "nurse": nurse.name, "colleague": colleague.name})
	s.tell.item("demo.house-ville", map[string]any{"nurse": homeNurse.name})
	for _, chapter := range []func(context.Context) error{
		s.inclusion, s.recordWrites, s.wardAnswers, s.operatorDown, s.wrongChild, s.oneThread,
	} {
		if err := chapter(ctx); err != nil {
			return Result{}, cause(ctx, err)
		}
	}
	r, err := s.verdict(ctx)
	return r, cause(ctx, err)
}

// cause is why something failed: where the story was interrupted, that.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// inclusion: the coordinator opens the pathway, as `relais pathway include` and
// `relais team add` do.
func (s *Stage) inclusion(ctx context.Context) (err error) {
	s.tell.chapter(1, "demo.chapter-inclusion", nil)
	s.pathway, err = s.client.Include(ctx, nobody, mailbox.IncludeRequest{
		Programme: "pon", INS: lea.INS, INSOID: lea.OID, FamilyName: lea.Family, GivenName: lea.Given,
		BirthDate: lea.Birth, Sex: lea.Sex, Establishment: chu,
		Consent: "oral", ConsentFrom: s.tell.text("demo.mother", nil), ConsentBy: coordinator.name,
	})
	if err != nil {
		return fmt.Errorf("including the child: %w", err)
	}
	s.tell.say("demo.included", map[string]any{"coordinator": coordinator.name})
	for _, p := range team {
		m, err := s.client.AddMember(ctx, nobody, mailbox.MemberRequest{
			Pathway: s.pathway.ID, Name: p.name, Role: p.role, Mailbox: p.box, Type: p.kind,
			Establishment: p.establishment, BoxName: p.boxName,
		})
		if err != nil {
			return fmt.Errorf("adding a member: %w", err)
		}
		s.members[p.name] = m.Member
	}
	members, err := s.client.Team(ctx, nobody, s.pathway.ID, false)
	if err != nil {
		return fmt.Errorf("reading the team: %w", err)
	}
	s.tell.say("demo.team", map[string]any{"people": len(members), "boxes": len(boxes())})
	s.tell.say("demo.address", map[string]any{"address": s.pathway.Address})
	return nil
}

// recordWrites: the hospital record sends a report, as it does to any address.
func (s *Stage) recordWrites(ctx context.Context) error {
	s.tell.chapter(2, "demo.chapter-record", nil)
	r, err := newReport(lea, s.tell.text("demo.mail-report", nil), []string{s.tell.text("demo.mail-findings", nil)})
	if err != nil {
		return err
	}
	d, err := r.mail(boxRecord, s.pathway.Address, s.tell.text("demo.mail-record", nil))
	if err != nil {
		return err
	}
	s.tell.say("demo.record-sends", map[string]any{"house": chu, "author": radiologist})
	p, err := s.send(ctx, d, boxes())
	if err != nil {
		return err
	}
	if err := s.arrive(ctx, p, p.to); err != nil {
		return err
	}
	m, err := s.inThread(ctx, p)
	if err != nil {
		return err
	}
	s.tell.say("demo.record-filed", map[string]any{"author": m.Author.Name, "rubrics": rubricNames(s.programme, m.Rubrics)})
	s.tell.say("demo.everyone", nil)
	for _, box := range p.to {
		whom, _ := s.copyAt(box, p).names("To")
		s.tell.item("demo.copy", map[string]any{"box": box, "whom": whom})
	}
	return nil
}

// wardAnswers: two answers come from the box that two nurses share.
func (s *Stage) wardAnswers(ctx context.Context) error {
	s.tell.chapter(3, "demo.chapter-ward", map[string]any{"nurse": nurse.name, "colleague": colleague.name})
	ward := stdmail.Address{Name: wardName, Address: boxWard}
	report := s.copyAt(boxWard, s.posts[0])
	quoted := s.tell.text("demo.mail-record", nil)

	line := s.tell.text("demo.mail-author", map[string]any{"nurse": nurse.name})
	signed := report.answer(ward, line+"\n\n"+s.tell.text("demo.mail-answer", nil), quoted)
	s.tell.say("demo.ward-signed", map[string]any{"nurse": nurse.name, "line": line})
	p, err := s.send(ctx, signed, boxes())
	if err != nil {
		return err
	}
	if err := s.arrive(ctx, p, p.to); err != nil {
		return err
	}
	from, _ := s.copyAt(boxDoctor, p).names("From")
	s.tell.say("demo.ward-known", map[string]any{"from": from})
	whom, _ := s.copyAt(boxWard, p).names("To")
	s.tell.say("demo.ward-colleague", map[string]any{"box": boxWard, "whom": whom})

	unsigned := report.answer(ward, s.tell.text("demo.mail-unsigned", nil), quoted)
	s.tell.say("demo.ward-unsigned", nil)
	if p, err = s.send(ctx, unsigned, boxes()); err != nil {
		return err
	}
	if err := s.arrive(ctx, p, p.to); err != nil {
		return err
	}
	from, _ = s.copyAt(boxDoctor, p).names("From")
	m, err := s.inThread(ctx, p)
	if err != nil {
		return err
	}
	s.tell.say("demo.ward-unknown", map[string]any{"from": from, "author": s.author(m.Author)})
	return nil
}

// operatorDown: an operator is away while the coordinator writes.
func (s *Stage) operatorDown(ctx context.Context) error {
	s.tell.chapter(4, "demo.chapter-down", nil)
	if err := s.settle(ctx); err != nil {
		return err
	}
	town := s.at(boxPractice)
	address := town.address
	town.away()
	s.outage.began = time.Now()
	s.tell.say("demo.down", map[string]any{"nurse": homeNurse.name})

	d := &draft{
		from: stdmail.Address{Name: coordinator.name, Address: boxCoordinator}, to: s.pathway.Address,
		subject: s.tell.text("demo.mail-home-subject", nil), text: s.tell.text("demo.mail-home", nil),
	}
	s.tell.say("demo.down-post", map[string]any{"coordinator": coordinator.name, "subject": d.subject})
	p, err := s.send(ctx, d, except(boxes(), boxCoordinator))
	if err != nil {
		return err
	}
	s.outage.post = p
	if err := s.arrive(ctx, p, except(p.to, boxPractice)); err != nil {
		return err
	}
	s.tell.say("demo.down-others", map[string]any{"n": len(p.to) - 1})
	const enough = 2 // attempts: the first, and one that the hub made by itself
	err = s.await(ctx, s.tell.text("demo.wait-attempt", nil), func() (bool, error) {
		queue, err := s.client.Queue(ctx, nobody, mailbox.QueueFilter{Pathway: s.pathway.ID, Mailbox: boxPractice})
		if err != nil || len(queue) != 1 || queue[0].Attempts < enough || queue[0].State != "queued" {
			return false, err
		}
		s.outage.unreached = queue[0]
		return true, nil
	})
	if err != nil {
		return err
	}
	s.tell.say("demo.down-waits", map[string]any{
		"nurse": homeNurse.name, "attempts": s.outage.unreached.Attempts, "reason": s.reason(s.outage.unreached.LastError),
	})

	s.outage.hadArrived = s.copyAt(boxPractice, p) != nil
	s.outage.ended = time.Now()
	if err := town.back(address); err != nil {
		return err
	}
	s.tell.say("demo.back", nil)
	if err := s.arrive(ctx, p, p.to); err != nil {
		return err
	}
	after := s.copyAt(boxPractice, p).at.Sub(s.outage.ended)
	s.tell.say("demo.back-arrived", map[string]any{"nurse": homeNurse.name, "after": s.tell.seconds(after)})
	return nil
}

// wrongChild: the doctor sends another child's report to this child's address.
func (s *Stage) wrongChild(ctx context.Context) error {
	s.tell.chapter(5, "demo.chapter-wrong", nil)
	r, err := newReport(tom, s.tell.text("demo.mail-report", nil), []string{s.tell.text("demo.mail-other", nil)})
	if err != nil {
		return err
	}
	d, err := r.mail(boxDoctor, s.pathway.Address, s.tell.text("demo.mail-wrong", nil))
	if err != nil {
		return err
	}
	d.from.Name, d.subject = doctor.name, s.tell.text("demo.mail-wrong-subject", nil)
	s.tell.say("demo.wrong-post", map[string]any{"doctor": doctor.name})
	if _, err := s.send(ctx, d, nil); err != nil {
		return err
	}
	var held mailbox.HeldView
	err = s.await(ctx, s.tell.text("demo.wait-held", nil), func() (bool, error) {
		list, err := s.client.TriageList(ctx, nobody)
		if err != nil || len(list) != 1 {
			return false, err
		}
		held = list[0]
		return true, nil
	})
	if err != nil {
		return err
	}
	s.held = held
	s.tell.say("demo.wrong-held", map[string]any{"reason": s.tell.text(texts.ID("demo.held-"+held.Reason), nil)})
	if err := s.told(ctx, boxDoctor, "held", doctor.name); err != nil {
		return err
	}
	if err := s.told(ctx, boxCoordinator, "held", coordinator.name); err != nil {
		return err
	}
	err = s.client.Reject(ctx, nobody, mailbox.TriageRequest{ID: held.ID, Reason: s.tell.text("demo.mail-reject", nil)})
	if err != nil {
		return fmt.Errorf("rejecting the held message: %w", err)
	}
	s.tell.say("demo.wrong-rejected", map[string]any{"coordinator": coordinator.name})
	return s.told(ctx, boxDoctor, "not-transmitted", doctor.name)
}

// told waits for a notice of a kind at a box and tells what it says.
func (s *Stage) told(ctx context.Context, box, kind, whom string) error {
	var n *mail
	err := s.await(ctx, s.tell.text("demo.wait-notice", map[string]any{"box": box}), func() (bool, error) {
		n = s.notice(box, kind)
		return n != nil, nil
	})
	if err != nil {
		return err
	}
	s.tell.item("demo.told", map[string]any{"whom": whom, "subject": n.text("Subject")})
	return nil
}

// oneThread: what is left of it all, as the coordinator reads it.
func (s *Stage) oneThread(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.tell.chapter(6, "demo.chapter-thread", map[string]any{"coordinator": coordinator.name})
	thread, err := s.client.Thread(ctx, nobody, s.pathway.ID, s.members[coordinator.name])
	if err != nil {
		return fmt.Errorf("reading the thread: %w", err)
	}
	for _, m := range thread.Messages {
		s.tell.item("demo.entry", map[string]any{
			"n": sent(m), "author": s.author(m.Author), "subject": m.Subject, "rubrics": rubricNames(s.programme, m.Rubrics),
		})
	}
	return nil
}
