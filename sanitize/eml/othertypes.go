package eml

import (
	"fmt"
	"slices"
	"strings"
)

// otherTypes notes what clients make of an entity whose fields may be read in several ways: as
// each type that is declared, with each boundary and each encoding. K is how it is read first.
func (p *parser) otherTypes(part *Part, k kind, fields []parsedField, encodings []Encoding) {
	encodings = append([]Encoding{part.Encoding}, encodings...)
	doubt := ""
	note := func(as kind, mediaType, boundary string) {
		if p.others.over {
			return
		}
		for i, e := range encodings {
			r := reading{part: part, as: as, mediaType: mediaType, boundary: boundary, bounded: boundary != "", encoding: e, doubt: doubt}
			first := i == 0 && as == k && mediaType == part.MediaType && (as != kindMultipart || boundary == part.Params["boundary"])
			if first && (as == kindLeaf || e == Identity) || as == kindMessage && k == kindLeaf && mediaType == part.MediaType {
				continue // the latter is decoded first, and opened as a member
			}
			if as == kindMessage {
				r.mediaType = "message/rfc822"
			}
			r.why = fmt.Sprintf("as %.50s in %s", r.mediaType, e)
			if r.bounded {
				r.why = fmt.Sprintf("as %.50s with boundary %.50q", r.mediaType, boundary)
			}
			p.otherwise(r)
		}
	}
	if len(fields) == 0 {
		note(k, part.MediaType, "")
	}
	for i := range fields {
		f := &fields[i]
		as := kindOf(f.value)
		boundaries, doubtful := f.boundaries()
		for _, b := range boundaries {
			note(kindMultipart, multipartType(f.value), b)
			if d := DecodeWords(b); d != b {
				note(kindMultipart, multipartType(f.value), d)
			}
		}
		doubt = "parts with a boundary that some clients read"
		for _, b := range doubtful {
			note(kindMultipart, multipartType(f.value), b)
		}
		doubt = ""
		if as == kindMultipart && (len(boundaries) == 0 || f.damaged) {
			note(kindMultipart, f.value, "")
		}
		if as != kindMultipart {
			note(as, f.value, "")
		}
		if !validType(f.value) || f.blanked {
			note(kindLeaf, "text/plain", "") // RFC 2045 section 5.2
			p.guessedType(f, note)
		}
		for _, v := range otherActive(f) {
			p.ambiguous(part, "mime/ambiguous-type", "the Content-Type is damaged")
			note(kindOf(v), v, "")
		}
	}
}

// maxOtherTypes is how many more types of one damaged field are read.
const maxOtherTypes = 4

// otherActive are types besides the first that clients may find in a field, of those that make a
// difference: what is shown as a page, or holds parts.
func otherActive(f *parsedField) (list []string) {
	add := func(v string) {
		active := kindOf(v) != kindLeaf || strings.Contains(v, "html") || strings.Contains(v, "xml")
		if v != f.value && active && validType(v) && len(list) < maxOtherTypes && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	for i := range f.alts {
		add(f.alts[i].value)
	}
	if f.damaged || !validType(f.value) {
		add(compactType(f.text))
		for word := range strings.FieldsFuncSeq(strings.ToLower(f.text), isTypeEnd) {
			add(word)
		}
	}
	return list
}

// compactType is what a field has before its first semicolon, without comments and blanks: between
// the words of a type both are allowed (RFC 822 section 3.4.1).
func compactType(text string) string {
	s := fieldScanner{s: strings.ToLower(text)}
	var b strings.Builder
	for s.skip(" \t"); !s.end() && s.s[s.pos] != ';'; s.skip(" \t") {
		b.WriteByte(s.s[s.pos])
		s.pos++
	}
	return b.String()
}

func isTypeEnd(r rune) bool { return strings.ContainsRune(" \t;,\"'()<>=:", r) }

// guessedType notes the type that lenient clients find in a damaged field.
func (p *parser) guessedType(f *parsedField, note func(kind, string, string)) {
	for _, word := range strings.FieldsFunc(strings.ToLower(f.text), isTypeEnd) {
		if main, sub, ok := strings.Cut(word, "/"); ok && main != "" && sub != "" {
			note(kindOf(word), word, firstOf(f.values("boundary")))
			return
		}
	}
}

func multipartType(declared string) string {
	if kindOf(declared) == kindMultipart {
		return declared
	}
	return "multipart/mixed"
}
