package gateway

import (
	"fmt"

	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/gateway/outbound"
)

// openAccesses makes what it takes to log in at each operator. Reading a box and
// submission share it: the token, and the wait after a refusal.
func (d *daemon) openAccesses() error {
	d.accesses = map[string]*operator.Access{}
	for _, o := range d.cfg.Operators {
		a, err := operator.NewAccess(operator.AccessOptions{Settings: o, Trust: d.guard, Dev: d.cfg.Dev})
		if err != nil {
			return fmt.Errorf("preparing to log in at an operator: %w", err)
		}
		d.accesses[o.Name] = a
	}
	return nil
}

// submission is the route through the operators' boxes.
func (d *daemon) submission(r outbound.Resolver) (*outbound.Submission, error) {
	var boxes []outbound.Submitter
	for _, o := range d.cfg.Operators {
		boxes = append(boxes, outbound.Submitter{
			Name: o.Name, Server: o.SMTP, Access: d.accesses[o.Name], ByCertificate: o.ByCertificate(),
		})
	}
	return outbound.NewSubmission(boxes, r)
}
