package sanitize

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"html"
	"strings"

	"rastel/sanitize/eml"
)

// A noticeIn is a notice in one language, in lines that end in "\n".
type noticeIn struct{ language, text string }

// A content is what an entity is made of: Content fields and a body, both in lines that end in CRLF.
type content struct{ fields, body []byte }

// betweenLanguages stands between notices in several languages.
const betweenLanguages = "\n* * *\n\n"

// noticeFor gives the notice the form in which the reader sees it: HTML where only that is shown,
// both where the message shows HTML, text otherwise.
func noticeFor(p *eml.Part, texts []noticeIn) content {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = wrappedText(t.text)
	}
	text := strings.Join(all, betweenLanguages)
	if p.Parent != nil && p.Parent.MediaType == "multipart/alternative" {
		switch {
		case p.MediaType == "text/html":
			return encodeText("text/html", htmlNotice(texts))
		case p.MediaType != "text/plain" && hasText(p.Parent):
			return hiddenNotice(text)
		}
		return encodeText("text/plain", text)
	}
	if boundary := noticeBoundary(p); boundary != "" && showsHTML(p) {
		return alternatives(boundary, encodeText("text/plain", text), encodeText("text/html", htmlNotice(texts)))
	}
	return encodeText("text/plain", text)
}

// hasText reports whether there is an alternative that any client shows.
func hasText(p *eml.Part) bool {
	for _, c := range p.Children {
		if c.Reading == "" && !c.Member() && (c.MediaType == "text/plain" || c.MediaType == "text/html") {
			return true
		}
	}
	return false
}

// hiddenNotice is a notice that clients list but do not show: the best of several alternatives is
// the last one that a client can show (RFC 2046 section 5.1.4), and one in the place of an
// invitation or the like would be shown instead of the text.
func hiddenNotice(text string) content {
	c := encodeText("application/octet-stream", text)
	c.fields = append(c.fields, "Content-Disposition: attachment; filename=\"removed.txt\"\r\n"...)
	return c
}

// showsHTML reports whether the message in which a part is shows HTML.
func showsHTML(p *eml.Part) bool {
	for !isMessage(p) {
		p = p.Parent
	}
	top, found := p, false
	var walk func(p *eml.Part)
	walk = func(p *eml.Part) {
		if p.Member() || p != top && isMessage(p) {
			return
		}
		found = found || p.MediaType == "text/html" && p.Disposition != "attachment"
		for _, c := range p.Children {
			walk(c)
		}
	}
	walk(p)
	return found
}

// htmlNotice is a page of notices.
func htmlNotice(texts []noticeIn) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"></head>\n<body>\n")
	for _, t := range texts {
		b.WriteString("<div lang=\"" + html.EscapeString(t.language) + "\" style=\"margin: 8px 0; border: 1px solid #999999; padding: 4px 12px\">\n")
		for paragraph := range strings.SplitSeq(strings.TrimSpace(t.text), "\n\n") {
			b.WriteString("<p>" + strings.ReplaceAll(html.EscapeString(paragraph), "\n", "<br>\n") + "</p>\n")
		}
		b.WriteString("</div>\n")
	}
	b.WriteString("</body>\n</html>\n")
	return b.String()
}

// noticeBoundary is a boundary that nobody can put into the message, for it is made of the hash of all
// content, and that does not begin like one of the entities around; empty if there is none.
func noticeBoundary(p *eml.Part) string {
	top := p
	for top.Parent != nil {
		top = top.Parent
	}
	h := sha256.New()
	top.Walk(func(q *eml.Part) bool {
		if q.Leaf() && !q.Member() {
			h.Write(q.SHA256[:])
		}
		return true
	})
	h.Write([]byte("notice " + p.ID))
	sum := hex.EncodeToString(h.Sum(nil)[:16])
next:
	for _, prefix := range []string{"=_rastel_notice_", "notice_", "removed_"} {
		for q := p.Parent; q != nil; q = q.Parent {
			if b, ok := q.Params["boundary"]; ok && strings.HasPrefix(prefix+sum, strings.ToLower(strings.TrimSpace(b))) {
				continue next
			}
		}
		return prefix + sum
	}
	return ""
}

// alternatives is an entity with several forms of the same (RFC 2046 section 5.1.4).
func alternatives(boundary string, list ...content) content {
	var b bytes.Buffer
	for _, c := range list {
		b.WriteString("--" + boundary + "\r\n")
		b.Write(c.fields)
		b.WriteString("\r\n")
		b.Write(c.body)
		b.WriteString("\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return content{[]byte("Content-Type: multipart/alternative;\r\n\tboundary=\"" + boundary + "\"\r\n"), b.Bytes()}
}

// encodeText gives text, in UTF-8 and in lines that end in "\n", the encoding for transfer that suits
// it: none for short lines in ASCII, quoted-printable or base64 otherwise. The lines that come of it
// have at most 76 characters, and hold no two hyphens in a row.
func encodeText(mediaType, text string) content {
	raw := []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	charset, encoding := "utf-8", "quoted-printable"
	var body []byte
	switch ascii := countASCII(raw); {
	case ascii == len(raw) && isShort(text):
		charset, encoding, body = "us-ascii", "7bit", raw
	case ascii < len(raw)/2:
		encoding, body = "base64", base64Lines(raw)
	default:
		body = quotedPrintable(raw)
	}
	fields := "Content-Type: " + mediaType
	if strings.HasPrefix(mediaType, "text/") {
		fields += "; charset=" + charset
	}
	return content{[]byte(fields + "\r\nContent-Transfer-Encoding: " + encoding + "\r\n"), body}
}

func countASCII(b []byte) int {
	n := 0
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// isShort reports whether ASCII text may stand in a message as it is.
func isShort(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > maxEncodedLine || strings.Contains(line, "--") || strings.HasPrefix(line, "From ") || strings.HasPrefix(line, ".") || !isPlain(line) {
			return false
		}
	}
	return true
}

// maxEncodedLine is how long an encoded line may be (RFC 2045 section 6.7).
const maxEncodedLine = 76

func base64Lines(raw []byte) []byte {
	s := base64.StdEncoding.EncodeToString(raw)
	var b bytes.Buffer
	for len(s) > 0 {
		n := min(maxEncodedLine, len(s))
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	return b.Bytes()
}

// quotedPrintable encodes text with line ends of CRLF (RFC 2045 section 6.7). Besides what must be
// encoded, it encodes the second of two hyphens, and what programs on the way change at the
// beginning of a line: a stop, and the word that begins a mailbox.
func quotedPrintable(raw []byte) []byte {
	const digits = "0123456789ABCDEF"
	var b bytes.Buffer
	column := 0
	for i, c := range raw {
		cr := c == '\r' && i+1 < len(raw) && raw[i+1] == '\n'
		lf := c == '\n' && i > 0 && raw[i-1] == '\r'
		if cr || lf {
			b.WriteByte(c)
			column = 0
			continue
		}
		first := i == 0 || raw[i-1] == '\n' && b.Bytes()[b.Len()-1] == '\n'
		last := i+1 == len(raw) || raw[i+1] == '\r'
		literal := c > ' ' && c < 0x7f && c != '=' || c == ' ' && !last
		if c == '-' && i > 0 && raw[i-1] == '-' || first && (c == '.' || c == '-' || bytes.HasPrefix(raw[i:], []byte("From "))) {
			literal = false
		}
		n := 3
		if literal {
			n = 1
		}
		if column+n > maxEncodedLine-1 {
			b.WriteString("=\r\n")
			column = 0
			if c == '.' || c == 'F' || c == '-' {
				literal, n = false, 3
			}
		}
		if column += n; literal {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'=', digits[c>>4], digits[c&15]})
		}
	}
	return b.Bytes()
}
