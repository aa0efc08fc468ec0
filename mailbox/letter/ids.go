package letter

import (
	"net/mail"
	"strings"
	"time"
)

const (
	maxIDs     = 1000
	maxIDBytes = 998
)

// ParseIDs reads the message identifiers of an In-Reply-To or References
// field, without brackets, in order, at most 1000. Text around them is passed
// over; without any bracket, words that hold an @ are taken.
func ParseIDs(v string) []string { return parseIDs(v, maxIDs) }

func parseIDs(v string, limit int) []string {
	var ids []string
	add := func(id string) {
		// White space inside is what a bad folding left.
		id = strings.Trim(withoutSpace(id), "<>,;")
		if id != "" && len(id) <= maxIDBytes && !strings.ContainsAny(id, "<>") {
			ids = append(ids, id)
		}
	}
	if !strings.Contains(v, "<") {
		for _, word := range strings.Fields(v) {
			if len(ids) < limit && (strings.Contains(word, "@") || limit == 1) {
				add(word)
			}
		}
		return ids
	}
	for len(ids) < limit {
		_, rest, ok := strings.Cut(v, "<")
		if !ok {
			break
		}
		end := strings.IndexAny(rest, "<>")
		if end < 0 {
			end = len(rest)
		}
		add(rest[:end])
		v = rest[end:]
	}
	return ids
}

// usualDates are what nearly all mail bears (RFC 5322 §3.3): net/mail tries them
// after two dozen others.
var usualDates = []string{"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700"}

// dateLayouts are dates that net/mail does not read, after its own.
var dateLayouts = []string{
	time.RFC3339,
	"2006-01-02 15:04:05 -0700",
	"2006-01-02 15:04:05",
	time.ANSIC,
	time.UnixDate,
	"Mon, 2 Jan 2006 15:04:05",
	"2 Jan 2006 15:04:05",
	"Mon, 2 Jan 2006 15:04:05 GMT-0700",
	"Mon, 2 Jan 2006 15:04:05 -07:00",
	"Mon, 2-Jan-2006 15:04:05 -0700",
	"Monday, 2 January 2006 15:04:05 -0700",
	"Mon, 2 January 2006 15:04:05 -0700",
}

// parseDate reads a Date field; the zero time if it cannot be read.
func parseDate(v string) time.Time {
	v = strings.Join(strings.Fields(v[:min(len(v), 200)]), " ")
	for _, layout := range usualDates {
		if t, err := time.Parse(layout, v); err == nil {
			return t
		}
	}
	if t, err := mail.ParseDate(v); err == nil {
		return t
	}
	v, _, _ = strings.Cut(v, " (")
	if t, err := mail.ParseDate(v); err == nil {
		return t
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, v); err == nil {
			return t
		}
	}
	return time.Time{}
}
