package sanitize

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/charmap"
)

const (
	// maxOpen is how many elements may be open at once. Browsers stop at 512.
	maxOpen = 200
	// freeReopen is how many bytes of tags that are opened again any page may have, so that a
	// page does not become much larger than it was.
	freeReopen = 64 << 10
)

// A cleaner writes a page anew: what cleanElements and its kin allow, each value in quotes, each
// text escaped, each element closed, no comments. Whatever a client takes the page for, there is
// nothing else in it.
type cleaner struct {
	t       *tokenReader
	w       *htmlWriter
	stack   []openElement
	tags    []byte           // their start tags
	open    [maxElements]int // how many of each are in it
	pending []closedElement  // to be opened again before what follows
	ignored [maxElements]int // start tags that were left out, beyond maxOpen
	reopens int              // bytes of tags that may still be opened again
	top     string
	doctype string
	root    string       // attributes of html
	begun   bool         // the head is written
	body    bool         // so is the beginning of the body
	ended   bool         // an end tag of the body was seen
	quirks  bool         // the page is to be shown as pages of old are
	skip    *htmlElement // whose content is left out; nil if none is
	depth   int          // of elements of that name within it
	style   string       // the tag of the style sheet that is read
	css     []byte       // room for style sheets
	looks   memo[cleanLook]
}

// writeClean writes the clean form of the page that is read from r, which is UTF-8, to w in a charset;
// nil is UTF-8, with top, which is clean and ASCII, at the beginning of its body. It is its own clean form. Its memory does not depend on the size of the page.
// The errors are those of r and w.
func writeClean(w io.Writer, r io.Reader, charset *charmap.Charmap, label, top string) error {
	c := &cleaner{top: top, t: newTokenReader(r), w: &htmlWriter{w: w, charset: charset, label: label}, reopens: freeReopen, quirks: true}
	for c.t.next() {
		switch c.t.kind {
		case html.DoctypeToken:
			c.setDoctype(string(c.t.text))
		case html.TextToken:
			c.text()
		case html.StartTagToken:
			c.start()
		case html.EndTagToken:
			c.end()
		}
		if err := c.w.write(); err != nil {
			return err
		}
	}
	if c.t.err != nil {
		return fmt.Errorf("read HTML: %w", c.t.err)
	}
	c.openBody("")
	c.closeTo(0)
	c.w.raw("</body></html>\n")
	return c.w.flush()
}

// The document types that are written: by them a browser shows a page as the standard says, or
// nearly so, with tables as pages of old have them.
const (
	standardDoctype = "<!DOCTYPE html>"
	limitedDoctype  = `<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">`
)

// setDoctype takes the document type of the page (HTML, section 13.2.6.4.1), if it is at its start.
func (c *cleaner) setDoctype(s string) {
	if c.begun || c.doctype != "" {
		return
	}
	s = strings.ToLower(s)
	name, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	switch {
	case name != "html":
	case strings.TrimSpace(rest) == "", strings.Contains(rest, "about:legacy-compat"), strings.Contains(rest, "strict//"), strings.Contains(rest, "//dtd xhtml 1.1//"):
		c.doctype, c.quirks = standardDoctype, false
	case strings.Contains(rest, "//dtd xhtml 1.0 transitional//"), strings.Contains(rest, "//dtd xhtml 1.0 frameset//"),
		strings.Contains(rest, "//dtd html 4.01 ") && strings.Contains(rest, "http"):
		c.doctype, c.quirks = limitedDoctype, false
	}
}

// begin writes what comes before the content of the head.
func (c *cleaner) begin() {
	if c.begun {
		return
	}
	c.begun = true
	if c.doctype != "" {
		c.w.raw(c.doctype + "\n")
	}
	c.w.raw("<html" + c.root + ">\n<head>\n<meta charset=\"" + c.w.label + "\">\n")
}

// openBody writes the end of the head and the beginning of the body.
func (c *cleaner) openBody(attrs string) {
	c.begin()
	if !c.body {
		c.body = true
		c.w.raw("</head>\n<body" + attrs + ">" + c.top)
	}
}

func (c *cleaner) text() {
	switch {
	case c.t.in.name == "style":
		c.sheet()
	case c.skip != nil || c.t.in.is&isSilentElement != 0:
	case (!c.body || c.ended) && isBlankText(c.t.text):
	default:
		c.openBody("")
		c.reopen(false)
		c.w.text(c.t.text, c.t.has)
	}
}

func isBlankText(b []byte) bool {
	for _, ch := range b {
		if !isBlank(ch) && ch != 0 {
			return false
		}
	}
	return true
}

// sheet writes a style sheet: where it was, if that is in the body.
func (c *cleaner) sheet() {
	if c.t.goes || c.skip != nil {
		return
	}
	if c.css = cleanSheet(c.css[:0], c.t.text); len(c.css) == 0 {
		return
	}
	c.begin()
	c.w.raw("<style" + c.style + ">\n")
	c.w.css(c.css)
	c.w.raw("</style>")
	if !c.body {
		c.w.raw("\n")
	}
	if cap(c.css) > maxWriteRoom {
		c.css = nil
	}
}

func (c *cleaner) start() {
	el := c.t.el.same
	if c.skip != nil && !c.leaveSkipped(el) {
		return
	}
	if el.is&isCleanElement != 0 {
		c.element(el)
		return
	}
	switch el.name {
	case "html":
		if !c.begun && c.root == "" {
			c.root = c.attrsOf(el)
		}
	case "body":
		if !c.body {
			c.openBody(c.attrsOf(el))
		}
	case "style":
		c.style = c.attrsOf(el)
	case "svg", "template":
		c.skip, c.depth = el, 1
	}
}

// leaveSkipped looks at a start tag in what is left out, and reports whether it ends that.
func (c *cleaner) leaveSkipped(el *htmlElement) bool {
	switch {
	case el == c.skip:
		c.depth++
	case c.skip.name == "svg" && el.is&isSVGEnd != 0:
		c.skip = nil
		return true
	}
	return false
}

// element writes a start tag, and before it the end tags that it implies.
func (c *cleaner) element(el *htmlElement) {
	c.openBody("")
	if len(c.stack)+len(c.pending) >= maxOpen && el.is&isVoidElement == 0 {
		c.ignored[el.id]++
		return
	}
	if el.is&(implies|isParagraphEnd) != 0 {
		c.implied(el)
	}
	if !c.fitsTable(el) {
		return
	}
	if el.is&isTablePart == 0 {
		c.reopen(el.is&isParagraphEnd != 0)
	}
	mark := len(c.w.buf)
	c.w.raw(el.tag)
	c.attrs(el)
	c.w.buf = append(c.w.buf, '>')
	if el.is&isVoidElement == 0 {
		c.push(el, c.w.buf[mark:])
	}
}

func (c *cleaner) end() {
	el := c.t.el.same
	switch {
	case c.skip != nil:
		if el == c.skip {
			if c.depth--; c.depth == 0 {
				c.skip = nil
			}
		}
	case el.is&isCleanElement == 0:
		c.ended = c.ended || c.body && (el.name == "body" || el.name == "html")
	case el.name == "br":
		c.element(el) // without attributes, as an end tag has none
	case c.ignored[el.id] > 0:
		c.ignored[el.id]--
	case c.unpend(el):
	case el.is&isVoidElement == 0:
		if i := c.endOf(el); i >= 0 {
			c.closeElement(i)
		}
	}
}
