package imap

import (
	"runtime/debug"
	"sync/atomic"

	"github.com/relais-sante/relais/store/journal"
)

// panics counts the panics recovered by this package. The tests fail if there
// is any that they did not cause.
var panics atomic.Int64

// stack is where a panic happened. It shows functions, lines and addresses of
// memory, and no value.
type stack string

// Journal implements journal.Safe.
func (s stack) Journal() string { return string(s) }

// crash takes note of a panic. Its value may hold anything, so only the place
// is written down, and the text if the runtime wrote it.
func (c *conn) crash(value any) {
	panics.Add(1)
	c.server.metrics.panics.Inc()
	cause := journal.Word("a value of the program")
	if err, ok := value.(interface{ RuntimeError() }); ok {
		if text, ok := err.(error); ok {
			cause = journal.Word(text.Error())
		}
	}
	c.server.log.Error("panic recovered", "session", c.id, "command", c.command, "cause", cause, "stack", stack(debug.Stack()))
}
