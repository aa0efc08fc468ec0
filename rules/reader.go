package rules

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// reader looks through a parsed expression for what the type check does not
// see: constructs without bound, and words that can never be equal to what they
// are compared with (a misspelt role would make a rule that never matches).
type reader struct {
	programme *Programme
	faults    []whenFault
}

// Visit implements [ast.Visitor].
func (v *reader) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.PredicateNode:
		ast.Walk(&n.Node, &loop{v})
	case *ast.VariableDeclaratorNode:
		v.forbid("let", n)
	case *ast.SequenceNode:
		v.forbid(";", n)
	case *ast.MapNode:
		v.forbid("{…}", n)
	case *ast.BinaryNode:
		switch n.Operator {
		case "..", "**", "^":
			v.forbid(n.Operator, n)
		case "==", "!=", "in", "not in":
			v.compared(n.Left, n.Right)
			v.compared(n.Right, n.Left)
		}
	}
}

func (v *reader) forbid(what string, n ast.Node) {
	v.faults = append(v.faults, whenFault{whenForbidden, map[string]any{"what": what}, n.Location().From})
}

// loop looks for a loop over documents inside a loop.
type loop struct{ *reader }

func (v *loop) Visit(n *ast.Node) {
	if id, ok := (*n).(*ast.IdentifierNode); ok && (id.Value == "documents" || id.Value == "$env") {
		v.faults = append(v.faults, whenFault{whenNested, nil, id.Location().From})
	}
}

// compared checks the words that a fact of closed vocabulary is compared with.
func (v *reader) compared(fact, with ast.Node) {
	name := factName(fact)
	allowed := v.vocabulary(name)
	if allowed == nil {
		return
	}
	words := []ast.Node{with}
	if list, ok := with.(*ast.ArrayNode); ok {
		words = list.Nodes
	}
	for _, node := range words {
		word, ok := node.(*ast.StringNode)
		if ok && word.Value != "" && !slices.Contains(allowed, word.Value) {
			v.faults = append(v.faults, whenFault{whenUnknownWord, map[string]any{
				"value": word.Value, "fact": name, "allowed": strings.Join(allowed, ", "),
			}, word.Location().From})
		}
	}
}

// factName writes sender.role for that expression, and documents.type for
// .type inside a loop.
func factName(n ast.Node) string {
	member, ok := n.(*ast.MemberNode)
	if !ok {
		return ""
	}
	property, ok := member.Property.(*ast.StringNode)
	if !ok {
		return ""
	}
	switch of := member.Node.(type) {
	case *ast.IdentifierNode:
		return of.Value + "." + property.Value
	case *ast.PointerNode, *ast.MemberNode: // .type, documents[0].type
		return "documents." + property.Value
	}
	return ""
}

func (v *reader) vocabulary(fact string) []string {
	p := v.programme
	switch fact {
	case "sender.role", "answers.role":
		return p.rolesWhere(func(*Role) bool { return true })
	case "documents.type", "answers.rubrics":
		var ids []string
		for i := range p.Rubrics {
			ids = append(ids, p.Rubrics[i].ID)
		}
		return ids
	case "sender.mailbox_type":
		return []string{"PER", "ORG", "APP", "CAB", "MES"}
	case "pathway.status":
		return []string{"open", "suspended", "closed", "erasing"}
	case "pathway.programme":
		return []string{p.ID}
	}
	return nil
}
