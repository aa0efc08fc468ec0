package admin

import (
	"slices"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
)

// Role is a kind of work at the hub.
type Role string

// Roles. The hub's own user and root have them all.
const (
	Coordinator Role = "coordinator" // of some programmes: what concerns patients
	Auditor     Role = "auditor"     // the traces
	Operator    Role = "operator"    // running the hub; sees no message
)

// needs says which roles may ask for a verb. What is not here nobody may ask
// for but root and the hub's own user.
var needs = map[string][]Role{
	"/v1/pathway/include": {Coordinator},
	"/v1/pathway/list":    {Coordinator},
	"/v1/pathway/show":    {Coordinator},
	"/v1/pathway/export":  {Coordinator},
	"/v1/pathway/update":  {Coordinator},
	"/v1/pathway/merge":   {Coordinator},
	"/v1/pathway/suspend": {Coordinator},
	"/v1/pathway/close":   {Coordinator},
	"/v1/pathway/reopen":  {Coordinator},
	"/v1/pathway/erase":   {Coordinator},

	"/v1/consent/record":   {Coordinator},
	"/v1/consent/withdraw": {Coordinator},
	"/v1/consent/show":     {Coordinator},

	"/v1/team/add":    {Coordinator},
	"/v1/team/update": {Coordinator},
	"/v1/team/remove": {Coordinator},
	"/v1/team/show":   {Coordinator},
	"/v1/team/import": {Coordinator},

	"/v1/mailbox/list":   {Coordinator},
	"/v1/mailbox/show":   {Coordinator},
	"/v1/mailbox/update": {Coordinator},

	// An operator may stop a stolen device, and opens nothing.
	"/v1/account/create": {Coordinator},
	"/v1/account/list":   {Coordinator, Auditor, Operator},
	"/v1/account/revoke": {Coordinator, Operator},

	"/v1/thread/show": {Coordinator},

	"/v1/message/show":    {Coordinator},
	"/v1/message/raw":     {Coordinator},
	"/v1/message/retract": {Coordinator},
	"/v1/message/move":    {Coordinator},
	"/v1/message/refile":  {Coordinator},
	"/v1/message/resend":  {Coordinator},
	"/v1/message/author":  {Coordinator},

	"/v1/triage/list":    {Coordinator},
	"/v1/triage/show":    {Coordinator},
	"/v1/triage/raw":     {Coordinator},
	"/v1/triage/assign":  {Coordinator},
	"/v1/triage/release": {Coordinator},
	"/v1/triage/reject":  {Coordinator},

	"/v1/queue/list":    {Coordinator, Operator},
	"/v1/queue/show":    {Coordinator, Operator},
	"/v1/backup/begin":  {Operator},
	"/v1/backup/read":   {Operator},
	"/v1/backup/digest": {Operator},
	"/v1/backup/sign":   {Operator},
	"/v1/backup/end":    {Operator},
	"/v1/hub/verify":    {Operator, Auditor},

	"/v1/queue/retry": {Coordinator, Operator},
	"/v1/queue/hold":  {Coordinator, Operator},
	"/v1/queue/drop":  {Coordinator},

	// A coordinator reads the traces of one pathway of theirs.
	"/v1/audit/show":   {Coordinator, Auditor},
	"/v1/audit/export": {Coordinator, Auditor},
	"/v1/audit/seen":   {Coordinator, Auditor},
	"/v1/audit/verify": {Auditor, Operator},
	"/v1/audit/head":   {Auditor, Operator},

	"/v1/key/status":       {Auditor, Operator},
	"/v1/key/rotate":       {Operator},
	"/v1/key/forget-place": {Operator},

	"/v1/directory/import": {Operator},
	"/v1/directory/search": {Coordinator, Operator},

	"/v1/rules/explain": {Coordinator},

	"/v1/hub/status": {Coordinator, Auditor, Operator},
}

// Grant gives a role to whoever connects so: with a certificate, or as a user
// of this machine.
type Grant struct {
	Role       Role
	Programmes []string // of a coordinator; nil: all
	// Certificate is known by its name or, if that is zero, by its fingerprint.
	Certificate trust.Name
	Fingerprint [32]byte
	// UID counts where neither is given.
	UID uint32
}

// byCertificate reports whether the grant is to a certificate.
func (g *Grant) byCertificate() bool { return !g.Certificate.Zero() || g.Fingerprint != [32]byte{} }

// permit says whether the peer may ask for a verb, and as whom: a role that
// reaches to some programmes only says which.
func (p *peer) permit(verb string) (mailbox.Actor, bool) {
	if p.all {
		return p.actor, true
	}
	a, allowed := p.actor, false
	a.Programmes = []string{}
	for i := range p.grants {
		g := &p.grants[i]
		if !slices.Contains(needs[verb], g.Role) {
			continue
		}
		if g.Role != Coordinator || g.Programmes == nil {
			return p.actor, true
		}
		allowed = true
		a.Programmes = append(a.Programmes, g.Programmes...)
	}
	return a, allowed
}
