package sanitize

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"rastel/sanitize/eml"
)

// htmlExtensions are those of files that a browser shows as a page.
var htmlExtensions = set("html htm shtml shtm xhtml xht svg mht mhtml hta htc")

// xmlExtensions are those of XML that a browser opens.
var xmlExtensions = set("xml xsl xslt")

// HTML looks for what is active in HTML, whatever its label: the body of a message as well as
// attached pages and drawings. Its fixes rename what is active in place, so that it is visible
// and does nothing, and touch no other byte.
type HTML struct{ Config Config }

// Checks are all checks that Scan may report.
func (HTML) Checks() []eml.Check { return htmlChecks[:] }

// Scan examines one leaf.
func (s HTML) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	html := isHTML(p)
	if !p.Leaf() || !html && !isXML(p) {
		return nil, nil
	}
	if p.Size > s.Config.htmlSize() {
		return []eml.Finding{{Check: "html/limit", Part: p, Detail: fmt.Sprintf("%d bytes", p.Size), Unexamined: true}}, nil
	}
	b := make([]byte, p.Size)
	if _, err := io.ReadFull(p.Content(), b); err != nil {
		return nil, fmt.Errorf("read HTML: %w", err)
	}
	texts, how := readings(b, p.Charset())
	var out []eml.Finding
	var marks [len(htmlChecks)]int
	for _, text := range texts {
		pg := &page{b: text}
		pg.examine()
		pg.count(&marks)
		for _, c := range pg.charset {
			if unreadable(c) {
				how = c
			}
		}
		if !html && !pg.shown && !pg.over {
			continue
		}
		for _, f := range pg.findings(p, how == "") {
			out = addOnce(out, f)
		}
	}
	if how != "" && (len(out) > 0 || unreadable(how) && !strings.HasPrefix(how, "iso-2022")) {
		out = append(out, eml.Finding{Check: "html/charset", Part: p, Detail: how})
	}
	if !html || !p.HasLongLines() {
		return out, nil
	}
	return s.wrapped(out, p, marks)
}

// wrapped examines a page also as it is where an MTA has broken its long lines, which may divide
// "xonerror=" so that "onerror=" is left. The fix changes nothing but the encoding, in which no
// lines are long.
func (s HTML) wrapped(out []eml.Finding, p *eml.Part, marks [len(htmlChecks)]int) ([]eml.Finding, error) {
	for _, by := range eml.Wrappings() {
		var b bytes.Buffer
		if err := p.WriteWrapped(&b, by); err != nil {
			return nil, fmt.Errorf("read HTML: %w", err)
		}
		var now [len(htmlChecks)]int
		texts, _ := readings(b.Bytes(), p.Charset())
		for _, text := range texts {
			pg := &page{b: text}
			pg.examine()
			pg.count(&now)
		}
		for check, n := range now {
			if n > marks[check] {
				fix := []eml.Edit{{Part: p, Region: eml.InContent}}
				return append(out, eml.Finding{Check: htmlChecks[checkBroken].ID, Part: p, Detail: htmlChecks[check].ID + " where an MTA breaks a line", Fix: fix}), nil
			}
		}
	}
	return out, nil
}

// count adds up how many marks there are of each check.
func (p *page) count(marks *[len(htmlChecks)]int) {
	for _, m := range p.marks {
		marks[m.check]++
	}
	if p.over {
		marks[checkLimit]++
	}
}

// isXML reports whether a browser shows the part, if its elements are of HTML or a drawing. Most
// XML is data, whose elements may well be called "form" or "object".
func isXML(p *eml.Part) bool {
	return p.MediaType == "text/xml" || p.MediaType == "application/xml" || hasExtension(p, xmlExtensions)
}

// isHTML reports whether some client shows the part as a page. Plain text that only mentions
// HTML is not: mail about HTML is common among those who write it.
func isHTML(p *eml.Part) bool {
	switch p.MediaType {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "application/xhtml", "text/xhtml":
		return true
	}
	if hasExtension(p, htmlExtensions) {
		return true
	}
	if p.Type != "html" && p.Type != "svg" {
		return false
	}
	return p.MediaType != "text/plain" || len(p.Names) > 0 || bytes.HasPrefix(bytes.TrimLeft(p.Head(256), " \t\r\n\xef\xbb\xbf"), []byte("<"))
}

// hasExtension reports whether one of the names of a part has one of these extensions.
func hasExtension(p *eml.Part, extensions map[string]bool) bool {
	for _, n := range p.Names {
		for _, f := range forms(n) {
			if extensions[extension(f)] {
				return true
			}
		}
	}
	return false
}

// findings makes one finding of each check; with fixes if the page can be edited in place.
func (p *page) findings(part *eml.Part, fixes bool) []eml.Finding {
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
			if fixes {
				f.Fix = append(f.Fix, m.edit(part))
			}
		}
	}
	if p.over {
		out = append(out, eml.Finding{Check: "html/limit", Part: part, Detail: "too many tags within tags, or unsafe places", Unexamined: true})
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
