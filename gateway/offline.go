package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// ErrRunning: a hub has the data folder open; ask it instead.
const ErrRunning = journal.Fault("a hub is running on this data folder")

// VerifyTraces verifies the traces of a hub that is not running. It needs the
// keys and changes nothing in the index.
func VerifyTraces(ctx context.Context, c *configs.Config, q mailbox.AuditCheck) (r mailbox.AuditReport, err error) {
	o, err := KeyOptions(c)
	if err != nil {
		return r, err
	}
	keys, err := seal.Open(o)
	if errors.Is(err, seal.ErrInUse) {
		return r, ErrRunning
	}
	if err != nil {
		return r, fmt.Errorf("opening the keystore: %w", err)
	}
	defer keys.Close()
	s, err := bolt.OpenReader(bolt.Options{Dir: string(c.DataDir), Keys: keys})
	if err != nil {
		return r, fmt.Errorf("opening the store: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return mailbox.VerifyTraces(ctx, s, q)
}
