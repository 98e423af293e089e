package policy

import (
	"errors"
	"fmt"
	"reflect"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm/runtime"
)

// Limits of what conditions do with texts and lists. What a round of a loop costs depends on them, and
// a sender may make them long.
const (
	// maxRead is how many bytes of texts the conditions of a policy may read for one message, each as
	// often as it is read. That takes some seconds at most.
	maxRead = 1_000_000_000
	// maxMade is how many bytes of new texts and lists one evaluation of a condition may make.
	maxMade = 32 << 20
	// maxPatternSize is how many instructions a regular expression may have. Each of them may be
	// tried at each byte of a text, and is counted so.
	maxPatternSize = 10_000
	// perInstruction is how many bytes are read in the time that an instruction of a regular expression
	// takes for one.
	perInstruction = 4
)

var (
	errRead = fmt.Errorf("conditions read more than %d bytes of texts and lists", maxRead)
	errMade = fmt.Errorf("a condition makes more than %d bytes of texts and lists", maxMade)
)

// spend counts bytes that a condition reads.
func (f *facts) spend(bytes int) error {
	if f.read += bytes; f.read > maxRead || bytes < 0 {
		return errRead
	}
	return nil
}

// produce counts bytes that a condition makes, which it has to read as well.
func (f *facts) produce(bytes int) error {
	if f.made += bytes; f.made > maxMade || bytes < 0 {
		return errMade
	}
	return f.spend(bytes)
}

// A meter puts calls into a condition that count what it reads and makes. It comes after the resolver and
// the type checker.
type meter struct{}

// Visit takes one node; those below it have been visited before.
func (m meter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		m.binary(node, n)
	case *ast.BuiltinNode:
		m.builtin(node, n)
	case *ast.SliceNode:
		m.read(&n.Node, 1)
	case *ast.MemberNode:
		if !isList(n.Node) { // a letter of a text
			m.read(&n.Node, 1)
		}
	}
}

func isList(n ast.Node) bool { return n.Type().Kind() == reflect.Slice }

func (m meter) binary(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "+":
		if maybeLong(n.Left) && maybeLong(n.Right) {
			replaceBy(node, textPrefix+"add", n.Left, n.Right)
		}
	case "..":
		m.read(node, 1)
	case "contains", "startsWith", "endsWith":
		m.read(&n.Left, 1)
		m.read(&n.Right, 1)
	case "matches":
		if s, ok := n.Right.(*ast.StringNode); ok {
			m.read(&n.Left, perInstruction*patternSize(s.Value))
		}
	case "in":
		m.read(&n.Right, 1)
	case "==", "!=", "<", ">", "<=", ">=":
		if maybeLong(n.Left) && maybeLong(n.Right) {
			m.read(&n.Left, 1)
		}
	}
}

// ownText are the functions of the language in the place of which ours are called.
var ownText = map[string]bool{"lower": true, "upper": true, "trim": true, "split": true, "join": true, "replace": true}

func (m meter) builtin(node *ast.Node, n *ast.BuiltinNode) {
	switch {
	case ownText[n.Name]:
		replaceBy(node, textPrefix+n.Name, n.Arguments...)
	case len(n.Arguments) == 0: // the type checker tells
	case n.Name == "len" && isList(n.Arguments[0]):
	case n.Name == "len", n.Name == "int", n.Name == "indexOf", n.Name == "min", n.Name == "max", len(n.Arguments) == 1:
		for i := range n.Arguments {
			m.read(&n.Arguments[i], 1)
		}
	}
}

// read counts the value of a node, each byte of it several times, unless it cannot be long.
func (meter) read(node *ast.Node, times int) {
	if maybeLong(*node) {
		replaceBy(node, textPrefix+"read", *node, &ast.IntegerNode{Value: times})
	}
}

// replaceBy puts a call of one of our functions into the place of a node. Its type stays.
func replaceBy(node *ast.Node, name string, args ...ast.Node) {
	t := (*node).Type()
	c := calling(name, append([]ast.Node{env()}, args...)...)
	ast.Patch(node, c)
	c.SetType(t)
}

// maybeLong reports whether the value of a node may be a long text or list.
func maybeLong(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.ArrayNode, *ast.IntegerNode, *ast.BoolNode, *ast.NilNode, *ast.FloatNode, *ast.ConstantNode:
		return false
	}
	switch n.Type().Kind() {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Map, reflect.Interface:
		return true
	}
	return false
}

// patternSize is how many instructions a regular expression has; 1 of one that cannot be read, which the
// compiler tells.
func patternSize(pattern string) int {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 1
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 1
	}
	return len(prog.Inst)
}

// sizeOf is about how many bytes a value takes.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []string:
		n := 0
		for _, s := range v {
			n += perItem + len(s)
		}
		return n
	case []int:
		return perItem * len(v)
	case []any:
		n := 0
		for _, e := range v {
			n += perItem
			if s, ok := e.(string); ok {
				n += len(s)
			}
		}
		return n
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice || r.Kind() == reflect.Map {
		return perItem * r.Len()
	}
	return 1
}

// perItem is about what an item of a list takes, besides its text.
const perItem = 16

// textPrefix begins the names of our functions that count, as the compiler sees them.
const textPrefix = "text."

var errTypes = errors.New("of another type than the condition needs")

// textFunctions are what a meter puts into conditions.
func textFunctions() []expr.Option {
	same := func(change func(string) string) func(f *facts, args ...any) (any, error) {
		return func(f *facts, args ...any) (any, error) {
			s, ok := args[0].(string)
			if !ok {
				return nil, errTypes
			}
			if err := f.produce(len(s)); err != nil {
				return nil, err
			}
			return change(s), nil
		}
	}
	text := new(func(*facts, string) string)
	return []expr.Option{
		counted("read", readValue, new(func(*facts, string, int) string), new(func(*facts, []string, int) []string), new(func(*facts, []int, int) []int),
			new(func(*facts, []*part, int) []*part), new(func(*facts, []*finding, int) []*finding), new(func(*facts, []any, int) []any), new(func(*facts, any, int) any)),
		counted("add", addValues, new(func(*facts, string, string) string), new(func(*facts, any, any) any)),
		counted("lower", same(strings.ToLower), text),
		counted("upper", same(strings.ToUpper), text),
		counted("trim", trimText, text, new(func(*facts, string, string) string)),
		counted("split", splitText, new(func(*facts, string, string) []string), new(func(*facts, string, string, int) []string)),
		counted("join", joinTexts, new(func(*facts, []string) string), new(func(*facts, []string, string) string), new(func(*facts, []any) string), new(func(*facts, []any, string) string)),
		counted("replace", replaceText, new(func(*facts, string, string, string) string), new(func(*facts, string, string, string, int) string)),
	}
}

// counted makes a function for conditions.
func counted(name string, f func(f *facts, args ...any) (any, error), types ...any) expr.Option {
	return expr.Function(textPrefix+name, func(args ...any) (any, error) { return f(args[0].(*facts), args[1:]...) }, types...)
}

// readValue gives the value that it counts.
func readValue(f *facts, args ...any) (any, error) {
	return args[0], f.spend(sizeOf(args[0]) * args[1].(int))
}

// addValues is "+".
func addValues(f *facts, args ...any) (any, error) {
	a, ok1 := args[0].(string)
	b, ok2 := args[1].(string)
	if ok1 && ok2 {
		if err := f.produce(len(a) + len(b)); err != nil {
			return nil, err
		}
		return a + b, nil
	}
	return runtime.Add(args[0], args[1]), nil
}

// textsOf gives arguments that must be texts, and counts them as read.
func textsOf(f *facts, args []any) ([]string, error) {
	out := make([]string, len(args))
	for i, a := range args {
		s, ok := a.(string)
		if !ok {
			return nil, errTypes
		}
		if out[i] = s; f.spend(len(s)) != nil {
			return nil, errRead
		}
	}
	return out, nil
}

func trimText(f *facts, args ...any) (any, error) {
	s, err := textsOf(f, args)
	switch {
	case err != nil:
		return nil, err
	case len(s) == 1:
		return strings.TrimSpace(s[0]), nil
	case f.spend(len(s[0])*len(s[1])) != nil: // each letter is looked for among the others
		return nil, errRead
	}
	return strings.Trim(s[0], s[1]), nil
}

// limitOf is the number behind the first n arguments; -1 if there is none.
func limitOf(args []any, n int) ([]any, int, error) {
	if len(args) <= n {
		return args, -1, nil
	}
	limit, ok := args[n].(int)
	if !ok {
		return nil, 0, errTypes
	}
	return args[:n], limit, nil
}

func splitText(f *facts, args ...any) (any, error) {
	args, limit, err := limitOf(args, 2)
	if err != nil {
		return nil, err
	}
	s, err := textsOf(f, args)
	if err != nil {
		return nil, err
	}
	n := strings.Count(s[0], s[1]) + 1
	if limit >= 0 {
		n = min(n, limit)
	}
	if err := f.produce(perItem * n); err != nil {
		return nil, err
	}
	return strings.SplitN(s[0], s[1], limit), nil
}

func joinTexts(f *facts, args ...any) (any, error) {
	glue := ""
	if len(args) == 2 {
		var ok bool
		if glue, ok = args[1].(string); !ok {
			return nil, errTypes
		}
	}
	if err := f.spend(sizeOf(args[0])); err != nil {
		return nil, err
	}
	list, ok := args[0].([]string)
	if anys, isAny := args[0].([]any); isAny {
		ok = true
		var err error
		if list, err = textsOf(f, anys); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, errTypes
	}
	n := len(glue) * len(list)
	for _, s := range list {
		n += len(s)
	}
	if err := f.produce(n); err != nil {
		return nil, err
	}
	return strings.Join(list, glue), nil
}

func replaceText(f *facts, args ...any) (any, error) {
	args, limit, err := limitOf(args, 3)
	if err != nil {
		return nil, err
	}
	s, err := textsOf(f, args)
	if err != nil {
		return nil, err
	}
	n := strings.Count(s[0], s[1])
	if s[1] == "" {
		n = utf8.RuneCountInString(s[0]) + 1
	}
	if limit >= 0 {
		n = min(n, limit)
	}
	if err := f.produce(len(s[0]) + n*len(s[2])); err != nil {
		return nil, err
	}
	return strings.Replace(s[0], s[1], s[2], limit), nil
}
