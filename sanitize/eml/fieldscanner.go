package eml

import "strings"

// A fieldScanner walks over the value of a structured field.
type fieldScanner struct {
	s   string
	pos int
	odd bool // something was not as it should be

	noComments bool // parentheses are nothing special
}

func (s *fieldScanner) end() bool { return s.pos >= len(s.s) }

// skip passes over the bytes in set and over comments (RFC 5322 section 3.2.2). A comment that
// holds what looks like a parameter is read as one by clients that know no comments.
func (s *fieldScanner) skip(set string) {
	for !s.end() {
		if s.s[s.pos] == '(' && !s.noComments {
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

// stops reports whether the byte before us is in set.
func (s *fieldScanner) stops(set string) bool {
	c := s.s[s.pos]
	return strings.IndexByte(set, c) >= 0 && (c != '(' || !s.noComments)
}

// token reads the first word: the media type or the disposition.
func (s *fieldScanner) token() string {
	s.skip(" \t")
	start := s.pos
	for !s.end() && !s.stops("; \t(\"") {
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
	for !s.end() && !s.stops("=; \t(\"") {
		s.pos++
	}
	name := s.s[start:s.pos]
	s.skip(" \t")
	if name != "" && !s.end() && s.s[s.pos] == '*' { // "filename *0*"
		marks := s.s[s.pos:]
		marks = marks[:len(marks)-len(strings.TrimLeft(marks, "*0123456789"))]
		name += marks
		s.pos += len(marks)
	}
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
	if !s.end() && s.s[s.pos] == '"' {
		p.value, p.others = s.quoted()
	} else {
		p.value, p.others, p.soft = s.unquoted()
		if i := strings.IndexAny(p.value, tspecials); i > 0 {
			p.brief = p.value[:i]
		}
	}
	return p, true
}

// tspecials are the characters that a value without quotes may not have (RFC 2045 section 5.1).
const tspecials = "()<>@,;:\\\"/[]?="

// unquoted reads a value up to the next semicolon.
func (s *fieldScanner) unquoted() (value string, others, soft []string) {
	start := s.pos
	for !s.end() && s.s[s.pos] != ';' {
		s.pos++
	}
	value = strings.TrimRight(s.s[start:s.pos], " \t")
	if s.noComments && strings.IndexByte(value, '(') < 0 {
		value = strings.TrimRight(value, ")")
	}
	if i := strings.IndexByte(value, '('); i > 0 && strings.HasSuffix(value, ")") && !s.noComments {
		others = append(others, value)
		value = strings.TrimRight(value[:i], " \t") // a trailing comment
	}
	if i := strings.LastIndexByte(value, '('); i > 0 && strings.HasSuffix(value, ")") {
		others = append(others, strings.TrimRight(value[:i], " \t")) // to those who take the first one for a part of the value
	}
	if i := strings.IndexAny(value, " \t\","); i >= 0 {
		s.odd = true // clients end the value there, or do not
		others = append(others, value[:i])
	}
	if strings.ContainsAny(value, "<>@[]\\") {
		s.odd = true
	}
	if i := strings.IndexAny(value, "=/:?"); i > 0 {
		soft = append(soft, value[:i])
	}
	if strings.IndexByte(value, '\\') >= 0 {
		others = append(others, strings.ReplaceAll(value, `\`, ""))
	}
	if bare := strings.Trim(value, "'"); bare != value {
		others = append(others, bare)
	}
	return value, others, soft
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
		if s.noComments && s.s[s.pos] == '(' {
			s.pos += max(strings.IndexByte(s.s[s.pos:], ';'), 0)
			break
		}
		s.odd = true // something between the closing quote and the next semicolon
		b.WriteByte(s.s[s.pos])
	}
	if b.Len() > within {
		others = append(others, b.String()[:within])
	}
	return b.String(), others
}
