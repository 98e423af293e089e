package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"rastel/sanitize/eml"
)

// Limits of a condition.
const (
	maxCondition = 8 << 10   // bytes of its text
	maxNodes     = 2000      // of its syntax tree
	maxMemory    = 1_000_000 // items of all lists and texts that one evaluation makes
	// maxRounds is how often the loops of all conditions together may go round for one
	// message. A message may have thousands of parts, so a loop in a loop over them, which
	// is quick on every message of a test, would be a way to stop the filter.
	maxRounds = 2_000_000
)

var errRounds = fmt.Errorf("loops go round more than %d times", maxRounds)

// A condition is a compiled expression.
type condition struct {
	formula  *formula
	clauses  []*formula // of the formula
	why      []string   // what the trace says of a clause that is not true
	memos    int        // leaves that are the same for all parts
	patterns []*pattern // of the checks that it asks for, in order
	wide     bool       // it may see findings of other checks, or what was not examined
}

// holds evaluates the condition. It needs a machine of its own for each goroutine. The facts remember the
// clause that was not true.
func (c *condition) holds(machine *vm.VM, f *facts) (ok bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			ok, err = false, fmt.Errorf("%v", r)
		}
	}()
	f.made = 0
	if c.memos > 0 && f.part != nil && (f.known.by != c || f.part == f.parts[0]) {
		f.known.begin(c)
	}
	for i, g := range c.clauses {
		if ok, err := g.holds(machine, f); err != nil || !ok {
			f.failed.note(c, i, f.part)
			return false, err
		}
	}
	return true, nil
}

// A nearest is the clause of a condition that was not true, for the part of those asked about for which
// most were.
type nearest struct {
	of     *condition
	clause int
	part   *part // nil if it was asked for the message
}

func (n *nearest) note(c *condition, clause int, p *part) {
	if n.of != c || clause > n.clause {
		*n = nearest{c, clause, p}
	}
}

// oneLine takes the excerpt of the expression out of an error of the machine.
func oneLine(err error) error {
	var e *file.Error
	if errors.As(err, &e) {
		return errors.New(e.Message)
	}
	return err
}

// condition compiles the expression of a rule. Errors are added to those of the source.
func (s *source) condition(v scalar, of *rule, vocab *vocabulary) *condition {
	if strings.TrimSpace(v.text) == "" {
		s.errorf(v.at, "the condition is empty")
		return nil
	}
	if len(v.text) > maxCondition {
		s.errorf(v.at, "the condition has more than %d bytes", maxCondition)
		return nil
	}
	r := &resolver{source: s, text: v, perPart: of.perPart, perRecipient: of.perRecipient, stage: of.stage, vocabulary: vocab, condition: &condition{}}
	before := len(s.errs)
	err := r.compile()
	var e *file.Error
	switch {
	case len(s.errs) > before: // found while names were resolved; what the compiler says of them is noise
		return nil
	case errors.As(err, &e):
		s.errorf(s.locate(v, e.From), "%s", plain(e.Message))
		return nil
	case err != nil:
		s.errorf(v.at, "%s", plain(err.Error()))
		return nil
	}
	return r.condition
}

// notCompiled begins the message about a condition in which the library stumbles.
const notCompiled = "the condition cannot be compiled"

// compile parses the expression, resolves its names, checks its types, and makes programs of it.
func (r *resolver) compile() (err error) {
	defer func() {
		if v := recover(); v != nil { // the library has no guard of its own in its checker
			err = fmt.Errorf("%s: %v", notCompiled, v)
		}
	}()
	config := r.vocabulary.language
	tree, err := parser.ParseWithConfig(r.text.text, config)
	if err != nil {
		return err
	}
	c := r.condition
	c.formula = formulaOf(tree.Node)
	c.clauses = c.formula.clauses()
	if r.perPart {
		c.memos = c.formula.memoize(tree.Node, 0)
	}
	for _, n := range sides(tree.Node, opAnd) {
		text := r.text.text
		if len(c.clauses) > 1 {
			text = n.String()
		}
		c.why = append(c.why, "not true: "+short(text, maxShown))
	}
	config.Visitors = []ast.Visitor{r, meter{}}
	if _, err := new(checker.Checker).PatchAndCheck(tree, config); err != nil {
		return err
	}
	return c.formula.prepare(tree.Node, func(n ast.Node) (*vm.Program, error) {
		if err := optimizer.Optimize(&n, config); err != nil {
			var e *file.Error
			if errors.As(err, &e) {
				return nil, e.Bind(tree.Source)
			}
			return nil, err
		}
		return compiler.Compile(&parser.Tree{Node: n, Source: tree.Source}, config)
	})
}

// ourNames are all names of ours, by what they are about.
var ourNames = []struct {
	of        string
	facts     []fact
	functions []function
}{{ofMessage, messageFacts, messageFunctions}, {ofPart, partFacts, partFunctions}, {ofFinding, findingFacts, nil}}

// newLanguage is what the compiler has to know, for all conditions of a policy.
func newLanguage() *conf.Config {
	config := conf.CreateNew()
	for _, opt := range language() {
		opt(config)
	}
	for name := range config.Disabled {
		delete(config.Builtins, name)
	}
	return config
}

// language is what the compiler has to know: all names, as the resolver spells them.
func language() []expr.Option {
	opts := []expr.Option{
		expr.Env(&facts{}), expr.AsBool(), expr.WarnOnAny(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(),
		expr.Function(loopName, countRound, new(func(*facts) bool)),
		expr.Function(partName, func(args ...any) (any, error) { return args[0].(*facts).part, nil }, new(func(*facts) *part)),
	}
	for _, name := range builtinNames() {
		opts = append(opts, expr.EnableBuiltin(name))
	}
	opts = append(opts, textFunctions()...)
	for _, t := range ourNames {
		for _, f := range t.facts {
			opts = append(opts, expr.Function(t.of+f.name, f.call, f.signature))
		}
		for _, f := range t.functions {
			opts = append(opts, expr.Function(t.of+f.name, f.call, f.signature))
		}
	}
	return opts
}

// The names of our functions, as the compiler sees them. Nobody can write these in a
// condition, where a dot stands between two names.
const (
	ofMessage = "message."
	ofPart    = "part."
	ofFinding = "finding."
	loopName  = "loop."
	partName  = "the.part"
)

// countRound is called in each round of a loop.
func countRound(args ...any) (any, error) {
	f := args[0].(*facts)
	if f.steps++; f.steps > maxRounds {
		return false, errRounds
	}
	return true, nil
}

// wrongArgument is what the compiler says of "subject.size".
var wrongArgument = regexp.MustCompile(`cannot use (.+) as argument \(type (.+)\) to call (\S+)`)

// goTypes are the names of types in messages of the compiler.
var goTypes = regexp.MustCompile(`\[\]\*policy\.(part|finding)\b|\*policy\.(part|finding)\b|\[\](string|int|any|interface \{\})|\b(string|int|bool)\b`)

var ourTypes = map[string]string{
	"[]*policy.part": "list of parts", "*policy.part": "part", "[]*policy.finding": "list of findings", "*policy.finding": "finding",
	"[]string": "list of texts", "[]int": "list of numbers", "[]any": "list", "[]interface {}": "list", "string": "text", "int": "number", "bool": "true or false",
}

// plain puts a message of the compiler into the words of this package.
func plain(msg string) string {
	msg = strings.NewReplacer(
		"builtin ", "", "takes only array", "takes a list only", "*policy.facts", "message", "[]*policy.pattern", "checks",
		"expected bool, but got", "the condition must be true or false, but is a",
		"expected true or false, but got", "the condition must be true or false, but is a",
	).Replace(msg)
	if strings.Contains(msg, "exceeds maximum allowed nodes") {
		return fmt.Sprintf("the condition has more than %d names, values and operators", maxNodes)
	}
	msg = goTypes.ReplaceAllStringFunc(strings.ReplaceAll(msg, textPrefix, ""), func(t string) string { return ourTypes[t] })
	msg = strings.TrimPrefix(wrongArgument.ReplaceAllString(msg, "$3 is of a $2, not of a $1"), ofMessage)
	return strings.Join(strings.Fields(msg), " ")
}

// A resolver turns the names of a condition into calls of our functions: "subject" becomes
// message.subject(facts), and "part.has("x/y")" becomes part.has(part, patterns). So facts
// are worked out only when they are asked for, without reflection, and every word is checked
// before the first message comes.
type resolver struct {
	source     *source
	text       scalar
	perPart    bool
	stage      eml.Stage
	vocabulary *vocabulary
	condition  *condition

	perRecipient bool
}

func (r *resolver) errorf(n ast.Node, format string, args ...any) {
	r.source.errorf(r.source.locate(r.text, n.Location().From), format, args...)
}

// Visit resolves one node; those below it have been resolved before.
func (r *resolver) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		r.identifier(node, n)
	case *ast.MemberNode:
		r.member(node, n)
	case *ast.CallNode:
		r.call(node, n)
	case *ast.BuiltinNode:
		r.builtin(node, n)
	case *ast.PredicateNode:
		n.Node = &ast.SequenceNode{Nodes: []ast.Node{calling(loopName, env()), n.Node}}
	case *ast.BinaryNode:
		r.comparison(n)
	case *ast.VariableDeclaratorNode:
		r.errorf(n, "conditions have no variables")
	}
}

func env() ast.Node { return &ast.IdentifierNode{Value: "$env"} }

func calling(name string, args ...ast.Node) *ast.CallNode {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// called is the name of our function that a resolved node calls; empty if it calls none.
func called(n ast.Node) string {
	if c, ok := n.(*ast.CallNode); ok {
		if id, ok := c.Callee.(*ast.IdentifierNode); ok {
			return id.Value
		}
	}
	return ""
}

func (r *resolver) identifier(node *ast.Node, n *ast.IdentifierNode) {
	r.sees(n.Value)
	switch {
	case n.Value == "part" && r.perPart:
		ast.Patch(node, calling(partName, env()))
	case n.Value == "part":
		r.errorf(n, "%q is known in rules with \"for: part\" only", n.Value)
	case find(messageFacts, n.Value, factName) != nil:
		r.inTime(n, find(messageFacts, n.Value, factName))
		ast.Patch(node, calling(ofMessage+n.Value, env()))
	case find(messageFunctions, n.Value, functionName) != nil:
		return // what calls it comes next
	default:
		r.errorf(n, "%s", unknown("name", n.Value, slices.Concat(allNames(messageFacts, messageFunctions), builtinNames(), []string{"part"})))
	}
}

// sees notes a name after which the condition may tell anything of findings.
func (r *resolver) sees(name string) {
	if !narrow[name] {
		r.condition.wide = true
	}
}

func (r *resolver) member(node *ast.Node, n *ast.MemberNode) {
	p, ok := n.Property.(*ast.StringNode)
	if ok {
		r.sees(p.Value)
	}
	switch {
	case !ok: // the item of a list
	case find(partFunctions, p.Value, functionName) != nil:
		return // what calls it comes next
	case find(partFacts, p.Value, factName) != nil:
		ast.Patch(node, calling(ofPart+p.Value, n.Node))
	case find(findingFacts, p.Value, factName) != nil:
		ast.Patch(node, calling(ofFinding+p.Value, n.Node))
	default:
		r.errorf(p, "%s", unknown("name", p.Value, append(allNames(partFacts, partFunctions), allNames(findingFacts, nil)...)))
	}
}

func (r *resolver) call(node *ast.Node, n *ast.CallNode) {
	switch callee := n.Callee.(type) {
	case *ast.IdentifierNode:
		if f := find(messageFunctions, callee.Value, functionName); f != nil {
			r.function(node, n, ofMessage, f, env())
		}
	case *ast.MemberNode:
		p, ok := callee.Property.(*ast.StringNode)
		if !ok {
			r.errorf(n, "an item of a list is no function")
		} else if f := find(partFunctions, p.Value, functionName); f != nil {
			r.function(node, n, ofPart, f, callee.Node)
		}
	default:
		r.errorf(n, "this is a value, not a function")
	}
}

// inLowerCase are the facts that have no capital letters, and with which clients could choose what they are compared with.
var inLowerCase = []string{"recipient", "recipient_domain", "recipients", "sender_domain"}

func isLower(n ast.Node) bool {
	name, ok := strings.CutPrefix(called(n), ofMessage)
	return ok && slices.Contains(inLowerCase, name)
}

// noCapitals reports texts that are compared with what is in lower case and have capital letters.
func (r *resolver) noCapitals(n *ast.BinaryNode) {
	if n.Operator == "matches" || joins(n) != opLeaf {
		return
	}
	for _, side := range []ast.Node{n.Left, n.Right} {
		list := []ast.Node{side}
		if a, ok := side.(*ast.ArrayNode); ok {
			list = a.Nodes
		}
		for _, x := range list {
			if s, ok := x.(*ast.StringNode); ok && lowerAddress(s.Value) != s.Value {
				r.errorf(s, "%.80q is compared with what is in lower case; write %.80q", s.Value, lowerAddress(s.Value))
			}
		}
	}
}

// overRecipients reports capital letters in what the items of recipients are compared with.
func (r *resolver) overRecipients(n *ast.BuiltinNode) {
	if len(n.Arguments) < 2 || !isLower(n.Arguments[0]) {
		return
	}
	ast.Walk(&n.Arguments[1], visitor(func(n ast.Node) {
		if b, ok := n.(*ast.BinaryNode); ok && (isItem(b.Left) || isItem(b.Right)) {
			r.noCapitals(b)
		}
	}))
}

func isItem(n ast.Node) bool {
	_, ok := n.(*ast.PointerNode)
	return ok
}

// A visitor is a function that looks at nodes.
type visitor func(ast.Node)

// Visit implements ast.Visitor.
func (f visitor) Visit(n *ast.Node) { f(*n) }

// builtin takes count("check"), which the language has as count(list, condition) too.
func (r *resolver) builtin(node *ast.Node, n *ast.BuiltinNode) {
	if !slices.Contains(builtinNames(), n.Name) { // the parser knows some that cannot be disabled
		r.errorf(n, "%s", unknown("name", n.Name, builtinNames()))
		return
	}
	r.overRecipients(n)
	if n.Name != "count" || len(n.Arguments) != 1 {
		return
	}
	if _, ok := n.Arguments[0].(*ast.StringNode); ok {
		c := calling("count", n.Arguments...)
		c.SetLocation(n.Location())
		r.function(node, c, ofMessage, find(messageFunctions, "count", functionName), env())
	}
}

// inTime reports a name that means nothing at the stage of the rule.
func (r *resolver) inTime(n ast.Node, f *fact) {
	switch {
	case f.only && r.perRecipient && f.from == eml.AtRcpt:
	case f.only && f.from != r.stage:
		r.errorf(n, "%q is known in rules with \"for: recipient\" or \"stage: %s\" only", f.name, f.from)
	case !f.from.KnownAt(r.stage):
		r.errorf(n, "%q is not known at stage %q, but from stage %q on", f.name, r.stage, f.from)
	}
}

// checksInTime reports checks that cannot be found yet at the stage of the rule.
func (r *resolver) checksInTime(n ast.Node, match func(check string) bool) {
	for _, c := range r.vocabulary.checks {
		if from := r.vocabulary.from[c]; match(c) && !from.KnownAt(r.stage) {
			r.errorf(n, "%q is not known at stage %q, but from stage %q on", c, r.stage, from)
			return
		}
	}
}

// function resolves a call of one of our functions that is about what.
func (r *resolver) function(node *ast.Node, n *ast.CallNode, of string, f *function, what ast.Node) {
	args, about := n.Arguments, []ast.Node{what}
	if f.ofText && len(args) > 0 {
		about, args = append(about, args[0]), args[1:]
	}
	if len(args) < f.min || len(args) > f.max || f.ofText && len(about) == 1 {
		r.errorf(n, "%s(%s) with %d arguments", f.name, f.args, len(n.Arguments))
		return
	}
	if f.prepare == nil {
		ast.Patch(node, calling(of+f.name, about...))
		return
	}
	texts := make([]string, len(args))
	for i, a := range args {
		s, ok := a.(*ast.StringNode)
		if !ok {
			r.errorf(a, "%s", f.noText())
			return
		}
		texts[i] = s.Value
	}
	prepared, wrong := f.prepare(r.vocabulary, texts)
	for i, msg := range wrong {
		if msg != "" {
			r.errorf(args[i], "%s", msg)
		}
	}
	if of == ofMessage {
		r.inTime(n, &f.fact)
	}
	if p, ok := prepared.([]*pattern); ok {
		for i := range p {
			r.checksInTime(args[i], p[i].match)
		}
		r.condition.patterns = append(r.condition.patterns, p...)
	}
	ast.Patch(node, calling(of+f.name, append(about, &ast.ConstantNode{Value: prepared})...))
}

// comparison checks the words with which a type, a check, a direction and the like is compared, and
// the pattern of "matches", which must be known when the policy is loaded.
func (r *resolver) comparison(n *ast.BinaryNode) {
	if n.Operator == "matches" {
		if s, ok := n.Right.(*ast.StringNode); !ok {
			r.errorf(n.Right, "what a text matches must be a text in quotes")
		} else if size := patternSize(s.Value); size > maxPatternSize {
			r.errorf(s, "the regular expression is too large: %d instructions, and not at most %d", size, maxPatternSize)
		}
		return
	}
	if isLower(n.Left) || isLower(n.Right) {
		r.noCapitals(n)
	}
	if !slices.Contains([]string{"==", "!=", "in"}, n.Operator) {
		return
	}
	for _, side := range [][2]ast.Node{{n.Left, n.Right}, {n.Right, n.Left}} {
		name := called(side[0])
		switch {
		case name == ofPart+"type":
			r.words(side[1], "type", r.vocabulary.types)
		case name == ofFinding+"check":
			r.words(side[1], "check", r.vocabulary.checks)
			r.wordsInTime(side[1])
		case name != "":
			if f := ourName(name); f != nil && len(f.words) > 0 {
				r.words(side[1], f.name, f.words)
			}
		}
	}
}

func (r *resolver) wordsInTime(n ast.Node) {
	list := []ast.Node{n}
	if a, ok := n.(*ast.ArrayNode); ok {
		list = a.Nodes
	}
	for _, n := range list {
		if s, ok := n.(*ast.StringNode); ok {
			r.checksInTime(s, func(check string) bool { return check == s.Value })
		}
	}
}

func (r *resolver) words(n ast.Node, what string, known []string) {
	list := []ast.Node{n}
	if a, ok := n.(*ast.ArrayNode); ok {
		list = a.Nodes
	}
	for _, n := range list {
		if s, ok := n.(*ast.StringNode); ok && s.Value != "" && len(known) > 0 && !slices.Contains(known, s.Value) {
			r.errorf(s, "%s", unknown(what, s.Value, known))
		}
	}
}
