package sanitize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"rastel/sanitize/eml"
)

// The checks of what a page shows to people, or does not. They are worth knowing and harm nobody by
// themselves, so they are none of html/*, and have no fix.
const (
	hiddenTextCheck = "page/hidden-text"
	mismatchCheck   = "page/link-mismatch"
	addressCheck    = "page/link-address"
	lookalikeCheck  = "page/link-lookalike"
)

// People looks for what a page hides from its reader, or tells him wrongly: text that is not seen,
// links that lead elsewhere than they say. It is careful: what newsletters do is none of it.
type People struct{ Config Config }

// Checks are all checks that Scan may report.
func (People) Checks() []eml.Check {
	return []eml.Check{
		{ID: hiddenTextCheck, Doc: "A page has text that its reader does not see: of no size, in the color of its background, beyond the window. The line that newsletters have for lists of mail, and what style sheets show on small screens, does not count."},
		{ID: mismatchCheck, Doc: "A page has a link whose text is the address of another site than that it leads to."},
		{ID: addressCheck, Doc: "A page has a link to a host without a name, by its number."},
		{ID: lookalikeCheck, Doc: "A page has a link to a host whose name has letters of other alphabets that look like those of another name."},
	}
}

// Scan examines one leaf.
func (s People) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !isPage(p) || p.Size > s.Config.htmlSize() {
		return nil, nil // HTML says that it is too large
	}
	v := &viewer{open: map[string]int{}, t: newTokenReader(&ctxReader{ctx, readingOf(p).open(p)})}
	for v.t.next() {
		switch v.t.kind {
		case html.TextToken:
			v.text()
		case html.StartTagToken:
			v.start()
		case html.EndTagToken:
			v.end()
		}
	}
	if v.t.err != nil {
		return nil, fmt.Errorf("read HTML: %w", v.t.err)
	}
	v.popTo(0)
	return v.findings(p), nil
}

// A ctxReader reads until the context ends.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one call of Scan
	r   io.Reader
}

func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

const (
	// minHiddenText is how many letters must be hidden before it is told.
	minHiddenText = 16
	// maxPreheader is how many letters the line for lists of mail may have, and how many may be
	// seen before it.
	maxPreheader = 300
	// maxLinkText is how many bytes of the text of a link are looked at.
	maxLinkText = 300
)

// A viewer looks at a page as its reader does.
type viewer struct {
	t         *tokenReader
	stack     []viewed
	open      map[string]int // how many of each name are in it
	over      int
	media     bool // a style sheet has rules for some screens only
	styled    bool // there is a style sheet
	seen      int  // letters
	preheader int  // letters hidden before what is seen
	hidden    int  // letters hidden elsewhere
	excerpt   []byte
	how       string
	links     []link
	counts    map[string]int
}

// A viewed is an open element, with what of it is inherited.
type viewed struct {
	name       string
	hidden     string // why it is not seen; empty if it is
	responsive bool   // some style sheet may show it
	size       float64
	color, on  string // as look has them
	href       string
	linked     bool
	said       []byte
}

// A link is one that is told of.
type link struct{ check, detail string }

func (v *viewer) top() viewed {
	if len(v.stack) == 0 {
		return viewed{size: 16}
	}
	return v.stack[len(v.stack)-1]
}

func (v *viewer) start() {
	name := v.t.name
	if voidElements[name] || silentVoid[name] {
		return
	}
	switch name {
	case "td", "th":
		v.popInner("td", "tr", "table")
		v.popInner("th", "tr", "table")
	case "tr":
		v.popInner("tr", "table")
	case "a":
		v.popInner("a", "table", "td", "th")
	case "li":
		v.popInner("li", "ul", "ol", "table")
	}
	if closesParagraph[name] {
		v.popInner("p", "table", "td", "th")
	}
	if len(v.stack) >= maxOpen {
		v.over++
		return
	}
	around := v.top()
	e := viewed{name: name, hidden: around.hidden, responsive: around.responsive, size: around.size, color: around.color, on: around.on}
	e.inherit(v.t)
	if name == "a" {
		e.href, e.linked = string(v.t.attr("href")), true
	}
	v.stack = append(v.stack, e)
	v.open[e.name]++
}

// inherit applies what the attributes of the start tag say.
func (e *viewed) inherit(t *tokenReader) {
	var l look
	named := false
	for _, a := range t.attrs {
		switch a.name {
		case "style":
			l = styleOf(string(a.value))
		case "class", "id":
			named = true
		case "bgcolor":
			e.on = colorOf(string(a.value))
		case "background":
			e.on = "?"
		case "color", "text":
			e.color = colorOf(string(a.value))
		case "hidden":
			e.hide("hidden", named)
		}
	}
	switch {
	case l.sized && l.relative:
		e.size *= l.size
	case l.sized:
		e.size = l.size
	}
	if l.color != "" {
		e.color = l.color
	}
	if l.background != "" {
		e.on = l.background
	}
	switch {
	case l.none || l.invisible:
		e.hide("not displayed", named)
	case l.away:
		e.hide("beyond the window", named)
	case l.empty:
		e.hide("of no size", named)
	}
}

// hide notes why an element is not seen, if it is not known yet. What has a name may be shown by a
// style sheet.
func (e *viewed) hide(why string, named bool) {
	if e.hidden == "" {
		e.hidden, e.responsive = why, named
	}
}

func (v *viewer) text() {
	if v.t.in.name == "style" {
		v.styled = true
		v.media = v.media || bytes.Contains(v.t.text, []byte("@media"))
		return
	}
	if v.t.in.is&isSilentElement != 0 {
		return
	}
	e := v.top()
	why := e.hidden
	switch {
	case why != "":
	case e.size <= 1:
		why = "of no size"
	case e.color != "" && (e.on != "" && areAlike(e.color, e.on) || e.on == "" && !v.styled && areAlike(e.color, "ffffff")):
		why = "in the color of its background"
	default:
		v.seen += letters(v.t.text)
		v.say()
		return
	}
	if e.hidden != "" && e.responsive && v.media {
		return
	}
	n := letters(v.t.text)
	switch {
	case n == 0:
	case v.seen < maxPreheader && v.preheader+n <= maxPreheader && v.hidden == 0:
		v.preheader += n
	default:
		if v.hidden == 0 {
			v.how = why
			v.excerpt = append(v.excerpt, bytes.TrimSpace(v.t.text)[:min(60, len(bytes.TrimSpace(v.t.text)))]...)
		}
		v.hidden += n
	}
}

// letters counts the letters and digits of a text.
func letters(b []byte) int {
	n := 0
	for _, r := range string(b) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			n++
		}
	}
	return n
}

// say adds text to that of the link it is in.
func (v *viewer) say() {
	for i := len(v.stack) - 1; i >= 0; i-- {
		if e := &v.stack[i]; e.linked {
			e.said = append(e.said, v.t.text[:min(len(v.t.text), maxLinkText-len(e.said))]...)
			return
		}
	}
}

func (v *viewer) end() {
	switch name := v.t.name; {
	case v.over > 0:
		v.over--
	case name == "table":
		v.popInner(name)
	case tableParts[name]:
		v.popInner(name, "table")
	default:
		v.popInner(name, "table", "td", "th")
	}
}

func (v *viewer) popInner(name string, stop ...string) {
	if v.open[name] == 0 {
		return
	}
	for i := len(v.stack) - 1; i >= 0; i-- {
		if v.stack[i].name == name {
			v.popTo(i)
			return
		}
		for _, s := range stop {
			if v.stack[i].name == s {
				return
			}
		}
	}
}

func (v *viewer) popTo(n int) {
	for len(v.stack) > n {
		e := v.stack[len(v.stack)-1]
		v.stack = v.stack[:len(v.stack)-1]
		if v.open[e.name]--; v.open[e.name] == 0 {
			delete(v.open, e.name) // there are as many names as anybody likes
		}
		if e.linked {
			v.link(&e)
		}
	}
}

// link looks at a link.
func (v *viewer) link(e *viewed) {
	check, detail := judgeLink(e.href, string(e.said))
	if check == "" {
		return
	}
	if v.counts == nil {
		v.counts = map[string]int{}
	}
	if v.counts[check]++; v.counts[check] == 1 {
		v.links = append(v.links, link{check, detail})
	}
}

func (v *viewer) findings(p *eml.Part) []eml.Finding {
	var out []eml.Finding
	if v.hidden >= minHiddenText {
		out = append(out, eml.Finding{Check: hiddenTextCheck, Part: p, Detail: fmt.Sprintf("%d letters, %s: %s", v.hidden, v.how, v.excerpt)})
	}
	for _, l := range v.links {
		if n := v.counts[l.check]; n > 1 {
			l.detail += fmt.Sprintf(", and %d more", n-1)
		}
		out = append(out, eml.Finding{Check: l.check, Part: p, Detail: l.detail})
	}
	return out
}

// errNoHost is of a URL without one.
var errNoHost = errors.New("no host")

// hostOf is the host of a URL of the web as a browser reads it, in lower case, and its user part.
func hostOf(v string) (host, user string, err error) {
	v = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return unicode.ToLower(r)
	}, v)
	scheme, rest, ok := strings.Cut(v, ":")
	if !ok || scheme != "http" && scheme != "https" && scheme != "ftp" {
		return "", "", errNoHost
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, rest = rest[:i], rest[i+1:]
	}
	if strings.HasPrefix(rest, "[") {
		rest, _, _ = strings.Cut(rest, "]")
		return rest + "]", user, nil
	}
	rest, _, _ = strings.Cut(rest, ":")
	return strings.TrimRight(rest, "."), user, nil
}
