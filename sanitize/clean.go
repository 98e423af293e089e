package sanitize

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/text/encoding/charmap"
)

// cleanElements are the elements that a page written anew may have: those of text, tables, lists and
// pictures, whose content all parsers read alike. None of them is read as raw text, takes the parser
// into SVG or MathML, or is closed by a rule of its own; so what is text here is text there.
var cleanElements = union(
	`a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del details
	dfn dir div dl dt em fieldset figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup hr i img ins kbd label legend
	li main map area mark menu nav nobr ol p picture pre q rp rt ruby s samp section small source span strike strong sub
	summary sup table tbody td tfoot th thead time tr tt u ul var wbr`,
)

var (
	// voidElements have no content and no end tag (HTML, section 13.1.2).
	voidElements = set("area br col hr img source wbr")
	// formatElements are opened again by a parser where they were left open (HTML, section 13.2.4.3).
	formatElements = set("a b big code em font i nobr s small strike strong tt u")
	// plainElements are neither these nor special: an end tag of one does not close what is.
	plainElements = set("abbr acronym bdi bdo cite del dfn ins kbd label legend map mark picture q rp rt ruby samp span sub sup time var")
	// closesParagraph are the elements before which an open paragraph ends (HTML, section 13.2.6.4.7).
	closesParagraph = set(`address article aside blockquote center details dir div dl dd dt fieldset figcaption figure footer h1 h2 h3
		h4 h5 h6 header hgroup hr li main menu nav ol p pre section summary table ul`)
	// impliedEnds are the elements whose end tag may be left out. They are not opened again.
	impliedEnds = set("dd dt li p rp rt tbody td tfoot th thead tr caption colgroup")
	// sameElements are others that a parser, or the eye, takes for one of ours.
	sameElements = map[string]string{"image": "img", "xmp": "pre", "listing": "pre", "plaintext": "pre"}
	// silentElements hold raw text that is not shown.
	silentElements = set("script iframe noembed noframes title")
)

// cleanAttrs are the attributes that any element may have.
var cleanAttrs = set(`align aria-hidden aria-label aria-level aria-labelledby aria-describedby bgcolor background border bordercolor
	cellpadding cellspacing class clear color dir face height hidden hspace id lang nowrap noshade role size start style summary title type
	valign value vspace width`)

// cleanElementAttrs are more of them for some elements.
var cleanElementAttrs = map[string]map[string]bool{
	"a":        set("href name target"),
	"area":     set("href alt shape coords target"),
	"img":      set("src srcset sizes alt usemap longdesc"),
	"source":   set("srcset sizes media"),
	"map":      set("name"),
	"td":       set("colspan rowspan abbr scope headers axis char charoff"),
	"th":       set("colspan rowspan abbr scope headers axis char charoff"),
	"table":    set("rules frame"),
	"col":      set("span char charoff"),
	"colgroup": set("span char charoff"),
	"ol":       set("reversed compact"),
	"ul":       set("compact"),
	"time":     set("datetime"),
	"del":      set("datetime"),
	"ins":      set("datetime"),
	"details":  set("open"),
	"body":     set("text link vlink alink topmargin leftmargin rightmargin bottommargin marginwidth marginheight"),
	"style":    set("media"),
}

const (
	// maxOpen is how many elements may be open at once. Browsers stop at 512.
	maxOpen = 200
	// freeReopen is how many bytes of tags that are opened again any page may have, so that a
	// page does not become much larger than it was.
	freeReopen = 64 << 10
)

// An openElement is an element whose end is still to come.
type openElement struct{ name, tag string }

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

// leavesSVG are the elements that end a drawing (HTML, section 13.2.6.5).
var leavesSVG = set(`b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu
	meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var`)

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

func (c *cleaner) push(e openElement) {
	c.stack = append(c.stack, e)
	c.open[e.name]++
}

var (
	tableParts = set("caption colgroup col tbody thead tfoot tr td th")
	// barriers are the elements that an end tag, or an implied one, does not look beyond.
	barriers = set("table td th caption")
)

// fitsTable reports whether a part of a table is in one; parsers drop others.
func (c *cleaner) fitsTable(name string) bool {
	if !tableParts[name] {
		return true
	}
	i := c.find("table", nil)
	return i >= 0 && i == c.lastOf(barriers)
}

// implied writes the end tags that a start tag implies.
func (c *cleaner) implied(name string) {
	switch name {
	case "tr":
		c.closeUntil("table", "tbody", "thead", "tfoot")
	case "td", "th":
		c.closeUntil("table", "tr", "tbody", "thead", "tfoot")
	case "tbody", "thead", "tfoot", "caption", "colgroup":
		c.closeUntil("table")
	case "col":
		c.closeUntil("table", "colgroup")
	case "li":
		c.closeItem("li", "ul", "ol", "menu", "dir")
	case "dd", "dt":
		c.closeItem("dd", "dl")
		c.closeItem("dt", "dl")
	case "a", "nobr":
		if i := c.find(name, barriers); i >= 0 {
			c.closeElement(i)
		}
	}
	if closesParagraph[name] && (name != "table" || !c.quirks) {
		if i := c.find("p", barriers); i >= 0 {
			c.closeElement(i)
		}
	}
}

// closeItem closes an open item of the same list.
func (c *cleaner) closeItem(name string, lists ...string) {
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch n := c.stack[i].name; {
		case n == name:
			c.closeElement(i)
			return
		case slices.Contains(lists, n), barriers[n], n == "blockquote", n == "section", n == "article":
			return
		}
	}
}

// closeUntil closes all that is within the nearest of these elements.
func (c *cleaner) closeUntil(names ...string) {
	for i := len(c.stack) - 1; i >= 0; i-- {
		if slices.Contains(names, c.stack[i].name) {
			c.closeTo(i + 1)
			c.pending = nil // a cell is a world of its own
			return
		}
	}
}

// find is the index of the nearest open element of that name; -1 if there is none, or one of the
// others is nearer.
func (c *cleaner) find(name string, stop map[string]bool) int {
	if c.open[name] == 0 {
		return -1
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch n := c.stack[i].name; {
		case n == name:
			return i
		case stop[n]:
			return -1
		}
	}
	return -1
}

// lastOf is the index of the nearest open element of these; -1 if there is none.
func (c *cleaner) lastOf(names map[string]bool) int {
	for i := len(c.stack) - 1; i >= 0; i-- {
		if names[c.stack[i].name] {
			return i
		}
	}
	return -1
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

// unpend drops an element that was to be opened again.
func (c *cleaner) unpend(name string) bool {
	for i := len(c.pending) - 1; i >= 0; i-- {
		if c.pending[i].name == name {
			c.pending = slices.Delete(c.pending, i, i+1)
			return true
		}
	}
	return false
}

// endOf is the index of the element that an end tag closes; -1 if there is none.
func (c *cleaner) endOf(name string) int {
	switch {
	case name == "table":
		return c.find(name, nil)
	case tableParts[name]:
		return c.find(name, tableOnly)
	case !plainElements[name]:
		return c.find(name, barriers)
	}
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch n := c.stack[i].name; {
		case n == name:
			return i
		case !plainElements[n] && !formatElements[n]:
			return -1
		}
	}
	return -1
}

var tableOnly = set("table")

// closeElement closes the open element at i, and what is in it. Of that, what parsers open again
// comes again before what follows.
func (c *cleaner) closeElement(i int) {
	closed := c.stack[i].name
	inner := slices.Clone(c.stack[i+1:])
	c.closeTo(i)
	if barriers[closed] || tableParts[closed] {
		c.pending = nil
		return
	}
	for _, e := range inner {
		if formatElements[e.name] || formatElements[closed] && !impliedEnds[e.name] && !barriers[e.name] {
			c.pending = append(c.pending, e)
		}
	}
}

// closeTo closes all but the first n open elements.
func (c *cleaner) closeTo(n int) {
	for i := len(c.stack) - 1; i >= n; i-- {
		c.w.raw("</" + c.stack[i].name + ">")
		c.open[c.stack[i].name]--
	}
	c.stack = c.stack[:n]
}

// reopen opens what was closed before its time. Before a block it does so only for blocks, as
// parsers do, and what they are in.
func (c *cleaner) reopen(block bool) {
	n := len(c.pending)
	for block && n > 0 && formatElements[c.pending[n-1].name] {
		n--
	}
	for _, e := range c.pending[:n] {
		if c.reopens -= len(e.tag); c.reopens < 0 {
			break
		}
		c.w.raw(e.tag)
		c.push(e)
	}
	c.pending = slices.Delete(c.pending, 0, n)
}

// attrs are the attributes of the start tag that may stay, as they are written.
func (c *cleaner) attrs(name string) string {
	var b strings.Builder
	more := cleanElementAttrs[name]
	for _, a := range c.t.attrs {
		if !cleanAttrs[a.Key] && !more[a.Key] {
			continue
		}
		if v, ok := cleanValue(name, a.Key, a.Val); ok {
			b.WriteString(" " + a.Key + `="`)
			c.w.escape(&b, v, true)
			b.WriteByte('"')
		}
	}
	return b.String()
}

// cleanValue gives the value of an attribute as it may stay, and reports whether it may.
func cleanValue(elem, key, v string) (string, bool) {
	switch key {
	case "style":
		v = cleanDeclarations(v)
		return v, v != ""
	case "href", "src", "longdesc", "background":
		return cleanURL(elem, key, v)
	case "srcset":
		return v, allowedURL(elem, key, v) && !strings.ContainsAny(v, "\\<>")
	case "usemap":
		return v, strings.HasPrefix(v, "#")
	case "target":
		return "_blank", strings.TrimSpace(v) != ""
	}
	return v, dangerousURL([]byte(v)) == "" // nobody follows it, and nobody needs it
}

// The schemes that links, and pictures, may have.
var (
	linkSchemes  = set("http https ftp mailto tel sms callto xmpp sip sips news webcal geo cid mid")
	imageSchemes = set("http https cid data")
)

// cleanURL gives a URL without what browsers drop from it, and reports whether it may stay.
func cleanURL(elem, key, v string) (string, bool) {
	v = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || isUnwritten(r) {
			return -1
		}
		return r
	}, v)
	v = strings.TrimSpace(v)
	if strings.ContainsRune(v, '\\') || !allowedURL(elem, key, v) || dangerousURL([]byte(v)) != "" || v == "" {
		return "", false
	}
	allowed := imageSchemes
	if key == "href" || key == "longdesc" {
		allowed = linkSchemes
	}
	head, _, ok := strings.Cut(v, ":")
	if !ok || strings.ContainsAny(head, "/?#") {
		return v, true // relative
	}
	return v, allowed[strings.ToLower(strings.TrimSpace(head))]
}

// An htmlWriter writes text so that it is text, in a charset that has ASCII.
type htmlWriter struct {
	w       *bufio.Writer // also keeps the first error
	charset *charmap.Charmap
	label   string
}

// raw writes what is escaped already, in ASCII or by escape.
func (w *htmlWriter) raw(s string) { _, _ = w.w.WriteString(s) }

// isUnwritten tells characters that are in no page: controls, and those that are none.
func isUnwritten(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef || r == 0xfeff
}

func (w *htmlWriter) text(b []byte) {
	var s strings.Builder
	w.escape(&s, string(b), false)
	w.raw(s.String())
}

// escape appends text with character references for what is markup, and for what the charset
// does not have.
func (w *htmlWriter) escape(b *strings.Builder, s string, quoted bool) {
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"' && quoted:
			b.WriteString("&#34;")
		case r == '\r':
			b.WriteByte('\n')
		case isUnwritten(r):
		default:
			w.rune(b, r, "&#%d;")
		}
	}
}

// rune appends a character, or the reference to it.
func (w *htmlWriter) rune(b *strings.Builder, r rune, reference string) {
	if r < unicode.MaxASCII || w.charset == nil {
		b.WriteRune(r)
	} else if c, ok := w.charset.EncodeRune(r); ok {
		b.WriteByte(c)
	} else {
		fmt.Fprintf(b, reference, r)
	}
}

// css writes a style sheet, in which "<" is only within escapes.
func (w *htmlWriter) css(s string) {
	var b strings.Builder
	for _, r := range s {
		w.rune(&b, r, "\\%x ")
	}
	w.raw(b.String())
}
