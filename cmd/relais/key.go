package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store/seal"
)

func (c *cli) keyCommands() *cobra.Command {
	return c.group("key", []string{"cle", "clé"},
		c.keyStatus(), c.keyRotate(), c.keyForgetPlace(), c.keyNewRecovery(), c.keyRescue(), c.keyRecover())
}

func (c *cli) keyStatus() *cobra.Command {
	return c.command("status", []string{"etat", "état"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		v, err := hub.Keys(ctx, nobody)
		return c.keysDone(v, err, "")
	})
}

// keysDone shows the keys after what was done to them.
func (c *cli) keysDone(v mailbox.KeyView, err error, done texts.ID) error {
	if err != nil {
		return err
	}
	return c.show(v, func() {
		if done != "" {
			c.line(texts.T(c.locale, done, nil))
		}
		c.keys(v)
		for _, w := range v.Warnings {
			c.line(texts.T(c.locale, "cli.warning", map[string]any{"text": mailbox.KeyWarningText(c.locale, w)}))
		}
	})
}

func (c *cli) keys(v mailbox.KeyView) {
	since := func(what string, at string) string {
		return texts.T(c.locale, "keys.since", map[string]any{"what": what, "date": at})
	}
	hub := since(v.HubKey.ID, c.day(v.HubKey.Since))
	if v.HubKey.Next != "" {
		hub = texts.T(c.locale, "keys.changing", map[string]any{"old": v.HubKey.ID, "new": v.HubKey.Next})
	}
	recovery := texts.T(c.locale, "keys.none", nil)
	if r := v.RecoveryKey; r != nil {
		recovery = since(r.Fingerprint, c.day(r.Since))
	}
	var kinds, owners []string
	for kind := range v.Owners {
		kinds = append(kinds, kind)
	}
	sort.Strings(kinds)
	for _, kind := range kinds {
		owners = append(owners, texts.T(c.locale, texts.ID("keys.of-"+kind), map[string]any{"n": v.Owners[kind]}))
	}
	pairs := []any{
		texts.ID("keys.col-epoch"), texts.T(c.locale, "keys.epoch", map[string]any{
			"number": v.Epoch.Number, "date": c.day(v.Epoch.Began), "age": texts.T(c.locale, "keys.days", map[string]any{"n": v.Epoch.AgeDays}),
		}),
		texts.ID("keys.col-hub"), hub,
		texts.ID("keys.col-recovery"), recovery,
		texts.ID("keys.col-owners"), texts.List(c.locale, owners),
	}
	for _, p := range v.Copies {
		pairs = append(pairs, texts.ID("keys.col-copy"), texts.T(c.locale, "keys.copy", map[string]any{
			"place": p.Place, "state": texts.T(c.locale, texts.ID("keys.copy-"+p.State), nil),
		}))
	}
	for _, e := range v.Erasures {
		waits := texts.T(c.locale, "keys.erasure", map[string]any{"pathway": e.Pathway, "date": c.day(e.Asked)})
		if e.WaitsFor != "" {
			waits = texts.T(c.locale, "keys.erasure-waits", map[string]any{"pathway": e.Pathway, "place": e.WaitsFor})
		}
		pairs = append(pairs, texts.ID("keys.col-erasure"), waits)
	}
	c.fields(pairs...)
}

// keyRotate changes a key. The recovery key is read from the file that the
// configuration names.
func (c *cli) keyRotate() *cobra.Command {
	var fresh string
	cmd := c.command("rotate", []string{"renouveler"}, 1, 1, func(ctx context.Context, args []string) error {
		config, err := c.usable()
		if err != nil {
			return err
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q := mailbox.KeyRotation{Key: args[0]}
		done := texts.ID("keys.rotated-" + q.Key)
		switch {
		case q.Key == "recovery":
			q.New = string(config.Keys.RecoveryKey)
		case q.Key == "hub" && fresh != "":
			if q.New, err = absolute(fresh); err != nil {
				return err
			}
			done = "keys.rotated-hub-new"
		case fresh != "":
			return misused(texts.T(c.locale, "keys.new-is-for-hub", nil))
		}
		v, err := hub.RotateKey(ctx, nobody, q)
		return c.keysDone(v, err, done)
	})
	cmd.Flags().StringVar(&fresh, "new", "", "")
	cmd.ValidArgsFunction = cobra.FixedCompletions([]string{"hub", "recovery", "epoch"}, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// absolute makes the path of a secret mean the same to the hub.
func absolute(source string) (string, error) {
	s, err := seal.ParseSource(source)
	if err != nil {
		return source, nil // the hub says what is wrong
	}
	file, ok := s.(seal.File)
	if !ok {
		return source, nil
	}
	path, err := filepath.Abs(string(file))
	return "file:" + path, err
}

func (c *cli) keyForgetPlace() *cobra.Command {
	var yes bool
	cmd := c.command("forget-place", []string{"oublier-lieu"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if err := c.sure(yes, texts.T(c.locale, "keys.forget-confirm", map[string]any{"place": args[0]})); err != nil {
			return err
		}
		v, err := hub.ForgetPlace(ctx, nobody, args[0])
		return c.keysDone(v, err, "")
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "")
	return cmd
}

// sure asks for a confirmation of what cannot be undone. Where nobody answers
// nothing is done.
func (c *cli) sure(yes bool, question string) error {
	if yes {
		return nil
	}
	if ok, err := c.confirm(question); err == nil && ok {
		return nil
	}
	return failed(texts.T(c.locale, "keys.not-confirmed", nil))
}

// keyNewRecovery makes a recovery key for who has no OpenPGP tool. It belongs on
// another machine than the hub's, and needs no configuration.
func (c *cli) keyNewRecovery() *cobra.Command {
	var out string
	cmd := c.command("new-recovery", []string{"nouvelle-cle-secours"}, 0, 0, func(context.Context, []string) error {
		passphrase, err := c.secretLine(texts.T(c.locale, "keys.passphrase-new", nil))
		if err != nil {
			return err
		}
		private, public, err := seal.NewRecovery("Relais", passphrase, seal.Options{})
		if err != nil {
			return err
		}
		v := struct {
			Private string `json:"private"`
			Public  string `json:"public"`
		}{filepath.Join(out, "recovery.private.asc"), filepath.Join(out, "recovery.pub")}
		if err := writeFresh(v.Private, private); err != nil {
			return err
		}
		if err := writeFresh(v.Public, public); err != nil {
			return err
		}
		return c.show(v, func() {
			c.line(texts.T(c.locale, "keys.made-private", map[string]any{"file": v.Private}))
			c.line(texts.T(c.locale, "keys.made-public", map[string]any{"file": v.Public}))
			if len(passphrase) == 0 {
				c.line(texts.T(c.locale, "cli.warning", map[string]any{"text": texts.T(c.locale, "keys.no-passphrase", nil)}))
			}
		})
	})
	cmd.Flags().StringVar(&out, "out", ".", "")
	return cmd
}

// writeFresh writes a file that did not exist, for its owner only.
func writeFresh(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// secretLine reads a passphrase: asked for at a terminal, not shown. Elsewhere
// there is none.
func (c *cli) secretLine(question string) ([]byte, error) {
	f, ok := c.in.(*os.File)
	if !ok || !terminal(c.in) {
		return nil, nil
	}
	fmt.Fprint(c.errs, question+" ")
	defer fmt.Fprintln(c.errs)
	return term.ReadPassword(int(f.Fd()))
}

// keyRescue writes the recovery message, to be decrypted elsewhere.
func (c *cli) keyRescue() *cobra.Command {
	return c.command("rescue-message", []string{"message-secours"}, 0, 0, func(context.Context, []string) error {
		o, _, err := c.keyOptions()
		if err != nil {
			return err
		}
		message, err := seal.Rescue(o)
		if err != nil {
			return c.recoverFault(err)
		}
		_, err = c.out.Write(message)
		return err
	})
}

// keyOptions says where the keys of the configuration lie.
func (c *cli) keyOptions() (seal.Options, *configs.Config, error) {
	config, err := c.usable()
	if err != nil {
		return seal.Options{}, nil, err
	}
	o, err := gateway.KeyOptions(config)
	return o, config, err
}

// keyRecover gives a hub whose key is lost a new one, by the recovery key. The
// hub must be stopped.
func (c *cli) keyRecover() *cobra.Command {
	var private, opened string
	cmd := c.command("recover", []string{"recuperer", "récupérer"}, 0, 0, func(context.Context, []string) error {
		o, config, err := c.keyOptions()
		if err != nil {
			return err
		}
		if (private == "") == (opened == "") {
			return misused(texts.T(c.locale, "keys.recover-one", nil))
		}
		key, err := c.recovered(o, private, opened)
		defer clear(key)
		if err == nil {
			err = seal.Recover(o, key)
		}
		if err != nil {
			return c.recoverFault(err)
		}
		v := struct {
			Recovered bool   `json:"recovered"`
			HubKey    string `json:"hub_key"`
		}{true, config.Keys.HubKey.Name}
		return c.show(v, func() {
			c.line(texts.T(c.locale, "keys.recovered", map[string]any{"file": v.HubKey}))
			if opened != "" {
				c.line(texts.T(c.locale, "keys.recovered-epoch-key", map[string]any{"file": opened}))
			} else {
				c.line(texts.T(c.locale, "keys.recovered-private", nil))
			}
		})
	})
	f := cmd.Flags()
	f.StringVar(&private, "private", "", "")
	f.StringVar(&opened, "epoch-key", "", "")
	return cmd
}

// recovered gives the epoch key: as it was decrypted elsewhere, or decrypted
// here. What is read is wiped, and written nowhere.
func (c *cli) recovered(o seal.Options, private, opened string) ([]byte, error) {
	if opened != "" {
		b, err := c.readSecret(opened)
		if text, herr := hex.DecodeString(strings.TrimSpace(string(b))); err == nil && herr == nil && len(text) == 32 {
			clear(b)
			return text, nil
		}
		return b, err
	}
	message, err := seal.Rescue(o)
	if err != nil {
		return nil, err
	}
	secret, err := c.readSecret(private)
	defer clear(secret)
	if err != nil {
		return nil, err
	}
	var passphrase []byte
	key, err := seal.OpenRescue(message, secret, nil)
	if errors.Is(err, seal.ErrPassphrase) && private != "-" {
		if passphrase, err = c.secretLine(texts.T(c.locale, "keys.passphrase", nil)); err != nil {
			return nil, err
		}
		defer clear(passphrase)
		key, err = seal.OpenRescue(message, secret, passphrase)
	}
	return key, err
}

// readSecret reads a file, or standard input for "-".
func (c *cli) readSecret(name string) ([]byte, error) {
	const most = 1 << 20
	if name == "-" {
		return io.ReadAll(io.LimitReader(c.in, most))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// recoverFault says why a recovery cannot be done.
func (c *cli) recoverFault(err error) error {
	for fault, id := range map[error]texts.ID{
		seal.ErrInUse: "keys.recover-in-use", seal.ErrNotRescued: "keys.recover-other", seal.ErrPassphrase: "keys.recover-passphrase",
		seal.ErrRecoveryKey: "keys.recover-form", seal.ErrSecretForm: "keys.recover-hub-key", seal.ErrNoEpoch: "keys.recover-no-epoch",
	} {
		if errors.Is(err, fault) {
			return failed(texts.T(c.locale, id, nil))
		}
	}
	return err
}
