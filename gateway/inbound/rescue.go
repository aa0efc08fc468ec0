package inbound

import (
	"strings"

	"github.com/relais-sante/relais/store/journal"
)

// crash takes note of a panic.
func (s *Server) crash(value any) {
	s.metrics.panics.Inc()
	journal.Recovered(s.log, value)
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
