package mailbox

import (
	"fmt"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Ending an exchange with a citizen. In Mon espace santé a person may answer
// whoever wrote to them until a mail with the subject "[FIN]" takes that right
// away, for everything before it; the field X-MSS-MES says the same of one
// mail. Both are sent, once, when a coordinator asks for it.

const (
	finSubject = "[FIN]"
	finWord    = "FIN"
)

// isFIN reports whether a subject ends an exchange: these five characters and
// nothing else.
func isFIN(subject string) bool { return strings.TrimSpace(subject) == finSubject }

// endExchanges ends those with every citizen of a pathway that is closed.
func (h *Hub) endExchanges(tx store.Tx, p *store.Pathway, view *PathwayView) error {
	prog, err := h.programme(p.Programme)
	if err != nil {
		return err
	}
	now := h.o.Now()
	// Who never consented was never written to.
	n, err := h.endExchange(tx, p, prog, func(m *store.Member) bool {
		return m.ActiveAt(now) && lastConsent(p, m.ID) != consentNone
	})
	if err == nil && n == 0 {
		view.Warnings = append(view.Warnings, warnNoCitizen)
	}
	return err
}

// endExchange sends the last mail to each citizen's box of the members that ok
// accepts, and says to how many.
func (h *Hub) endExchange(tx store.Tx, p *store.Pathway, prog *rules.Programme, ok func(*store.Member) bool) (int, error) {
	boxes, of := recipients(p, func(m *store.Member) bool { return m.Mailbox.Citizen() && ok(m) })
	for _, box := range boxes {
		n := notice{kind: noticeFIN, to: box, prog: prog, pathway: p.Code, asCopy: true}
		for _, m := range of[box] {
			n.members = append(n.members, m.ID)
		}
		mail := letter.Notice{
			Kind: noticeFIN, Subject: finSubject, MES: finWord, Pathway: string(p.Code),
			Text: strings.Join([]string{
				texts.T(h.o.Locale, "notices.hello", nil),
				texts.T(h.o.Locale, "families.fin", map[string]any{"programme": programmeName(prog)}), h.phone(p),
			}, "\n\n") + "\n",
		}
		if err := h.queueMail(tx, n, &mail, mail.Render); err != nil {
			return 0, fmt.Errorf("ending an exchange: %w", err)
		}
	}
	return len(boxes), nil
}
