package bolt

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// bbolt trusts the pages of its file: on a torn one it panics, or reads memory
// that is not mapped. A fence makes an error of that, so that one bad page does
// not end the hub: what does not touch it is still read. Nothing is written any
// more, since a page that is written from a bad one makes two of them, and since
// after a failed commit bbolt reads every page in a goroutine of its own, where
// no fence reaches.

// fenced runs what touches pages of the index. A panic that is not about pages
// goes on.
func (s *Store) fenced(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if !aboutPages(p) {
			panic(p)
		}
		if !s.torn.Swap(true) {
			s.log.Error("the index is torn: nothing more is written; stop the hub, save its folder, then relais restore --salvage",
				"stack", slog.AnyValue(journal.Word(debug.Stack())))
		}
		err = errTorn
	}()
	return fn()
}

var errTorn = fmt.Errorf("reading the index: a page is torn, salvage it: %w", store.ErrCorrupt)

// aboutPages tells a panic that a torn page causes: one raised by bbolt, or an
// access to memory beyond what the file fills. It must be called while panicking.
func aboutPages(p any) bool {
	if _, ok := p.(interface{ Addr() uintptr }); ok {
		return true
	}
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	panicked := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case panicked && !strings.HasPrefix(f.Function, "runtime."):
			return strings.HasPrefix(f.Function, "go.etcd.io/bbolt")
		}
		if !more {
			return false
		}
	}
}

// opened keeps the file that bbolt opened last, to close it where a torn page
// keeps bbolt from doing so.
type opened struct {
	files
	last *os.File
}

// letGo closes the file and gives back its lock, which the mapping that stays
// would keep.
func (o *opened) letGo() {
	if o != nil && o.last != nil {
		_ = syscall.Flock(int(o.last.Fd()), syscall.LOCK_UN)
		o.last.Close()
	}
}

func (o *opened) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := o.files.OpenFile(name, flag, perm)
	o.last = f
	return f, err
}
