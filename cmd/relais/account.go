package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) accountCommands() *cobra.Command {
	return c.group("account", []string{"compte"}, c.accountCreate(), c.accountList(), c.accountRevoke())
}

func (c *cli) accountCreate() *cobra.Command {
	var r mailbox.AccountRequest
	var certificate string
	cmd := c.command("create", []string{"creer", "créer"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if certificate != "" {
			if r.Certificate, err = fingerprint(certificate); err != nil {
				return err
			}
		}
		made, err := hub.CreateAccount(ctx, nobody, r)
		if err != nil {
			return err
		}
		return c.show(made, func() {
			id := texts.ID("accounts.made-password")
			if made.Password == "" {
				id = "accounts.made-certificate"
			}
			text := texts.T(c.locale, id, map[string]any{"username": made.Username, "password": made.Password, "credential": made.Credential})
			for l := range strings.Lines(text) {
				c.line(strings.TrimSuffix(l, "\n"))
			}
			if made.Expires != nil {
				c.line(texts.T(c.locale, "accounts.until", map[string]any{"date": c.minute(*made.Expires)}))
			}
		})
	})
	f := cmd.Flags()
	f.StringVar(&r.Mailbox, "mailbox", "", "")
	f.StringVar(&r.Person, "person", "", "")
	f.StringVar(&r.Label, "label", "", "")
	f.StringVar(&r.Expires, "expires", "", "")
	f.StringVar(&certificate, "certificate", "", "")
	required(cmd, "mailbox")
	return cmd
}

// maxCertificate bounds, in bytes, the file of a certificate.
const maxCertificate = 1 << 20

// fingerprint gives the SHA-256 of the certificate in a file, or what was
// typed if there is no such file: the hub says whether it is a fingerprint.
func fingerprint(typed string) (string, error) {
	f, err := os.Open(typed)
	if errors.Is(err, fs.ErrNotExist) {
		return typed, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCertificate))
	if err != nil {
		return "", err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			sum := sha256.Sum256(block.Bytes) // the first is the holder's
			return hex.EncodeToString(sum[:]), nil
		}
	}
	return typed, nil
}

func (c *cli) accountList() *cobra.Command {
	var box string
	cmd := c.command("list", []string{"lister"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.Accounts(ctx, nobody, box)
		if err != nil {
			return err
		}
		return c.show(list, func() {
			if len(list) == 0 {
				c.line(texts.T(c.locale, "accounts.none", nil))
				return
			}
			c.table([]texts.ID{
				"accounts.col-username", "accounts.col-credential", "accounts.col-label", "accounts.col-state",
				"accounts.col-used", "accounts.col-expires",
			}, c.accountRows(list))
		})
	})
	cmd.Flags().StringVar(&box, "mailbox", "", "")
	return cmd
}

// accountRows has a row for each password or certificate, and one for an
// account that needs none.
func (c *cli) accountRows(list []mailbox.AccountView) (rows [][]string) {
	for _, a := range list {
		if len(a.Credentials) == 0 {
			rows = append(rows, []string{a.Username, texts.T(c.locale, "accounts.kind-provided", nil), "", c.accountState(a.State), c.minuteAt(a.LastUsed), ""})
		}
		for _, o := range a.Credentials {
			begins := o.ID
			if o.Kind == "certificate" {
				begins = texts.T(c.locale, "accounts.kind-certificate", nil) + " " + o.ID
			}
			rows = append(rows, []string{a.Username, begins, o.Label, c.accountState(o.State), c.minuteAt(o.LastUsed), c.minuteAt(o.Expires)})
		}
	}
	return rows
}

func (c *cli) accountState(s string) string {
	return word(texts.T(c.locale, texts.ID("accounts.state-"+s), nil), texts.ID("accounts.state-"+s))
}

func (c *cli) accountRevoke() *cobra.Command {
	var credential string
	cmd := c.command("revoke", []string{"revoquer", "révoquer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		a, err := hub.RevokeAccount(ctx, nobody, mailbox.AccountRevoke{Username: args[0], Credential: credential})
		if err != nil {
			return err
		}
		return c.show(a, func() {
			id := texts.ID("accounts.revoked")
			if credential != "" {
				id = "accounts.revoked-one"
			}
			c.line(texts.T(c.locale, id, map[string]any{"username": a.Username, "credential": credential}))
		})
	})
	cmd.Flags().StringVar(&credential, "credential", "", "")
	return cmd
}
