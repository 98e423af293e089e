package sanitize

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
)

const (
	maxNoticeNames = 10  // names that a notice lists
	maxNoticeText  = 200 // bytes of a name, and of a line of the reason
	maxReasonLines = 20
)

// Notice is the text that takes the place of what was stripped: in ASCII, in short lines that
// end in CRLF, and none of which can be taken for a boundary between parts, whatever the reason
// and the names hold.
func Notice(reason string, names ...string) []byte {
	var b bytes.Buffer
	b.WriteString("The mail gateway has removed a part of this message.\r\n\r\n")
	lines := slices.Collect(strings.Lines(reason))
	for _, line := range lines[:min(len(lines), maxReasonLines)] {
		fmt.Fprintf(&b, "Reason: %s\r\n", shown(strings.TrimRight(line, "\r\n")))
	}
	for _, name := range names[:min(len(names), maxNoticeNames)] {
		fmt.Fprintf(&b, "Name: %s\r\n", shown(name))
	}
	if more := len(names) - maxNoticeNames; more > 0 {
		fmt.Fprintf(&b, "and %d more\r\n", more)
	}
	b.WriteString("\r\nIf you need it, ask the administrator of your mail system.\r\n")
	return b.Bytes()
}

// shown gives text as ASCII on one line, with escapes for the rest, and for the second of two
// hyphens, which begin a boundary and for some clients do so anywhere in a line.
func shown(s string) string {
	q := strconv.QuoteToASCII(shorten(s, maxNoticeText))
	return strings.NewReplacer(`\"`, `"`, "--", `-\x2d`).Replace(q[1 : len(q)-1])
}

// ErrHeader is returned by Strip where the header of the part is not wholly known, because it is
// larger than the limits of the parser or the message ends in it, so that nothing certain can be
// made of it.
var ErrHeader = errors.New("the header is not wholly known")

// Strip makes the edits that replace a part by a notice: it becomes text/plain in 7bit, and
// nothing is left of its content, of what it holds, and of its Content fields. Other fields of
// the message, or of a message in it, stay. For a member it strips the carrier. The notice must
// be ASCII with CRLF, such as Notice makes it.
func Strip(p *eml.Part, notice []byte) ([]eml.Edit, error) {
	p = p.Carrier()
	header, body := p.Header.Bytes(), slices.Clone(notice)
	gap := p.Raw().Size() - p.RawBody().Size() - int64(len(header))
	switch {
	case gap > 2, gap == 0 && !endsInBreak(header):
		return nil, fmt.Errorf("strip part %s: %w", p.ID, ErrHeader)
	case gap == 1 && byteIs(p, int64(len(header)), '\r'): // the message ends in its empty line
		body = append([]byte("\n"), body...)
	case gap == 0: // a delimiter, or the end, came before the empty line that ends a header
		body = append([]byte("\r\n"), body...)
	}
	if !bytes.HasSuffix(body, []byte("\r\n")) {
		body = append(body, "\r\n"...) // the line break before the delimiter may be that of the header
	}
	edits := stripHeader(p)
	return append(edits, eml.Edit{Part: p, Region: eml.InBody, Start: 0, End: -1, Text: body}), nil
}

// byteIs reports whether that byte is at that offset of the raw part.
func byteIs(p *eml.Part, at int64, c byte) bool {
	var b [1]byte
	n, _ := p.Raw().ReadAt(b[:], at)
	return n == 1 && b[0] == c
}

func endsInBreak(header []byte) bool {
	return len(header) == 0 || header[len(header)-1] == '\n'
}

const noticeFields = "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n"

func stripHeader(p *eml.Part) []eml.Edit {
	if !isMessage(p) {
		return []eml.Edit{{Part: p, Region: eml.InHeader, Start: 0, End: -1, Text: []byte(noticeFields)}}
	}
	var content []eml.Field
	for _, f := range p.Header.Fields {
		if isContentField(f.Name) {
			content = append(content, f)
		}
	}
	text := []byte(noticeFields)
	if p.Header.Count("MIME-Version") == 0 {
		text = append([]byte("MIME-Version: 1.0\r\n"), text...)
	}
	if len(content) > 0 {
		return replaceFields(nil, p, content, text)
	}
	end := int64(len(p.Header.Bytes()))
	return []eml.Edit{{Part: p, Region: eml.InHeader, Start: end, End: end, Text: text}}
}

// isMessage reports whether the header of the part is that of a message (RFC 5322): the message
// itself, or one encapsulated in it.
func isMessage(p *eml.Part) bool {
	return p.Parent == nil || strings.HasPrefix(p.Parent.MediaType, "message/")
}

func isContentField(name string) bool {
	return len(name) > 8 && strings.EqualFold(name[:8], "Content-")
}
