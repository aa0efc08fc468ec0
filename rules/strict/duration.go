package strict

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as people write it: "30s", "10m", "4h", "2d",
// "1h30m". It is never negative.
type Duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, ok := parseDuration(string(text))
	if !ok {
		return &Fault{ID: badDuration, Args: map[string]any{"value": string(text)}}
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText writes it in the shortest form that reads back the same.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

var units = []struct {
	name string
	unit time.Duration
}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

func (d Duration) String() string {
	rest := time.Duration(d)
	if rest == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range units {
		if n := rest / u.unit; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			rest -= n * u.unit
		}
	}
	return b.String()
}

// parseDuration reads whole numbers, each with a unit: a "1.5h" would be
// understood, but files are read by people who write "1h30m".
func parseDuration(text string) (time.Duration, bool) {
	var sum time.Duration
	for rest := text; rest != ""; {
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		rest = rest[len(digits):]
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "dhms"))]
		rest = rest[len(name):]
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return 0, false
		}
		known := false
		for _, u := range units {
			if u.name == name && n <= int64((math.MaxInt64-sum)/u.unit) {
				sum, known = sum+time.Duration(n)*u.unit, true
			}
		}
		if !known {
			return 0, false
		}
	}
	return sum, text != ""
}
