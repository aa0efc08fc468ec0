package gateway

import (
	"testing"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox/texts"
)

// What the trusted space has to say is said in both languages.
func TestTrustHasTexts(t *testing.T) {
	var ids []texts.ID
	for _, kind := range trust.ConcernKinds() {
		ids = append(ids, texts.ID("status."+string(kind)))
	}
	for _, reason := range trust.Reasons() {
		if reason != trust.NotListed { // said of those who call
			ids = append(ids, texts.ID("cli.reason-untrusted-"+string(reason)))
		}
	}
	args := map[string]any{"authority": "AC", "count": 1, "of": 2, "age": "a", "when": "w"}
	for _, l := range texts.Locales() {
		for _, id := range ids {
			if texts.T(l, id, args) == string(id) {
				t.Errorf("%s has no text in %s", id, l)
			}
		}
	}
}
