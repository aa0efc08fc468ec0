package texts

import (
	"strconv"
	"strings"
	"time"
)

// Date writes a day: "1er mars 2026", "1 March 2026". The zone is t's own.
func Date(l Locale, t time.Time) string {
	args := map[string]any{"day": t.Day(), "month": month(l, t.Month()), "year": t.Year()}
	if t.Day() == 1 {
		return T(l, "time.first", args)
	}
	return T(l, "time.date", args)
}

// DateTime writes a minute of a day: "12 mars 2026 à 14 h 05", "12 March 2026
// at 14:05".
func DateTime(l Locale, t time.Time) string {
	return T(l, "time.at", map[string]any{"date": Date(l, t), "clock": Clock(l, t)})
}

// Clock writes a time of day: "14 h 05", "14:05".
func Clock(l Locale, t time.Time) string {
	return T(l, "time.clock", map[string]any{"hour": t.Hour(), "minute": t.Format("04")})
}

func month(l Locale, m time.Month) string {
	return T(l, ID("time.month-"+strconv.Itoa(int(m))), nil)
}

// Duration writes a length of time in its two largest units, as people say it:
// "2 jours", "1 heure 30 minutes". Less than a second is written as none.
func Duration(l Locale, d time.Duration) string {
	seconds := int(d.Abs() / time.Second)
	var parts []string
	for _, unit := range []struct {
		id     ID
		length int
	}{{"time.days", 86400}, {"time.hours", 3600}, {"time.minutes", 60}, {"time.seconds", 1}} {
		n := seconds / unit.length
		if seconds -= n * unit.length; n > 0 {
			parts = append(parts, T(l, unit.id, map[string]any{"n": n}))
		} else if len(parts) > 0 {
			break // the next unit is too small to matter
		}
		if len(parts) == 2 {
			break
		}
	}
	if len(parts) == 0 {
		return T(l, "time.seconds", map[string]any{"n": 0})
	}
	return strings.Join(parts, " ")
}

// Size writes a number of bytes: "25 Mio", "25 MiB".
func Size(l Locale, bytes int64) string {
	units := []ID{"size.bytes", "size.kib", "size.mib", "size.gib", "size.tib"}
	value, i := float64(bytes), 0
	for ; value >= 1023.95 && i < len(units)-1; i++ {
		value /= 1024
	}
	digits := strconv.FormatFloat(value, 'f', 1, 64)
	if whole, ok := strings.CutSuffix(digits, ".0"); ok {
		digits = whole
	} else if l == French {
		digits = strings.Replace(digits, ".", ",", 1)
	}
	return T(l, units[i], map[string]any{"value": digits})
}

// List joins words as a sentence does: "a, b et c", "a, b and c".
func List(l Locale, words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return T(l, "list.and", map[string]any{"first": strings.Join(words[:last], ", "), "last": words[last]})
}
