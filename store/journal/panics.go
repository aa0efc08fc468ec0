package journal

import (
	"log/slog"
	"runtime/debug"
	"sync/atomic"
)

var panics atomic.Int64

// Panics is how many panics this process recovered. Each is a defect: test runs
// fail on them (see journaltest), and the metrics of the servers count theirs.
func Panics() int64 { return panics.Load() }

// Recovered notes a panic that its caller recovered: whoever recovers calls it,
// and a test of this package reads the source of the whole module for those who
// do not. The value of a panic may hold anything, so only the place is written
// down (functions, lines, addresses of memory: no value), and the text if the
// runtime wrote it.
func Recovered(log *slog.Logger, value any, args ...any) {
	panics.Add(1)
	cause := Word("a value of the program")
	if err, ok := value.(interface{ RuntimeError() }); ok {
		if text, ok := err.(error); ok {
			cause = Word(text.Error())
		}
	}
	log.Error("panic recovered", append(args, "cause", cause, "stack", Word(debug.Stack()))...)
}
