package sanitize

import "strings"

// maxCSSDepth is how many blocks may be in one another.
const maxCSSDepth = 4

// cleanSheet is a style sheet of which only allowed rules, properties and values are left, in a
// form in which it holds nothing that ends a style element. It is its own clean form.
func cleanSheet(s string) string {
	r := &cssReader{s: strings.ReplaceAll(s, "\x00", "\ufffd")}
	var b strings.Builder
	r.next()
	r.rules(&b, maxCSSDepth)
	return b.String()
}

// cleanDeclarations is the value of a style attribute likewise.
func cleanDeclarations(s string) string {
	r := &cssReader{s: strings.ReplaceAll(s, "\x00", "\ufffd")}
	var b strings.Builder
	r.next()
	r.declarations(&b)
	return b.String()
}

// rules reads rules up to the end of their block, or of all.
func (r *cssReader) rules(b *strings.Builder, depth int) {
	for r.tok.kind != cssEnd && r.tok.kind != '}' {
		switch r.tok.kind {
		case cssBlank, cssMark, ';':
			r.next()
		default:
			r.rule(b, depth)
		}
	}
	if depth == maxCSSDepth && r.tok.kind == '}' { // one too many
		r.next()
		r.rules(b, depth)
	}
}

// Rules that begin with "@" and may stay: those that hold rules, and those that hold declarations.
var (
	nestingRules = set("media supports keyframes -webkit-keyframes -moz-keyframes -o-keyframes")
	blockRules   = set("font-face")
)

func (r *cssReader) rule(b *strings.Builder, depth int) {
	name := ""
	at := r.tok.kind == cssAt
	if at {
		name = strings.ToLower(r.tok.text)
	}
	prelude, ok := r.prelude()
	if r.tok.kind != '{' {
		r.next() // ";", or the end
		return
	}
	nests := at && nestingRules[name]
	if !ok || at && !nests && !blockRules[name] || !at && strings.TrimSpace(prelude) == "" || nests && depth == 0 {
		r.skipBlock()
		return
	}
	r.next()
	var inner strings.Builder
	if nests {
		inner.WriteByte('\n')
		r.rules(&inner, depth-1)
	} else {
		r.declarations(&inner)
	}
	if r.tok.kind == '}' {
		r.next()
	}
	if strings.TrimSpace(inner.String()) == "" {
		return
	}
	if whole := strings.TrimSpace(prelude) + " {" + inner.String() + "}\n"; b.Len()+len(whole) <= maxSheet {
		b.WriteString(whole)
	}
}

// maxSheet is how many bytes of a style sheet are kept; it is less than what is read of one.
const maxSheet = 1 << 20

// maxPrelude is how many bytes may stand before a block.
const maxPrelude = 16 << 10

// prelude reads up to the block of a rule, or to its end. It reports whether it may stay.
func (r *cssReader) prelude() (string, bool) {
	var b strings.Builder
	ok, open := true, 0
	for {
		switch r.tok.kind {
		case cssEnd:
			return "", false
		case '{', ';', '}':
			if open == 0 || r.tok.kind == '{' {
				return b.String(), ok && open == 0
			}
			ok = false
		case '(', '[', cssFunction:
			open++
		case ')', ']':
			open--
		case cssURL, cssBroken, cssMark:
			ok = false
		default:
			ok = ok && !strings.ContainsAny(r.tok.text+r.tok.unit, oddInNames) || r.tok.kind == cssString
		}
		if ok = ok && open >= 0 && b.Len() < maxPrelude; ok {
			r.tok.write(&b)
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

// declarations reads declarations up to the end of their block.
func (r *cssReader) declarations(b *strings.Builder) {
	for {
		switch r.tok.kind {
		case cssEnd, '}':
			return
		case cssBlank, ';':
			r.next()
		default:
			r.declaration(b)
		}
	}
}

// declaration reads one. It writes it if it may stay.
func (r *cssReader) declaration(b *strings.Builder) {
	name := ""
	if r.tok.kind == cssIdent {
		name = r.tok.text
		r.next()
	}
	for r.tok.kind == cssBlank {
		r.next()
	}
	ok := r.tok.kind == ':' && name != "" && allowedProperty(strings.ToLower(name))
	if r.tok.kind == ':' {
		r.next()
	}
	value, fine := r.value(strings.ToLower(name))
	if value = strings.TrimSpace(value); !ok || !fine || value == "" || strings.EqualFold(name, "opacity") && isClear([]byte(value)) {
		return // what is not seen must not be clicked on
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	writeCSSName(b, name, true)
	b.WriteString(": " + value + ";")
}

// value reads the value of a property, and reports whether it may stay.
func (r *cssReader) value(property string) (string, bool) {
	var b strings.Builder
	ok, open := true, 0
	for {
		switch r.tok.kind {
		case cssEnd:
			return b.String(), ok && open == 0
		case ';', '}':
			if open <= 0 || r.tok.kind == '}' {
				return b.String(), ok && open == 0
			}
			ok = false
		case '{': // a rule in a rule, which has no ";" behind it
			r.skipBlock()
			return "", false
		case '(', '[':
			open++
		case ')', ']':
			open--
		}
		ok = ok && open >= 0 && r.tok.allowed(property)
		if r.tok.kind == cssFunction {
			open++
		}
		if ok {
			r.tok.write(&b)
		}
		r.next()
	}
}

// oddInNames are characters that a name has only by an escape, and that mean something else where
// a client does not know escapes, or decodes them twice.
const oddInNames = "(){};<>\"'\\@"

// allowed reports whether a token may be in the value of a property.
func (t *cssToken) allowed(property string) bool {
	if t.kind != cssString && t.kind != cssURL && strings.ContainsAny(t.text+t.unit, oddInNames+":/ \n") {
		return false
	}
	switch t.kind {
	case cssBroken, cssMark, cssAt:
		return false
	case cssURL:
		var ok bool
		t.text, ok = cleanURL("img", "src", t.text)
		return ok
	case cssFunction:
		return cssFunctions[strings.ToLower(t.text)] && property != "position"
	case cssString:
		return property != "position"
	case cssIdent:
		return property != "position" || cssPositions[strings.ToLower(t.text)]
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
