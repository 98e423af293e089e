package sanitize

import (
	"bytes"
	"strings"

	"rastel/sanitize/eml"
)

// A htmlCheck is the index of a check in htmlChecks.
type htmlCheck uint8

const (
	checkScript htmlCheck = iota
	checkHandler
	checkURL
	checkFrame
	checkObject
	checkRefresh
	checkBase
	checkForm
	checkLink
	checkStyle
	checkSVG
	checkMeta
	checkAttribute
	checkOverlay
	checkMalformed
	checkCharset
	checkBroken
	checkLimit
)

var htmlChecks = [...]eml.Check{
	checkScript:    {ID: "html/script", Doc: "HTML holds a script."},
	checkHandler:   {ID: "html/event-handler", Doc: "HTML holds an attribute that runs a script upon an event."},
	checkURL:       {ID: "html/url", Doc: "HTML holds a URL that runs something or reaches the reader's own computer or network."},
	checkFrame:     {ID: "html/frame", Doc: "HTML shows another document within itself."},
	checkObject:    {ID: "html/object", Doc: "HTML embeds something that a plug-in runs."},
	checkRefresh:   {ID: "html/meta-refresh", Doc: "HTML goes on to another page by itself."},
	checkBase:      {ID: "html/base", Doc: "HTML changes where all its links lead."},
	checkForm:      {ID: "html/form", Doc: "HTML holds a form, which sends elsewhere what the reader enters."},
	checkLink:      {ID: "html/link", Doc: "HTML loads another document, or a stylesheet that transforms it."},
	checkStyle:     {ID: "html/style", Doc: "A style sheet holds what some clients run as a script."},
	checkSVG:       {ID: "html/svg", Doc: "SVG, MathML or XML holds what changes links, takes in other documents or defines text to be put in."},
	checkMeta:      {ID: "html/meta", Doc: "HTML gives a client orders as fields of HTTP do, beyond those that mail needs."},
	checkAttribute: {ID: "html/attribute", Doc: "HTML holds an attribute on which clients act and that mail does not need."},
	checkOverlay:   {ID: "html/overlay", Doc: "A style lays something over what is not of the page, or hides what a click hits."},
	checkMalformed: {ID: "html/malformed", Doc: "HTML is malformed so that clients differ about what is a tag."},
	checkCharset:   {ID: "html/charset", Doc: "HTML is in a charset in which it cannot be examined, or cannot be defanged in place."},
	checkBroken:    {ID: "html/broken-line", Doc: "HTML has a line so long that MTAs break it, and what comes of that is active."},
	checkLimit:     {ID: "html/limit", Doc: "HTML is larger or more complex than the limits, so it was not examined wholly."},
}

// elements are the elements that are unsafe whatever their attributes say. The fix is another
// name, by which a client does not know them.
var elements = map[string]htmlCheck{
	"script": checkScript,
	"iframe": checkFrame, "frame": checkFrame, "frameset": checkFrame, "layer": checkFrame, "ilayer": checkFrame,
	"portal": checkFrame, "fencedframe": checkFrame,
	"object": checkObject, "embed": checkObject, "applet": checkObject, "bgsound": checkObject,
	"form": checkForm, "isindex": checkForm,
	// foreignObject and annotation-xml take HTML into SVG and MathML, which is where parsers
	// differ; handler and listener are the scripts of SVG Tiny and XML Events.
	"foreignobject": checkSVG, "annotation-xml": checkSVG, "handler": checkSVG, "listener": checkSVG,
	"plaintext": checkMalformed, // takes all that follows for text, beyond the message in a web mail
}

// rules are the elements of which it depends on their attributes. The fix is another name for
// the attribute.
var rules = map[string]func(*page, *tag){
	"?xml-stylesheet": (*page).stylesheet,
	"meta":            (*page).meta, "base": (*page).base, "link": (*page).link, "xml": (*page).dataIsland, "use": (*page).use,
	"set": (*page).animation, "animate": (*page).animation, "animatemotion": (*page).animation,
	"animatetransform": (*page).animation, "animatecolor": (*page).animation,
}

// maxElement is longer than any name in elements and rules.
const maxElement = 24

// textAttrs hold text for people, which may begin like a URL and is none.
var textAttrs = set("alt title value placeholder summary label abbr content name id class aria-label aria-description")

// maxAttrName is longer than the name of any attribute that matters.
const maxAttrName = 32

// meta (HTML, section 4.2.5.3): http-equiv makes it as strong as a field of HTTP.
func (p *page) meta(t *tag) {
	for _, a := range t.attrs {
		switch name := p.attrName(a); name {
		case "http-equiv":
			switch p.word(a) {
			case "refresh":
				p.mark(checkRefresh, a.name.start)
			case "link":
				p.mark(checkLink, a.name.start)
			}
		case "charset":
			p.declare(p.word(a))
		case "content":
			p.declare(charsetOf(p.word(a)))
		}
	}
}

// base may well say in which window links open, but not where they lead.
func (p *page) base(t *tag) {
	for _, a := range t.attrs {
		if name := p.attrName(a); name == "href" {
			p.mark(checkBase, a.name.start)
		}
	}
}

// linkTypes are those of link that load something that runs, or a whole document. A style sheet
// is no worse than a picture; newsletters fetch their fonts so.
var linkTypes = set("import modulepreload serviceworker prerender")

func (p *page) link(t *tag) {
	for _, a := range t.attrs {
		if name := p.attrName(a); name != "rel" {
			continue
		}
		for rel := range strings.FieldsSeq(p.word(a)) {
			if linkTypes[rel] {
				p.mark(checkLink, a.name.start)
			}
		}
	}
}

// dataIsland is the xml element of Internet Explorer. Without a source it is what Word writes.
func (p *page) dataIsland(t *tag) {
	for _, a := range t.attrs {
		if name := p.attrName(a); name == "src" {
			p.mark(checkObject, a.name.start)
		}
	}
}

// use (SVG, section 5.6) takes in an element, which must be one of this document.
func (p *page) use(t *tag) {
	for _, a := range t.attrs {
		if name := p.attrName(a); name == "href" && !strings.HasPrefix(p.word(a), "#") {
			p.mark(checkSVG, a.name.start)
		}
	}
}

// animation (SVG Animations, section 2.16) can give a harmless link another target: CVE-2024-37383.
func (p *page) animation(t *tag) {
	for _, a := range t.attrs {
		if name := p.attrName(a); name != "attributename" {
			continue
		}
		target := p.word(a)
		target = target[strings.LastIndexByte(target, ':')+1:]
		if target == "href" || target == "src" || target == "style" || strings.HasPrefix(target, "on") {
			p.mark(checkSVG, a.name.start)
		}
	}
}

// stylesheet is a processing instruction of XML (Associating Style Sheets with XML). One of CSS is
// as good as a link to it; XSLT makes any page of the document.
func (p *page) stylesheet(t *tag) {
	css := p.b[t.end-2] == '?'
	types := 0
	for _, a := range t.attrs {
		if p.attrName(a) == "type" {
			types++
			css = css && p.word(a) == "text/css"
		}
	}
	if !css || types != 1 {
		p.mark(checkLink, t.name.start+1)
	}
}

// declaration looks at what begins with "<!" before byte i. In XML it can define text and default
// attributes (XML, sections 3.3 and 4.2), which browsers put in before anything else is looked at.
func (p *page) declaration(i int) {
	b := p.b[i:]
	if hasPrefixFold(b, "ATTLIST") || hasPrefixFold(b, "ENTITY") && !harmlessEntity(b[len("ENTITY"):]) {
		p.mark(checkSVG, i)
	}
}

// maxEntityValue is how long the text of an entity may be that is looked at.
const maxEntityValue = 500

// harmlessEntity reports whether an entity is one that drawing programs write to abbreviate the
// names of namespaces: a name and the URL of a page in quotes, in which nothing is to be replaced.
func harmlessEntity(b []byte) bool {
	b = b[:min(len(b), maxEntityValue)]
	open := bytes.IndexAny(b, `"'`)
	if open < 0 || len(bytes.Fields(b[:open])) != 1 {
		return false
	}
	value := b[open+1:]
	end := bytes.IndexByte(value, b[open])
	return end >= 0 && strings.HasPrefix(string(value[:end]), "http") && !bytes.ContainsAny(value[:end], "<&%")
}
