package imap

import "github.com/relais-sante/relais/store/journal"

// crash takes note of a panic.
func (c *conn) crash(value any) {
	c.server.metrics.panics.Inc()
	journal.Recovered(c.server.log, value, "session", c.id, "command", c.command)
}
