package sanitize

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"rastel/sanitize/eml"
)

// htmlExtensions are those of files that a browser shows as a page.
var htmlExtensions = set("html htm shtml shtm xhtml xht svg mht mhtml hta htc")

// HTML looks for what is active in HTML, whatever its label: the body of a message as well as
// attached pages and drawings. Its fixes rename what is active in place, so that it is visible
// and does nothing, and touch no other byte.
type HTML struct{ Config Config }

// Checks are all checks that Scan may report.
func (HTML) Checks() []eml.Check { return htmlChecks[:] }

// Scan examines one leaf.
func (s HTML) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Leaf() || !isHTML(p) {
		return nil, nil
	}
	if p.Size > s.Config.htmlSize() {
		return []eml.Finding{{Check: "html/limit", Part: p, Detail: fmt.Sprintf("%d bytes", p.Size), Unexamined: true}}, nil
	}
	b := make([]byte, p.Size)
	if _, err := io.ReadFull(p.Content(), b); err != nil {
		return nil, fmt.Errorf("read HTML: %w", err)
	}
	text, how := readable(b, p.Charset())
	pg := &page{b: text}
	pg.examine()
	for _, c := range pg.charset {
		if unreadable(c) {
			how = c
		}
	}
	return pg.findings(p, how), nil
}

// isHTML reports whether some client shows the part as a page. Plain text that only mentions
// HTML is not: mail about HTML is common among those who write it.
func isHTML(p *eml.Part) bool {
	switch p.MediaType {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "application/xhtml", "text/xhtml":
		return true
	}
	for _, n := range p.Names {
		for _, f := range forms(n) {
			if htmlExtensions[extension(f)] {
				return true
			}
		}
	}
	if p.Type != "html" && p.Type != "svg" {
		return false
	}
	return p.MediaType != "text/plain" || len(p.Names) > 0 || bytes.HasPrefix(bytes.TrimLeft(p.Head(256), " \t\r\n\xef\xbb\xbf"), []byte("<"))
}

// readable gives the page in a form in which its tags are ASCII. how is empty if that is the
// form it is in, so that it can be edited; otherwise it names the charset.
func readable(b []byte, charset string) (text []byte, how string) {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return fromUTF16(b, binary.LittleEndian), "utf-16"
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return fromUTF16(b, binary.BigEndian), "utf-16"
	case strings.HasPrefix(charset, "utf-16be"):
		return fromUTF16(b, binary.BigEndian), charset
	case strings.HasPrefix(charset, "utf-16"):
		return fromUTF16(b, binary.LittleEndian), charset
	case unreadable(charset):
		return b, charset
	}
	return b, ""
}

// unreadable reports whether a charset has letters of which tags are made at other places than
// ASCII has them, or none, so that the bytes do not tell what is a tag.
func unreadable(charset string) bool {
	for _, s := range []string{"utf-7", "unicode-1-1", "utf-32", "iso-2022", "csiso2022", "hz-gb", "cp037", "ibm", "ebcdic", "x-imap"} {
		if strings.HasPrefix(charset, s) {
			return true
		}
	}
	return false
}

func fromUTF16(b []byte, order binary.ByteOrder) []byte {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(u)))
}

// findings makes one finding of each check. A page that cannot be edited in place has findings
// without fixes.
func (p *page) findings(part *eml.Part, how string) []eml.Finding {
	var out []eml.Finding
	for check := range htmlChecks {
		var f *eml.Finding
		for _, m := range p.marks {
			if int(m.check) != check {
				continue
			}
			if f == nil {
				out = append(out, eml.Finding{Check: htmlChecks[check].ID, Part: part, Detail: p.excerpt(m.at)})
				f = &out[len(out)-1]
			}
			if how == "" {
				f.Fix = append(f.Fix, m.edit(part))
			}
		}
	}
	if how != "" && (len(out) > 0 || unreadable(how) && !strings.HasPrefix(how, "iso-2022")) {
		out = append(out, eml.Finding{Check: "html/charset", Part: part, Detail: how})
	}
	if p.over {
		out = append(out, eml.Finding{Check: "html/limit", Part: part, Detail: "too many tags within tags", Unexamined: true})
	}
	return out
}

// edit is the fix at a mark.
func (m mark) edit(p *eml.Part) eml.Edit {
	text := defanged
	if m.check == checkMalformed {
		text = asText
	}
	return eml.Edit{Part: p, Region: eml.InContent, Start: int64(m.at), End: int64(m.at), Text: []byte(text)}
}

// excerpt is what stands at a place, for people.
func (p *page) excerpt(at int) string { return string(p.b[at:min(at+60, len(p.b))]) }
