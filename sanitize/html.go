package sanitize

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// htmlExtensions are those of files that a browser shows as a page.
var htmlExtensions = set("html htm shtml shtm xhtml xht svg mht mhtml hta htc")

// xmlExtensions are those of XML that a browser opens.
var xmlExtensions = set("xml xsl xslt xsd rdf rss atom mml mathml xul xbl")

// HTML looks for what is active in HTML, whatever its label: the body of a message as well as
// attached pages and drawings. Its fixes rename what is active in place, so that it is visible
// and does nothing, and touch no other byte.
type HTML struct{ Config Config }

// Checks are all checks that Scan may report.
func (HTML) Checks() []eml.Check { return htmlChecks[:] }

// Scan examines one leaf.
func (s HTML) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	html := isHTML(p)
	if !p.Leaf() || !html && !isXML(p) || isForm(p) {
		return nil, nil
	}
	if p.Size > s.Config.htmlSize() {
		return []eml.Finding{{Check: "html/limit", Part: p, Detail: fmt.Sprintf("%d bytes", p.Size), Unexamined: true}}, nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a disk that fails is a failure of this scan
	b, release, err := p.View()
	if err != nil {
		return nil, fmt.Errorf("read HTML: %w", err)
	}
	defer release()
	if !html {
		out, _, err := examine(ctx, p, b, html, nil)
		return out, err
	}
	along := newAlongside(p, b)
	defer along.done()
	out, marks, err := examine(ctx, p, b, html, along)
	if err == nil && p.HasLongLines() && (bytes.IndexByte(b, '<') >= 0 || eml.IsUTF7(p.Charset())) { // which may encode "<"
		out, err = wrapped(ctx, out, p, marks, along)
	}
	return out, err
}

// A tally is how many marks there are of each check.
type tally [len(htmlChecks)]int

// maxTexts is in how many forms a page is examined. One that declares more charsets is reported as
// html/charset all the same.
const maxTexts = 4

// examine gives the findings in the content of a part, and how many marks there are in all forms of it. It reads along
// what the page is for others, unless that must be read as a whole to tell what is in it.
func examine(ctx context.Context, p *eml.Part, b []byte, html bool, along *alongside) (out []eml.Finding, marks tally, err error) {
	texts, how := readings(b, p.Charset())
	if along != nil && how != "" && !eml.IsUTF7(how) {
		along.unread()
		along = nil
	}
	if texts == nil { // nor are there as MTAs leave it
		return []eml.Finding{{Check: "html/limit", Part: p, Detail: fmt.Sprintf("%d bytes in %s", p.Size, how), Unexamined: true}}, marks, nil
	}
	for i := 0; i < len(texts); i++ {
		text := texts[i]
		if k := along.decoded(); i > 0 && text == nil && k != nil && k.addsNothing(out) {
			marks.add(k.tally())
			how = lastUnreadable(how, k.charset)
			continue
		}
		if i > 0 && text == nil {
			text = fromUTF7(b)
		}
		pg := newPage(text)
		pg.xml, pg.disk, pg.data = mayBeXML(p), isFile(p), !html
		defer pg.done()
		if i == 0 && along != nil {
			pg.along = along
			if how != "" {
				along.start(pg)
			}
		}
		if err := pg.examine(ctx); err != nil {
			return nil, marks, err
		}
		pg.count(&marks)
		for _, c := range pg.charset {
			if unreadable(c) && how != c && i == 0 && len(texts) < maxTexts && len(b) <= maxRecoded { // the page says so of itself
				texts = append(texts, inCharset(b, c)...)
			}
			how = lastUnreadable(how, []string{c})
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
	return out, marks, nil
}

// lastUnreadable is the last unreadable one of the charsets, or how if there is none.
func lastUnreadable(how string, charsets []string) string {
	for _, c := range charsets {
		if unreadable(c) {
			how = c
		}
	}
	return how
}

// addsNothing reports whether there is a finding of each check already that there are marks of in the page.
func (k *otherPage) addsNothing(out []eml.Finding) bool {
	for check, n := range k.tally() {
		if n > 0 && !slices.ContainsFunc(out, func(f eml.Finding) bool { return f.Check == htmlChecks[check].ID }) {
			return false
		}
	}
	return true
}

func (t *tally) add(more tally) {
	for check, n := range more {
		t[check] += n
	}
}

// count adds up how many marks there are of each check.
func (p *page) count(marks *tally) {
	for _, m := range p.marks {
		marks[m.check]++
	}
	if p.over {
		marks[checkLimit]++
	}
}

// isForm reports whether a part is a form in a PDF document (XFA), as the reader of those says. Such
// forms have elements like "script" and rich text in XHTML, and no browser opens them.
func isForm(p *eml.Part) bool {
	return p.Member() && p.Parent.Type == "pdf" && p.MediaType == "application/vnd.adobe.xdp+xml"
}

// isXML reports whether a browser shows the part, if its elements are of HTML or a drawing. Most
// XML is data, whose elements may well be called "form" or "object".
func isXML(p *eml.Part) bool {
	return p.Type == "xml" || isXMLType(p.MediaType) || hasExtension(p, xmlExtensions)
}

// isXMLType tells the media types of XML (RFC 7303).
func isXMLType(media string) bool {
	return media == "text/xml" || media == "application/xml" || media == "text/xsl" || strings.HasSuffix(media, "+xml")
}

// mayBeXML reports whether some client reads the part as XML, if it is a page.
func mayBeXML(p *eml.Part) bool {
	return isXML(p) || p.Type == "svg" || p.MediaType == "application/xhtml" || p.MediaType == "text/xhtml" || hasExtension(p, xhtmlExtensions)
}

// xhtmlExtensions are those of pages and drawings that a browser reads as XML.
var xhtmlExtensions = set("xhtml xht svg svgz")

// isFile reports whether a part is saved and opened from the disk, rather than shown in the message.
func isFile(p *eml.Part) bool { return len(p.Names) > 0 || p.Disposition == "attachment" }

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
	var n tally
	p.count(&n)
	var out []eml.Finding
	var of [len(htmlChecks)]*eml.Finding
	for _, m := range p.marks {
		f := of[m.check]
		if f == nil {
			f = &eml.Finding{Check: htmlChecks[m.check].ID, Part: part, Detail: p.excerpt(m.at)}
			if fixes {
				f.Fix = make([]eml.Edit, 0, n[m.check])
			}
			of[m.check] = f
		}
		if fixes {
			f.Fix = append(f.Fix, m.edit(part))
		}
	}
	for _, f := range of {
		if f != nil {
			out = append(out, *f)
		}
	}
	if p.over {
		out = append(out, eml.Finding{Check: "html/limit", Part: part, Detail: "too many tags within tags, or unsafe places", Unexamined: true})
	}
	return out
}

// edit is the fix at a mark.
func (m mark) edit(p *eml.Part) eml.Edit {
	text := defangedBytes
	if m.check == checkMalformed {
		text = asTextBytes
	}
	return eml.Edit{Part: p, Region: eml.InContent, Start: int64(m.at), End: int64(m.at), Text: text}
}

// excerpt is what stands at a place, for people.
func (p *page) excerpt(at int) string { return string(p.b[at:min(at+60, len(p.b))]) }
