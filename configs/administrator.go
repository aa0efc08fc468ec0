package configs

import (
	"slices"
	"strings"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/rules/strict"
)

// RoleCoordinator is the role that goes with programmes.
const RoleCoordinator = "coordinator"

// AllProgrammes stands for every programme, those to come included.
const AllProgrammes = "*"

// administrators: each is somebody, and a coordinator's programmes are said.
func (c *checker) administrators() {
	remote := false
	for i := range c.Administrators {
		a := &c.Administrators[i]
		if (a.Certificate == "") == (a.User == "") {
			c.at(whoAdministers, nil, "administrator", i)
		}
		if (a.Role == RoleCoordinator) != (len(a.Programmes) > 0) {
			c.at(whichProgramme, nil, "administrator", i, "programmes")
		}
		remote = remote || a.Certificate != ""
	}
	if len(c.Admin.Listen) > 0 && !remote {
		c.warn(nobodyRemote, nil, "admin", "listen")
	}
}

// administratorProgrammes checks that the programmes of coordinators are among
// those loaded.
func (c *Config) administratorProgrammes(set *rules.Set) []Problem {
	var ids []string
	for _, p := range set.Programmes {
		ids = append(ids, p.ID)
	}
	k := &checker{Config: c}
	for i := range c.Administrators {
		for j, id := range c.Administrators[i].Programmes {
			if id != AllProgrammes && !slices.Contains(ids, id) {
				k.at(strict.NotAllowed, map[string]any{"value": id, "allowed": strings.Join(ids, ", ")}, "administrator", i, "programmes", j)
			}
		}
	}
	return k.problems
}
