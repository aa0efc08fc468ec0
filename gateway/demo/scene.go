package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

// What the chapters of the story are made of.

// send hands the hub a mail, through the operator of its sender.
func (s *Stage) send(ctx context.Context, d *draft, to []string) (*post, error) {
	raw, id, err := d.write()
	if err != nil {
		return nil, err
	}
	p := &post{id: id, body: bytes.Clone(bodyOf(raw)), to: to}
	s.posts = append(s.posts, p)
	err = s.at(d.from.Address).send(ctx, s.hub.inbound, d.from.Address, d.to, raw)
	var refused *smtp.SMTPError
	if errors.As(err, &refused) {
		return nil, &Trouble{ID: "demo.refused", Args: map[string]any{"box": d.from.Address, "answer": refused.Message}, Err: err}
	}
	return p, err
}

// arrive waits until the copies of a post are in the boxes.
func (s *Stage) arrive(ctx context.Context, p *post, to []string) error {
	for _, box := range to {
		err := s.await(ctx, s.tell.text("demo.wait-copy", map[string]any{"box": box}), func() (bool, error) {
			return s.copyAt(box, p) != nil, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits until the hub has nothing left to send.
func (s *Stage) settle(ctx context.Context) error {
	return s.await(ctx, s.tell.text("demo.wait-queue", nil), func() (bool, error) {
		st, err := s.client.Status(ctx)
		return err == nil && st.Queue.Queued == 0, err
	})
}

// inThread gives the entry of a post in the thread.
func (s *Stage) inThread(ctx context.Context, p *post) (mailbox.MessageView, error) {
	thread, err := s.client.Thread(ctx, nobody, s.pathway.ID, "")
	if err != nil {
		return mailbox.MessageView{}, fmt.Errorf("reading the thread: %w", err)
	}
	for _, m := range thread.Messages {
		if m.MessageID == p.id {
			return m, nil
		}
	}
	return mailbox.MessageView{}, &Trouble{ID: "demo.not-filed"}
}

// sent counts the copies of a message that were delivered.
func sent(m mailbox.MessageView) int {
	n := 0
	for _, d := range m.Deliveries {
		if d.State == "sent" && d.Kind == "copy" {
			n++
		}
	}
	return n
}

// author says who wrote, and what that is worth.
func (s *Stage) author(a mailbox.AuthorView) string {
	return s.tell.text(texts.ID("demo.author-"+a.Certainty), map[string]any{"name": a.Name})
}

// reason says why an attempt failed; the hub gives codes and a word.
func (s *Stage) reason(last string) string {
	word := last[strings.LastIndexByte(last, ' ')+1:]
	id := texts.ID("cli.reason-" + word)
	if text := s.tell.text(id, nil); text != string(id) {
		return text
	}
	return last
}
