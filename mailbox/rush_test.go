package mailbox

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// slowly looks at a message until it is told to go on.
type slowly struct {
	looking chan struct{}
	goOn    chan struct{}
}

func (s *slowly) Scan(context.Context, io.Reader) (bool, string, error) {
	s.looking <- struct{}{}
	<-s.goOn
	return false, "", nil
}

// A rush is as many messages as make one, at once: not one less, and it is over
// when one of them has its answer.
func TestRush(t *testing.T) {
	h := newHouse(t)
	s := &slowly{looking: make(chan struct{}), goOn: make(chan struct{})}
	h.o.Scanner = s
	var senders sync.WaitGroup
	send := func(i int) {
		senders.Go(func() {
			if _, err := h.try(written{from: "roux@chu.test", to: string(h.child), id: fmt.Sprintf("%d@chu.test", i), text: "Bonjour"}); err != nil {
				t.Error(err)
			}
		})
		<-s.looking
	}
	many := int(h.rush.many)
	if many < rushed {
		t.Errorf("%d messages make a rush", many)
	}
	for i := range many - 1 {
		send(i)
	}
	if r := h.Rush(); !r.IsZero() {
		t.Errorf("%d messages were a rush at %v", many-1, r)
	}
	send(many)
	before := time.Now()
	if r := h.Rush(); r.Before(before) {
		t.Errorf("%d messages are no rush, the last one was at %v", many, r)
	}
	close(s.goOn)
	senders.Wait()
	after := time.Now()
	if r := h.Rush(); r.Before(before) || r.After(after) {
		t.Errorf("it ended at %v, not between %v and %v", r, before, after)
	}
}
