package directory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Bounds of a search.
const (
	MaxWords     = 12
	MaxLimit     = 1000
	defaultLimit = 20
	maxQuery     = 1000 // bytes
)

// Query asks for entries.
type Query struct {
	// Text are words in any order, each of which an entry must have, or a word
	// that begins with it. A word of one character must be there as it stands.
	Text string
	// RPPS, if not empty, asks for the entries of one professional.
	RPPS   identity.RPPS
	Limit  int // 0: 20; at most 1000
	Offset int // entries to leave out
}

// Page is a part of what was found.
type Page struct {
	Total   int // entries found
	Entries []Entry
}

// Search gives the entries that match, the best first: whole words before
// beginnings, names before structures, places, professions and addresses;
// among equals in the order of a phone book.
func (d *Directory) Search(ctx context.Context, q Query) (Page, error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit, q.Offset = min(q.Limit, MaxLimit), max(q.Offset, 0)
	words, err := wordsOf(q.Text)
	if err != nil {
		return Page{}, err
	}
	var page Page
	err = d.read(func(in *index) (err error) {
		switch address := store.NewAddress(q.Text); {
		case q.RPPS != "":
			page, err = in.ofRPPS(q, words)
			return err
		case mailAddress(string(address)):
			found, err := in.byAddress(address)
			if len(found) > 0 || err != nil {
				page = pageOf(found, q)
				return err
			}
		}
		if len(words) == 0 {
			return nil
		}
		page, err = in.search(ctx, words, q)
		// LE GOFF may be written LEGOFF there.
		for i := 0; i+1 < len(words) && page.Total == 0 && err == nil; i++ {
			joined := slices.Concat(words[:i], []string{words[i] + words[i+1]}, words[i+2:])
			page, err = in.search(ctx, joined, q)
		}
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("searching the directory: %w", err)
	}
	return page, nil
}

// wordsOf gives the words of a query, each once.
func wordsOf(text string) ([]string, error) {
	if len(text) > maxQuery {
		return nil, ErrTooManyWords
	}
	var words []string
	for _, s := range strings.Fields(text) {
		if n, err := identity.ParseRPPS(s); err == nil {
			s = string(n) // without the national prefix
		}
		eachWord(s, func(w []byte) {
			if !slices.Contains(words, string(w)) {
				words = append(words, string(w))
			}
		})
	}
	if len(words) > MaxWords {
		return nil, ErrTooManyWords
	}
	return words, nil
}

// pageOf cuts the page out of what was found.
func pageOf(found []Entry, q Query) Page {
	from := min(q.Offset, len(found))
	return Page{len(found), found[from:min(from+q.Limit, len(found))]}
}

// ofRPPS searches among the entries of one professional.
func (in *index) ofRPPS(q Query, words []string) (Page, error) {
	found, err := in.byRPPS(q.RPPS)
	if err != nil {
		return Page{}, err
	}
	found = slices.DeleteFunc(found, func(e Entry) bool { return !e.matches(words) })
	return pageOf(found, q), nil
}

// matches reports whether an entry has all of the words.
func (e *Entry) matches(words []string) bool {
	for _, want := range words {
		has := len(want) >= leastNumber && strings.HasPrefix(e.RPPS, want)
		eachText(e, func(s string, in field) {
			eachWordIn(s, in, func(w []byte) {
				has = has || string(w) == want || len(want) > 1 && bytes.HasPrefix(w, []byte(want))
			})
		})
		if !has {
			return false
		}
	}
	return true
}

// leastNumber is how many digits of an RPPS number are looked for: fewer would
// be those of everybody.
const leastNumber = 7
