package bolt

import "github.com/relais-sante/relais/store/journal"

// Health is what keeps a store from writing; empty: nothing does.
type Health string

// What can be wrong with a store that is open.
const (
	// HealthFull: the last write found no room; it goes on when there is some.
	HealthFull Health = "full"
	// HealthTorn: a page of the index is torn. Nothing is written any more.
	HealthTorn Health = "torn"
	// HealthDevice: the disk gave an input/output error. Nothing is written until
	// a restart.
	HealthDevice Health = "device"
	// HealthReadOnly: the last write found the file system read-only, as the
	// kernel makes it after a fault. It goes on if that changes.
	HealthReadOnly Health = "read-only"
)

var _ journal.Safe = HealthFull

// Journal implements journal.Safe.
func (h Health) Journal() string { return string(h) }

// Health tells what is wrong, the worst first.
func (s *Store) Health() Health {
	switch {
	case s.torn.Load():
		return HealthTorn
	case s.broken.Load():
		return HealthDevice
	case s.locked.Load():
		return HealthReadOnly
	case s.full.Load(), s.crammed.Load():
		return HealthFull
	}
	return ""
}
