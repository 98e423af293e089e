package sanitize

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
)

const (
	maxNoticeNames    = 10  // names that a notice lists
	maxNoticeFindings = 10  // findings that it tells
	maxNoticeText     = 200 // bytes of a name, and of a line of the reason
	maxReasonLines    = 20
)

// text is the notice about a part in one language.
func (n *Notices) text(tag string, p *eml.Part, r *Removal) (string, error) {
	l := n.languages[tag]
	d := noticeData{Type: typeOf(p), Item: r.Item, Contact: n.contact}
	if p.Leaf() {
		d.Size = sizeOf(p.Size)
	}
	names := removedNames(p, r)
	for _, name := range names[:min(len(names), maxNoticeNames)] {
		d.Names = append(d.Names, shown(name))
	}
	d.More = len(names) - len(d.Names)
	for _, f := range r.Findings {
		t := toldFinding{f.Check, l.found[foundClass(f.Check)]}
		if len(d.Findings) < maxNoticeFindings && !slices.Contains(d.Findings, t) {
			d.Findings = append(d.Findings, t)
		}
	}
	d.Reason = reasonLines(r.Reason)
	text, err := l.execute(noticeText, d)
	return trimmed(text), err
}

// reasonLines are the lines of a reason as they are shown.
func reasonLines(reason string) []string {
	var out []string
	lines := slices.Collect(strings.Lines(reason))
	for _, line := range lines[:min(len(lines), maxReasonLines)] {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, shown(line))
		}
	}
	return out
}

// removedNames are the names of a part, and those of members in it for which it was stripped.
func removedNames(p *eml.Part, r *Removal) []string {
	names := slices.Clone(p.Names)
	for _, f := range r.Findings {
		if f.Part == nil || !f.Part.Member() || len(names) > maxNoticeNames {
			continue
		}
		for _, name := range f.Part.Names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// typeOf is the type of a part for people: what it says, and what it is.
func typeOf(p *eml.Part) string {
	said := shown(p.MediaType)
	if p.Leaf() && p.Type != "" && !strings.Contains(said, p.Type) {
		return fmt.Sprintf("%s (%s)", cmp.Or(said, "?"), p.Type)
	}
	return said
}

func sizeOf(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}

// shown gives text on one line, with escapes for what does not print: controls, what turns the
// direction of text, what takes no room.
func shown(s string) string {
	q := strconv.Quote(shorten(s, maxNoticeText))
	var b strings.Builder
	for _, r := range strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) {
		if isInvisible(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// noticeColumns is how long a line of a notice is, where it has blanks to break it at.
const noticeColumns = 72

// trimmed is text without blanks at the ends of lines, with one empty line at most between two others.
// It ends in a line break.
func trimmed(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" || len(out) > 0 && out[len(out)-1] != "" {
			out = append(out, line)
		}
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n") + "\n"
}

// wrappedText is text in lines that are not too long.
func wrappedText(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, l := range wrapWords(strings.Fields(line)) {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// wrapWords gives the words in lines; one empty line if there are none.
func wrapWords(words []string) []string {
	lines, column := []string{""}, 0
	for _, w := range words {
		last := len(lines) - 1
		n := len([]rune(w))
		switch {
		case strings.HasPrefix(w, string(hardBlank)):
			lines[last], column = lines[last]+w, column+n
		case column == 0:
			lines[last], column = w, n
		case column+1+n > noticeColumns:
			lines, column = append(lines, w), n
		default:
			lines[last], column = lines[last]+" "+w, column+1+n
		}
	}
	return lines
}

// ErrHeader is returned by Strip where the header of the part is not wholly known, because it is
// larger than the limits of the parser or the message ends in it, so that nothing certain can be
// made of it.
var ErrHeader = errors.New("the header is not wholly known")

// Strip makes the edits that replace a part by a notice: nothing is left of its content, of what it
// holds, and of its Content fields. Other fields of the message, or of a message in it, stay. For a
// member it strips the carrier. The notice is text, and HTML as well where the message shows HTML.
// No line of it is long, and none can be taken for a boundary between parts of the message, whatever
// names and reason hold.
func (n *Notices) Strip(p *eml.Part, r Removal) ([]eml.Edit, error) {
	p = p.Carrier()
	var texts []noticeIn
	for _, tag := range n.in(r.Languages) {
		text, err := n.text(tag, p, &r)
		if err != nil {
			return nil, err
		}
		texts = append(texts, noticeIn{tag, text})
	}
	return strip(p, noticeFor(p, texts))
}

// strip replaces a part by content.
func strip(p *eml.Part, c content) ([]eml.Edit, error) {
	prefix, err := bodyPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("strip part %s: %w", p.ID, err)
	}
	body := append([]byte(prefix), c.body...)
	if !bytes.HasSuffix(body, []byte("\r\n")) {
		body = append(body, "\r\n"...) // the line break before the delimiter may be that of the header
	}
	edits := stripHeader(p, c.fields)
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

// stripHeader puts the Content fields of the notice in the place of those of the part.
func stripHeader(p *eml.Part, fields []byte) []eml.Edit {
	if !isMessage(p) {
		return []eml.Edit{{Part: p, Region: eml.InHeader, Start: 0, End: -1, Text: fields}}
	}
	var content []eml.Field
	for _, f := range p.Header.Fields {
		if isContentField(f.Name) {
			content = append(content, f)
		}
	}
	text := fields
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
