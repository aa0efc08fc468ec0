package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/backup"
)

// Error is what the API answers when a verb was not done: one line that says
// what, to what, and what to do, in both languages.
type Error struct {
	Code   string `json:"code"`
	TextFR string `json:"text_fr"`
	TextEN string `json:"text_en"`
	// Exit is the exit code of a command: 1 refused or failed, 2 wrong usage.
	Exit   int `json:"exit"`
	status int // of the HTTP answer
}

func (e *Error) Error() string { return e.TextEN }

// In gives the text in a language.
func (e *Error) In(l texts.Locale) string {
	if l == texts.English {
		return e.TextEN
	}
	return e.TextFR
}

// problem makes an Error of the API's own texts, "admin.<code>".
func problem(status int, code string, args map[string]any) *Error {
	return spoken(status, code, func(l texts.Locale) string { return texts.T(l, texts.ID("admin."+code), args) })
}

func spoken(status int, code string, text func(texts.Locale) string) *Error {
	line := func(l texts.Locale) string { return strings.Join(strings.Fields(text(l)), " ") }
	return &Error{Code: code, TextFR: line(texts.French), TextEN: line(texts.English), Exit: 1, status: status}
}

// known says an error that a person can do something about; nil for a fault.
func known(err error) *Error {
	var own *Error
	var failure *mailbox.Failure
	var refusal *mailbox.Refusal
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.As(err, &failure):
		return spoken(http.StatusUnprocessableEntity, failure.Code, failure.Text)
	case errors.As(err, &refusal):
		return spoken(http.StatusUnprocessableEntity, string(refusal.Reason), func(l texts.Locale) string {
			return texts.T(l, texts.ID("refusal."+string(refusal.Reason)), nil)
		})
	case errors.Is(err, backup.ErrBusy):
		return problem(http.StatusConflict, "backup-busy", nil)
	case errors.Is(err, store.ErrFull):
		return problem(http.StatusInsufficientStorage, "store-full", nil)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed):
		return problem(http.StatusServiceUnavailable, "store-unavailable", nil)
	case errors.Is(err, store.ErrConflict):
		return problem(http.StatusConflict, "changed", nil)
	case errors.Is(err, store.ErrErased):
		return problem(http.StatusGone, "erased", nil)
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "not-found", nil)
	case errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusGatewayTimeout, "too-slow", nil)
	case errors.Is(err, context.Canceled):
		return problem(http.StatusServiceUnavailable, "stopping", nil)
	}
	return nil
}

func tooLarge(limit int64) *Error {
	return spoken(http.StatusRequestEntityTooLarge, "too-large", func(l texts.Locale) string {
		return texts.T(l, "admin.too-large", map[string]any{"limit": texts.Size(l, limit)})
	})
}
