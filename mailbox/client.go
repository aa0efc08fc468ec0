package mailbox

import (
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Client mode: the hub has no domain of its own in the trusted space, only
// boxes at operators. All it sends leaves from such a box, in the author's
// name; what comes back is told by thread, tag and INS, since every answer goes
// to the same address. Boxes may be read without client mode, too: they are
// then one more way in.
//
// Addresses in the hub's own domain stay what they are inside: the ids of
// conversations, and what a coordinator writes when a message is assigned.

// OperatorBox is a box that the hub has at an operator ([[operator]]).
type OperatorBox struct {
	Name    string // short, for lists; a word
	Address store.Address
	// Programme is the one it is for; empty: those that no other box is for.
	Programme string
}

// ownBox gives the operator's box with that address, or nil.
func (h *Hub) ownBox(a store.Address) *OperatorBox {
	i := slices.IndexFunc(h.o.Boxes, func(b OperatorBox) bool { return b.Address == a })
	if i < 0 {
		return nil
	}
	return &h.o.Boxes[i]
}

// boxOf is the box that mail of a programme (nil: of none) leaves from; nil
// where the hub has addresses of its own.
func (h *Hub) boxOf(prog *rules.Programme) *OperatorBox {
	if !h.o.Client || len(h.o.Boxes) == 0 {
		return nil
	}
	id := ""
	if prog != nil {
		id = prog.ID
	}
	for _, programme := range []string{id, ""} {
		if i := slices.IndexFunc(h.o.Boxes, func(b OperatorBox) bool { return b.Programme == programme }); i >= 0 {
			return &h.o.Boxes[i]
		}
	}
	return &h.o.Boxes[0] // a notice of no programme
}

// serves reports whether a box is for a programme.
func (h *Hub) serves(b *OperatorBox, programme string) bool {
	if b.Programme != "" {
		return b.Programme == programme
	}
	return !slices.ContainsFunc(h.o.Boxes, func(other OperatorBox) bool { return other.Programme == programme })
}

// programmeOfBox is the programme whose desk answers for a box: the only one it
// is for, else none.
func (h *Hub) programmeOfBox(b *OperatorBox) string {
	found := ""
	for _, p := range h.o.Programmes().Programmes {
		if !h.serves(b, p.ID) {
			continue
		}
		if found != "" {
			return ""
		}
		found = p.ID
	}
	return found
}

// leave fixes through which door a delivery leaves: the hub's own addresses,
// stable per pathway and box, or the operator's box, which is its envelope
// sender and takes the answers.
func (h *Hub) leave(d *store.Delivery, prog *rules.Programme) {
	if b := h.boxOf(prog); b != nil {
		d.Operator, d.Sender, d.ReplyTo = b.Name, b.Address, string(b.Address)
		return
	}
	d.Sender, d.ReplyTo = h.bounceAddress(d.Pathway, d.Mailbox), h.replyAddress(d.Pathway, d.Mailbox)
}

// publicAddress is where people write to a pathway, and the tag that must then
// stand in the subject; without one the address alone tells.
func (h *Hub) publicAddress(p *store.Pathway) (address, tag string) {
	prog := h.o.Programmes().ByID(p.Programme)
	if b := h.boxOf(prog); b != nil {
		return string(b.Address), "[" + strings.ToUpper(p.Programme) + " " + string(p.Code) + "]"
	}
	return h.pathwayAddress(p.Code), ""
}

// byOperator reads what the operator's server wrote into a mail that comes from
// one of the hub's boxes. No envelope comes with it: its sender is what
// Return-Path says (RFC 5321 §4.4). The operator took the mail inside the
// trusted space; a sender outside of it is an operator's own machine at best,
// and nobody of a team.
func (h *Hub) byOperator(in *incoming) {
	env := &in.env
	if env.Peer.SpeaksFor == nil {
		env.Peer.SpeaksFor = h.listed
	}
	path, written := in.idx.Value("Return-Path")
	path = strings.TrimSpace(path)
	sender := letter.ParseAddressList(path)
	switch {
	case written && (path == "<>" || path == ""):
		env.MailFrom = ""
	case len(sender) == 1 && sender[0].Address != "":
		env.MailFrom = store.NewAddress(sender[0].Address)
		in.unproven = env.MailFrom != in.fromAddr
	default:
		env.MailFrom, in.unproven = in.fromAddr, true
	}
	if env.MailFrom == "" {
		return
	}
	for _, a := range []store.Address{env.MailFrom, in.fromAddr} {
		in.outside = in.outside || !env.Peer.SpeaksFor(a.Domain())
	}
}

// fromOperator reports whether a mail was read from one of the hub's boxes.
func (in *incoming) fromOperator() bool { return in.env.Via == ViaOperator }

// goesRound reports whether a mail is the hub's own, come back to its box.
func (h *Hub) goesRound(in *incoming) bool {
	return (h.ownBox(in.fromAddr) != nil || h.ownBox(in.env.MailFrom) != nil) &&
		(in.field("X-Relais-Delivery") != "" || in.field("X-Relais-Kind") != "")
}

// toBox is the operator's box that a mail came to, or nil.
func (h *Hub) toBox(in *incoming) *OperatorBox {
	for _, r := range in.env.Rcpts {
		if r.Kind == ToBox {
			return h.ownBox(r.Address)
		}
	}
	return nil
}
