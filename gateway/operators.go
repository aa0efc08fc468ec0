package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// openAccesses makes what it takes to log in at each operator. Reading a box and
// submission share it: the token, and the wait after a refusal.
func (d *daemon) openAccesses() error {
	d.accesses = map[string]*operator.Access{}
	for _, o := range d.cfg.Operators {
		a, err := operator.NewAccess(operator.AccessOptions{
			Settings: o, Trust: d.guard, Dev: d.cfg.Dev, Vault: vault{d.store, o.Address + "|" + o.ClientID},
		})
		if err != nil {
			return fmt.Errorf("preparing to log in at an operator: %w", err)
		}
		d.accesses[o.Name] = a
	}
	return nil
}

// openBoxes makes what reads the boxes.
func (d *daemon) openBoxes() {
	if len(d.cfg.Operators) == 0 {
		return
	}
	m := operator.NewMetrics(d.metrics)
	for _, o := range d.cfg.Operators {
		d.boxes = append(d.boxes, operator.NewPoller(operator.Options{
			Settings: o, Access: d.accesses[o.Name], Hub: d.hub, MaxMessage: int64(d.cfg.Inbound.MaxMessageBytes), Metrics: m, Log: d.log,
		}))
	}
}

// prepareAccesses reads the operators' certificates for a reload.
func (d *daemon) prepareAccesses() (use func(), err error) {
	var all []func()
	for _, a := range d.accesses {
		use, err := a.Prepare()
		if err != nil {
			return nil, err
		}
		all = append(all, use)
	}
	return func() {
		for _, use := range all {
			use()
		}
		for _, p := range d.boxes {
			p.Renew()
		}
	}, nil
}

// submission is the route through the operators' boxes.
func (d *daemon) submission(r outbound.Resolver) (*outbound.Submission, error) {
	var boxes []outbound.Submitter
	for _, o := range d.cfg.Operators {
		boxes = append(boxes, outbound.Submitter{
			Name: o.Name, Server: o.SMTP, Access: d.accesses[o.Name], ByCertificate: o.ByCertificate(),
		})
	}
	var err error
	d.sending, err = outbound.NewSubmission(boxes, r)
	return d.sending, err
}

// vault keeps a refresh token among the sealed settings of the store.
type vault struct {
	store store.Store
	box   string
}

func (v vault) name() string {
	sum := v.store.Mac("token", v.box)
	return "token." + hex.EncodeToString(sum[:16])
}

// Load implements [operator.Vault].
func (v vault) Load(ctx context.Context) (b []byte, err error) {
	err = v.store.View(ctx, func(view store.View) error {
		b, err = view.Setting(v.name())
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

// Save implements [operator.Vault].
func (v vault) Save(ctx context.Context, secret []byte) error {
	return v.store.Commit(ctx, func(tx store.Tx) error { return tx.PutSetting(v.name(), secret) })
}

// awayAfter is how long a box may be out of reach before `status` warns.
const awayAfter = 2 * time.Minute

// tellBoxes writes into the status how the boxes are.
func (d *daemon) tellBoxes(s *admin.Status) {
	s.Operators = []admin.OperatorBox{}
	for _, p := range d.boxes {
		b := p.Status()
		s.Operators = append(s.Operators, admin.OperatorBox{
			Name: b.Name, Address: b.Address, Connected: b.Connected, Since: b.Since, LastTaken: when(b.LastTaken),
			Taken: b.Taken, Aside: b.Aside, Waiting: b.Waiting, Fault: string(b.Fault), FaultAt: when(b.FaultAt),
		})
		fault := d.text(texts.ID("operator.fault-"+string(b.Fault)), nil)
		switch {
		case !b.Connected && b.Fault != "" && (time.Since(b.Since) > awayAfter || b.Fault == operator.FaultRefused):
			s.Warnings = append(s.Warnings, d.text("operator.away", map[string]any{"box": b.Name, "fault": fault}))
		case b.Connected && b.Fault == operator.FaultMark && b.FaultAt.After(b.Since):
			s.Warnings = append(s.Warnings, d.text("operator.unmarked", map[string]any{"box": b.Name, "fault": fault}))
		}
	}
	if d.sending != nil {
		d.tellSending(s, d.sending.Health())
	}
	for _, o := range d.cfg.Operators {
		if cert := d.accesses[o.Name].Certificate(); cert != nil && o.Cert != d.cfg.TLS.ClientCert {
			s.Certificates = append(s.Certificates, admin.Certificate{Use: "operator", Subject: cert.Subject.String(), NotAfter: cert.NotAfter})
		}
	}
}

// tellSending writes into the status of the boxes what keeps mail from leaving.
func (d *daemon) tellSending(s *admin.Status, boxes []outbound.Health) {
	for _, h := range boxes {
		i := slices.IndexFunc(s.Operators, func(b admin.OperatorBox) bool { return b.Name == h.Box })
		if h.Trouble == "" || i < 0 {
			continue
		}
		s.Operators[i].Trouble, s.Operators[i].TroubleSince = h.Trouble, when(h.Since)
		if h.Trouble == outbound.TroubleLogin || time.Since(h.Since) > awayAfter {
			s.Warnings = append(s.Warnings, d.text("operator.cannot-send", map[string]any{
				"box": h.Box, "reason": d.text(texts.ID("cli.reason-"+h.Trouble), nil),
			}))
		}
	}
}
