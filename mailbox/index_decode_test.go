package mailbox

import (
	"reflect"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/letter"
)

// indexedMails are mails of which every kind of value in an index comes.
var indexedMails = []string{
	"",
	"Subject: Bilan\r\nDate: x\r\n\r\nBonjour.\r\n",
	"From: L\xe9a <a@chu.test>, groupe: b@chu.test;\r\nTo: c@chu.test\r\nDate: Mon, 2 Mar 2026 08:00:00 +0100\r\nMessage-ID: <1@chu.test>\r\n" +
		"In-Reply-To: <0@chu.test>\r\nReferences: <r@chu.test> <0@chu.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Language: fr, en\r\n\r\né\n" +
		"--b\r\nContent-Type: application/pdf; name*=utf-8''%C3%A9.pdf\r\nContent-Disposition: attachment; filename=e.pdf\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-ID: <x@chu.test>\r\nContent-Description: note\r\nContent-MD5: x\r\nContent-Location: y\r\n\r\nQUJD\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: dedans\r\nDate: Tue, 3 Mar 2026 08:00:00 +0000\r\n\r\n" + strings.Repeat("x", 1200) + "\r\n--b--",
}

// byLibrary is what decodeIndex must give.
func byLibrary(stored []byte) (*letter.Index, error) {
	idx := new(letter.Index)
	return idx, indexDecoding.Unmarshal(stored, idx)
}

func storedIndex(t testing.TB, mail string) []byte {
	reading, err := letter.Read(strings.NewReader(mail), letter.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := encodeIndex(reading.Index)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// TestIndexesAreDecodedByHand: none of what is written needs the library.
func TestIndexesAreDecodedByHand(t *testing.T) {
	for _, mail := range indexedMails {
		stored := storedIndex(t, mail)
		c := cborHeads{rest: string(stored)}
		var have letter.Index
		if c.index(&have); c.odd || c.rest != "" {
			t.Errorf("the index of %.40q is left to the library", mail)
		}
		if want, err := byLibrary(stored); err != nil || !reflect.DeepEqual(&have, want) {
			t.Errorf("of %.40q: %+v, want %+v, %v", mail, have, want, err)
		}
	}
}

// FuzzDecodeIndex: what the library reads is read alike.
func FuzzDecodeIndex(f *testing.F) {
	for _, mail := range indexedMails {
		f.Add(storedIndex(f, mail))
	}
	f.Add([]byte("\xa1\x04\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		have, err := decodeIndex(stored)
		want, fault := byLibrary(stored)
		if fault != nil {
			return // texts that are no UTF-8 are given as they are
		}
		if err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%+v, want %+v, %v", have, want, err)
		}
	})
}

func BenchmarkDecodeIndex(b *testing.B) {
	stored := storedIndex(b, indexedMails[2])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeIndex(stored); err != nil {
			b.Fatal(err)
		}
	}
}
