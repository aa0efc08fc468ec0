package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// KeyView says how the hub's keys are.
type KeyView struct {
	Epoch KeyEpoch `json:"epoch"`
	// OldEpochs wait for a place of copies before they can end.
	OldEpochs []uint32 `json:"old_epochs"`
	HubKey    HubKey   `json:"hub_key"`
	// RecoveryKey is nil where the epoch is encrypted to none.
	RecoveryKey *RecoveryKey   `json:"recovery_key"`
	Copies      []KeyCopy      `json:"copies"`
	Owners      map[string]int `json:"owners"` // keys by what they are of
	Erasures    []KeyErasure   `json:"pending_erasures"`
	Warnings    []string       `json:"warnings"` // words: see KeyWarningText
}

// KeyEpoch is the epoch in use.
type KeyEpoch struct {
	Number  uint32    `json:"number"`
	Began   time.Time `json:"began"`
	AgeDays int       `json:"age_days"`
}

// HubKey is the hub key in use, by an id that says nothing of it.
type HubKey struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
	// Next is the one it is being changed for, accepted as well.
	Next string `json:"next,omitempty"`
}

// RecoveryKey is the public key that the epoch is encrypted to.
type RecoveryKey struct {
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
	// Configured: it is the one of the configuration.
	Configured bool `json:"configured"`
}

// KeyCopy is a copy of keystore and epoch.
type KeyCopy struct {
	Place  string     `json:"place"`
	State  string     `json:"state"` // current, behind, away, former
	Looked *time.Time `json:"looked"`
	Error  string     `json:"error,omitempty"`
}

// KeyErasure is an erasure that is not done yet.
type KeyErasure struct {
	Pathway  string    `json:"pathway"`
	Asked    time.Time `json:"asked"`
	WaitsFor string    `json:"waits_for,omitempty"`
}

// Words of KeyView.Warnings.
const (
	keyNoRecovery    = "no-recovery"
	keyOtherRecovery = "other-recovery"
	keyHubSwitch     = "hub-switch"
	keyCopyAway      = "copy-away"
	keyFormerPlace   = "former-place"
	keyOldEpoch      = "old-epoch"
)

// KeyWarningText says a warning of a KeyView for people.
func KeyWarningText(l texts.Locale, warning string) string {
	word, about, _ := strings.Cut(warning, " ")
	return texts.T(l, texts.ID("keys.warning-"+word), map[string]any{"about": about})
}

// KeyRotation asks for a key to be changed.
type KeyRotation struct {
	Key string `json:"key"` // hub, recovery, epoch
	// New is where the new hub key is read from ("file:PATH" and the like; empty:
	// the hub draws one in place of its file), or the file of the public recovery
	// key.
	New string `json:"new,omitempty"`
}

var errNoKeys = errors.New("the keys are not at hand")

// Keys shows how the keys are.
func (h *Hub) Keys(ctx context.Context, by Actor) (KeyView, error) {
	if by.Programmes != nil {
		return KeyView{}, by.outside()
	}
	view, err := h.keyView(ctx)
	if err != nil {
		return view, err
	}
	return view, h.seen(ctx, by, "key.read", "", "")
}

// KeyWarnings are the warnings for `status`, which leaves no trace.
func (h *Hub) KeyWarnings(ctx context.Context) ([]string, error) {
	view, err := h.keyView(ctx)
	return view.Warnings, err
}

func (h *Hub) keyView(ctx context.Context) (KeyView, error) {
	if h.o.Keys == nil {
		return KeyView{}, errNoKeys
	}
	s := h.o.Keys.Status()
	view := KeyView{
		Epoch:     KeyEpoch{Number: s.Epoch, Began: s.Made, AgeDays: int(h.o.Now().Sub(s.Made) / (24 * time.Hour))},
		OldEpochs: append([]uint32{}, s.Owed...), HubKey: HubKey{ID: s.Hub.String(), Since: s.HubSince, Next: s.HubNext.String()},
		Copies: []KeyCopy{}, Owners: map[string]int{}, Erasures: []KeyErasure{}, Warnings: []string{},
	}
	for kind, n := range s.Owners {
		view.Owners[string(kind)] = n
	}
	warn := func(word string) { view.Warnings = append(view.Warnings, word) }
	switch {
	case s.Recovery == "" && (s.Configured != "" || !h.o.Dev):
		warn(keyNoRecovery)
	case s.Recovery != s.Configured:
		warn(keyOtherRecovery)
	}
	if s.Recovery != "" {
		view.RecoveryKey = &RecoveryKey{Fingerprint: s.Recovery, Since: s.RecoverySince, Configured: s.Recovery == s.Configured}
	}
	if view.HubKey.Next != "" {
		warn(keyHubSwitch)
	}
	for _, p := range s.Places {
		c := KeyCopy{Place: p.Place, State: string(p.State)}
		if !p.Looked.IsZero() {
			c.Looked = &p.Looked
		}
		if p.Err != nil {
			c.Error = reasonOf(p.Err)
		}
		switch p.State {
		case seal.PlaceAway:
			warn(keyCopyAway + " " + p.Place)
		case seal.PlaceFormer:
			warn(keyFormerPlace + " " + p.Place)
		}
		view.Copies = append(view.Copies, c)
	}
	if len(s.Owed) > 0 {
		warn(keyOldEpoch)
	}
	err := h.view(ctx, func(v store.View) error {
		all, err := v.Erasures("", 0)
		for _, e := range all {
			if e.State != store.ErasureDone && e.Into == "" {
				view.Erasures = append(view.Erasures, KeyErasure{Pathway: string(e.Code), Asked: e.Asked, WaitsFor: e.Waits})
			}
		}
		return err
	})
	if err != nil {
		return view, fmt.Errorf("listing erasures: %w", err)
	}
	return view, nil
}

// reasonOf is the last cause of an error, without what it was about.
func reasonOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// RotateKey changes the hub key, the recovery key, or begins an epoch. Done all
// the same, it tells in the view's warnings if a copy is away.
func (h *Hub) RotateKey(ctx context.Context, by Actor, r KeyRotation) (KeyView, error) {
	switch {
	case by.Programmes != nil:
		return KeyView{}, by.outside()
	case h.o.Keys == nil:
		return KeyView{}, errNoKeys
	case !slices.Contains([]string{"hub", "recovery", "epoch"}, r.Key): // nothing that was typed freely stands in a trace
		return KeyView{}, fail("key-which", map[string]any{"key": r.Key})
	}
	// Traced before: what follows may not be undone because a trace failed.
	if err := h.seen(ctx, by, "key.rotating", "", r.Key); err != nil {
		return KeyView{}, err
	}
	err := h.rotateKey(ctx, r)
	if away := (*seal.Away)(nil); errors.As(err, &away) {
		err = nil // the key is changed; that copy follows
	}
	outcome := outcomeDone
	if err != nil {
		outcome = "failed"
	}
	traced := h.change(context.WithoutCancel(ctx), func(tx store.Tx) error {
		return h.trace(tx, by, "key.rotated", "", r.Key, outcome, nil)
	})
	if err := errors.Join(err, traced); err != nil {
		return KeyView{}, err
	}
	return h.keyView(ctx)
}

func (h *Hub) rotateKey(ctx context.Context, r KeyRotation) error {
	var err error
	switch r.Key {
	case "epoch":
		_, err = h.o.Keys.Rotate(ctx)
	case "hub":
		if r.New == "" {
			err = h.o.Keys.RotateHubFile(ctx)
			break
		}
		var to seal.Source
		if to, err = seal.ParseSource(r.New); err == nil {
			err = h.o.Keys.RotateHub(ctx, to)
		}
	case "recovery":
		if r.New == "" {
			return fail("key-no-recovery", nil)
		}
		to, rerr := seal.RecoveryFile(r.New)
		if err = rerr; err == nil {
			err = h.o.Keys.RotateRecovery(ctx, to)
		}
	}
	switch {
	case errors.Is(err, seal.ErrSameKey):
		return fail("key-same", map[string]any{"new": r.New})
	case errors.Is(err, seal.ErrSecretForm):
		return fail("key-form", map[string]any{"new": r.New})
	case errors.Is(err, seal.ErrRecoverySecret):
		return fail("key-recovery-secret", map[string]any{"new": r.New})
	case errors.Is(err, seal.ErrRecoveryKey):
		return fail("key-recovery-form", map[string]any{"new": r.New})
	case errors.Is(err, errors.ErrUnsupported):
		return fail("key-hub-new", nil)
	case errors.Is(err, seal.ErrHubSwitch):
		return fail("key-hub-switch", nil)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fail("key-file", map[string]any{"new": r.New})
	}
	return err
}

// ForgetPlace takes a place of copies, no longer in the configuration, for
// destroyed with what lies there.
func (h *Hub) ForgetPlace(ctx context.Context, by Actor, place string) (KeyView, error) {
	switch {
	case by.Programmes != nil:
		return KeyView{}, by.outside()
	case h.o.Keys == nil:
		return KeyView{}, errNoKeys
	}
	err := h.o.Keys.ForgetPlace(ctx, place)
	away := (*seal.Away)(nil)
	switch {
	case errors.Is(err, seal.ErrPlaceInUse):
		return KeyView{}, fail("key-place-used", map[string]any{"place": place})
	case errors.Is(err, store.ErrNotFound):
		return KeyView{}, fail("key-place-unknown", map[string]any{"place": place})
	case err != nil && !errors.As(err, &away):
		return KeyView{}, err
	}
	err = h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, "key.place-given-up", "", "", outcomeDone, map[string]string{"place": place})
	})
	if err != nil {
		return KeyView{}, err
	}
	return h.keyView(ctx)
}
