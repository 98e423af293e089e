// Package procmail reads the settings of the Procmail Email Sanitizer, as they stand in rc files
// of procmail and in list files, and writes a policy that does the same. It runs nothing: what a
// recipe or a command would do is told in its report, with file and line.
package procmail

import (
	"fmt"
	"path"
	"strings"
)

// A File is an rc file or a list file.
type File struct {
	Name string // as messages tell it
	Data []byte
}

// A Place is a line of a file, from 1.
type Place struct {
	File string
	Line int
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Limits of what is read. They are far above what administrators write.
const (
	maxStatements = 20_000
	maxBlocks     = 20 // in one another
	maxIncludes   = 20
	maxErrors     = 20
)

// A statement is an assignment, or a recipe that delivers or runs something.
type statement struct {
	at     Place
	name   string    // of the variable; empty: a recipe
	raw    string    // the value as it was written; of a recipe its action
	unset  bool      // the variable is named without "="
	output bool      // the value is what a command prints ("VAR=|command")
	under  []*recipe // the recipes with conditions around it, the outermost first
}

// A recipe is one that makes what is in its block conditional.
type recipe struct {
	at         Place
	conditions []string
	block      bool // it has a block
	always     bool // it has no conditions, and does not depend on the recipe before it
}

// A parser reads one rc file, and those that it includes where they are given.
type parser struct {
	file     File
	text     string
	pos      int
	line     int
	blocks   []*recipe // open, also those without conditions
	under    []*recipe // of these, those with conditions; and what is around an included file
	included map[string]File
	out      *script
}

// A script is what rc files come to.
type script struct {
	statements []statement
	errs       Errors
	includes   int
	seen       map[string]bool // names of included files
}

// Errors are all that is wrong in the files.
type Errors []error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

func (s *script) errorf(at Place, format string, a ...any) {
	if len(s.errs) < maxErrors {
		s.errs = append(s.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, a...)))
	}
}

// full reports whether there is no use in going on.
func (s *script) full() bool { return len(s.errs) >= maxErrors || len(s.statements) >= maxStatements }

// read reads an rc file (procmailrc(5)). The files that it may include are known by the last
// element of their names.
func read(f File, included map[string]File) *script {
	s := &script{seen: map[string]bool{}}
	(&parser{included: included, out: s}).read(f)
	if len(s.statements) >= maxStatements {
		s.errorf(Place{File: f.Name}, "more than %d assignments and recipes", maxStatements)
	}
	return s
}

func (p *parser) read(f File) {
	p.file, p.line = f, 1
	if text, ok := plainText(f.Data); ok {
		p.text = text
	} else {
		p.out.errorf(Place{File: f.Name}, "no text: it holds a NUL")
		return
	}
	for p.skip(true); p.pos < len(p.text) && !p.out.full(); p.skip(true) {
		p.statement()
	}
	if n := len(p.blocks); n > 0 && !p.out.full() {
		p.out.errorf(p.blocks[n-1].at, "the block of this recipe is not closed")
	}
}

func (p *parser) here() Place { return Place{p.file.Name, p.line} }

// peek is the next byte; 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) next() byte {
	c := p.peek()
	if c == '\n' {
		p.line++
	}
	p.pos++
	return c
}

// skip passes over blanks, joined lines and comments; over line ends too if lines is true.
func (p *parser) skip(lines bool) {
	for p.pos < len(p.text) {
		switch c := p.peek(); {
		case c == ' ' || c == '\t' || c == '\n' && lines:
			p.next()
		case c == '\\' && strings.HasPrefix(p.text[p.pos:], "\\\n"):
			p.next()
			p.next()
		case c == '#':
			p.pos += len(p.rest())
		default:
			return
		}
	}
}

// rest is the rest of the line, without its end.
func (p *parser) rest() string {
	s, _, _ := strings.Cut(p.text[p.pos:], "\n")
	return s
}

// joined takes the rest of the line, and of those that a backslash joins to it.
func (p *parser) joined() string {
	var b strings.Builder
	for {
		s := p.rest()
		p.pos += len(s)
		p.next()
		if !strings.HasSuffix(s, "\\") || p.pos >= len(p.text) {
			b.WriteString(s)
			return strings.TrimSpace(b.String())
		}
		b.WriteString(strings.TrimSuffix(s, "\\"))
	}
}

func (p *parser) statement() {
	switch c := p.peek(); {
	case c == ':':
		p.recipe()
	case c == '}':
		p.next()
		p.close()
	case isNameByte(c, true):
		p.assignment()
	default:
		p.out.errorf(p.here(), "neither an assignment nor a recipe: %.60q", p.rest())
		p.joined()
	}
}

// close ends a block.
func (p *parser) close() {
	n := len(p.blocks)
	if n == 0 {
		p.out.errorf(p.here(), "there is no block that this } could close")
		return
	}
	if !p.blocks[n-1].always {
		p.under = p.under[:len(p.under)-1]
	}
	p.blocks = p.blocks[:n-1]
}

// recipe reads a recipe up to its action, or up to the beginning of its block.
func (p *parser) recipe() {
	r := &recipe{at: p.here()}
	flags, _, _ := strings.Cut(strings.TrimPrefix(p.rest(), ":"), ":")
	flags, _, _ = strings.Cut(flags, "#")
	p.joined()
	for p.skip(true); p.peek() == '*'; p.skip(true) {
		p.next()
		r.conditions = append(r.conditions, p.joined())
	}
	// A, a, E and e make it depend on what became of the recipe before it.
	depends := strings.ContainsAny(flags, "AaEe")
	if depends {
		r.conditions = append(r.conditions, "the recipe before it (flags "+strings.TrimSpace(flags)+")")
	}
	r.always = len(r.conditions) == 0
	switch c := p.peek(); {
	case p.pos >= len(p.text):
		p.out.errorf(r.at, "the recipe has no action")
	case c == '{':
		p.next()
		p.open(r)
	default:
		p.action(r)
	}
}

func (p *parser) open(r *recipe) {
	r.block = true
	if len(p.blocks) == maxBlocks {
		p.out.errorf(r.at, "more than %d blocks in one another", maxBlocks)
		p.pos = len(p.text)
		p.blocks = nil
		return
	}
	p.blocks = append(p.blocks, r)
	if !r.always {
		p.under = append(p.under[:len(p.under):len(p.under)], r)
	}
}

// action takes what a recipe does. "VAR=|command" sets a variable.
func (p *parser) action(r *recipe) {
	at, text := p.here(), p.joined()
	name, value, isAssignment := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	if value = strings.TrimSpace(value); isAssignment && isName(name) && strings.HasPrefix(value, "|") {
		under := p.under
		if !r.always {
			under = append(under[:len(under):len(under)], r)
		}
		p.add(statement{at: at, name: name, raw: value, output: true, under: under})
		return
	}
	p.add(statement{at: r.at, raw: text, under: p.under})
}

func (p *parser) add(s statement) {
	if !p.out.full() {
		p.out.statements = append(p.out.statements, s)
	}
}

// assignment reads "NAME=value", or "NAME", which unsets it.
func (p *parser) assignment() {
	s := statement{at: p.here(), under: p.under}
	start := p.pos
	for isNameByte(p.peek(), p.pos == start) {
		p.next()
	}
	s.name = p.text[start:p.pos]
	p.skip(false)
	if p.peek() != '=' {
		if c := p.peek(); c != 0 && c != '\n' && c != '}' && !isNameByte(c, true) {
			p.out.errorf(s.at, "neither an assignment nor a recipe: %.60q", s.name+" "+p.rest())
			p.joined()
			return
		}
		s.unset = true
		p.add(s)
		return
	}
	p.next()
	for c := p.peek(); c == ' ' || c == '\t'; c = p.peek() {
		p.next()
	}
	s.raw = p.word()
	p.add(s)
	if s.name == "INCLUDERC" || s.name == "SWITCHRC" {
		p.include(s)
	}
}

// word takes a value: up to a blank that is not in quotes.
func (p *parser) word() string {
	start, at, quote := p.pos, p.here(), byte(0)
	for p.pos < len(p.text) {
		switch c := p.peek(); {
		case c == '\\' && quote != '\'' && p.pos+1 < len(p.text):
			p.next()
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			return p.text[start:p.pos]
		case quote == 0 && (c == '"' || c == '\'' || c == '`'):
			quote, at = c, p.here()
		case c == quote:
			quote = 0
		}
		p.next()
	}
	if quote != 0 {
		p.out.errorf(at, "the quote %c is not closed", quote)
	}
	return p.text[start:min(p.pos, len(p.text))]
}

// include reads the file of an INCLUDERC in its place, if it was given.
func (p *parser) include(s statement) {
	name := lastElement(s.raw)
	f, ok := p.included[name]
	if !ok {
		return
	}
	p.out.seen[name] = true
	if p.out.includes++; p.out.includes > maxIncludes {
		p.out.errorf(s.at, "more than %d files are included", maxIncludes)
		p.pos = len(p.text)
		return
	}
	(&parser{included: p.included, out: p.out, under: p.under}).read(f)
}

// lastElement is the file name at the end of a path as it was written.
func lastElement(raw string) string {
	return path.Base(strings.Trim(strings.TrimRight(raw, "/"), "\"'`"))
}

func isName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i], i == 0) {
			return false
		}
	}
	return s != ""
}

func isNameByte(c byte, first bool) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || !first && c >= '0' && c <= '9'
}
