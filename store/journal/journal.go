// Package journal writes the technical journal: one JSON line per event, on
// standard error.
//
// The journal must never hold health data, an identity or a secret (design
// rule 6). That is not left to the care of whoever writes a log line: only
// values whose type says that they are safe are written. Numbers, booleans,
// durations, times and network addresses are; so is any type that implements
// [Safe]. A plain string is not, and comes out as "[redacted]"; use [Word] for
// the words of a closed vocabulary. Messages are constants: a test of this
// package reads the source of the whole module and refuses anything else.
//
// An error is written as far as its types allow: the words that our own code
// wrapped around it, then its cause if the cause is [Safe] or one of the
// standard library's faults that quote nothing.
package journal

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
)

// Safe is implemented by types that may appear in the journal. The text must
// hold neither identity nor content.
type Safe interface{ Journal() string }

// Word is a word of a closed vocabulary: a state, a verb, a setting's name.
// Converting anything that came from outside to a Word is a defect.
type Word string

// Journal implements [Safe].
func (w Word) Journal() string { return string(w) }

// Fault is a constant error whose text is safe to write down. Packages declare
// their sentinel errors with it and callers compare them with [errors.Is].
type Fault string

func (f Fault) Error() string { return string(f) }

// Journal implements [Safe].
func (f Fault) Journal() string { return string(f) }

const redacted = "[redacted]"

// New returns a logger that writes JSON lines of level and above to w.
func New(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: redact}))
}

// Discard returns a logger that writes nothing.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func redact(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey:
			return a
		}
	}
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(redacted)
	case slog.KindAny:
		a.Value = slog.StringValue(text(a.Value.Any()))
	}
	return a
}

func text(v any) string {
	switch v := v.(type) {
	case Safe:
		return v.Journal()
	case error:
		return Text(v)
	case net.Addr:
		return v.String()
	case []Word:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = string(w)
		}
		return strings.Join(words, " ")
	}
	return redacted
}

// Text gives the part of an error that may be written down.
func Text(err error) string {
	if err == nil {
		return ""
	}
	if s, ok := err.(Safe); ok {
		return s.Journal()
	}
	if plain(err) {
		return err.Error()
	}
	switch u := err.(type) {
	case interface{ Unwrap() []error }:
		var parts []string
		for _, e := range u.Unwrap() {
			parts = append(parts, Text(e))
		}
		return strings.Join(parts, "; ")
	case interface{ Unwrap() error }:
		inner := u.Unwrap()
		if inner == nil {
			break
		}
		// Our own wrapping says what was being done and to what, never
		// content; what it wraps is judged by its own type.
		if head, ok := strings.CutSuffix(err.Error(), inner.Error()); ok {
			return head + Text(inner)
		}
		return fmt.Sprintf("[%T] %s", err, Text(inner))
	}
	return fmt.Sprintf("[%T]", err)
}

// plain reports whether err is one of the standard library's faults that never
// quote what was read or sent.
func plain(err error) bool {
	switch err {
	case context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe,
		net.ErrClosed, os.ErrDeadlineExceeded, fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrClosed:
		return true
	}
	switch err.(type) {
	case syscall.Errno, *net.OpError, *fs.PathError, *os.SyscallError, *os.LinkError:
		return true
	}
	return false
}
