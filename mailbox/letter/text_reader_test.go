package letter

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTextReader(t *testing.T) {
	for _, tc := range []struct{ in, charset, want string }{
		{"plain", "", "plain"},
		{"d\xc3\xa9j\xc3\xa0", "utf-8", "déjà"},
		{"d\xe9j\xe0 \x80", "utf-8", "déjà €"},
		{"d\xe9j\xe0", "iso-8859-1", "déjà"},
		{"d\xe9j\xe0", "x-unheard-of", "déjà"},
		{"cut \xc3", "utf-8", "cut Ã"},
		{"\xa4", "iso-8859-15", "€"},
	} {
		for _, cut := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
			got, err := io.ReadAll(TextReader(cut(strings.NewReader(tc.in)), tc.charset))
			if err != nil || string(got) != tc.want {
				t.Errorf("%q as %q: %q, %v, want %q", tc.in, tc.charset, got, err, tc.want)
			}
		}
	}
}
