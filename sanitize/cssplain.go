package sanitize

import "bytes"

// A property is what must be known of a property of CSS.
type property struct {
	allowed  bool
	position bool // only cssPositions may be its value
	opacity  bool // it must not be clear
}

// A propertyLexicon knows the properties by their name in lower case.
type propertyLexicon struct{ *lexicon[property] }

var properties = newProperties()

func newProperties() propertyLexicon {
	all := map[string]*property{}
	for name := range cssProperties {
		all[name] = &property{allowed: allowedProperty(name), position: name == "position", opacity: name == "opacity"}
	}
	return propertyLexicon{newLexicon(all)}
}

// maxProperty is the longest name of a property that is looked up without taking memory for it.
const maxProperty = 64

// of gives what is known of a property by its name in any case, of which the kinds are known.
func (l propertyLexicon) of(name []byte, has byteKind) property {
	switch {
	case has&byteMarkup != 0:
		name = bytes.ToLower(name)
	case has&byteUpper != 0:
		var buf [maxProperty]byte
		name = append(buf[:0], name...)
		lower(name)
	}
	if p := l.find(name); p != nil {
		return *p
	}
	return property{allowed: len(name) > 0 && allowedProperty(string(name))}
}

// plainDeclaration reads a declaration at r.pos as nearly all are: a value of names, numbers, colors and
// functions of them, in which there is nothing that is written otherwise than it is read, and that
// needs no look at its tokens. It writes it if it may stay. It reports false if there is none, or
// it must be read token by token; then r.pos is where it begins.
func (r *cssReader) plainDeclaration(start int) bool {
	i := r.pos
	for i < len(r.s) && (r.s[i] == ';' || byteKinds[r.s[i]]&byteBlank != 0) {
		i++
	}
	r.pos = i
	name := i
	if r.at(i) == '-' {
		i++
	}
	if !isLetter(r.at(i)) {
		return false
	}
	has := byteKind(0)
	for i < len(r.s) && byteKinds[r.s[i]]&byteName != 0 {
		has |= byteKinds[r.s[i]]
		i++
	}
	end := i
	if i = skipSpace(r.s, i); r.at(i) != ':' {
		return false
	}
	v := plainValue{s: r.s, start: skipSpace(r.s, i+1)}
	p := properties.of(r.s[name:end], has)
	if p.position || !v.read() {
		return false
	}
	r.pos = v.end
	value := trimEndBlank(r.s[v.start:v.end])
	if !p.allowed || len(value) == 0 || p.opacity && isClear(value) {
		return true
	}
	r.separate(start)
	r.out = append(append(r.out, r.s[name:end]...), ": "...)
	if v.odd {
		r.writePlain(value)
	} else {
		r.out = append(r.out, value...)
	}
	r.out = append(r.out, ';')
	return true
}

// plainRule reads the beginning of a rule at r.pos as nearly all are: a selector of names, classes and what
// joins them. It writes it, and reports false if there is none, or it must be read token by token; then
// r.pos is where it begins.
func (r *cssReader) plainRule() bool {
	r.pos = skipSpace(r.s, r.pos)
	odd, i := false, r.pos
	for {
		for i < len(r.s) && byteKinds[r.s[i]]&byteSelector != 0 {
			i++
		}
		c, next := r.at(i), r.at(i+1)
		switch {
		case byteKinds[c]&byteBlank != 0:
			odd = odd || c != ' ' || byteKinds[next]&byteBlank != 0
		case (c == '-' || c == '#') && byteKinds[next]&byteName != 0 && next != '-':
		case c == '{' && i > r.pos && i-r.pos < maxPrelude:
			if s := trimEndBlank(r.s[r.pos:i]); odd {
				r.writePlain(s)
			} else {
				r.out = append(r.out, s...)
			}
			r.pos = i + 1
			return true
		default:
			return false
		}
		i++
	}
}

func trimEndBlank(b []byte) []byte {
	for len(b) > 0 && byteKinds[b[len(b)-1]]&byteBlank != 0 {
		b = b[:len(b)-1]
	}
	return b
}

// writePlain writes a plain value that has white space or strings in it.
func (r *cssReader) writePlain(v []byte) {
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case byteKinds[c]&byteBlank != 0:
			r.out = append(r.out, ' ')
			i = skipSpace(v, i)
		case c == '"' || c == '\'':
			n := bytes.IndexByte(v[i+1:], c) + 1
			r.out = append(append(append(r.out, '"'), v[i+1:i+n]...), '"')
			r.odds = true
			i += n + 1
		default:
			r.out = append(r.out, c)
			i++
		}
	}
}

// A plainValue looks at whether a value is plain.
type plainValue struct {
	s          []byte
	start, end int
	odd        bool // it has strings, or white space that is not written as it is
}

// read finds the end of the value, and reports whether it is plain.
func (v *plainValue) read() bool {
	open := 0
	for i := v.start; ; i++ {
		for i < len(v.s) && byteKinds[v.s[i]]&byteCSS != 0 {
			i++
		}
		if i == len(v.s) || v.s[i] == ';' || v.s[i] == '}' {
			v.end = i
			return open == 0
		}
		next := byte(0)
		if i+1 < len(v.s) {
			next = v.s[i+1]
		}
		ok := false
		switch c := v.s[i]; c {
		case ' ', '\t', '\n', '\r', '\f':
			ok = true
			v.odd = v.odd || c != ' ' || byteKinds[next]&byteBlank != 0
		case '-', '#':
			ok = byteKinds[next]&byteName != 0 && next != '-'
		case '/':
			ok = next != '*'
		case '(':
			ok = v.function(i)
			open++
		case ')':
			open--
			ok = open >= 0
		case '"', '\'':
			n := v.string(i)
			ok, v.odd = n > 0, true
			i += n
		}
		if !ok {
			return false
		}
	}
}

// function reports whether a parenthesis at i begins a function that is allowed.
func (v *plainValue) function(i int) bool {
	name := i
	for name > v.start && byteKinds[v.s[name-1]]&byteName != 0 {
		name--
	}
	return cssFunctions[string(v.s[name:i])]
}

// string is how many bytes a string at i has behind its first quote; 0 if there is anything in it but
// letters, digits, and what means nothing anywhere.
func (v *plainValue) string(i int) int {
	for n := i + 1; n < len(v.s); n++ {
		switch c := v.s[n]; {
		case c == v.s[i]:
			return n - i
		case c != ' ' && byteKinds[c]&(byteCSS|byteName) == 0:
			return 0
		}
	}
	return 0
}
