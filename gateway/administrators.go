package gateway

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/store/journal"
)

const errUser = journal.Fault("no such user on this machine")

// grants are what [[administrator]] says. A user is known by the number the
// name had when the hub started.
func grants(c *configs.Config) ([]admin.Grant, error) {
	var all []admin.Grant
	for i, a := range c.Administrators {
		g := admin.Grant{Role: admin.Role(a.Role)}
		if !slices.Contains(a.Programmes, configs.AllProgrammes) {
			g.Programmes = a.Programmes
		}
		var err error
		switch {
		case a.User != "":
			g.UID, err = uidOf(a.User)
		default:
			err = certificateOf(&g, a.Certificate)
		}
		if err != nil {
			return nil, fmt.Errorf("section administrator %d: %w", i+1, err)
		}
		all = append(all, g)
	}
	return all, nil
}

func uidOf(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		return 0, errUser
	}
	if err != nil {
		return 0, fmt.Errorf("looking up a user: %w", err)
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// certificateOf reads a fingerprint or a distinguished name.
func certificateOf(g *admin.Grant, text string) error {
	if print, err := hex.DecodeString(strings.ReplaceAll(text, ":", "")); err == nil && len(print) == len(g.Fingerprint) {
		g.Fingerprint = [32]byte(print)
		return nil
	}
	var err error
	if g.Certificate, err = trust.ParseName(text); err == nil && g.Certificate.Zero() {
		err = trust.ErrName
	}
	return err
}
