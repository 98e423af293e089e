package eml

import (
	"bytes"
	"fmt"
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
	if len(h.raw)+len(line) > cap(h.raw) {
		h.raw = slices.Grow(h.raw, max(len(line), cap(h.raw))) // twice as much each time: append gives a quarter
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
