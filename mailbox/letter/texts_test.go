package letter

import "testing"

func TestLineFeedsInPlace(t *testing.T) {
	for _, s := range []string{"", "\r", "\n", "\r\n", "\r\r\n", "\n\r", "a\rb\r\nc\nd", "\r\n\r\nfin", "fin\r", "sans fin"} {
		if got, want := string(lineFeeds([]byte(s))), plainText(s); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	}
}
