// Package demo is `relais demo`: a hub and three mail operators on this
// machine, and a story played on them.
//
// Rules that hold here:
//
//   - Nothing is acted. The hub is the daemon that [gateway.Serve] runs, with
//     its checks on; the operators are SMTP servers and clients with
//     certificates of their own. What is told was received by an operator or
//     said by the admin API just before, and every point of the verdict is
//     computed from both.
//   - Nothing leaves the machine: loopback addresses, names under .example
//     (RFC 2606), invented people, identifiers of the national test range.
//   - The story waits for what must come, never for time to pass. What does not
//     come within [patience] ends it.
//   - The telling is for people who have never heard of mail protocols; Verbose
//     adds what was said between machines.
package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
)

// patience is how long anything may take that the story waits for. On a quiet
// machine everything but a retry takes milliseconds.
const patience = 30 * time.Second

// Options say how the story is told.
type Options struct {
	Out     io.Writer
	Locale  texts.Locale
	Colour  bool   // Out is a terminal that shows colours
	Verbose bool   // tell what machines say to each other, too
	Boxes   bool   // keep what boxes receive as files, for mail clients
	Version string // of the program
	Program string // its file, for those who type its commands; empty: it is at hand
}

// Stage is where the story is played: a hub and its operators, running.
type Stage struct {
	o    Options
	tell *teller
	dir  string // everything lies here

	hub       *hub
	client    *admin.Client
	programme *rules.Programme
	resolver  *resolver
	operators []*operator

	pathway mailbox.PathwayView
	members map[string]string // member by name
	posts   []*post           // in the order they were sent
	outage  outage
	held    mailbox.HeldView // the message that was held back
}

// nobody is the Actor handed to the admin client, which does not send it.
var nobody mailbox.Actor

// Trouble is an error told to the person who runs the demonstration.
type Trouble struct {
	ID   texts.ID
	Args map[string]any
	Err  error
}

func (t *Trouble) Error() string {
	if t.Err != nil {
		return string(t.ID) + ": " + t.Err.Error()
	}
	return string(t.ID)
}

func (t *Trouble) Unwrap() error { return t.Err }

// In says the error in one line.
func (t *Trouble) In(l texts.Locale) string { return texts.T(l, t.ID, t.Args) }

// Set builds the stage: folder, certificates, operators, hub. The caller closes
// it.
func Set(ctx context.Context, o Options) (*Stage, error) {
	s := &Stage{o: o, tell: newTeller(o), members: map[string]string{}}
	if err := s.build(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) build(ctx context.Context) (err error) {
	s.tell.title("demo.title", nil)
	s.tell.paragraph("demo.intro", nil)
	s.tell.free()
	if s.dir, err = os.MkdirTemp("", "relais-demo-"); err != nil {
		return err
	}
	authority, err := found(s.hubDir(), s.o.Locale)
	if err != nil {
		return err
	}
	if err := s.openOperators(authority); err != nil {
		return err
	}
	if s.resolver, err = newResolver(mailHosts()); err != nil {
		return err
	}
	if err := s.openHub(ctx); err != nil {
		return err
	}
	s.client = admin.NewClient(s.hub.socket)
	return nil
}

func (s *Stage) hubDir() string { return filepath.Join(s.dir, "hub") }

// Close stops everything and takes the folder away.
func (s *Stage) Close() {
	s.stop()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Keep stops everything and leaves the folder, for whoever looks for a fault.
func (s *Stage) Keep() {
	s.stop()
	s.tell.paragraph("demo.kept", map[string]any{"journal": filepath.Join(s.dir, journalName)})
}

func (s *Stage) stop() {
	if s.client != nil {
		s.client.Close()
	}
	if s.hub != nil {
		s.hub.stop()
	}
	for _, o := range s.operators {
		o.away()
	}
	if s.resolver != nil {
		s.resolver.close()
	}
}

// await waits until ok. What it waits for is told if it does not come.
func (s *Stage) await(ctx context.Context, what string, ok func() (bool, error)) error {
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		switch done, err := ok(); {
		case err != nil:
			return err
		case done:
			return nil
		}
		select {
		case <-look.C:
		case <-late.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &Trouble{ID: "demo.late", Args: map[string]any{"what": what, "limit": texts.Duration(s.o.Locale, patience)}}
		}
	}
}

// Interrupted reports whether the story ended because somebody asked for it.
func Interrupted(err error) bool { return errors.Is(err, context.Canceled) }
