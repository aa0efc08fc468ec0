package mailbox

import (
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// What Mon espace santé answers. A refusal comes back as an ordinary bounce
// ("Undelivered Mail Returned to Sender", "Message non distribué"), with a status
// that says little or none at all; the author must know in plain words what to
// do about the family.

// Refusals of Mon espace santé, the last word of a delivery's LastError.
const (
	refusedClosed   = "mes-closed"
	refusedUnknown  = "mes-unknown"
	refusedAddress  = "mes-address"
	refusedTooLarge = "mes-too-large"
)

// citizenRefusal tells why Mon espace santé refused a mail, by the enhanced
// status (RFC 3463) and by its words; "" where neither tells.
func citizenRefusal(status, words string) string {
	switch status {
	case "5.2.1":
		return refusedClosed
	case "5.1.1", "5.1.6":
		return refusedUnknown
	case "5.1.2", "5.1.3":
		return refusedAddress
	case "5.2.3", "5.3.4":
		return refusedTooLarge
	}
	folded := " " + identity.FoldName(cutText(words, 2000)) + " "
	for _, r := range []struct {
		word string
		said []string
	}{
		{refusedTooLarge, []string{"trop volumineux", "trop grand", "trop lourd", "taille maximale", "taille du message", "25 mo", "too large", "too big", "size limit"}},
		{refusedClosed, []string{"fermee", "ferme", "cloturee", "cloture", "desactivee", "closed", "disabled"}},
		{refusedUnknown, []string{"patient non trouve", "non trouve", "introuvable", "patient inconnu", "inconnu", "not found", "unknown user", "user unknown", "no such user"}},
		{refusedAddress, []string{"adresse incorrecte", "adresse invalide", "adresse erronee", "mauvaise adresse", "bad address", "invalid address", "bad destination"}},
	} {
		if slices.ContainsFunc(r.said, func(s string) bool { return strings.Contains(folded, " "+s+" ") }) {
			return r.word
		}
	}
	return ""
}

// bouncesFromCitizen reports whether a mail went to the envelope address of the
// copies for a citizen's box, where nothing but what refuses them writes.
func (in *incoming) bouncesFromCitizen() bool {
	return slices.ContainsFunc(in.env.Rcpts, func(r Recipient) bool { return r.Kind == ToBounce && r.Box.Citizen() })
}

// statusOfRefusal is the status that stands for a refusal told in words.
func statusOfRefusal(word string) string {
	switch word {
	case refusedClosed:
		return "5.2.1"
	case refusedUnknown:
		return "5.1.1"
	case refusedAddress:
		return "5.1.3"
	}
	return ""
}

// bounced is what `queue list` shows of a copy that came back, and the status
// that counts for its box.
func (in *incoming) bounced(r *report, box store.Address) (lastError, status string) {
	if box.Citizen() {
		words := in.idx.Envelope.Subject + "\n" + r.diagnostic
		if in.reading != nil {
			words += "\n" + in.reading.Text
		}
		if word := citizenRefusal(r.status, words); word != "" {
			status = r.status
			if status == "" {
				status = statusOfRefusal(word)
			}
			return strings.TrimSpace(status + " " + word), status
		}
	}
	return strings.TrimSpace(r.status + " dsn"), r.status
}

// citizenRefused says in plain words, for the author of a post, why Mon espace
// santé did not take copies of it.
func (h *Hub) citizenRefused(ds []*store.Delivery) string {
	var said []string
	for _, d := range ds {
		words := strings.Fields(d.LastError)
		if d.State != store.Failed || !d.Mailbox.Citizen() || len(words) == 0 {
			continue
		}
		text := ""
		switch words[len(words)-1] {
		case refusedClosed:
			text = texts.T(h.o.Locale, "families.refused-closed", nil)
		case refusedUnknown:
			text = texts.T(h.o.Locale, "families.refused-unknown", nil)
		case refusedAddress:
			text = texts.T(h.o.Locale, "families.refused-address", nil)
		case refusedTooLarge:
			text = texts.T(h.o.Locale, "families.refused-too-large", nil)
		}
		if text != "" && !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return strings.Join(said, "\n\n")
}

// tooLargeForCitizen reports whether a message is more than a citizen's box
// takes: it gets the text then, and the list of what was left out.
func (h *Hub) tooLargeForCitizen(box store.Address, m *store.Message) bool {
	return box.Citizen() && h.o.CitizenMax > 0 && m.Size > h.o.CitizenMax
}

// withheldOf names the documents of a message that a partial copy leaves out.
func withheldOf(m *store.Message) []string {
	var names []string
	for i := range m.Documents {
		name := m.Documents[i].Filename
		if name == "" {
			name = m.Documents[i].Media
		}
		names = append(names, name)
	}
	if names == nil {
		names = []string{"—"}
	}
	return names
}
