package gateway

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/clamd"
	"github.com/relais-sante/relais/mailbox"
)

// answersWithin is how long `status` waits for the antivirus.
const answersWithin = time.Second

// antivirus is clamd as the hub's scanner. None of it is a nil one.
type antivirus struct {
	clamd *clamd.Client
	scans *prometheus.CounterVec // outcome
}

func newAntivirus(c *configs.Config, m *metrics) *antivirus {
	if c.Clamd.Address == "" {
		return nil
	}
	a := &antivirus{
		clamd: clamd.New(clamd.Options{
			Address: c.Clamd.Address, Timeout: time.Duration(c.Clamd.Timeout),
			MaxBytes: int64(c.Clamd.MaxBytes), Scans: c.Clamd.Scans,
		}),
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "relais", Subsystem: "antivirus", Name: "scans_total", Help: "Messages scanned, by what was found.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"clean", "infected", "too-big", "failed"} {
		a.scans.WithLabelValues(outcome) // seen from the start
	}
	m.MustRegister(a.scans)
	return a
}

// scanner is what the hub gets: no interface around a nil pointer.
func (a *antivirus) scanner() mailbox.Scanner {
	if a == nil {
		return nil
	}
	return a
}

// Scan implements [mailbox.Scanner]. A message larger than clamd takes will be
// so at every attempt: its sender is told now, rather than after days.
func (a *antivirus) Scan(ctx context.Context, r io.Reader) (infected bool, name string, err error) {
	v, err := a.clamd.Scan(ctx, r)
	outcome := "clean"
	switch {
	case errors.Is(err, clamd.ErrTooBig):
		outcome, err = "too-big", &mailbox.Refusal{Reason: mailbox.RefuseTooBig, Err: err}
	case err != nil:
		outcome = "failed"
	case v.Infected:
		outcome = "infected"
	}
	a.scans.WithLabelValues(outcome).Inc()
	return v.Infected, v.Signature, err
}

// tell writes into the status how the antivirus is.
func (a *antivirus) tell(ctx context.Context, s *admin.Status) {
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	s.Antivirus = admin.Antivirus{Active: true, Reachable: a.clamd.Ping(ctx) == nil}
}
