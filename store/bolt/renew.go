package bolt

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"

	"github.com/relais-sante/relais/store"
)

// Renew begins another history: what was committed after the backup or the
// damage that this store came back from is gone, though others may have seen it.
// Every UIDVALIDITY changes, since UIDs will be given again (RFC 9051 §2.3.1.1),
// and backups do not take the segments to come for those that were.
func (s *Store) Renew(ctx context.Context) error {
	err := s.Commit(ctx, func(st store.Tx) error {
		t := st.(*tx)
		t.state.renew(s)
		if _, err := io.ReadFull(rand.Reader, t.state.Line[:]); err != nil {
			return err
		}
		return t.PutSetting("renewed", u32(t.state.Validity))
	})
	if err != nil {
		return fmt.Errorf("beginning another history: %w", err)
	}
	return nil
}

// renew gives every mailbox another UIDVALIDITY.
func (st *state) renew(s *Store) {
	st.Validity = max(st.Validity+1, uint32(s.o.Clock().Unix()))
}
