package sanitize

import (
	"bufio"
	"bytes"
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
	open  [maxElements]int // how many of each are in it
	over  int              // start tags beyond maxOpen
	skip  *htmlElement     // the drawing or template that is left out; nil if none is
	depth int
	looks memo[textLook]
}

// A textElement is an open element.
type textElement struct {
	*htmlElement
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
	x := &texter{t: newTokenReader(r), out: lineText{w: bufio.NewWriterSize(w, writeRoom), tagless: file}}
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
	return x.skip != nil || len(x.stack) > 0 && x.stack[len(x.stack)-1].hidden
}

// tiny reports whether text is of no size.
func (x *texter) tiny() bool { return len(x.stack) > 0 && x.stack[len(x.stack)-1].tiny }

func (x *texter) text() {
	in := x.t.in
	if x.tiny() || in.name == "style" || in.is&isSilentElement != 0 || x.hidden() {
		return
	}
	if x.open[preElement.id] > 0 || in.same == preElement {
		first := true
		for line := range bytes.SplitSeq(x.t.text, []byte("\n")) {
			if !first {
				x.out.lineBreak()
			}
			x.out.verbatim(line)
			first = false
		}
		return
	}
	x.out.text(x.t.text)
}

var (
	// paragraphs are the elements that have an empty line before and behind them.
	paragraphs = set("address blockquote center dl fieldset figure h1 h2 h3 h4 h5 h6 hr menu ol p pre table ul")
	// textLines are those that are on lines of their own.
	textLines = set(`article aside body caption dd details dir div dt figcaption footer form header hgroup legend li main nav option
		section summary tbody tfoot thead title tr`)
)

func (x *texter) start() {
	el := x.t.el.same
	if x.skip != nil {
		if el == x.skip {
			x.depth++
			return
		}
		if x.skip.name != "svg" || el.is&isSVGEnd == 0 {
			return
		}
		x.skip = nil
	}
	if el.name == "svg" || el.name == "template" {
		x.skip, x.depth = el, 1
		return
	}
	x.implied(el)
	look := x.look()
	if !look.hidden {
		x.show(el)
	}
	if el.is&(isVoidElement|isSilentVoid) != 0 {
		return
	}
	if len(x.stack) >= maxOpen {
		x.over++
		return
	}
	e := textElement{htmlElement: el, name: x.t.name, hidden: look.hidden, tiny: look.tiny, item: -1, at: x.out.n}
	if el != otherElement {
		e.name = el.name
	}
	switch el.name {
	case "a":
		if e.href = shownURL(x.t.attr("href")); e.href != "" {
			x.out.listen()
		}
	case "ol":
		e.item = 0
	case "table":
		border := bytes.TrimSpace(x.t.attr("border"))
		e.grid = len(border) > 0 && string(border) != "0"
	}
	x.stack = append(x.stack, e)
	x.open[el.id]++
}

// silentVoid are more elements without an end tag, which show nothing.
var silentVoid = set("base basefont bgsound embed frame input keygen link meta param track")

// show writes what a start tag stands for.
func (x *texter) show(el *htmlElement) {
	if el.is&isParagraph != 0 {
		x.out.need(2)
	} else if el.is&isTextLine != 0 {
		x.out.need(1)
	}
	if el.is&isShown == 0 {
		return
	}
	switch el.name {
	case "br":
		x.out.lineBreak()
	case "hr":
		x.out.words(strings.Repeat("-", 40))
		x.out.need(2)
	case "img":
		if alt := strings.Join(strings.Fields(string(x.t.attr("alt"))), " "); alt != "" {
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
		x.cell(el)
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
func (x *texter) cell(el *htmlElement) {
	var row, table *textElement
	for i := len(x.stack) - 1; i >= 0 && table == nil; i-- {
		switch e := &x.stack[i]; {
		case e.is&isTableRow != 0 && row == nil:
			row = e
		case e.is&isTable != 0:
			table = e
		}
	}
	if table != nil && el.name == "th" {
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
func (x *texter) implied(el *htmlElement) {
	switch {
	case el.is&implies == 0:
	case el.is&isTableRow != 0:
		x.popInner(el, "", isTable)
	case el.is&isTableCell != 0:
		x.popInner(tdElement, "", isTableRow|isTable)
		x.popInner(thElement, "", isTableRow|isTable)
	case el.name == "li":
		x.popInner(el, "", isItemList|isTable)
	case el.name == "dd", el.name == "dt":
		x.popInner(ddElement, "", isTermList|isTable)
		x.popInner(dtElement, "", isTermList|isTable)
	case el.name == "a":
		x.popInner(el, "", isTable|isTableCell)
	case el.name == "option":
		x.popInner(el, "", isSelect|isTable)
	}
	if el.is&isParagraphEnd != 0 {
		x.popInner(paragraphElement, "", isBarrier)
	}
}

// popInner ends the nearest element that is el, if none of the others is nearer; of those that are not known,
// that of the name.
func (x *texter) popInner(el *htmlElement, other string, stop elementKind) {
	if x.open[el.id] == 0 {
		return
	}
	for i := len(x.stack) - 1; i >= 0; i-- {
		switch e := &x.stack[i]; {
		case e.htmlElement == el && (el != otherElement || e.name == other):
			x.popTo(i)
			return
		case e.is&stop != 0:
			return
		}
	}
}

func (x *texter) end() {
	el := x.t.el.same
	switch {
	case x.skip != nil:
		if el == x.skip {
			if x.depth--; x.depth == 0 {
				x.skip = nil
			}
		}
	case x.over > 0:
		x.over--
	case el.is&isTable != 0:
		x.popInner(el, "", 0)
	case el.is&isTablePart != 0:
		x.popInner(el, "", isTable)
	default:
		x.popInner(el, x.t.name, isTable|isTableCell)
	}
}

// popTo ends all but the first n open elements.
func (x *texter) popTo(n int) {
	for len(x.stack) > n {
		e := x.stack[len(x.stack)-1]
		x.stack = x.stack[:len(x.stack)-1]
		x.open[e.id]--
		if !e.hidden {
			x.leave(&e)
		}
		if e.href != "" {
			x.out.unlisten()
		}
	}
}

// leave writes what the end of an element stands for.
func (x *texter) leave(e *textElement) {
	switch e.name {
	case "a":
		x.link(e)
	case "h1":
		x.out.underline("=")
	case "h2":
		x.out.underline("-")
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
	if e.is&isParagraph != 0 {
		x.out.need(2)
	} else if e.is&isTextLine != 0 {
		x.out.need(1)
	}
}

// link writes where a link leads, unless its text says so.
func (x *texter) link(e *textElement) {
	if e.href == "" || strings.HasPrefix(e.href, "#") {
		return
	}
	said := x.out.last(x.out.n - e.at)
	switch string(said) {
	case e.href, strings.TrimPrefix(e.href, "mailto:"), strings.TrimSuffix(e.href, "/"):
		return
	}
	x.out.url(e.href, len(said) > 0)
}

// shownURL is the URL of a link as it is shown; empty if it leads nowhere, or to what is no link in
// a mail.
func shownURL(v []byte) string {
	has := kindsOf(v)
	v, ok := cleanURL(linkElement, cleanLink, v, has)
	if !ok || has&byteColon == 0 {
		return ""
	}
	s := shorten(string(v), maxTextURL)
	if has&(byteUnplain|byteMarkup|byteQuote) == 0 {
		return s
	}
	return urlText.Replace(s)
}

// urlText encodes what would end a URL in a text.
var urlText = strings.NewReplacer(" ", "%20", "<", "%3C", ">", "%3E", `"`, "%22", "\u00a0", "%C2%A0")

// A textLook is what of a style matters for text.
type textLook struct{ hidden, tiny, sized, relative bool }

// look tells whether what is within the start tag that was read last is shown, and of no size.
func (x *texter) look() textLook {
	l := textLook{hidden: x.hidden()}
	var style textLook
	for i := range x.t.attrs {
		switch a := &x.t.attrs[i]; a.name {
		case "hidden":
			l.hidden = true
		case "style":
			style = x.style(a.value)
		}
	}
	l.hidden = l.hidden || style.hidden
	switch around := x.tiny(); {
	case !style.sized:
		l.tiny = around
	case style.relative:
		l.tiny = around || style.tiny
	default:
		l.tiny = style.tiny
	}
	return l
}

// style reads a style attribute.
func (x *texter) style(v []byte) textLook {
	known, ok := x.looks.at(v)
	if ok {
		return *known
	}
	s := styleOf(string(v))
	l := textLook{hidden: s.hides(), tiny: s.size == 0 || !s.relative && s.size <= 1, sized: s.sized, relative: s.relative}
	if known != nil {
		*known = l
	}
	return l
}
