package eml

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// header reads the header that begins here, up to and over the empty line that ends it.
func (p *parser) header(part *Part) {
	h := &part.Header
	over, cut := false, false
	for {
		room := p.lim.Header - int64(len(h.raw))
		line := p.win.line(windowSize)
		if len(line) == 0 || p.win.err != nil {
			break
		}
		if !cut && isEmptyLine(line) {
			p.win.skip(len(line))
			break
		}
		if !cut && bytes.HasPrefix(line, []byte("--")) {
			if _, ok := p.match(line); ok {
				break // the delimiter comes before the header has ended
			}
		}
		if over || int64(len(line)) > room || len(h.Fields) >= p.lim.Fields {
			over = true
		} else {
			p.headerLine(part, line, cut)
		}
		cut = line[len(line)-1] != '\n' // longer than the window: what follows is more of it
		p.win.skip(len(line))
	}
	if over {
		p.limit(part, "mime/limit-header", fmt.Sprintf("more than %d bytes or %d fields", p.lim.Header, p.lim.Fields))
	}
}

func isEmptyLine(line []byte) bool {
	return line[0] == '\n' || len(line) >= 2 && line[0] == '\r' && line[1] == '\n' || string(line) == "\r"
}

// headerLine takes one line of a header: a field, more of one, or something that is neither,
// which clients pass over or take for the beginning of the body. More says that the line goes
// on from the one before.
func (p *parser) headerLine(part *Part, line []byte, more bool) {
	h := &part.Header
	at := int64(len(h.raw))
	if h.raw == nil {
		h.raw = make([]byte, 0, 1024)
	}
	h.raw = append(h.raw, line...)
	if i := bytes.IndexAny(bytes.TrimRight(line, "\r\n"), "\r\x00"); i >= 0 {
		p.ambiguous(part, "mime/ambiguous-header", "a bare CR or NUL in the header")
	}
	if more || line[0] == ' ' || line[0] == '\t' {
		if len(h.Fields) == 0 {
			p.ambiguous(part, "mime/ambiguous-header", "the header begins with a continuation line")
			return
		}
		h.Fields[len(h.Fields)-1].End = int64(len(h.raw))
		return
	}
	colon := bytes.IndexByte(line, ':')
	name := bytes.TrimRight(line[:max(colon, 0)], " \t")
	if colon <= 0 || !isFieldName(name) {
		p.junkLine(part, line)
		return
	}
	if len(name) != colon && isContentField(name) {
		p.ambiguous(part, "mime/ambiguous-header", "a blank before the colon")
	}
	h.Fields = append(h.Fields, Field{
		Name: internName(name), Start: at, End: int64(len(h.raw)), value: at + int64(colon) + 1,
	})
}

func (p *parser) junkLine(part *Part, line []byte) {
	if bytes.HasPrefix(line, []byte("From ")) && part == p.msg.Root && len(part.Header.Fields) == 0 {
		return // the separator of an mbox file, no part of the message
	}
	p.ambiguous(part, "mime/ambiguous-header", "a line in the header that is no field")
}

// isFieldName reports whether a field may be called so (RFC 5322 section 2.2).
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(name) > 0
}

func isContentField(name []byte) bool {
	return len(name) > 8 && strings.EqualFold(string(name[:8]), "content-")
}

// commonNames saves an allocation for the names that most fields have.
var commonNames = func() map[string]string {
	m := map[string]string{}
	for _, n := range strings.Fields(`Received From To Cc Subject Date Message-ID Message-Id MIME-Version Mime-Version
		Content-Type Content-Transfer-Encoding Content-Disposition Content-ID Content-Description Content-Language
		Reply-To Return-Path Sender References In-Reply-To DKIM-Signature Authentication-Results Received-SPF
		ARC-Seal ARC-Message-Signature ARC-Authentication-Results List-Unsubscribe List-Id User-Agent X-Mailer Delivered-To`) {
		m[n] = n
	}
	return m
}()

func internName(name []byte) string {
	if s, ok := commonNames[string(name)]; ok {
		return s
	}
	return string(name)
}

// A kind is how the body of an entity is read.
type kind uint8

const (
	kindLeaf kind = iota
	kindMultipart
	kindMessage
)

// classify reads the Content fields of an entity.
func (p *parser) classify(part *Part) kind {
	var types, encodings, dispositions []string
	h := &part.Header
	for _, f := range h.Fields {
		if len(f.Name) < 12 || f.Name[0]|0x20 != 'c' {
			continue
		}
		switch {
		case f.Is("Content-Type"):
			types = append(types, h.Value(f))
		case f.Is("Content-Transfer-Encoding"):
			encodings = append(encodings, h.Value(f))
		case f.Is("Content-Disposition"):
			dispositions = append(dispositions, h.Value(f))
		}
	}
	var names, shown []string
	ct := p.contentType(part, types)
	addNames := func(f parsedField, param string) {
		for i, v := range f.values(param) {
			v = DecodeWords(v)
			if i == 0 {
				shown = append(shown, v)
			}
			if !slices.Contains(names, v) {
				names = append(names, v)
			}
		}
	}
	for i, v := range dispositions {
		f := p.fieldOf(part, v)
		if i == 0 {
			part.Disposition = f.value
		}
		addNames(f, "filename")
		addNames(f, "name")
	}
	for _, f := range ct {
		addNames(f, "name")
		addNames(f, "filename")
	}
	part.Names = names
	p.nameAmbiguity(part, names)
	p.encoding(part, encodings)
	return p.kind(part)
}

func (p *parser) fieldOf(part *Part, value string) parsedField {
	f := parseField(value, p.lim.Params)
	if f.over {
		p.limit(part, "mime/limit-header", fmt.Sprintf("more than %d parameters", p.lim.Params))
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
		if i > 0 && v != values[0] {
			p.ambiguous(part, "mime/ambiguous-type", "several Content-Type fields that differ")
		}
	}
	if len(fields) == 0 {
		return nil
	}
	f := &fields[0]
	if !strings.Contains(f.value, "/") || strings.ContainsAny(f.value, "\"(),:;<>@[\\]=") {
		p.ambiguous(part, "mime/ambiguous-type", "the Content-Type is damaged")
	}
	part.MediaType = f.value
	part.Params = map[string]string{}
	for _, q := range f.params {
		if _, ok := part.Params[q.name]; !ok {
			part.Params[q.name] = firstOf(f.values(q.name))
		}
	}
	p.boundary(part, f)
	return fields
}

func firstOf(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

// boundary says where clients differ about the boundary of an entity.
func (p *parser) boundary(part *Part, f *parsedField) {
	values := f.values("boundary")
	multipart := strings.HasPrefix(part.MediaType, "multipart")
	switch {
	case len(values) > 1:
		p.ambiguous(part, "mime/ambiguous-boundary", "several boundaries are declared")
	case multipart && f.damaged:
		p.ambiguous(part, "mime/ambiguous-boundary", "the Content-Type is damaged")
	case !multipart && len(values) > 0:
		p.ambiguous(part, "mime/ambiguous-type", "a boundary, but no multipart type")
	}
}

// nameAmbiguity reports names between which a client's choice decides how a file is opened.
func (p *parser) nameAmbiguity(part *Part, names []string) {
	for _, n := range names {
		if !strings.EqualFold(path.Ext(n), path.Ext(names[0])) {
			p.ambiguousName(part, names)
			return
		}
	}
}

// ambiguousName does not make the message ambiguous: all names are judged, and the content is
// the same whichever a client shows.
func (p *parser) ambiguousName(part *Part, names []string) {
	p.found(part, "mime/ambiguous-name", fmt.Sprintf("%.200q", names))
}

// encodingNames are the values of Content-Transfer-Encoding that are understood: those of RFC
// 2045 section 6.1 and what clients take besides.
var encodingNames = map[string]Encoding{
	"": Identity, "7bit": Identity, "8bit": Identity, "binary": Identity,
	"base64": Base64, "quoted-printable": QuotedPrintable,
	"x-uuencode": UUEncode, "x-uue": UUEncode, "uuencode": UUEncode, "uue": UUEncode,
}

// encoding fills in the transfer encoding, and says where clients differ about it.
func (p *parser) encoding(part *Part, values []string) {
	for i, v := range values {
		word := strings.ToLower(strings.TrimSpace(v))
		e, ok := encodingNames[word]
		if !ok {
			e = encodingNames[undecorated(word)]
			p.ambiguous(part, "mime/ambiguous-encoding", fmt.Sprintf("the encoding is %.100q", v))
		}
		if i == 0 {
			part.Encoding = e
		} else if e != part.Encoding {
			p.ambiguous(part, "mime/ambiguous-encoding", "several encodings are declared")
			part.Encoding = max(part.Encoding, e)
		}
	}
}

// undecorated takes comments, quotes and what follows off a value, as lenient clients do.
func undecorated(v string) string {
	s := fieldScanner{s: strings.Trim(v, `"' `)}
	word := strings.Trim(s.token(), `"', `)
	word, _, _ = strings.Cut(word, ",")
	return strings.TrimPrefix(word, "x-")
}

// kind tells how the body is read. An encoding on an entity that holds others is not allowed
// (RFC 2045 section 6.4), and clients decode it or not.
func (p *parser) kind(part *Part) kind {
	k := kindLeaf
	switch {
	case strings.HasPrefix(part.MediaType, "multipart"):
		k = kindMultipart
	case part.MediaType == "message/rfc822", part.MediaType == "message/global", part.MediaType == "message/news":
		k = kindMessage
	case part.MediaType == "message/partial":
		p.found(part, "mime/partial", "RFC 2046 section 5.2.2")
	case part.MediaType == "message/external-body":
		p.found(part, "mime/external-body", "RFC 2046 section 5.2.3")
	}
	if k == kindLeaf || part.Encoding == Identity {
		return k
	}
	p.ambiguous(part, "mime/ambiguous-encoding", "an encoding on an entity that holds others")
	return kindLeaf
}
