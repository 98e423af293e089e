package eml

import (
	"slices"
	"strings"
)

// A param is one parameter of a structured field such as Content-Type (RFC 2045 section 5.1,
// RFC 2231), as it stands there.
type param struct {
	name     string   // lower case, without the marks of RFC 2231
	value    string   // unquoted
	others   []string // what else clients take for the value
	section  int      // the number of a continuation (name*2), -1 if it is none
	extended bool     // charset'language'value with percent encoding (name*)
}

// A parsedField is a structured field taken apart leniently.
type parsedField struct {
	text    string // the whole value
	value   string // what comes before the first parameter, lower case
	params  []param
	damaged bool // something in it is not what RFC 2045 allows, and clients differ about it
	over    bool // there were more parameters than the limit
}

// parseField takes apart the value of a Content-Type or Content-Disposition field. It never
// gives up: what cannot be read as a parameter is passed over, and damaged is set.
func parseField(v string, limit int) parsedField {
	f := parsedField{text: v}
	s := fieldScanner{s: v}
	f.value = strings.ToLower(s.token())
	f.damaged = s.odd
	for {
		s.skip(" \t;")
		if s.end() {
			break
		}
		if len(f.params) == limit {
			f.over = true
			break
		}
		if p, ok := s.param(); ok {
			f.params = append(f.params, p)
		}
	}
	f.damaged = f.damaged || s.odd
	return f
}

// A fieldScanner walks over the value of a structured field.
type fieldScanner struct {
	s   string
	pos int
	odd bool // something was not as it should be
}

func (s *fieldScanner) end() bool { return s.pos >= len(s.s) }

// skip passes over the bytes in set and over comments (RFC 5322 section 3.2.2). A comment that
// holds what looks like a parameter is read as one by clients that know no comments.
func (s *fieldScanner) skip(set string) {
	for !s.end() {
		if s.s[s.pos] == '(' {
			s.comment()
		} else if strings.IndexByte(set, s.s[s.pos]) < 0 {
			return
		} else {
			s.pos++
		}
	}
}

func (s *fieldScanner) comment() {
	depth, start := 0, s.pos
	for ; !s.end(); s.pos++ {
		switch s.s[s.pos] {
		case '\\':
			s.pos++
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			s.pos++
			break
		}
	}
	s.pos = min(s.pos, len(s.s))
	if depth != 0 || strings.ContainsAny(s.s[start:s.pos], "=;") {
		s.odd = true
	}
}

// token reads the first word: the media type or the disposition.
func (s *fieldScanner) token() string {
	s.skip(" \t")
	start := s.pos
	for !s.end() && strings.IndexByte("; \t(\"", s.s[s.pos]) < 0 {
		s.pos++
	}
	word := s.s[start:s.pos]
	if i := strings.IndexByte(word, '='); i >= 0 {
		// "multipart/mixed boundary=x" without any type, or the type is missing.
		s.odd, s.pos = true, start
		return ""
	}
	s.skip(" \t")
	if !s.end() && s.s[s.pos] != ';' {
		s.odd = true
	}
	return word
}

// param reads "name=value". It reports false for something else, which it passes over.
func (s *fieldScanner) param() (param, bool) {
	start := s.pos
	for !s.end() && strings.IndexByte("=; \t(\"", s.s[s.pos]) < 0 {
		s.pos++
	}
	name := s.s[start:s.pos]
	s.skip(" \t")
	if s.end() || s.s[s.pos] != '=' || name == "" {
		s.odd = true
		if s.pos == start { // a lone "=" or quote
			s.pos++
		}
		return param{}, false
	}
	s.pos++
	s.skip(" \t")
	p := splitName(name)
	p.value, p.others = s.paramValue()
	return p, true
}

func (s *fieldScanner) paramValue() (value string, others []string) {
	if !s.end() && s.s[s.pos] == '"' {
		return s.quoted()
	}
	start := s.pos
	for !s.end() && s.s[s.pos] != ';' {
		s.pos++
	}
	value = strings.TrimRight(s.s[start:s.pos], " \t")
	if i := strings.IndexByte(value, '('); i > 0 && strings.HasSuffix(value, ")") {
		others = append(others, value)
		value = strings.TrimRight(value[:i], " \t") // a trailing comment
	}
	if i := strings.IndexAny(value, " \t\"=,"); i >= 0 {
		s.odd = true // clients end the value there, or do not
		others = append(others, value[:i])
	}
	if bare := strings.Trim(value, "'"); bare != value {
		others = append(others, bare)
	}
	return value, others
}

// quoted reads a quoted string (RFC 5322 section 3.2.4); one without an end goes to the end
// of the field.
func (s *fieldScanner) quoted() (value string, others []string) {
	var b strings.Builder
	s.pos++
	start, escaped := s.pos, false
	for ; !s.end() && s.s[s.pos] != '"'; s.pos++ {
		if s.s[s.pos] == '\\' && s.pos+1 < len(s.s) {
			s.pos++
			escaped = true
		}
		b.WriteByte(s.s[s.pos])
	}
	if escaped {
		others = append(others, s.s[start:min(s.pos, len(s.s))])
	}
	if s.end() {
		s.odd = true
	}
	s.pos++
	within := b.Len()
	for s.skip(" \t"); !s.end() && s.s[s.pos] != ';'; s.pos++ {
		s.odd = true // something between the closing quote and the next semicolon
		b.WriteByte(s.s[s.pos])
	}
	if b.Len() > within {
		others = append(others, b.String()[:within])
	}
	return b.String(), others
}

// splitName takes the marks of RFC 2231 off a parameter's name: "filename*2*".
func splitName(name string) param {
	p := param{name: strings.ToLower(name), section: -1}
	if rest, ok := strings.CutSuffix(p.name, "*"); ok {
		p.name, p.extended = rest, true
	}
	base, num, ok := strings.Cut(p.name, "*")
	if !ok || num == "" || len(num) > 5 || strings.Trim(num, "0123456789") != "" {
		return p
	}
	p.name, p.section = base, 0
	for _, c := range num {
		p.section = p.section*10 + int(c-'0')
	}
	return p
}

// differ reports whether the parameter is there several times, and not always the same.
func (f *parsedField) differ(name string) bool {
	first := ""
	for _, p := range f.params {
		switch {
		case p.name != name:
		case first == "":
			first = p.value
		case !strings.EqualFold(p.value, first):
			return true
		}
	}
	return false
}

// values are all values that some client would take for the parameter, each once: the plain
// ones in order, then the extended ones, then the joined continuations.
func (f *parsedField) values(name string) []string {
	var out, joined []string
	var pieces []param
	add := func(v string) {
		if v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	for _, p := range f.params {
		switch {
		case p.name != name:
		case p.section >= 0:
			pieces = append(pieces, p)
		case p.extended:
			joined = append(joined, decodeExtended(p.value))
		default:
			add(p.value)
			for _, v := range p.others {
				add(v)
			}
		}
	}
	for _, v := range joined {
		add(v)
	}
	for _, v := range joinPieces(pieces) {
		add(v)
	}
	return out
}

// joinPieces puts continuations together (RFC 2231 section 3): in the order of their numbers up
// to the first gap, and, as other clients do, all of them.
func joinPieces(pieces []param) []string {
	if len(pieces) == 0 {
		return nil
	}
	slices.SortStableFunc(pieces, func(a, b param) int { return a.section - b.section })
	var upToGap, all strings.Builder
	charset, gap := "", false
	for i, p := range pieces {
		v := p.value
		if p.extended {
			if i == 0 {
				charset, v = splitExtended(v)
			}
			v = percentDecode(v)
		}
		gap = gap || p.section != i
		if !gap {
			upToGap.WriteString(v)
		}
		all.WriteString(v)
	}
	return []string{toUTF8(charset, upToGap.String()), toUTF8(charset, all.String())}
}

// decodeExtended decodes charset'language'value (RFC 2231 section 4).
func decodeExtended(v string) string {
	charset, rest := splitExtended(v)
	return toUTF8(charset, percentDecode(rest))
}

func splitExtended(v string) (charset, rest string) {
	charset, rest, ok := strings.Cut(v, "'")
	if !ok {
		return "", v
	}
	_, rest, ok = strings.Cut(rest, "'")
	if !ok {
		return "", v
	}
	return charset, rest
}

// percentDecode decodes %XX and leaves anything else as it is.
func percentDecode(v string) string {
	if strings.IndexByte(v, '%') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) {
			if hi, lo := unhex[v[i+1]], unhex[v[i+2]]; hi|lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, v[i])
	}
	return string(b)
}
