package sanitize

import (
	"bufio"
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
	open    map[string]int // how many of each name are in it
	pending []openElement  // to be opened again before what follows
	ignored map[string]int // start tags that were left out, beyond maxOpen
	reopens int            // bytes of tags that may still be opened again
	top     string
	doctype string
	root    string // attributes of html
	begun   bool   // the head is written
	body    bool   // so is the beginning of the body
	ended   bool   // an end tag of the body was seen
	quirks  bool   // the page is to be shown as pages of old are
	skip    string // the element whose content is left out
	depth   int    // of elements of that name within it
	style   string // the tag of the style sheet that is read
}

// writeClean writes the clean form of the page that is read from r, which is UTF-8, to w in a charset;
// nil is UTF-8, with top, which is clean and ASCII, at the beginning of its body. It is its own clean form. Its memory does not depend on the size of the page.
// The errors are those of r and w.
func writeClean(w io.Writer, r io.Reader, charset *charmap.Charmap, label, top string) error {
	c := &cleaner{top: top, t: newTokenReader(r), w: &htmlWriter{w: bufio.NewWriter(w), charset: charset}, reopens: freeReopen, quirks: true, ignored: map[string]int{}, open: map[string]int{}}
	c.w.label = label
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
	}
	if c.t.err != nil {
		return fmt.Errorf("read HTML: %w", c.t.err)
	}
	c.openBody("")
	c.closeTo(0)
	c.w.raw("</body></html>\n")
	return c.w.w.Flush()
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
	case c.t.raw == "style":
		c.sheet()
	case silentElements[c.t.raw] || c.skip != "":
	case (!c.body || c.ended) && isBlankText(c.t.text):
	default:
		c.openBody("")
		c.reopen(false)
		c.w.text(c.t.text)
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
	if c.t.goes || c.skip != "" {
		return
	}
	css := cleanSheet(string(c.t.text))
	if css == "" {
		return
	}
	c.begin()
	c.w.raw("<style" + c.style + ">\n")
	c.w.css(css)
	c.w.raw("</style>")
	if !c.body {
		c.w.raw("\n")
	}
}

func (c *cleaner) start() {
	name := c.t.name
	if same, ok := sameElements[name]; ok {
		name = same
	}
	if c.skip != "" && !c.leaveSkipped(name) {
		return
	}
	switch name {
	case "html":
		if !c.begun && c.root == "" {
			c.root = c.attrs(name)
		}
	case "body":
		c.openBody(c.attrs(name))
	case "style":
		c.style = c.attrs(name)
	case "svg", "template":
		c.skip, c.depth = name, 1
	default:
		if cleanElements[name] {
			c.element(name)
		}
	}
}

// leaveSkipped looks at a start tag in what is left out, and reports whether it ends that.
func (c *cleaner) leaveSkipped(name string) bool {
	switch {
	case name == c.skip:
		c.depth++
	case c.skip == "svg" && leavesSVG[name]:
		c.skip = ""
		return true
	}
	return false
}

// element writes a start tag, and before it the end tags that it implies.
func (c *cleaner) element(name string) {
	c.openBody("")
	if len(c.stack)+len(c.pending) >= maxOpen && !voidElements[name] {
		c.ignored[name]++
		return
	}
	c.implied(name)
	if !c.fitsTable(name) {
		return
	}
	if !tableParts[name] {
		c.reopen(closesParagraph[name])
	}
	tag := "<" + name + c.attrs(name) + ">"
	c.w.raw(tag)
	if !voidElements[name] {
		c.push(openElement{name, tag})
	}
}

func (c *cleaner) end() {
	name := c.t.name
	if same, ok := sameElements[name]; ok {
		name = same
	}
	switch {
	case c.skip != "":
		if name == c.skip {
			if c.depth--; c.depth == 0 {
				c.skip = ""
			}
		}
	case name == "body" || name == "html":
		c.ended = c.body
	case name == "br":
		c.t.attrs = nil
		c.element(name)
	case c.ignored[name] > 0:
		c.ignored[name]--
	case c.unpend(name):
	case cleanElements[name] && !voidElements[name]:
		if i := c.endOf(name); i >= 0 {
			c.closeElement(i)
		}
	}
}
