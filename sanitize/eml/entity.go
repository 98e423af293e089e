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
	over, cut, goOn := "", false, p.how&emptyContinues != 0
	for {
		room := p.lim.Header - int64(len(h.raw))
		line := p.win.line(windowSize)
		if len(line) == 0 || p.win.err != nil {
			break
		}
		if !cut && (isEmptyLine(line) || p.how&blankEnds != 0 && isBlankLine(line)) {
			p.win.skip(len(line))
			if goOn && p.headerFollows(len(h.Fields) == 0) {
				goOn = isEmptyLine(p.win.line(maxDelimiter))
				continue
			}
			break
		}
		if !cut && bytes.HasPrefix(line, dashes) {
			if _, ok := p.match(line, true); ok {
				break // the delimiter comes before the header has ended
			}
		}
		if !cut && p.how&junkEndsHeader != 0 && isJunk(line, len(h.Fields) == 0) {
			break
		}
		switch {
		case over != "":
		case int64(len(line)) > room:
			over = "mime/limit-header"
			p.limit(part, over, fmt.Sprintf("more than %d bytes", p.lim.Header))
		case len(h.Fields) >= p.lim.Fields && !cut && !continues(line):
			over = "mime/limit-fields"
			p.limit(part, over, fmt.Sprintf("more than %d fields", p.lim.Fields))
		default:
			p.headerLine(part, line, cut)
		}
		cut = !p.endsLine(line[len(line)-1]) // longer than the window: what follows is more of it
		p.win.skip(len(line))
	}
}

// endsLine reports whether lines end with that byte.
func (p *parser) endsLine(c byte) bool { return c == '\n' || c == '\r' && p.how&crEndsLine != 0 }

func isEmptyLine(line []byte) bool {
	return line[0] == '\n' || len(line) >= 2 && line[0] == '\r' && line[1] == '\n' || string(line) == "\r"
}

// isBlankLine reports whether the line goes on from the one before with nothing but blanks (obs-FWS,
// RFC 5322 section 4.2).
func isBlankLine(line []byte) bool {
	return continues(line) && line[len(line)-1] == '\n' && len(bytes.TrimSpace(line)) == 0
}

// bodyStart looks at where a body begins: a field there belongs to the header for clients that
// pass over the empty line.
func (p *parser) bodyStart(part *Part, as kind) {
	if as == kindMessage || strings.HasPrefix(part.MediaType, "message/") || part.MediaType == "text/rfc822-headers" || p.how&emptyContinues != 0 {
		return
	}
	if p.headerFollows(len(part.Header.Fields) == 0) {
		p.ambiguous(part, "mime/ambiguous-header", "the body begins with a header field")
		p.again(part, emptyContinues, "with a header that goes on behind its first empty line")
	}
}

// headerFollows reports whether a field of MIME is where the body begins: in its first line or, if there
// is no header, before its next empty line, for some clients pass over empty lines before a header.
func (p *parser) headerFollows(none bool) bool {
	if !none {
		return looksLikeField(p.win.line(maxDelimiter))
	}
	for line := range bytes.Lines(bytes.TrimLeft(p.win.peek(maxDelimiter), "\r\n")) {
		switch {
		case looksLikeField(line):
			return true
		case isEmptyLine(line), p.isDelimiter(line):
			return false
		}
	}
	return false
}

// isDelimiter reports whether the line begins like a delimiter of an open entity.
func (p *parser) isDelimiter(line []byte) bool {
	text, ok := bytes.CutPrefix(line, dashes)
	return ok && slices.ContainsFunc(p.open, func(lv level) bool {
		return lv.guess || lv.bounded && bytes.HasPrefix(text, []byte(lv.boundary))
	})
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
	if i := bytes.IndexAny(bytes.TrimRight(line, "\r\n"), "\r\x00"); i >= 0 {
		p.ambiguous(part, "mime/ambiguous-header", "a bare CR or NUL in the header")
		p.again(part, crEndsLine, "with a bare CR as the end of a line, and without NUL")
	}
	if p.how&crEndsLine != 0 {
		line = bytes.ReplaceAll(line, []byte{0}, nil)
	}
	h.raw = append(h.raw, line...)
	if more || continues(line) {
		if !more && isBlankLine(line) {
			p.again(part, blankEnds, "with a header that ends at a line of blanks")
		}
		switch n := len(h.Fields); {
		case n == 0:
			p.ambiguous(part, "mime/ambiguous-header", "the header begins with a continuation line")
			p.again(part, junkContinues, "with a header whose first line is a field with blanks before it")
			if !more && p.how&junkContinues != 0 {
				p.indentedField(part, line, at)
			}
		case h.Fields[n-1].End == at: // else it goes on from what is no field
			h.Fields[n-1].End = int64(len(h.raw))
		}
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
		p.again(part, junkEndsHeader, "with a header that ends where no field is")
	}
	h.Fields = append(h.Fields, Field{
		Name: internName(name), Start: at, End: int64(len(h.raw)), value: at + int64(colon) + 1,
	})
}

// indentedField takes the first line of a header for a field in spite of the blanks before it.
func (p *parser) indentedField(part *Part, line []byte, at int64) {
	h := &part.Header
	text := bytes.TrimLeft(line, " \t")
	at += int64(len(line) - len(text))
	colon := bytes.IndexByte(text, ':')
	name := bytes.TrimRight(text[:max(colon, 0)], " \t")
	if isFieldName(name) {
		h.Fields = append(h.Fields, Field{Name: internName(name), Start: at, End: int64(len(h.raw)), value: at + int64(colon) + 1})
	}
}

func continues(line []byte) bool { return len(line) > 0 && (line[0] == ' ' || line[0] == '\t') }

// isJunk reports whether a strict client takes the line for no part of a header. First says that
// there is no field yet.
func isJunk(line []byte, first bool) bool {
	if continues(line) || first && bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	colon := bytes.IndexByte(line, ':')
	return colon <= 0 || !isFieldName(line[:colon])
}

// junkLine is a line in a header that is no field.
func (p *parser) junkLine(part *Part, line []byte) {
	h := &part.Header
	if bytes.HasPrefix(line, []byte("From ")) && part == p.msg.Root && len(h.Fields) == 0 {
		return // the separator of an mbox file, no part of the message
	}
	if p.how&junkContinues != 0 && len(h.Fields) > 0 {
		h.Fields[len(h.Fields)-1].End = int64(len(h.raw))
		return
	}
	p.ambiguous(part, "mime/ambiguous-header", "a line in the header that is no field")
	p.again(part, junkEndsHeader, "with a header that ends where no field is")
	p.again(part, junkContinues, "with lines in the header that are no field as more of the one before")
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
			types = append(types, string(h.RawValue(f)))
		case f.Is("Content-Transfer-Encoding"):
			encodings = append(encodings, strings.TrimRight(string(unfold(h.RawValue(f))), "\r\n"))
		case f.Is("Content-Disposition"):
			dispositions = append(dispositions, string(h.RawValue(f)))
		}
	}
	fields := p.contentType(part, types)
	p.names(part, fields, dispositions)
	others := p.encoding(part, encodings)
	k := p.kind(part)
	if len(fields) > 0 || len(others) > 0 {
		p.otherTypes(part, k, fields, others)
	}
	return k
}

// names collects every name that a client would show.
func (p *parser) names(part *Part, types []parsedField, dispositions []string) {
	var found distinct
	add := func(list ...string) {
		for _, v := range list {
			if len(found.list) > p.lim.Names {
				return // there is no end of them
			}
			joined := DecodeWords(joinWords(v))
			v = DecodeWords(v)
			found.add(v)
			found.add(percentDecode(v))
			found.add(ToUTF8("", v))
			found.add(joined)
		}
	}
	for i, v := range dispositions {
		f := p.fieldOf(part, v)
		if i == 0 {
			part.Disposition = f.value
		}
		add(f.values("filename")...)
		add(f.values("name")...)
	}
	for _, f := range types {
		add(f.values("name")...)
		add(f.values("filename")...)
		add(f.values("file")...) // enmime
	}
	p.nameAmbiguity(part, found.list)
	if len(found.list) == 0 { // some clients look further
		for _, field := range []string{"Content-Location", "Content-Description"} {
			v := percentDecode(part.Header.Text(field))
			v, _, _ = strings.Cut(v, "?") // of a URL
			if n := path.Base(v); len(path.Ext(n)) > 1 {
				add(n)
			}
		}
	}
	part.Names = found.list
	if len(part.Names) > p.lim.Names {
		p.limit(part, "mime/limit-names", fmt.Sprintf("more than %d names", p.lim.Names))
		part.Names = part.Names[:p.lim.Names]
	}
}

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
		if !validType(f.value) {
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
	if !validType(f.value) {
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

// nameAmbiguity reports names between which a client's choice decides how a file is opened.
func (p *parser) nameAmbiguity(part *Part, names []string) {
	for _, n := range names {
		if !strings.EqualFold(path.Ext(n), path.Ext(names[0])) {
			p.ambiguousName(part, names)
			return
		}
	}
}

// maxToldNames is how many of the names of a part a finding tells.
const maxToldNames = 10

// ambiguousName does not make the message ambiguous: all names are judged, and the content is
// the same whichever a client shows.
func (p *parser) ambiguousName(part *Part, names []string) {
	p.found(part, "mime/ambiguous-name", fmt.Sprintf("%.200q", names[:min(len(names), maxToldNames)]))
}

// encodingNames are the values of Content-Transfer-Encoding that are understood: those of RFC
// 2045 section 6.1 and what clients take besides.
var encodingNames = map[string]Encoding{
	"": Identity, "7bit": Identity, "8bit": Identity, "binary": Identity,
	"base64": Base64, "quoted-printable": QuotedPrintable,
	"x-uuencode": UUEncode, "x-uue": UUEncode, "uuencode": UUEncode, "uue": UUEncode,
}

// encoding fills in the transfer encoding, and says where clients differ about it: the result is
// what else they may decode the body from.
func (p *parser) encoding(part *Part, values []string) (others []Encoding) {
	all := make([]Encoding, 0, 4)
	add := func(list ...Encoding) {
		for _, e := range list {
			if !slices.Contains(all, e) {
				all = append(all, e)
			}
		}
	}
	for _, v := range values {
		behind := strings.TrimRight(v, " \t") != v
		v = strings.ToLower(strings.TrimSpace(v))
		if e, ok := encodingNames[v]; ok {
			add(e)
			if behind {
				add(Identity) // Python's email does not know the encoding then; it is no sign of anything odd
			}
			continue
		}
		p.ambiguous(part, "mime/ambiguous-encoding", fmt.Sprintf("the encoding is %.100q", v))
		if words := encodingWords(v); len(words) > 0 {
			add(append(words, Identity)...)
		} else {
			add(Identity, Base64, QuotedPrintable)
		}
	}
	if len(values) > 1 && len(all) > 1 {
		p.ambiguous(part, "mime/ambiguous-encoding", "several encodings are declared")
	}
	if len(all) == 0 {
		return nil
	}
	if i := slices.IndexFunc(all, func(e Encoding) bool { return e != Identity }); i > 0 && len(encodingWords(values[0])) > 0 {
		all[0], all[i] = all[i], all[0] // most clients take the one that decodes
	}
	part.Encoding = all[0]
	return all[1:]
}

// encodingWords are the encodings that lenient clients find in a value with comments, quotes and
// whatever else.
func encodingWords(v string) (list []Encoding) {
	for _, w := range strings.FieldsFunc(strings.ToLower(v), func(r rune) bool { return strings.ContainsRune(" \t,;()\"'", r) }) {
		e, ok := encodingNames[w]
		if !ok {
			e, ok = encodingNames[strings.TrimPrefix(w, "x-")]
		}
		if ok && len(list) < maxEncodings {
			list = append(list, e)
		}
	}
	return list
}

// maxEncodings is how many words of one field are taken for encodings.
const maxEncodings = 8

// kind tells how the body is read first.
func (p *parser) kind(part *Part) kind {
	switch part.MediaType {
	case "message/partial":
		p.found(part, "mime/partial", "RFC 2046 section 5.2.2")
	case "message/external-body":
		p.found(part, "mime/external-body", "RFC 2046 section 5.2.3")
	}
	k := kindOf(part.MediaType)
	switch {
	case part.Encoding == Identity:
	case k == kindMultipart:
		// Not allowed (RFC 2045 section 6.4); most clients pass over the encoding.
		p.ambiguous(part, "mime/ambiguous-encoding", "an encoding on an entity that holds others")
	case k == kindMessage:
		// Nor is this, but many do it, and clients decode it: it is opened as a member. Others do not,
		// and what is a message in base64 is none without.
		if part.Encoding == QuotedPrintable {
			p.otherwise(reading{part: part, why: "as a message that is not encoded", as: kindMessage, mediaType: part.MediaType})
		}
		return kindLeaf
	}
	return k
}

// messageTypes are those whose body begins with a header. That of message/partial is the header
// of the message that it is a fragment of, that of message/external-body tells what is elsewhere.
var messageTypes = map[string]bool{
	"message/rfc822": true, "message/global": true, "message/news": true, "message/partial": true, "message/external-body": true,
}

func kindOf(mediaType string) kind {
	switch {
	case strings.HasPrefix(mediaType, "multipart/") || mediaType == "multipart":
		return kindMultipart
	case messageTypes[mediaType]:
		return kindMessage
	}
	return kindLeaf
}
