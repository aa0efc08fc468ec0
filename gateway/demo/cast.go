package demo

import (
	"net/netip"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
)

// Everybody and everything in the story. All of it is invented; the matricules
// have a right key, in the national range for tests.

// hubDomain is the hub's mail domain.
const hubDomain = "parcours.example"

// house is an operator: it serves the boxes of one domain. Each has an address
// of its own, as operators have, but all of them the same port ([outbound]
// mx_port).
type house struct {
	name, domain string
	organisation string // in its certificate
	address      netip.Addr
}

var houses = []house{
	{"chu", "chu.example", "CHU CAEN (DEMONSTRATION)", netip.AddrFrom4([4]byte{127, 0, 0, 2})},
	{"bocage", "ch-bocage.example", "CH DU BOCAGE (DEMONSTRATION)", netip.AddrFrom4([4]byte{127, 0, 0, 3})},
	{"ville", "ville.example", "OPERATEUR DE LA VILLE (DEMONSTRATION)", netip.AddrFrom4([4]byte{127, 0, 0, 4})},
}

// dn is the name in the operator's certificate, and on the white list.
func (h house) dn() string { return "CN=" + h.host() + ",O=" + h.organisation + ",C=FR" }

// host is its mail host.
func (h house) host() string { return "mx." + h.domain }

// mailHosts is what the name service knows: each domain's mail host.
func mailHosts() map[string]netip.Addr {
	hosts := map[string]netip.Addr{}
	for _, h := range houses {
		hosts[h.domain] = h.address
	}
	return hosts
}

const (
	chu    = "CHU Caen"
	bocage = "CH du Bocage"
)

// Boxes.
const (
	boxDoctor      = "roux.anne@chu.example"
	boxCoordinator = "morel.claire@chu.example"
	boxRecord      = "dossier-patient@chu.example" // APP: sends for any child of the hospital
	boxWard        = "pediatrie@ch-bocage.example" // ORG: two nurses share it
	boxPractice    = "cabinet.petit@ville.example"
)

// wardName is how the shared box shows itself.
const wardName = "Pédiatrie"

// person is a member of the team.
type person struct {
	name, role, box, kind string
	establishment         string
	boxName               string // display name of a shared box
}

var (
	doctor      = person{name: "Dr Anne Roux", role: "oncologue", box: boxDoctor, kind: "PER", establishment: chu}
	coordinator = person{name: "Claire Morel", role: "idec", box: boxCoordinator, kind: "PER", establishment: chu}
	nurse       = person{name: "Karine Leroy", role: "infirmier", box: boxWard, kind: "ORG", establishment: bocage, boxName: wardName}
	colleague   = person{name: "Julie Blanc", role: "infirmier", box: boxWard, kind: "ORG", establishment: bocage, boxName: wardName}
	homeNurse   = person{name: "Sophie Petit", role: "infirmier", box: boxPractice, kind: "CAB", establishment: "Cabinet Petit"}
	team        = []person{doctor, coordinator, nurse, colleague, homeNurse}
)

// radiologist signs the report; the record sends it.
const (
	radiologist     = "Dr Paul Vidal"
	radiologistRPPS = "899900000060" // 8 and the RPPS number
	chuFINESS       = "1990000016"   // 1 and the FINESS number
)

// child is a patient as documents name one.
type child struct {
	INS, OID      string
	Family, Given string
	Birth         string // ISO 8601
	Sex           string
}

var (
	lea = child{"215036300100103", identity.OIDTestNIR, "Martin", "Léa", "2015-03-02", "F"}
	tom = child{"114076300100169", identity.OIDTestNIR, "Lefèvre", "Tom", "2014-07-12", "M"}
)

// boxes lists the boxes of the team, each once, in team order.
func boxes() []string {
	var all []string
	seen := map[string]bool{}
	for _, p := range team {
		if !seen[p.box] {
			seen[p.box] = true
			all = append(all, p.box)
		}
	}
	return all
}

// except is list without one.
func except(list []string, without string) []string {
	var rest []string
	for _, s := range list {
		if s != without {
			rest = append(rest, s)
		}
	}
	return rest
}

// domainOf is what follows the at sign.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
