package eml

import (
	"fmt"
	"slices"
	"strings"
)

func (p *parser) fieldOf(part *Part, value string) parsedField {
	f := parseField(value, p.lim.Params)
	if f.over {
		p.limit(part, "mime/limit-parameters", fmt.Sprintf("more than %d parameters", p.lim.Params))
	}
	return f
}

// contentType fills in the media type, and says where clients differ about it.
func (p *parser) contentType(part *Part, values []string) []parsedField {
	part.MediaType = "text/plain"
	if part.Parent != nil && part.Parent.MediaType == "multipart/digest" {
		part.MediaType = "message/rfc822" // RFC 2046 section 5.1.5
	}
	fields := make([]parsedField, 0, 1)
	for i, v := range values {
		fields = append(fields, p.fieldOf(part, v))
		if i > 0 && unfoldTo(v, "") != unfoldTo(values[0], "") {
			p.ambiguous(part, "mime/ambiguous-type", "several Content-Type fields that differ")
		}
	}
	if len(fields) == 0 {
		return nil
	}
	f := &fields[0]
	if !validType(f.value) || f.blanked {
		p.ambiguous(part, "mime/ambiguous-type", "the Content-Type is damaged")
	}
	if validType(f.value) || kindOf(f.value) != kindLeaf {
		part.MediaType = f.value
	}
	part.Params = f.first()
	if len(charsets(f.values("charset"))) > 1 {
		p.ambiguous(part, "mime/ambiguous-type", "several charsets are declared")
	}
	p.boundary(part, f)
	return fields
}

func validType(v string) bool {
	kind, sub, ok := strings.Cut(v, "/")
	return ok && isToken(kind) && isToken(sub)
}

func firstOf(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// boundary says where clients differ about the boundary of an entity.
func (p *parser) boundary(part *Part, f *parsedField) {
	values, _ := f.boundaries()
	multipart := kindOf(part.MediaType) == kindMultipart
	empty := slices.ContainsFunc(f.params, func(q param) bool { return q.name == "boundary" && q.value == "" })
	switch {
	case len(values) > 0 && empty:
		p.ambiguous(part, "mime/ambiguous-boundary", "one of the boundaries is empty")
	case multipart && len(values) == 1 && !plainBoundary(values[0]):
		p.ambiguous(part, "mime/ambiguous-boundary", "the boundary holds what clients read in different ways")
	case len(values) > 1:
		p.ambiguous(part, "mime/ambiguous-boundary", "several boundaries are declared")
	case multipart && f.damaged:
		p.ambiguous(part, "mime/ambiguous-boundary", "the Content-Type is damaged")
	case !multipart && len(values) > 0:
		p.ambiguous(part, "mime/ambiguous-type", "a boundary, but no multipart type")
	}
}

// plainBoundary reports whether all clients compare a boundary as it is. More characters than RFC
// 2046 section 5.1.1 allows are no trouble.
func plainBoundary(b string) bool {
	odd := func(r rune) bool { return r < ' ' || r >= 0x7f || r == '"' || r == '\\' || r == ';' }
	return strings.IndexFunc(b, odd) < 0 && DecodeWords(b) == b
}
