package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

// Result is what the story showed.
type Result struct {
	Passed  bool    `json:"passed"`
	Seconds float64 `json:"seconds"`
	Pathway string  `json:"pathway"`
	Config  string  `json:"config,omitempty"` // of the hub, where it stays up
	Claims  []Claim `json:"claims"`
}

// Claim is one point of the verdict.
type Claim struct {
	Claim string `json:"claim"`
	OK    bool   `json:"ok"`
	Text  string `json:"text"`
}

// verdict compares what was to happen with what the operators received and what
// the hub says of it.
func (s *Stage) verdict(ctx context.Context) (Result, error) {
	j := &judge{Stage: s, copies: map[copyKey][]*mail{}}
	if err := j.gather(ctx); err != nil {
		return Result{}, err
	}
	for _, examine := range []func(context.Context) error{
		j.delivery, j.bodies, j.filing, j.authors, j.thread, j.wrong, j.down, j.strangers, j.disk, j.atRest,
	} {
		if err := examine(ctx); err != nil {
			return Result{}, err
		}
	}
	r := Result{Passed: true, Pathway: s.pathway.ID, Claims: j.claims, Seconds: time.Since(s.tell.began).Seconds()}
	if s.o.Boxes {
		r.Config = s.hub.config
	}
	s.tell.free()
	s.tell.title("demo.verdict", nil)
	for _, c := range r.Claims {
		r.Passed = r.Passed && c.OK
		s.tell.mark(c.OK, c.Text)
	}
	args := map[string]any{"n": len(r.Claims), "time": s.tell.seconds(time.Since(s.tell.began))}
	s.tell.free()
	if r.Passed {
		s.tell.title("demo.passed", args)
	} else {
		s.tell.title("demo.failed", args)
	}
	return r, nil
}

// judge holds what the verdict is computed from.
type judge struct {
	*Stage
	claims  []Claim
	copies  map[copyKey][]*mail            // copies of posts that boxes received
	notices []*mail                        // what the hub wrote itself
	entries map[string]mailbox.MessageView // of the thread, by Message-ID
}

type copyKey struct{ id, box string }

func (j *judge) gather(ctx context.Context) error {
	for _, m := range j.everything() {
		if m.kind() != "" {
			j.notices = append(j.notices, m)
			continue
		}
		key := copyKey{m.id(), m.box}
		j.copies[key] = append(j.copies[key], m)
	}
	thread, err := j.client.Thread(ctx, nobody, j.pathway.ID, "")
	if err != nil {
		return fmt.Errorf("reading the thread: %w", err)
	}
	j.entries = map[string]mailbox.MessageView{}
	for _, m := range thread.Messages {
		j.entries[m.MessageID] = m
	}
	return nil
}

// claim adds a point to the verdict. Its name is what its text's id ends in.
func (j *judge) claim(ok bool, id texts.ID, args map[string]any) {
	_, name, _ := strings.Cut(string(id), "-")
	j.claims = append(j.claims, Claim{Claim: name, OK: ok, Text: j.tell.text(id, args)})
}
