package gateway

import "testing"

func TestSameSocket(t *testing.T) {
	for _, c := range []struct {
		bound, configured string
		want              bool
	}{
		{"127.0.0.1:25", "127.0.0.1:25", true},
		{"127.0.0.1:25", "127.0.0.1:26", false},
		{"127.0.0.2:25", "127.0.0.1:25", false},
		{"[::]:25", ":25", true},
		{"[::]:25", "0.0.0.0:25", true},
		{"0.0.0.0:25", "[::]:25", true},
		{"[::]:25", "127.0.0.1:25", false},
		{"127.0.0.1:25", ":25", false},
		{"[::1]:993", "[::1]:993", true},
		{"[::ffff:127.0.0.1]:25", "127.0.0.1:25", true},
		{"127.0.0.1:25", "localhost:25", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"/run/x.sock", "127.0.0.1:25", false},
	} {
		if got := sameSocket(c.bound, c.configured); got != c.want {
			t.Errorf("%s for %s: %v", c.bound, c.configured, got)
		}
	}
}
