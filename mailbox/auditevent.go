package mailbox

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store"
)

// A trace as a FHIR R4 AuditEvent, within the rules of CI-SIS "Traçabilité
// d'événements": at most two agents, each with who; a period with its start; at
// most one subtype. Who and what are identifiers that mean something to this
// hub alone: nothing here says who the child is.

type auditEvent struct {
	ResourceType string        `json:"resourceType"`
	ID           string        `json:"id"`
	Type         coding        `json:"type"`
	Subtype      []coding      `json:"subtype,omitempty"`
	Action       string        `json:"action"`
	Period       period        `json:"period"`
	Recorded     string        `json:"recorded"`
	Outcome      string        `json:"outcome"`
	Agent        []auditAgent  `json:"agent"`
	Source       auditSource   `json:"source"`
	Entity       []auditEntity `json:"entity,omitempty"`
}

type coding struct {
	System  string `json:"system"`
	Code    string `json:"code"`
	Display string `json:"display,omitempty"`
}

type period struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

type reference struct {
	Identifier identifier `json:"identifier"`
}

type identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

type auditAgent struct {
	Who       reference     `json:"who"`
	Requestor bool          `json:"requestor"`
	Network   *auditNetwork `json:"network,omitempty"`
}

type auditNetwork struct {
	Address string `json:"address"`
	Type    string `json:"type"` // network-type: 1 name of a machine, 2 IP address
}

type auditSource struct {
	Observer reference `json:"observer"`
}

type auditEntity struct {
	What   reference     `json:"what"`
	Type   coding        `json:"type"`
	Detail []auditDetail `json:"detail,omitempty"`
}

type auditDetail struct {
	Type  string `json:"type"`
	Value string `json:"valueString"`
}

// Systems of codes and identifiers; those of this program are named after it.
const (
	systemDICOM  = "http://dicom.nema.org/resources/ontology/DCM"
	systemEntity = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	systemOwn    = "https://github.com/relais-sante/relais/audit/"
)

// eventTypes are the kinds of events of DICOM (PS3.16, CID 400) by the first or
// last word of an action.
var eventTypes = map[string]coding{
	"account":    {systemDICOM, "110114", "User Authentication"},
	"audit":      {systemDICOM, "110101", "Audit Log Used"},
	"downloaded": {systemDICOM, "110106", "Export"},
	"exported":   {systemDICOM, "110106", "Export"},
	"sent":       {systemDICOM, "110106", "Export"},
	"post":       {systemDICOM, "110107", "Import"},
	"imported":   {systemDICOM, "110107", "Import"},
	"listed":     {systemDICOM, "110112", "Query"},
	"searched":   {systemDICOM, "110112", "Query"},
}

func eventType(t *store.Trace) coding {
	noun, verb, _ := strings.Cut(t.Action, ".")
	for _, word := range []string{noun, verb} {
		if c, ok := eventTypes[word]; ok {
			return c
		}
	}
	if len(t.Pathways()) == 0 {
		return coding{systemDICOM, "110100", "Application Activity"}
	}
	return coding{systemDICOM, "110110", "Patient Record"}
}

// eventAction is C, R, U, D or E (audit-event-action).
func eventAction(action string) string {
	_, verb, _ := strings.Cut(action, ".")
	switch verb {
	case "read", "listed", "searched", "downloaded", "exported", "explained", "verified", "head":
		return "R"
	case "included", "added", "created", "recorded", "post", "imported", "filed":
		return "C"
	case "removed", "revoked", "rejected", "retracted", "erased", "purged", "dropped", "cancelled", "withdrawn":
		return "D"
	case "login", "slowed", "sent", "partial", "failed", "announced", "infected", "refused", "duplicate":
		return "E"
	}
	return "U"
}

// eventOutcome is of audit-event-outcome: 0 success, 4 minor, 8 serious failure.
func eventOutcome(outcome string) string {
	switch outcome {
	case outcomeDone:
		return "0"
	case outcomeRefused:
		return "4"
	}
	return "8"
}

func (h *Hub) auditEvent(t *store.Trace) *auditEvent {
	at := t.At.UTC().Format(time.RFC3339Nano)
	e := &auditEvent{
		ResourceType: "AuditEvent", ID: fmt.Sprintf("%d", t.Seq), Type: eventType(t),
		Subtype: []coding{{System: systemOwn + "action", Code: t.Action}}, Action: eventAction(t.Action),
		Period: period{at, at}, Recorded: at, Outcome: eventOutcome(t.Outcome),
		Agent:  []auditAgent{{Who: own("actor", t.Actor), Requestor: true, Network: network(t.Where)}},
		Source: auditSource{own("hub", h.o.Domain)},
	}
	if t.OnBehalf != "" {
		e.Agent = append(e.Agent, auditAgent{Who: own("actor", t.OnBehalf)})
	}
	for _, code := range t.Pathways() {
		e.Entity = append(e.Entity, auditEntity{What: own("pathway", string(code)), Type: coding{systemEntity, "2", "System Object"}})
	}
	objects := t.Objects
	if t.Object != "" {
		objects = append([]string{t.Object}, objects...)
	}
	for _, id := range objects {
		e.Entity = append(e.Entity, auditEntity{What: own("object", id), Type: coding{systemEntity, "2", "System Object"}})
	}
	if len(t.Detail) > 0 {
		var d []auditDetail
		for _, name := range slices.Sorted(maps.Keys(t.Detail)) {
			if t.Detail[name] != "" { // FHIR has no empty strings
				d = append(d, auditDetail{name, t.Detail[name]})
			}
		}
		if len(e.Entity) == 0 {
			e.Entity = []auditEntity{{What: own("hub", h.o.Domain), Type: coding{systemEntity, "2", "System Object"}}}
		}
		e.Entity[len(e.Entity)-1].Detail = d
	}
	return e
}

func own(kind, value string) reference {
	if value == "" {
		value = "unknown"
	}
	return reference{identifier{systemOwn + kind, value}}
}

// network says from where, as FHIR has it.
func network(where string) *auditNetwork {
	if where == "" {
		return nil
	}
	if a, err := netip.ParseAddrPort(where); err == nil {
		return &auditNetwork{a.Addr().String(), "2"}
	}
	if a, err := netip.ParseAddr(where); err == nil {
		return &auditNetwork{a.String(), "2"}
	}
	return &auditNetwork{where, "1"}
}
