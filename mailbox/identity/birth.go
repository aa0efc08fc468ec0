package identity

import (
	"strings"
	"time"
)

// ParseBirthDate reads a birth date written yyyymmdd (HL7, a time of day may
// follow), yyyy-mm-dd or dd/mm/yyyy, with dots, dashes, spaces or slashes. It
// gives yyyy-mm-dd, or yyyy-mm or yyyy where HL7 says no more.
func ParseBirthDate(s string) (date string, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) > 40 {
		return "", false
	}
	head, _, _ := strings.Cut(s, "T")
	f := strings.FieldsFunc(head, func(r rune) bool { return strings.ContainsRune("-/. ", r) })
	switch {
	case len(f) >= 3 && len(f[0]) == 4 && len(f[1]) <= 2 && len(f[2]) <= 2:
		return calendarDate(f[0], f[1], f[2])
	case len(f) == 3 && len(f[0]) <= 2 && len(f[1]) <= 2 && len(f[2]) == 4:
		return calendarDate(f[2], f[1], f[0])
	case len(f) == 2 && len(f[0]) == 4 && len(f[1]) <= 2:
		return calendarDate(f[0], f[1], "")
	}
	stamp, _, _ := strings.Cut(head, "+")
	if i := strings.IndexByte(stamp, '-'); i >= 8 {
		stamp = stamp[:i]
	}
	stamp, _, _ = strings.Cut(stamp, ".")
	switch {
	case !digits(stamp):
		return "", false
	case len(stamp) == 4:
		return calendarDate(stamp, "", "")
	case len(stamp) == 6:
		return calendarDate(stamp[:4], stamp[4:], "")
	case len(stamp) >= 8:
		return calendarDate(stamp[:4], stamp[4:6], stamp[6:8])
	}
	return "", false
}

// calendarDate puts a date together; month and day may be empty.
func calendarDate(year, month, day string) (string, bool) {
	date, layout := year, "2006"
	for _, part := range []struct{ value, layout string }{{month, "-01"}, {day, "-02"}} {
		if part.value == "" {
			break
		}
		if len(part.value) == 1 {
			part.value = "0" + part.value
		}
		date, layout = date+"-"+part.value, layout+part.layout
	}
	t, err := time.Parse(layout, date)
	if err != nil || t.Year() < 1800 {
		return "", false
	}
	return date, true
}
