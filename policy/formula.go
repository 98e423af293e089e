package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"
)

// A formula is a condition taken apart at "and", "or" and "not", down to leaves that have none of these.
// So it can be told which part of a condition was false, whether one condition follows from another, and
// what asks for one of our names only needs no machine.
type formula struct {
	op   operator
	of   []*formula // of and, or, not
	text string     // of a leaf: as it is written, in a form that is the same for the same

	// name and args are what is known of a leaf that asks whether something is one of several: the
	// function, or what is compared. No name: only the text is known.
	name string
	args []string

	// A leaf is a call of one of our names, a comparison of what one gives, or a program of the machine.
	call    func(args ...any) (any, error)
	arg     any // the second argument; nil if there is none
	test    func(about any) (bool, error)
	ofPart  bool // call and test are about the part, and not about the message
	program *vm.Program
	// memo is the place of what a leaf came to that is the same for all parts that a rule is asked
	// about; 0: it is not.
	memo int
}

type operator uint8

const (
	opLeaf operator = iota
	opTrue
	opFalse
	opNot
	opAnd
	opOr
)

// formulaOf takes an expression apart, before its names are resolved.
func formulaOf(n ast.Node) *formula {
	f := &formula{}
	switch n := n.(type) {
	case *ast.BoolNode:
		if f.op = opFalse; n.Value {
			f.op = opTrue
		}
	case *ast.UnaryNode:
		if isNot(n) {
			f.op, f.of = opNot, []*formula{formulaOf(n.Node)}
		}
	case *ast.BinaryNode:
		if f.op = joins(n); f.op == opLeaf {
			f.compared(n)
			break
		}
		for _, side := range sides(n, f.op) {
			f.of = append(f.of, formulaOf(side))
		}
	case *ast.CallNode:
		f.asked(n)
	}
	if f.op == opLeaf {
		f.text = n.String()
	}
	return f
}

func isNot(n *ast.UnaryNode) bool { return n.Operator == "not" || n.Operator == "!" }

// joins is the operator of what is joined by "and" or "or"; opLeaf of all else.
func joins(n ast.Node) operator {
	if b, ok := n.(*ast.BinaryNode); ok {
		switch b.Operator {
		case "and", "&&":
			return opAnd
		case "or", "||":
			return opOr
		}
	}
	return opLeaf
}

// sides are all that is joined by that operator, in order.
func sides(n ast.Node, op operator) []ast.Node {
	if joins(n) != op {
		return []ast.Node{n}
	}
	b := n.(*ast.BinaryNode)
	return append(sides(b.Left, op), sides(b.Right, op)...)
}

// compared takes "x == y" and "x in [y, z]" for what they have in common.
func (f *formula) compared(n *ast.BinaryNode) {
	right := []ast.Node{n.Right}
	if list, ok := n.Right.(*ast.ArrayNode); ok && n.Operator == "in" {
		right = list.Nodes
	} else if n.Operator != "==" && n.Operator != "!=" {
		return
	}
	for _, r := range right {
		switch r.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.BoolNode:
			f.args = append(f.args, r.String())
		default:
			f.args = nil
			return
		}
	}
	if f.name = n.Left.String() + " is"; n.Operator == "!=" {
		f.of, f.op = []*formula{{name: f.name, args: f.args}}, opNot
		f.name, f.args = "", nil
	}
}

// asked takes a call of a function with texts: all that take several ask for any of them.
func (f *formula) asked(n *ast.CallNode) {
	texts := n.Arguments
	name := n.Callee.String()
	if fn := find(messageFunctions, name, functionName); fn != nil && fn.ofText && len(texts) > 0 {
		name, texts = fmt.Sprintf("%s(%s)", name, texts[0]), texts[1:]
	}
	for _, a := range texts {
		s, ok := a.(*ast.StringNode)
		if !ok {
			f.args = nil
			return
		}
		f.args = append(f.args, s.Value)
	}
	f.name = name
}

// memoize gives each leaf a place that does not ask about the part, behind the first n, and tells how many
// there are then.
func (f *formula) memoize(n ast.Node, places int) int {
	switch {
	case f.op == opTrue, f.op == opFalse:
	case f.op == opNot && isNotNode(n):
		return f.of[0].memoize(n.(*ast.UnaryNode).Node, places)
	case f.op == opAnd, f.op == opOr:
		for i, side := range sides(n, f.op) {
			places = f.of[i].memoize(side, places)
		}
	default:
		var about aboutPart
		if ast.Walk(&n, &about); !about {
			places++
			f.memo = places
		}
	}
	return places
}

// An aboutPart tells whether the word "part" is in an expression.
type aboutPart bool

// Visit implements ast.Visitor.
func (a *aboutPart) Visit(n *ast.Node) {
	if id, ok := (*n).(*ast.IdentifierNode); ok && id.Value == "part" {
		*a = true
	}
}

// clauses are what must all be true.
func (f *formula) clauses() []*formula {
	if f.op == opAnd {
		return f.of
	}
	return []*formula{f}
}

// prepare finds or makes what evaluates each leaf, from the expression whose names are resolved.
func (f *formula) prepare(n ast.Node, compile func(ast.Node) (*vm.Program, error)) (err error) {
	switch {
	case f.op == opTrue, f.op == opFalse:
	case f.op == opNot && isNotNode(n):
		return f.of[0].prepare(n.(*ast.UnaryNode).Node, compile)
	case f.op == opNot, f.op == opLeaf: // "!=" is one leaf to the machine
		if !f.native(n) && !f.comparison(n) {
			f.program, err = compile(n)
		}
	default:
		for i, side := range sides(n, f.op) {
			if err := f.of[i].prepare(side, compile); err != nil {
				return err
			}
		}
	}
	return err
}

func isNotNode(n ast.Node) bool {
	u, ok := n.(*ast.UnaryNode)
	return ok && isNot(u)
}

// asks is one of our names that a node calls, with what is known about it: whether it is about the part,
// and its second argument. It is nil of other nodes.
func asks(n ast.Node) (of *fact, ofPart bool, arg any) {
	c, ok := n.(*ast.CallNode)
	name := called(n)
	if !ok || name == "" || len(c.Arguments) == 0 || len(c.Arguments) > 2 {
		return nil, false, nil
	}
	switch about := c.Arguments[0].(type) {
	case *ast.IdentifierNode:
	case *ast.CallNode:
		if ofPart = called(about) == partName; !ofPart {
			return nil, false, nil
		}
	default:
		return nil, false, nil
	}
	if len(c.Arguments) == 2 {
		k, ok := c.Arguments[1].(*ast.ConstantNode)
		if !ok {
			return nil, false, nil
		}
		arg = k.Value
	}
	return ourName(name), ofPart, arg
}

// native takes a call of one of our names that is true or false.
func (f *formula) native(n ast.Node) bool {
	of, ofPart, arg := asks(n)
	if of == nil || of.result() != "true or false" {
		return false
	}
	f.call, f.ofPart, f.arg = of.call, ofPart, arg
	return true
}

// comparison takes a comparison of what one of our names gives with what is written there.
func (f *formula) comparison(n ast.Node) bool {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return false
	}
	if item, ok := b.Left.(*ast.StringNode); ok && b.Operator == "in" {
		return f.isIn(item.Value, b.Right)
	}
	of, ofPart, arg := asks(b.Left)
	if of == nil || arg != nil {
		return false
	}
	switch right := b.Right.(type) {
	case *ast.StringNode:
		f.test = compareText(of.text, b.Operator, right.Value)
	case *ast.IntegerNode:
		f.test = compareNumber(of.number, b.Operator, right.Value)
	case *ast.ArrayNode:
		f.test = isAmong(of.text, b.Operator, right.Nodes)
	}
	f.ofPart = ofPart
	return f.test != nil
}

// isIn takes a text that is looked for in a list that one of our names gives.
func (f *formula) isIn(item string, n ast.Node) bool {
	if c, ok := n.(*ast.CallNode); ok && called(n) == textPrefix+"read" { // by the meter
		n = c.Arguments[1]
	}
	of, ofPart, arg := asks(n)
	if of == nil || arg != nil || of.list == nil {
		return false
	}
	f.ofPart = ofPart
	f.test = func(about any) (bool, error) {
		list := of.list(about)
		return slices.Contains(list, item), spendFor(about, perItem*len(list))
	}
	return true
}

func compareText(value func(any) string, op, with string) func(any) (bool, error) {
	switch {
	case value == nil:
	case op == "==":
		return func(about any) (bool, error) { return value(about) == with, nil }
	case op == "!=":
		return func(about any) (bool, error) { return value(about) != with, nil }
	}
	return nil
}

func compareNumber(value func(any) int, op string, with int) func(any) (bool, error) {
	if value == nil {
		return nil
	}
	switch op {
	case "==":
		return func(about any) (bool, error) { return value(about) == with, nil }
	case "!=":
		return func(about any) (bool, error) { return value(about) != with, nil }
	case "<":
		return func(about any) (bool, error) { return value(about) < with, nil }
	case "<=":
		return func(about any) (bool, error) { return value(about) <= with, nil }
	case ">":
		return func(about any) (bool, error) { return value(about) > with, nil }
	case ">=":
		return func(about any) (bool, error) { return value(about) >= with, nil }
	}
	return nil
}

func isAmong(value func(any) string, op string, list []ast.Node) func(any) (bool, error) {
	if value == nil || op != "in" {
		return nil
	}
	among := map[string]bool{}
	for _, n := range list {
		s, ok := n.(*ast.StringNode)
		if !ok {
			return nil
		}
		among[s.Value] = true
	}
	return func(about any) (bool, error) { return among[value(about)], nil }
}

// ourName is the fact or function that the compiler knows by that name.
func ourName(name string) *fact {
	for _, t := range ourNames {
		short, ok := strings.CutPrefix(name, t.of)
		if !ok {
			continue
		}
		if f := find(t.facts, short, factName); f != nil {
			return f
		}
		if f := find(t.functions, short, functionName); f != nil {
			return &f.fact
		}
	}
	return nil
}

// holds evaluates the formula.
func (f *formula) holds(machine *vm.VM, x *facts) (bool, error) {
	if f.memo == 0 || x.part == nil {
		return f.evaluate(machine, x)
	}
	known := &x.known.of[f.memo-1]
	if *known == notKnown {
		ok, err := f.evaluate(machine, x)
		if err != nil {
			return false, err
		}
		if *known = knownFalse; ok {
			*known = knownTrue
		}
	}
	return *known == knownTrue, nil
}

// A memo is what the leaves of one condition came to that do not ask about the part.
type memo struct {
	by *condition
	of []known
}

type known uint8

const (
	notKnown known = iota
	knownFalse
	knownTrue
)

// begin forgets what other conditions came to, and this one the last time.
func (m *memo) begin(c *condition) {
	m.by = c
	m.of = append(m.of[:0], make([]known, c.memos)...)
}

func (f *formula) evaluate(machine *vm.VM, x *facts) (bool, error) {
	switch {
	case f.test != nil:
		if f.ofPart {
			return f.test(x.part)
		}
		return f.test(x)
	case f.call != nil || f.program != nil:
		return f.leafHolds(machine, x)
	case f.op == opTrue:
		return true, nil
	case f.op == opNot:
		ok, err := f.of[0].holds(machine, x)
		return !ok && err == nil, err
	case f.op == opAnd, f.op == opOr:
		for _, g := range f.of {
			if ok, err := g.holds(machine, x); err != nil || ok == (f.op == opOr) {
				return ok, err
			}
		}
		return f.op == opAnd, nil
	}
	return false, nil
}

func (f *formula) leafHolds(machine *vm.VM, x *facts) (bool, error) {
	v, err := f.value(machine, x)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, errors.New("the condition is neither true nor false")
	}
	return b, nil
}

// value evaluates a leaf.
func (f *formula) value(machine *vm.VM, x *facts) (any, error) {
	if f.call == nil {
		machine.MemoryBudget = maxMemory
		v, err := machine.Run(f.program, x)
		if err != nil {
			return nil, oneLine(err)
		}
		return v, nil
	}
	if x.args[0] = x; f.ofPart {
		x.args[0] = x.part
	}
	n := 1
	if f.arg != nil {
		x.args[1], n = f.arg, 2
	}
	return f.call(x.args[:n]...)
}
