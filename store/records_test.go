package store

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// Every field of every record has a number of its own: two fields with one
// number would silently overwrite each other on disk.
func TestNumbersOfFields(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, record := range []any{Pathway{}, Box{}, Message{}, Delivery{}, Held{}, Item{}, Trace{}, RubricState{}, Tombstone{}, MessageRef{}} {
		checkNumbers(t, reflect.TypeOf(record), seen)
	}
	if len(seen) < 15 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}

func checkNumbers(t *testing.T, typ reflect.Type, seen map[reflect.Type]bool) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		checkNumbers(t, typ.Elem(), seen)
		return
	case reflect.Struct:
	default:
		return
	}
	if seen[typ] || typ == reflect.TypeFor[time.Time]() || typ == reflect.TypeFor[Owner]() {
		return
	}
	seen[typ] = true
	numbers := map[string]string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		number, rest, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		if number == "" || !strings.HasPrefix(rest, "keyasint") {
			t.Errorf("%s.%s has no number", typ.Name(), f.Name)
		}
		if other, taken := numbers[number]; taken {
			t.Errorf("%s.%s and %s share the number %s", typ.Name(), f.Name, other, number)
		}
		numbers[number] = f.Name
		checkNumbers(t, f.Type, seen)
	}
}

func TestAddress(t *testing.T) {
	for _, tc := range []struct {
		in            string
		want          Address
		local, domain string
		journal       string
		citizen       bool
	}{
		{" <Anne.Essai@CHU.example> ", "anne.essai@chu.example", "anne.essai", "chu.example", "…@chu.example", false},
		{"279035121518989@patient.mssante.fr", "279035121518989@patient.mssante.fr", "279035121518989", CitizenDomain, "…@" + CitizenDomain, true},
		{"a@b@chu.example", "a@b@chu.example", "a@b", "chu.example", "…@chu.example", false},
		{"postmaster", "postmaster", "postmaster", "", "…@", false},
		{"<>", "", "", "", "<>", false},
	} {
		a := NewAddress(tc.in)
		if a != tc.want || a.Local() != tc.local || a.Domain() != tc.domain || a.Journal() != tc.journal || a.Citizen() != tc.citizen {
			t.Errorf("%q: got %q, local %q, domain %q, journal %q, citizen %v", tc.in, a, a.Local(), a.Domain(), a.Journal(), a.Citizen())
		}
	}
}

func TestActiveAt(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 3, n, 0, 0, 0, 0, time.UTC) }
	m := Member{Periods: []Period{{From: day(2), To: day(4)}, {From: day(6)}}}
	for n, want := range map[int]bool{1: false, 2: true, 3: true, 4: false, 5: false, 6: true, 30: true} {
		if got := m.ActiveAt(day(n)); got != want {
			t.Errorf("day %d: %v, want %v", n, got, want)
		}
	}
}

func TestOver(t *testing.T) {
	for s, want := range map[DeliveryState]bool{
		Queued: false, Sending: false, OnHold: false, Sent: true, Failed: true, Partial: true, Cancelled: true,
	} {
		if s.Over() != want {
			t.Errorf("%s: over is %v, want %v", s, s.Over(), want)
		}
	}
}

func TestRubricsOfAMessage(t *testing.T) {
	m := Message{Filings: []Filing{{Rubric: "imagerie"}, {Rubric: "pps"}}}
	if got := strings.Join(m.Rubrics(), " "); got != "imagerie pps" {
		t.Errorf("rubrics %q", got)
	}
}
