package policy

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a policy file. They are far above what administrators write, and keep what the
// YAML parser costs, which grows with the square of the nesting, within a second.
const (
	maxFile    = 256 << 10 // bytes
	maxNesting = 16        // lists and mappings in one another on one line
)

// A place in a policy file: line and column, from 1.
type place struct{ line, column int }

// A source is a policy file while it is read. Everything wrong in it is collected, so that
// one look at the messages is enough.
type source struct {
	name  string
	text  string
	lines []int // where each line begins in text
	errs  Errors
	files []listFile // that it took patterns from
}

func newSource(name string, data []byte) *source {
	s := &source{name: name, text: string(data), lines: []int{0}}
	for i := range data {
		if data[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

func (s *source) errorf(at place, format string, args ...any) {
	s.errs = append(s.errs, &Error{File: s.name, Line: max(at.line, 1), Column: max(at.column, 1), Msg: fmt.Sprintf(format, args...)})
}

// parse reads the YAML and gives the only document in it; nil after an error.
func (s *source) parse() ast.Node {
	if !s.acceptable() {
		return nil
	}
	tokens := lexer.Tokenize(s.text)
	if at, deep := tooDeep(tokens); deep {
		s.errorf(at, "more than %d lists and mappings in one another", maxNesting)
		return nil
	}
	f, err := parser.Parse(tokens, 0)
	var y yaml.Error
	switch {
	case errors.As(err, &y):
		s.errorf(placeOf(y.GetToken()), "%s", strings.Join(strings.Fields(y.GetMessage()), " "))
	case err != nil:
		s.errorf(place{}, "%v", err)
	case len(f.Docs) == 0 || f.Docs[0].Body == nil:
		s.errorf(place{}, "there are no rules")
	case len(f.Docs) > 1:
		s.errorf(placeOf(f.Docs[1].Start), "there is a second document")
	default:
		return f.Docs[0].Body
	}
	return nil
}

// acceptable reports whether the text may go to the YAML parser.
func (s *source) acceptable() bool {
	switch {
	case len(s.text) > maxFile:
		s.errorf(place{}, "the file has more than %d bytes", maxFile)
	case !utf8.ValidString(s.text):
		s.errorf(place{}, "the file is not in UTF-8")
	case strings.ContainsRune(s.text, 0):
		s.errorf(place{}, "the file holds a NUL")
	default:
		return true
	}
	return false
}

// tooDeep finds where lists and mappings are nested deeper than any policy nests them.
func tooDeep(tokens token.Tokens) (place, bool) {
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			entries, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			entries++
		}
		if flow > maxNesting || entries > maxNesting {
			return placeOf(t), true
		}
	}
	return place{}, false
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

// nodePlace is where a value begins; that of a block mapping is its first key.
func nodePlace(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return placeOf(m.Values[0].Key.GetToken())
	}
	return placeOf(n.GetToken())
}

// A scalar is a single value as it was written.
type scalar struct {
	text string
	at   place
	// block says that the text begins on the line after at ("|" and ">").
	block bool
	quote byte // the quote around it; 0 if there is none
}

// scalar gives the value of a node that is neither a list nor a mapping.
func (s *source) scalar(n ast.Node, what string) (scalar, bool) {
	v := scalar{at: nodePlace(n)}
	switch n := n.(type) {
	case *ast.StringNode:
		v.text = n.Value
		switch n.Token.Type {
		case token.SingleQuoteType:
			v.quote = '\''
		case token.DoubleQuoteType:
			v.quote = '"'
		}
	case *ast.LiteralNode:
		v.text, v.block = n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		v.text = n.GetToken().Value
	default:
		s.mustBe(n, what, "a text")
		return v, false
	}
	return v, true
}

// mustBe reports a node of the wrong kind.
func (s *source) mustBe(n ast.Node, what, kind string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		s.errorf(nodePlace(n), "%s must be %s, without anchors, aliases and tags", what, kind)
	default:
		s.errorf(nodePlace(n), "%s must be %s", what, kind)
	}
}

// list gives the items of a list.
func (s *source) list(n ast.Node, what string) []ast.Node {
	l, ok := n.(*ast.SequenceNode)
	if !ok {
		s.mustBe(n, what, "a list")
		return nil
	}
	return l.Values
}

// mapping gives the values of a mapping, and reports keys that are not known.
func (s *source) mapping(n ast.Node, what string, known []word) (map[string]ast.Node, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		s.mustBe(n, what, "a mapping")
		return nil, false
	}
	out := map[string]ast.Node{}
	for _, v := range m.Values {
		key, at := v.Key.GetToken().Value, placeOf(v.Key.GetToken())
		if _, ok := v.Key.(*ast.StringNode); !ok || !slices.Contains(names(known), key) {
			s.errorf(at, "%s", unknown("key", key, names(known)))
			continue
		}
		if _, null := v.Value.(*ast.NullNode); null {
			s.errorf(at, "%q has no value", key)
			continue
		}
		out[key] = v.Value
	}
	return out, true
}

// locate tells where the character of a scalar is that follows the first n. Line breaks and
// indentation differ between what is written and what it means, so the characters that are
// neither are counted.
func (s *source) locate(v scalar, n int) place {
	text := []rune(v.text)
	n = min(n, len(text))
	before, total := solid(text[:n]), solid(text)
	if total == 0 {
		return v.at
	}
	end := v.at
	for at, r := range s.written(v) {
		if unicode.IsSpace(r) {
			continue
		}
		if before == 0 {
			return at
		}
		end = place{at.line, at.column + 1}
		before, total = before-1, total-1
		if total == 0 {
			break // the error is behind the last character
		}
	}
	return end
}

// solid counts the characters that are no blanks.
func solid(text []rune) int {
	n := 0
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// written gives the characters of the file from the beginning of a scalar on, with their
// places and without what quoting adds.
func (s *source) written(v scalar) iter.Seq2[place, rune] {
	return func(yield func(place, rune) bool) {
		at := v.at
		if v.block {
			at = place{v.at.line + 1, 1}
		}
		if at.line < 1 || at.line > len(s.lines) {
			return
		}
		column, skip := 1, 0
		if v.quote != 0 {
			at.column++
		}
		for _, r := range s.text[s.lines[at.line-1]:] {
			here := place{at.line, column}
			column++
			if r == '\n' {
				at, column = place{at.line + 1, 1}, 1
			}
			if here.column < at.column {
				continue
			}
			if skip == 0 && (v.quote == '"' && r == '\\' || v.quote == '\'' && r == '\'') {
				skip = 1 // the first character of an escape
				continue
			}
			skip = 0
			if !yield(here, r) {
				return
			}
		}
	}
}
