package sanitize

import (
	"bytes"
	"strings"
)

// maxCSSDepth is how many blocks may be in one another.
const maxCSSDepth = 4

// cleanSheet appends to out what of a style sheet may stay: allowed rules, properties and values, in
// a form in which it holds nothing that ends a style element. It is its own clean form.
func cleanSheet(out, css []byte) []byte {
	r := &cssReader{s: withoutNUL(css), out: out, tok: cssToken{kind: ';'}} // which means nothing before a rule
	r.rules(len(out), maxCSSDepth)
	return r.out
}

// cleanDeclarations appends the value of a style attribute likewise. It reports whether there may be
// anything in it that must be escaped in an attribute.
func cleanDeclarations(out, css []byte) ([]byte, bool) {
	r := &cssReader{s: withoutNUL(css), out: out, tok: cssToken{kind: ';'}}
	r.declarations(len(out))
	return r.out, r.odds
}

func withoutNUL(b []byte) []byte {
	if bytes.IndexByte(b, 0) < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte{0}, []byte("\ufffd"))
}

// rules reads rules up to the end of their block, or of all. What is written of them begins at byte
// start.
func (r *cssReader) rules(start, depth int) {
	for !r.full {
		switch r.tok.kind {
		case cssEnd:
			return
		case '}':
			if depth < maxCSSDepth {
				return
			}
			r.next() // one too many
		case cssBlank, cssMark, ';':
			for rule := len(r.out); !r.full && r.plainRule(); rule = len(r.out) {
				r.block(rule, start, depth, false)
			}
			if r.tok.kind != cssEnd {
				r.next()
			}
		default:
			r.rule(start, depth)
		}
	}
}

// Rules that begin with "@" and may stay: those that hold rules, and those that hold declarations.
var (
	nestingRules = set("media supports keyframes -webkit-keyframes -moz-keyframes -o-keyframes")
	blockRules   = set("font-face")
)

func (r *cssReader) rule(start, depth int) {
	at, nests, block := r.tok.kind == cssAt, false, false
	if at {
		name := strings.ToLower(string(r.tok.text))
		nests, block = nestingRules[name], blockRules[name]
	}
	rule := len(r.out)
	ok := r.prelude()
	if r.tok.kind != '{' {
		r.out = r.out[:rule]
		r.next() // ";", or the end
		return
	}
	r.trim(rule)
	if !ok || at && !nests && !block || !at && len(r.out) == rule || nests && depth == 0 {
		r.out = r.out[:rule]
		r.skipBlock()
		return
	}
	r.block(rule, start, depth, nests)
}

// block reads the block of a rule, which was written from byte rule on, from behind its "{", and writes it.
// If nothing is in it, the rule is not written.
func (r *cssReader) block(rule, start, depth int, nests bool) {
	r.out = append(r.out, " {"...)
	inner := len(r.out)
	r.tok = cssToken{kind: ';'} // which means nothing before what the block begins with
	if nests {
		r.out = append(r.out, '\n')
		r.rules(inner, depth-1)
	} else {
		r.declarations(inner)
	}
	if r.tok.kind == '}' {
		r.tok.kind = ';' // neither does it behind a block
	}
	empty := len(bytes.TrimSpace(r.out[inner:])) == 0
	r.out = append(r.out, "}\n"...)
	r.full = r.full || len(r.out)-start > maxSheet
	if empty || len(r.out)-start > maxSheet {
		r.out = r.out[:rule]
	}
}

// trim takes away the white space around what was written from a byte on.
func (r *cssReader) trim(from int) {
	text := bytes.TrimSpace(r.out[from:])
	r.out = r.out[:from+copy(r.out[from:], text)]
}

// maxSheet is how many bytes of a style sheet are kept, up to the first rule that does not fit; it is less than what
// is read of one.
const maxSheet = 1 << 20

// maxPrelude is how many bytes may stand before a block.
const maxPrelude = 16 << 10

// prelude reads up to the block of a rule, or to its end, and writes it. It reports whether it may stay.
func (r *cssReader) prelude() bool {
	start, ok, open := len(r.out), true, 0
	for {
		switch r.tok.kind {
		case cssEnd:
			return false
		case '{', ';', '}':
			if open == 0 || r.tok.kind == '{' {
				return ok && open == 0
			}
			ok = false
		case '(', '[', cssFunction:
			open++
		case ')', ']':
			open--
		case cssURL, cssBroken, cssMark:
			ok = false
		case cssString:
		default:
			ok = ok && !r.tok.hasAny(oddInNames)
		}
		if ok = ok && open >= 0 && len(r.out)-start < maxPrelude; ok {
			r.writeToken()
		}
		if open < 0 {
			open = 0
		}
		r.next()
	}
}

// skipBlock passes over a block and the blocks in it.
func (r *cssReader) skipBlock() {
	depth := 0
	for {
		switch r.tok.kind {
		case cssEnd:
			return
		case '{':
			depth++
		case '}':
			depth--
		}
		r.next()
		if depth <= 0 {
			return
		}
	}
}

// declarations reads declarations up to the end of their block. What is written of them begins at byte
// start.
func (r *cssReader) declarations(start int) {
	for {
		switch r.tok.kind {
		case cssEnd, '}':
			return
		case ';', cssBlank:
			for r.plainDeclaration(start) {
			}
			r.next()
		default:
			r.declaration(start)
		}
	}
}

// declaration reads one. It writes it if it may stay.
func (r *cssReader) declaration(start int) {
	var name []byte
	if r.tok.kind == cssIdent {
		name = r.tok.text
		r.next()
	}
	for r.tok.kind == cssBlank {
		r.next()
	}
	p := properties.of(name, kindsOf(name))
	ok := r.tok.kind == ':' && p.allowed
	if r.tok.kind == ':' {
		r.next()
	}
	mark := len(r.out)
	r.separate(start)
	r.writeName(name, true)
	r.out = append(r.out, ": "...)
	value := len(r.out)
	fine := r.value(p)
	if r.trim(value); !ok || !fine || len(r.out) == value || p.opacity && isClear(r.out[value:]) {
		r.out = r.out[:mark] // what is not seen must not be clicked on
		return
	}
	r.out = append(r.out, ';')
}

// separate writes what is between two declarations.
func (r *cssReader) separate(start int) {
	if len(r.out) > start {
		r.out = append(r.out, ' ')
	}
}

// value reads the value of a property and writes it. It reports whether it may stay.
func (r *cssReader) value(p property) bool {
	ok, open := true, 0
	for {
		switch r.tok.kind {
		case cssEnd:
			return ok && open == 0
		case ';', '}':
			if open <= 0 || r.tok.kind == '}' {
				return ok && open == 0
			}
			ok = false
		case '{': // a rule in a rule, which has no ";" behind it
			r.skipBlock()
			return false
		case '(', '[':
			open++
		case ')', ']':
			open--
		}
		ok = ok && open >= 0 && r.tok.allowed(p)
		if r.tok.kind == cssFunction {
			open++
		}
		if ok {
			r.writeToken()
		}
		r.next()
	}
}

// oddInNames are characters that a name has only by an escape, and that mean something else where
// a client does not know escapes, or decodes them twice.
const oddInNames = "(){};<>\"'\\@"

// hasAny reports whether one of these characters is in the text of a token.
func (t *cssToken) hasAny(chars string) bool {
	return bytes.ContainsAny(t.text, chars) || bytes.ContainsAny(t.unit, chars)
}

// allowed reports whether a token may be in the value of a property.
func (t *cssToken) allowed(p property) bool {
	if t.kind != cssString && t.kind != cssURL && t.hasAny(oddInNames+":/ \n") {
		return false
	}
	switch t.kind {
	case cssBroken, cssMark, cssAt:
		return false
	case cssURL:
		var ok bool
		t.text, ok = cleanURL(imgElement, cleanImage, t.text, kindsOf(t.text))
		return ok
	case cssFunction:
		return cssFunctions[strings.ToLower(string(t.text))] && !p.position
	case cssString:
		return !p.position
	case cssIdent:
		return !p.position || cssPositions[strings.ToLower(string(t.text))]
	}
	return true
}

// cssPositions are those in which nothing covers what is not of the mail.
var cssPositions = set("static relative absolute inherit initial unset important")

// cssFunctions are the functions that a value may have: those that load nothing by a string.
var cssFunctions = set(`rgb rgba hsl hsla hwb lab lch oklab oklch color color-mix light-dark
	calc min max clamp abs sign round mod rem sin cos tan asin acos atan atan2 pow sqrt hypot log exp
	var env attr counter counters symbols
	linear-gradient radial-gradient conic-gradient repeating-linear-gradient repeating-radial-gradient repeating-conic-gradient
	-webkit-linear-gradient -webkit-radial-gradient -webkit-gradient -moz-linear-gradient -moz-radial-gradient
	-ms-linear-gradient -o-linear-gradient -o-radial-gradient from to color-stop
	matrix matrix3d perspective rotate rotate3d rotatex rotatey rotatez scale scale3d scalex scaley scalez skew skewx skewy
	translate translate3d translatex translatey translatez cubic-bezier steps linear
	blur brightness contrast drop-shadow grayscale hue-rotate invert opacity saturate sepia alpha
	rect inset circle ellipse polygon path xywh minmax repeat fit-content format local tech`)
