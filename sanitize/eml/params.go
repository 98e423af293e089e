package eml

import "strings"

// A param is one parameter of a structured field such as Content-Type (RFC 2045 section 5.1,
// RFC 2231), as it stands there.
type param struct {
	name     string   // lower case, without the marks of RFC 2231
	value    string   // unquoted
	others   []string // what else clients take for the value
	soft     []string // and what strict ones do, where the value is one that senders write
	brief    string   // of a value without quotes, what is before the first character that needs some
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
	blanked bool // the value is so only because control characters are taken for blanks

	alts []parsedField // what clients make of it that take it apart in another way
	fold bool          // of an alt: it differs from the field in how folds are read, which may well be harmless
}

// parseField takes apart the value of a Content-Type or Content-Disposition field as it stands in
// the message, folds included. It never gives up: what cannot be read as a parameter is passed
// over, and damaged is set.
func parseField(raw string, limit int) parsedField {
	text := unfoldTo(raw, "")
	f := parseOnce(blankControls(text), limit, false)
	if f.text != text {
		alt := parseOnce(text, limit, false)
		f.blanked = alt.value != f.value
		f.alts = append(f.alts, alt)
	}
	if foldsWithin(raw) { // some drop the blanks of a fold with its line break, or make one of them
		for _, blank := range []string{"-", " "} {
			alt := parseOnce(unfoldTo(raw, blank), limit, false)
			alt.fold = true
			f.alts = append(f.alts, alt)
		}
	}
	for _, v := range otherBlanks(text) {
		f.alts = append(f.alts, parseOnce(v, limit, false))
	}
	if strings.IndexByte(f.text, '(') >= 0 {
		f.alts = append(f.alts, parseOnce(f.text, limit, true))
	}
	if encodesSyntax(f.text) {
		f.alts = append(f.alts, parseOnce(DecodeWords(f.text), limit, false))
	}
	if f.damaged || semicolonInQuotes(f.text) {
		f.alts = append(f.alts, parseNaively(f.text, limit))
	}
	for i := range f.alts {
		f.over = f.over || f.alts[i].over
	}
	return f
}

// encodesSyntax reports whether an encoded word stands where neither a value nor a quoted string does:
// some clients decode a field before they take it apart.
func encodesSyntax(s string) bool {
	before, _, ok := strings.Cut(s, "=?")
	return ok && strings.Count(before, `"`)%2 == 0 && !strings.HasSuffix(strings.TrimRight(before, " \t"), "=")
}

// semicolonInQuotes reports whether a semicolon is in quotes for some client: not all of them know
// that a backslash makes a quote part of the text.
func semicolonInQuotes(s string) bool {
	if strings.Contains(s, `\"`) && strings.Contains(s, ";") {
		return true
	}
	quoted := false
	for i := range len(s) {
		if s[i] == ';' && quoted {
			return true
		}
		if s[i] == '"' {
			quoted = !quoted
		}
	}
	return false
}

// parseNaively takes apart the text of a field as clients do that divide it at each semicolon, those
// in quotes too.
func parseNaively(v string, limit int) parsedField {
	f := parsedField{text: v}
	pieces := strings.SplitN(v, ";", limit+2)
	if f.over = len(pieces) > limit+1; f.over {
		pieces = pieces[:limit+1]
	}
	for i, piece := range pieces {
		name, value, ok := strings.Cut(piece, "=")
		if i == 0 {
			f.value = strings.ToLower(strings.Trim(piece, " \t"))
		} else if ok {
			p := splitName(strings.Trim(name, " \t\""))
			p.value = strings.Trim(value, " \t\"")
			f.params = append(f.params, p)
		}
	}
	return f
}

// parseOnce takes apart the text of a field, without folds.
func parseOnce(v string, limit int, noComments bool) parsedField {
	f := parsedField{text: v}
	s := fieldScanner{s: v, noComments: noComments}
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
