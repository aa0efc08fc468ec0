package mailbox

import (
	"reflect"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/letter"
)

// fieldsOf is what decodeFields must give.
func fieldsOf(x *letter.Index) letter.Index {
	return letter.Index{Version: x.Version, Size: x.Size, HeaderEnd: x.HeaderEnd, Fields: x.Fields}
}

func TestFieldsAreThoseOfTheWholeIndex(t *testing.T) {
	have := letter.Index{Fields: []letter.Field{{Name: "of another message"}}}
	for _, mail := range []string{
		"",
		"Subject: Bilan\r\n\r\nBonjour.\r\n",
		"From: =?utf-8?q?L=C3=A9a?= <a@chu.test>\r\nX: \xe9\xff\r\nno field\r\nTo:\r\n " + strings.Repeat("b@chu.test, ", 40) + "\r\n\r\n",
		strings.Repeat("X-Field: "+strings.Repeat("a", 300)+"\r\n", 900) + "\r\n" + strings.Repeat("x", 70_000),
	} {
		reading, err := letter.Read(strings.NewReader(mail), letter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := encodeIndex(reading.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := decodeFields(stored, &have); err != nil {
			t.Fatal(err)
		}
		if want := fieldsOf(reading.Index); !sameFields(&have, &want) {
			t.Errorf("of %.60q: %+v, want %+v", mail, have, want)
		}
	}
}

func sameFields(a, b *letter.Index) bool {
	if len(a.Fields) == 0 && len(b.Fields) == 0 {
		x, y := *a, *b
		x.Fields, y.Fields = nil, nil
		return reflect.DeepEqual(x, y)
	}
	return reflect.DeepEqual(a, b)
}

// FuzzDecodeFields: whatever decodeIndex reads, decodeFields reads alike.
func FuzzDecodeFields(f *testing.F) {
	for _, mail := range []string{"", "Subject: Bilan\r\nDate: x\r\n\r\nBonjour.\r\n"} {
		reading, err := letter.Read(strings.NewReader(mail), letter.Limits{})
		if err != nil {
			f.Fatal(err)
		}
		stored, err := encodeIndex(reading.Index)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(stored)
	}
	f.Add([]byte("\xa1\x04\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		var have letter.Index
		err := decodeFields(stored, &have)
		whole, fault := decodeIndex(stored)
		if fault != nil {
			return // decodeFields stops before what is wrong
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := fieldsOf(whole); !sameFields(&have, &want) {
			t.Errorf("%+v, want %+v", have, want)
		}
	})
}
