package rules

import (
	"errors"
	"reflect"
	"regexp"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// An expression is read by people and run on every message: what it can say is
// kept small, and so is what it can cost. Its time is at most its length times
// the documents of the message: nothing loops over documents within such a
// loop, and nothing counts by itself.
const (
	maxWhen      = 4096  // characters
	maxNodes     = 400   // terms
	memoryBudget = 50000 // elements made by one evaluation
)

// builtins are the functions of the expression language that rules may use,
// beside our own mentions. There is no clock among them: a decision must come
// out the same when it is explained a year later.
var builtins = []string{"all", "any", "none", "one", "count", "filter", "map", "len", "first", "last", "lower", "upper", "trim"}

// compileOptions are what every expression is compiled with.
func compileOptions() []expr.Option {
	options := []expr.Option{
		expr.Env(Facts{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(),
		expr.Function("mentions", mentionsFunc, mentions),
	}
	for _, name := range builtins {
		options = append(options, expr.EnableBuiltin(name))
	}
	for operator, fold := range folding {
		name := "fold_" + operator
		options = append(options, expr.Function(name, func(args ...any) (any, error) {
			return fold(args[0].(string), args[1].(string)), nil
		}, fold), expr.Operator(operator, name))
	}
	return options
}

// whenFault is what is wrong in an expression, and at which character.
type whenFault struct {
	id   TextID
	args map[string]any
	at   int
}

// compile type-checks the rule's expression and readies it.
func (r *Rule) compile(p *Programme) []whenFault {
	if len(r.When) > maxWhen {
		return []whenFault{{whenTooLong, map[string]any{"limit": maxWhen}, 0}}
	}
	tree, err := parser.Parse(r.When)
	if err != nil {
		return []whenFault{whenError(err)}
	}
	v := &reader{programme: p}
	ast.Walk(&tree.Node, v)
	if len(v.faults) > 0 {
		return v.faults
	}
	r.program, err = expr.Compile(r.When, compileOptions()...)
	if err != nil {
		return []whenFault{whenError(err)}
	}
	return nil
}

// matches evaluates the rule. The error is of an expression that passed the
// type check and failed on these facts, such as documents[0] of none.
func (r *Rule) matches(machine *vm.VM, facts *Facts) (bool, error) {
	out, err := machine.Run(r.program, facts)
	if err != nil {
		return false, err
	}
	matched, ok := out.(bool)
	if !ok {
		return false, errors.New("not a boolean")
	}
	return matched, nil
}

var (
	unknownName  = regexp.MustCompile(`^unknown name (\w+)`)
	unknownField = regexp.MustCompile(`^type \*?rules\.(\w+) has no field (\w+)`)
	notBoolean   = regexp.MustCompile(`^expected bool, but got (.+)`)
)

// whenError puts the commonest mistakes in the reader's own language; the rest
// is said in the words of the expression library.
func whenError(err error) whenFault {
	message, at := err.Error(), 0
	var where *file.Error
	if errors.As(err, &where) {
		message, at = where.Message, where.From
	}
	if m := unknownName.FindStringSubmatch(message); m != nil {
		allowed := append(fieldNames(reflect.TypeFor[Facts]()), Functions()...)
		return whenFault{whenUnknownName, map[string]any{"name": m[1], "allowed": strings.Join(allowed, ", ")}, at}
	}
	if m := unknownField.FindStringSubmatch(message); m != nil {
		allowed := fieldNames(factTypes[m[1]])
		return whenFault{whenUnknownName, map[string]any{"name": m[2], "allowed": strings.Join(allowed, ", ")}, at}
	}
	if m := notBoolean.FindStringSubmatch(message); m != nil {
		return whenFault{whenNotBool, map[string]any{"got": m[1]}, at}
	}
	return whenFault{whenNotUnderstood, map[string]any{"error": message}, at}
}

var factTypes = map[string]reflect.Type{
	"SenderFacts": reflect.TypeFor[SenderFacts](), "MessageFacts": reflect.TypeFor[MessageFacts](),
	"AnswerFacts": reflect.TypeFor[AnswerFacts](), "DocumentFacts": reflect.TypeFor[DocumentFacts](),
	"PathwayFacts": reflect.TypeFor[PathwayFacts](),
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("expr"))
	}
	return names
}

// Functions lists the functions an expression may use, for documentation.
func Functions() []string { return append([]string{"mentions"}, builtins...) }
