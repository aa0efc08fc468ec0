// Package journaltest makes test runs fail on panics that were recovered: what
// keeps a hub alive in service must not hide a defect from its tests.
//
// Every package that recovers, and those above that run whole hubs, have
//
//	func TestMain(m *testing.M) { os.Exit(journaltest.Run(m)) }
//
// or hand [Watched] to what runs their tests.
package journaltest

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/relais-sante/relais/store/journal"
)

// expected counts those that tests caused on purpose.
var expected atomic.Int64

// Runner is a [testing.M], or what stands for one.
type Runner interface{ Run() int }

// Run runs the tests and returns their exit code: 1 as well if a panic was
// recovered that no test caused on purpose.
func Run(m Runner) int {
	code := m.Run()
	if got, want := journal.Panics(), expected.Load(); got != want {
		fmt.Fprintf(os.Stderr, "%d panics were recovered, %d were caused on purpose\n", got, want)
		return max(code, 1)
	}
	return code
}

// Watched is Run as a [Runner].
type Watched struct{ Runner }

// Run runs the tests as the function does.
func (w Watched) Run() int { return Run(w.Runner) }

// Expect lets a test cause panics on purpose, at least one. Such a test must not
// run beside others.
func Expect(t testing.TB) {
	t.Helper()
	before := journal.Panics()
	t.Cleanup(func() {
		got := journal.Panics() - before
		if got == 0 {
			t.Error("no panic was recovered")
		}
		expected.Add(got)
	})
}
