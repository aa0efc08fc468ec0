package inbound

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
)

// Every reply is one line of ASCII that fits into RFC 5321 §4.5.3.1.5, in both
// languages, with a code and an enhanced code of the same class.
func TestReplies(t *testing.T) {
	answers := []answer{
		readyForTLS, chunkTaken, nothingDone, badCommand, commandTooLong, badParameter, badSequence, tlsAlready,
		tooManyErrors, tooManyCommands, connectionsFull, peerFull, peerTooFast, senderTooFast, stopping, idle, tooSlow,
		connectionLost, takenBack, fault, crashed, tlsRequired, domainNotListed, badSender, badRecipient,
	}
	for reason := range refusals {
		answers = append(answers, answerTo(&mailbox.Refusal{Reason: reason}))
	}
	for _, reason := range trust.Reasons() {
		if reason == trust.WrongOperator || reason == trust.WrongHost || reason == trust.DomainNotListed {
			continue // said of servers that the hub calls
		}
		answers = append(answers, answerTo(&trust.Distrust{Reason: reason}))
	}
	seen := map[string]bool{}
	for _, a := range answers {
		line := a.line()
		text := a.message()
		if len(line) > 512 || !strings.Contains(text, " / ") || strings.ContainsAny(text, "?\r\n") || seen[text] {
			t.Errorf("%s: %q", a.reason, line)
		}
		seen[text] = true
		if a.code/100 != a.enhanced[0] || line[0] != line[4] {
			t.Errorf("%s: code %d with %v", a.reason, a.code, a.enhanced)
		}
	}
}

// Every reason of the mailbox has its code here.
func TestEveryRefusalHasACode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../mailbox/envelope.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for reason := range refusals {
		known[`"`+string(reason)+`"`] = true
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "RefusalReason" {
			found++
			if value := v.Values[0].(*ast.BasicLit).Value; !known[value] {
				t.Errorf("%s has no code", value)
			}
		}
		return true
	})
	if found != len(refusals) {
		t.Errorf("%d reasons, %d codes", found, len(refusals))
	}
}
