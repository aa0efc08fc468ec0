package letter

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// repeated gives s again and again, up to n bytes, without holding them.
type repeated struct {
	s    string
	left int
	at   int
}

func repeat(s string, times int) io.Reader { return &repeated{s: s, left: len(s) * times} }

func (r *repeated) Read(p []byte) (n int, err error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	for n < len(p) && r.left > 0 {
		k := min(copy(p[n:], r.s[r.at:]), r.left)
		n += k
		r.left -= k
		r.at = (r.at + k) % len(r.s)
	}
	return n, nil
}

// cost reads a mail and gives what it cost: time, bytes allocated in all, and
// bytes held by the reading.
func cost(t *testing.T, mail io.Reader) (r *Reading, took time.Duration, allocated, held uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	r, err := Read(mail, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	runtime.ReadMemStats(&after)
	allocated = after.TotalAlloc - before.TotalAlloc
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc {
		held = after.HeapAlloc - before.HeapAlloc
	}
	return r, took, allocated, held
}

// TestAttacks feeds the scanner what is made to exhaust readers of mail. None
// may take more than seconds (on a slow machine), nor memory beyond a few
// times the limits.
func TestAttacks(t *testing.T) {
	nestedMessages := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 5000)
	var nestedParts, boundaries, deepClose strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&nestedParts, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		fmt.Fprintf(&boundaries, "--b%d\r\n", i)
	}
	for i := range 100 {
		fmt.Fprintf(&deepClose, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for _, c := range []struct {
		name string
		mail io.Reader
		has  string // a defect it must have
	}{
		{"messages in messages", strings.NewReader(nestedMessages + "\r\nx"), DefectDepth},
		{"parts in parts", strings.NewReader(nestedParts.String() + boundaries.String()), DefectDepth},
		{"a hundred thousand parts", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=b\r\n\r\n"), repeat("--b\r\n\r\nx\r\n", 100_000)), DefectParts},
		{"a hundred thousand empty parts", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=b\r\n\r\n"), repeat("--b\r\n", 100_000)), DefectParts},
		{"boundaries of nobody", io.MultiReader(strings.NewReader(deepClose.String()+"\r\n"), repeat("--b9999\r\n--\r\n--b\r\n", 200_000)), DefectDepth},
		{"header of one field", io.MultiReader(strings.NewReader("Subject: "), repeat("x", 1<<20)), DefectFieldSize},
		{"header of folded lines", io.MultiReader(strings.NewReader("Subject: x\r\n"), repeat(" x\r\n", 1<<18)), DefectFieldSize},
		{"header of a million fields", repeat("A: b\r\n", 1_000_000), DefectFields},
		{"header of lines that are none", repeat("hello\r\n", 200_000), DefectHeaderLine},
		{"header of colons", repeat(":\r\n", 500_000), DefectHeaderLine},
		{"header of dashes", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; "+strings.Repeat("a=b;", 15_000)+"boundary=b\r\n"), repeat("--x\r\n", 200_000)), ""},
		{"long line", io.MultiReader(strings.NewReader("\r\n"), repeat("x", 10_000_000)), DefectText},
		{"long line of CR", io.MultiReader(strings.NewReader("\r\n"), repeat("\r", 10_000_000)), DefectText},
		{"long boundary", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary="+strings.Repeat("-", 60_000)+"\r\n\r\n"), repeat("-", 5_000_000)), DefectBoundary},
		{"almost boundaries", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary="+strings.Repeat("-", 8000)+"b\r\n\r\n"), repeat(strings.Repeat("-", 8002)+"c\r\n", 500)), DefectNoPart},
		{"parameters", strings.NewReader("Content-Type: text/plain; " + strings.Repeat("a*0*=%41;", 7000) + "\r\n\r\nx"), ""},
		{"parameter in pieces", strings.NewReader("Content-Type: text/plain; " + pieces(999) + "\r\n\r\nx"), ""},
		{"comments in comments", strings.NewReader("Content-Type: " + strings.Repeat("(", 60_000) + "\r\n\r\nx"), DefectContentType},
		{"addresses", repeat("To: "+strings.Repeat("a,", 30_000)+"\r\n", 20), DefectRepeated},
		{"quotes in addresses", strings.NewReader("To: " + strings.Repeat(`"a\`, 20_000) + "\r\n\r\n"), ""},
		{"brackets in addresses", strings.NewReader("To: " + strings.Repeat(`<,(`, 20_000) + "\r\n\r\n"), ""},
		{"encoded words that do not end", strings.NewReader("Subject: " + strings.Repeat("=?a?q?x", 9000) + "\r\n\r\n"), ""},
		{"encoded words", strings.NewReader("Subject: " + strings.Repeat("=?utf-8?q?x?= ", 4600) + "\r\n\r\n"), ""},
		{"encoded words of two charsets", strings.NewReader("Subject: " + strings.Repeat("=?utf-8?q?x?= =?gbk?q?x?= ", 2400) + "\r\n\r\n"), ""},
		{"white space in quoted-printable", io.MultiReader(strings.NewReader("Content-Transfer-Encoding: quoted-printable\r\n\r\n"), repeat(" ", 5_000_000)), ""},
		{"equals signs in quoted-printable", io.MultiReader(strings.NewReader("Content-Transfer-Encoding: quoted-printable\r\n\r\n"), repeat("= ", 2_000_000)), ""},
		{"tags of HTML", io.MultiReader(strings.NewReader("Content-Type: text/html\r\n\r\n"), repeat("<blockquote>x", 200_000)), DefectText},
		{"brackets of HTML", io.MultiReader(strings.NewReader("Content-Type: text/html\r\n\r\n"), repeat("<", 2_000_000)), DefectText},
		{"comments of HTML", io.MultiReader(strings.NewReader("Content-Type: text/html\r\n\r\n"), repeat("<!--", 500_000)), DefectText},
		{"attributes of HTML", io.MultiReader(strings.NewReader("Content-Type: text/html\r\n\r\n<p "), repeat("a=b ", 500_000)), DefectText},
		{"entities of HTML", io.MultiReader(strings.NewReader("Content-Type: text/html\r\n\r\n"), repeat("&amp", 500_000)), DefectText},
		{"headers of parts", io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=b\r\n\r\n"), repeat("--b\r\nContent-Type: text/plain; name="+strings.Repeat("n", 8000)+"\r\n\r\n", 900)), DefectHeaderSize},
		{"envelopes of parts", io.MultiReader(strings.NewReader("Content-Type: multipart/digest; boundary=b\r\n\r\n"), repeat("--b\r\n\r\nTo: "+strings.Repeat("a,", 1000)+"\r\n\r\n", 600)), DefectParts},
		{"references", repeat("References: "+strings.Repeat("<a>", 20_000)+"\r\n", 16), DefectRepeated},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, took, allocated, held := cost(t, c.mail)
			if took > 2*time.Second*slowness {
				t.Errorf("took %v", took)
			}
			if allocated > 64<<20 || held > 24<<20 {
				t.Errorf("allocated %d KiB, holds %d KiB", allocated>>10, held>>10)
			}
			if c.has != "" && !r.Index.Has(c.has) {
				t.Errorf("defect %s not noted, but %s", c.has, kinds(r.Index))
			}
			if n := len(r.Index.Defects); n > 200 {
				t.Errorf("%d defects", n)
			}
			t.Logf("%8v %6d KiB in all, %5d KiB held", took.Round(time.Millisecond), allocated>>10, held>>10)
			runtime.KeepAlive(r)
		})
	}
}

// TestReadingPeople bounds what the functions over texts cost.
func TestReadingPeople(t *testing.T) {
	for _, s := range []string{"> ", "Le 1\n", "De : x\n", "On 1 ", "a\n", "-----\n", "Le 12 a écrit :\n", "[", "[PON ", "Auteur : ", "cordialement, "} {
		text := strings.Repeat(s, (256<<10)/len(s))
		began := time.Now()
		fresh := NewText(text)
		AuthorLine(fresh)
		NameIn(Signature(text), "Anne Roux")
		NameIn([]string{text}, text)
		BaseSubject(text)
		CutXDM(text)
		CutTag(text)
		ParseAddressList(text)
		ReadDSN([]byte(text))
		ReturnedIDs([]byte(text))
		if took := time.Since(began); took > time.Second*slowness {
			t.Errorf("%q again and again takes %v", s, took)
		}
	}
}

// pieces writes a parameter in n pieces.
func pieces(n int) string {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "a*%d=x; ", i)
	}
	return b.String()
}
