package bolt

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// fill puts text into every string, list and map of a record, so that no field
// added later can be forgotten. Fields that are ids by contract are set apart by
// the caller.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		v.SetUint(0)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), text)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(k, text)
		fill(e, text)
		v.SetMapIndex(k, e)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 2, 12, 0, 0, 5, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	}
}

// fillWithMarkers commits one of everything, full of markers.
func fillWithMarkers(t *testing.T, s *Store, marker, text string) {
	t.Helper()
	const code, ins = store.PathwayCode("bcdfghj"), "279035121518989"
	for _, o := range []store.Owner{pathwayOwner(code), triageOwner("01h")} {
		if err := s.NewKey(bg, o); err != nil {
			t.Fatal(err)
		}
	}
	p := new(store.Pathway)
	fill(reflect.ValueOf(p).Elem(), marker)
	p.Code, p.Revision, p.Patient.INS = code, 0, ins
	boxes := make([]*store.Box, 2)
	for i, a := range []store.Address{store.Address(marker + "@chu.example"), ins + "@" + store.CitizenDomain} {
		boxes[i] = new(store.Box)
		fill(reflect.ValueOf(boxes[i]).Elem(), marker)
		boxes[i].Address = a
	}
	small, large, event := new(store.Message), new(store.Message), new(store.Message)
	for i, m := range []*store.Message{small, large, event} {
		fill(reflect.ValueOf(m).Elem(), marker)
		m.Pathway, m.ID, m.Fingerprint = code, store.MessageID([]string{"01m1", "01m2", "01m3"}[i]), [32]byte{1}
		m.Filings = []store.Filing{{Rubric: marker}}
	}
	h := new(store.Held)
	fill(reflect.ValueOf(h).Elem(), marker)
	h.ID, h.Addressed = "01h", code
	d, notice := new(store.Delivery), new(store.Delivery)
	fill(reflect.ValueOf(d).Elem(), marker)
	fill(reflect.ValueOf(notice).Elem(), marker)
	d.ID, d.Pathway, d.Message = "01d", code, "01m1"
	notice.ID, notice.Pathway, notice.Notice = "01n", "", []byte(text)
	it := new(store.Item)
	fill(reflect.ValueOf(it).Elem(), marker)
	it.ID, it.Lane, it.Token = "01i", "out:chu.example", 0
	tr := new(store.Trace)
	fill(reflect.ValueOf(tr).Elem(), marker)
	tr.Family, tr.Pathway = store.Application, code

	drafts := make([]store.Draft, 3)
	for i, n := range []int{10, 40000, 10} {
		var err error
		if drafts[i], err = s.Create(bg, 0); err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := drafts[i].Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if err := drafts[i].Finish(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(bg, func(tx store.Tx) error {
		for _, err := range []error{
			tx.PutPathway(p), tx.PutBox(boxes[0]), tx.PutBox(boxes[1]),
			tx.FileMessage(small, []byte(text), drafts[0]), tx.FileMessage(large, []byte(text), drafts[1]), tx.FileMessage(event, []byte(text), nil),
			tx.Hold(h, []byte(text), drafts[2]), tx.PutDelivery(d), tx.PutDelivery(notice), tx.PutItem(*it),
			tx.Trace(*tr), tx.PutSetting("cursor", []byte(text)),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// What was put must come back, or the search proves nothing.
	if err := s.View(bg, func(v store.View) error {
		m, err := v.Message(code, "01m1")
		if err == nil && m.Subject != marker {
			t.Error("the record lost its marker")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// A copy from the cache is what decoding would have given, for every field.
func TestCloneIsDeep(t *testing.T) {
	p := new(store.Pathway)
	fill(reflect.ValueOf(p).Elem(), "a")
	q := clonePathway(p)
	b, err := encode(p)
	if err != nil {
		t.Fatal(err)
	}
	scramble(reflect.ValueOf(q).Elem())
	after, err := encode(p)
	if err != nil || string(after) != string(b) {
		t.Error("a change of a copy shows in the original: a list is shared")
	}
}

// scramble changes everything reachable in place.
func scramble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scramble(v.Elem())
		}
	case reflect.String:
		v.SetString("z")
	case reflect.Slice:
		for i := range v.Len() {
			scramble(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(0, 0)))
			return
		}
		for i := range v.NumField() {
			scramble(v.Field(i))
		}
	}
}

// Marker words, in every field of every record and in messages, are nowhere in
// the directory: not after commits, not in drafts that never were committed, not
// after a kill in the middle.
func TestNothingInClear(t *testing.T) {
	p := newPlace(t)
	s := p.mustOpen(nil)
	const marker = "MARQUEUR"
	text := strings.Repeat("Bonjour "+marker+" ", 10)
	fillWithMarkers(t, s, marker, text)
	// Drafts that wait, small and large, finished or not.
	for _, size := range []int{1000, 200000, 3 << 20} {
		for _, finish := range []bool{false, true} {
			d, err := s.Create(bg, int64(size))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Discard()
			if _, err := d.Write([]byte(strings.Repeat(text, size/len(text)))); err != nil {
				t.Fatal(err)
			}
			if finish {
				if err := d.Finish(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	files := searchClear(t, p.seal.DataDir, marker)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	searchClear(t, p.seal.DataDir, marker)
	if files < 5 { // index, keystore, shared segment, large ones
		t.Errorf("only %d files were searched", files)
	}
}

func searchClear(t *testing.T, dir, marker string) int {
	t.Helper()
	files := 0
	// Also as the names of files, in other spellings, and in the encodings that
	// text most easily gets into.
	words := []string{marker, strings.ToLower(marker), hex.EncodeToString([]byte(marker)), "TUFSUVVFVVI", "279035121518989"}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) || strings.Contains(e.Name(), w) {
				t.Errorf("%s holds the marker as %q", e.Name(), w)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
