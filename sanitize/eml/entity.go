package eml

import "strings"

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
