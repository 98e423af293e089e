package sanitize

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html"
)

const (
	// maxTextLevels is how many lists and quotes in one another are shown as such.
	maxTextLevels = 8
	// maxTextURL is how long a URL may be that is shown; of a longer one only its beginning is.
	maxTextURL = 2000
	// maxTextLine is how many bytes of a line are held back at once.
	maxTextLine = 4 << 10
)

// A texter makes plain text of a page.
type texter struct {
	t     *tokenReader
	out   lineText
	stack []textElement
	open  map[string]int // how many of each name are in it
	over  int            // start tags beyond maxOpen
	skip  string         // the drawing or template that is left out
	depth int
}

// A textElement is an open element.
type textElement struct {
	name   string
	hidden bool   // it, or what it is in, is not shown
	tiny   bool   // its text has no size
	grid   bool   // a table whose cells are told apart
	item   int    // of a list: the number of its last item; -1 if they have none
	cells  int    // of a row
	href   string // of a link
	at     int    // of a link: how much text there was before it
}

// writeText writes the page that is read from r, which is UTF-8, as plain text to w, behind top: links with their
// URLs, lists, quotes, tables row by row, what pictures say. What is not shown is left out. It has no
// line that is taken for the beginning of an encoded file, and, if it is to be a file, nothing that is
// taken for a tag. The errors are those of r and w.
func writeText(w io.Writer, r io.Reader, file bool, top string) error {
	x := &texter{open: map[string]int{}, t: newTokenReader(r), out: lineText{w: bufio.NewWriter(w), tagless: file}}
	_, _ = x.out.w.WriteString(top)
	for x.t.next() {
		switch x.t.kind {
		case html.TextToken:
			x.text()
		case html.StartTagToken:
			x.start()
		case html.EndTagToken:
			x.end()
		}
	}
	if x.t.err != nil {
		return fmt.Errorf("read HTML: %w", x.t.err)
	}
	x.popTo(0)
	return x.out.finish()
}

func (x *texter) hidden() bool {
	return x.skip != "" || len(x.stack) > 0 && x.stack[len(x.stack)-1].hidden
}

// tiny reports whether text is of no size.
func (x *texter) tiny() bool { return len(x.stack) > 0 && x.stack[len(x.stack)-1].tiny }

func (x *texter) text() {
	if x.tiny() || x.t.raw == "style" || silentElements[x.t.raw] || x.hidden() {
		return
	}
	if x.has("pre") || x.t.raw == "xmp" || x.t.raw == "plaintext" {
		for i, line := range strings.Split(string(x.t.text), "\n") {
			if i > 0 {
				x.out.lineBreak()
			}
			x.out.verbatim(line)
		}
		return
	}
	x.out.words(string(x.t.text))
}

func (x *texter) has(name string) bool {
	return x.open[name] > 0
}

var (
	// paragraphs are the elements that have an empty line before and behind them.
	paragraphs = set("address blockquote center dl fieldset figure h1 h2 h3 h4 h5 h6 hr menu ol p pre table ul")
	// textLines are those that are on lines of their own.
	textLines = set(`article aside body caption dd details dir div dt figcaption footer form header hgroup legend li main nav option
		section summary tbody tfoot thead title tr`)
)

func (x *texter) start() {
	name := x.t.name
	if same, ok := sameElements[name]; ok {
		name = same
	}
	if x.skip != "" {
		if name == x.skip {
			x.depth++
			return
		}
		if x.skip != "svg" || !leavesSVG[name] {
			return
		}
		x.skip = ""
	}
	if name == "svg" || name == "template" {
		x.skip, x.depth = name, 1
		return
	}
	x.implied(name)
	hidden := x.hidden() || isHiddenStyle(x.t)
	if !hidden {
		x.show(name)
	}
	if voidElements[name] || silentVoid[name] {
		return
	}
	if len(x.stack) >= maxOpen {
		x.over++
		return
	}
	e := textElement{name: name, hidden: hidden, tiny: hasNoSize(x.t, x.tiny()), item: -1, at: x.out.n}
	switch name {
	case "a":
		e.href = shownURL(x.t.attr("href"))
	case "ol":
		e.item = 0
	case "table":
		border := strings.TrimSpace(x.t.attr("border"))
		e.grid = border != "" && border != "0"
	}
	x.stack = append(x.stack, e)
	x.open[e.name]++
}

// silentVoid are more elements without an end tag, which show nothing.
var silentVoid = set("base basefont bgsound embed frame input keygen link meta param track")

// show writes what a start tag stands for.
func (x *texter) show(name string) {
	if paragraphs[name] {
		x.out.need(2)
	} else if textLines[name] {
		x.out.need(1)
	}
	switch name {
	case "br":
		x.out.lineBreak()
	case "hr":
		x.out.words(strings.Repeat("-", 40))
		x.out.need(2)
	case "img":
		if alt := strings.Join(strings.Fields(x.t.attr("alt")), " "); alt != "" {
			x.out.words("[" + shorten(alt, 500) + "]")
		}
	case "blockquote":
		x.out.quotes++
	case "ul", "ol", "menu", "dir":
		x.out.lists++
		if x.out.lists > 1 {
			x.out.breaks = min(x.out.breaks, 1)
		}
	case "dd":
		x.out.words("  ")
	case "q":
		x.out.words(`"`)
	case "li":
		x.item()
	case "td", "th":
		x.cell(name)
	}
}

// item begins an item of a list.
func (x *texter) item() {
	x.out.bullet = "* "
	for i := len(x.stack) - 1; i >= 0; i-- {
		switch e := &x.stack[i]; e.name {
		case "ul", "menu", "dir":
			return
		case "ol":
			e.item++
			x.out.bullet = fmt.Sprintf("%d. ", e.item)
			return
		}
	}
}

// cell begins a cell of a table.
func (x *texter) cell(name string) {
	var row, table *textElement
	for i := len(x.stack) - 1; i >= 0 && table == nil; i-- {
		switch e := &x.stack[i]; {
		case e.name == "tr" && row == nil:
			row = e
		case e.name == "table":
			table = e
		}
	}
	if table != nil && name == "th" {
		table.grid = true
	}
	if row == nil {
		return
	}
	if row.cells++; row.cells > 1 && x.out.breaks == 0 {
		if table != nil && table.grid {
			x.out.words(" | ")
		} else {
			x.out.words("  ")
		}
	}
}

// implied ends what a start tag implies the end of.
func (x *texter) implied(name string) {
	switch name {
	case "tr":
		x.popInner("tr", "table")
	case "td", "th":
		x.popInner("td", "tr", "table")
		x.popInner("th", "tr", "table")
	case "li":
		x.popInner("li", "ul", "ol", "menu", "dir", "table")
	case "dd", "dt":
		x.popInner("dd", "dl", "table")
		x.popInner("dt", "dl", "table")
	case "a":
		x.popInner("a", "table", "td", "th")
	case "option":
		x.popInner("option", "select", "table")
	}
	if closesParagraph[name] {
		x.popInner("p", "table", "td", "th", "caption")
	}
}

// popInner ends the nearest element of that name, if none of the others is nearer.
func (x *texter) popInner(name string, stop ...string) {
	if x.open[name] == 0 {
		return
	}
	for i := len(x.stack) - 1; i >= 0; i-- {
		if x.stack[i].name == name {
			x.popTo(i)
			return
		}
		for _, s := range stop {
			if x.stack[i].name == s {
				return
			}
		}
	}
}

func (x *texter) end() {
	name := x.t.name
	if same, ok := sameElements[name]; ok {
		name = same
	}
	switch {
	case x.skip != "":
		if name == x.skip {
			if x.depth--; x.depth == 0 {
				x.skip = ""
			}
		}
	case x.over > 0:
		x.over--
	case name == "table":
		x.popInner(name)
	case tableParts[name]:
		x.popInner(name, "table")
	default:
		x.popInner(name, "table", "td", "th")
	}
}

// popTo ends all but the first n open elements.
func (x *texter) popTo(n int) {
	for len(x.stack) > n {
		e := x.stack[len(x.stack)-1]
		x.stack = x.stack[:len(x.stack)-1]
		if x.open[e.name]--; x.open[e.name] == 0 {
			delete(x.open, e.name) // there are as many names as anybody likes
		}
		if !e.hidden {
			x.leave(&e)
		}
	}
}

// leave writes what the end of an element stands for.
func (x *texter) leave(e *textElement) {
	switch e.name {
	case "a":
		x.link(e)
	case "h1", "h2":
		x.out.underline(map[string]string{"h1": "=", "h2": "-"}[e.name])
	case "blockquote":
		x.out.quotes--
	case "ul", "ol", "menu", "dir":
		x.out.lists--
		x.out.bullet = ""
		if x.out.lists > 0 {
			x.out.need(1)
			return
		}
	case "q":
		x.out.words(`"`)
	}
	if paragraphs[e.name] {
		x.out.need(2)
	} else if textLines[e.name] {
		x.out.need(1)
	}
}

// link writes where a link leads, unless its text says so.
func (x *texter) link(e *textElement) {
	if e.href == "" || strings.HasPrefix(e.href, "#") {
		return
	}
	said := x.out.last(x.out.n - e.at)
	plain := strings.TrimPrefix(e.href, "mailto:")
	if said == e.href || said == plain || said == strings.TrimSuffix(e.href, "/") {
		return
	}
	x.out.url(e.href, said != "")
}

// shownURL is the URL of a link as it is shown; empty if it leads nowhere, or to what is no link in
// a mail.
func shownURL(v string) string {
	v, ok := cleanURL("a", "href", v)
	if !ok || !strings.Contains(v, ":") {
		return ""
	}
	return urlText.Replace(shorten(v, maxTextURL))
}

// urlText encodes what would end a URL in a text.
var urlText = strings.NewReplacer(" ", "%20", "<", "%3C", ">", "%3E", `"`, "%22", "\u00a0", "%C2%A0")

// hasNoSize reports whether text within the start tag that was read last is of no size; around is
// whether that around it is.
func hasNoSize(t *tokenReader, around bool) bool {
	s := styleOf(t.attr("style"))
	switch {
	case !s.sized:
		return around
	case s.relative:
		return around || s.size == 0
	}
	return s.size <= 1
}

// isHiddenStyle reports whether the start tag that was read last begins what is not shown.
func isHiddenStyle(t *tokenReader) bool {
	for _, a := range t.attrs {
		switch a.Key {
		case "hidden":
			return true
		case "style":
			if s := styleOf(a.Val); s.hides() {
				return true
			}
		}
	}
	return false
}
