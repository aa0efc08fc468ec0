package inbound

import (
	"runtime/debug"
	"strings"
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
func (s *Server) crash(value any) {
	panics.Add(1)
	s.metrics.panics.Inc()
	cause := journal.Word("a value of the program")
	if err, ok := value.(interface{ RuntimeError() }); ok {
		if text, ok := err.(error); ok {
			cause = journal.Word(text.Error())
		}
	}
	s.log.Error("panic recovered", "cause", cause, "stack", stack(debug.Stack()))
}

// faults is go-smtp's error log. It is not written down: it quotes what came
// from outside. Of use is only that a panic happened inside go-smtp.
type faults struct{ server *Server }

func (f faults) Printf(format string, _ ...any) {
	if strings.HasPrefix(format, "panic") {
		f.server.crash(nil)
	}
}

func (faults) Println(...any) {}
