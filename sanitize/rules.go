package sanitize

import (
	"bytes"
	"html"
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
	checkRemoteImage
	checkRemoteStyle
	checkRemoteHint
	checkWebBug
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
	// What is merely worth knowing has another area, so that "html/*" is what is active.
	checkRemoteImage: {ID: "page/remote-image", Doc: "A page shows an image that is fetched from elsewhere when it is read."},
	checkRemoteStyle: {ID: "page/remote-style", Doc: "A page takes a style sheet from elsewhere when it is read."},
	checkRemoteHint:  {ID: "page/remote-hint", Doc: "A page has a host contacted, or something loaded ahead, when it is read (link with preconnect, dns-prefetch, preload or next)."},
	checkWebBug:      {ID: "page/web-bug", Doc: "A page fetches an image that nobody sees, which tells the sender that it is read."},
}

// elements are the elements of the tables and what else is to be looked at in them.
var elements = func() *lexicon[element] {
	out := make(map[string]*element, len(safeElements)+len(refusedElements))
	for name := range safeElements {
		out[name] = &element{safe: true, img: imageElements[name], rule: attrRules[name]}
	}
	for name, check := range refusedElements {
		out[name] = &element{refused: true, check: check}
	}
	out["?xml-stylesheet"] = &element{whole: (*page).stylesheet}
	out["?xml"] = &element{whole: (*page).xmlDeclaration}
	return newLexicon(out)
}()

// imageElements are those whose URLs are images.
var imageElements = set("img image input feimage fill imagedata mglyph")

// An attrInfo is what the tables say about an attribute.
type attrInfo struct {
	kind  attrKind
	check htmlCheck // why it is refused
}

// attrTable are the attributes of the tables.
var attrTable = func() *lexicon[attrInfo] {
	out := make(map[string]*attrInfo, len(attrKinds))
	for name, kind := range attrKinds {
		out[name] = &attrInfo{kind, refusedAttrs[name]}
	}
	return newLexicon(out)
}()

// attrInfoOf is what the tables say about the attribute of a name.
func attrInfoOf(name []byte) attrInfo {
	if info := attrTable.find(name); info != nil {
		return *info
	}
	return attrInfo{}
}

// attrRules are the elements of whose attributes it depends on the value whether mail may have
// them. The fix is another name for the attribute.
var attrRules = map[string]func(p *page, name []byte, a attr){
	"meta": (*page).meta, "base": (*page).base, "link": (*page).link, "xml": (*page).dataIsland,
	"use": (*page).use, "tref": (*page).use, "feimage": (*page).filterImage,
	"set": (*page).animation, "animate": (*page).animation, "animatemotion": (*page).animation,
	"animatetransform": (*page).animation, "animatecolor": (*page).animation,
}

// markName marks the name of an attribute.
func (p *page) markName(check htmlCheck, a attr) { p.mark(check, p.unprefixed(a.name).start) }

// metaFields are the fields that meta may give: those that say how the page is to be shown.
var metaFields = set(`content-type x-ua-compatible content-language content-style-type content-script-type default-style
	imagetoolbar cleartype msthemecompatible pragma cache-control expires last-modified date author generator keywords
	description copyright reply-to language title subject rating pics-label audience distribution robots vw96.object
	content-security-policy x-dns-prefetch-control page-enter page-exit site-enter site-exit content-encoding content-transfer-encoding
	format-detection x-apple-disable-message-reformatting viewport`)

// meta (HTML, section 4.2.5.3): http-equiv makes it as strong as a field of HTTP.
func (p *page) meta(name []byte, a attr) {
	switch string(name) {
	case "http-equiv":
		switch field := p.word(a); {
		case string(field) == "refresh":
			p.markName(checkRefresh, a)
		case string(field) == "link":
			p.markName(checkLink, a)
		case len(field) > 0 && !metaFields[string(field)]:
			p.markName(checkMeta, a)
		}
	case "charset":
		p.declare(string(p.word(a)))
	case "content":
		if w := p.word(a); bytes.Contains(w, []byte("charset=")) {
			p.declare(charsetOf(string(w)))
		}
	}
}

// base may well say in which window links open, but not where they lead.
func (p *page) base(name []byte, a attr) {
	if string(name) == "href" {
		p.markName(checkBase, a)
	}
}

// linkTypes are those of link that mail may have: those that load nothing, icons, and style
// sheets. One of these is no worse than a picture, and newsletters fetch their fonts so. The others
// load something that runs, or a whole document. The last ones are of Word.
var linkTypes = set(`stylesheet icon shortcut mask-icon apple-touch-icon apple-touch-icon-precomposed apple-touch-startup-image
	fluid-icon image_src alternate amphtml archives author bookmark canonical category chapter contents copyright
	external first glossary help home index last license me msapplication-config next nofollow noopener noreferrer origin p3v1
	pingback prev previous privacy-policy publisher search section shortlink sitemap start subsection tag terms-of-service top toc up
	profile dns-prefetch preconnect preload edituri wlwmanifest opener openid.server openid.delegate openid2.provider schema.dc schema.dcterms
	file-list edit-time-data themedata colorschememapping ole-object-data main-file datastoreitem original-file important printpreviewbackground presentation-xml original mail stylesheet/less`)

// preloadTypes are what a preload may say it loads: what is a picture, a font or a style sheet. The
// others are scripts, documents and data. Without such a word browsers load nothing.
var preloadTypes = set("style font image audio video track")

// hintTypes are those by which a browser contacts a host before anybody asks for something of it, and
// so tells the sender that the mail is read (HTML, section 4.6.7). prefetch, modulepreload and
// prerender, which load what runs, are none of linkTypes.
var hintTypes = set("dns-prefetch preconnect preload next")

// iconTypes are those of pictures that a browser shows beside a page that is opened from the disk.
var iconTypes = set("icon shortcut mask-icon apple-touch-icon apple-touch-icon-precomposed apple-touch-startup-image fluid-icon")

func (p *page) link(name []byte, a attr) {
	switch string(name) {
	case "rel":
		if a.value.len() > maxWord {
			p.markName(checkLink, a) // not all of it is looked at
		}
		for rel := range bytes.FieldsSeq(p.word(a)) {
			if !linkTypes[string(rel)] {
				p.markName(checkLink, a)
			}
			switch {
			case string(rel) == "stylesheet":
				p.image.links = checkRemoteStyle
			case p.image.links == checkRemoteStyle:
			case hintTypes[string(rel)]:
				p.image.links = checkRemoteHint
			case iconTypes[string(rel)] && p.image.links == 0:
				p.image.links = checkRemoteImage
			}
		}
	case "as":
		if !preloadTypes[string(p.word(a))] {
			p.markName(checkLink, a)
		}
	case "href":
		p.image.link = a
	}
}

// dataIsland is the xml element of Internet Explorer. Without a source it is what Word writes.
func (p *page) dataIsland(name []byte, a attr) {
	if string(name) == "src" {
		p.markName(checkObject, a)
	}
}

// use (SVG, section 5.6) takes in an element, which must be one of this document.
func (p *page) use(name []byte, a attr) {
	if string(name) == "href" && !bytes.HasPrefix(p.word(a), []byte("#")) {
		p.markName(checkSVG, a)
	}
}

// filterImage (Filter Effects, section 9.13) shows an image or an element. Clients that show remote
// images only if they are told to do not know it for one.
func (p *page) filterImage(name []byte, a attr) {
	if string(name) != "href" {
		return
	}
	if !hasAnyPrefixFold(p.word(a), "#", "data:image/", "cid:") {
		p.markName(checkSVG, a)
	}
}

// animation (SVG Animations, section 2.16) can give a harmless link another target: CVE-2024-37383.
// So it may change what is a word and no more.
func (p *page) animation(name []byte, a attr) {
	if string(name) != "attributename" {
		return
	}
	target := p.word(a)
	target = target[bytes.LastIndexByte(target, ':')+1:]
	if len(target) > 0 && string(target) != "class" && attrKinds[string(target)] != attrWord && !allowedProperty(string(target)) {
		p.markName(checkSVG, a)
	}
}

// stylesheet is a processing instruction of XML (Associating Style Sheets with XML). One of CSS is
// as good as a link to it; XSLT makes any page of the document.
func (p *page) stylesheet(t *tag) {
	css := p.b[t.end-2] == '?'
	types, href := 0, span{}
	for _, a := range t.attrs {
		if p.attrName(a) == "href" {
			href = a.value
		}
		if p.attrName(a) == "type" {
			types++
			css = css && string(p.word(a)) == "text/css"
		}
	}
	if !css || types != 1 {
		p.mark(checkLink, t.name.start+1)
		p.shownAs(!isPlainFile(p.b[href.start:href.end]))
	} else if isRemote(p.b[href.start:href.end]) {
		p.mark(checkRemoteStyle, href.start)
	}
}

// isPlainFile reports whether a URL is the name of a stylesheet of XML beside the document, as e-invoices
// have it: that is an attachment, if it is there, and examined like any other.
func isPlainFile(url []byte) bool {
	for _, c := range url {
		if !isWordByte(c) && c != '.' {
			return false
		}
	}
	return hasSuffixFold(url, ".xsl") || hasSuffixFold(url, ".xslt") || hasSuffixFold(url, ".xml")
}

func hasSuffixFold(b []byte, s string) bool {
	return len(b) >= len(s) && bytes.EqualFold(b[len(b)-len(s):], []byte(s))
}

// xmlDeclaration tells the charset of XML (XML, section 2.8).
func (p *page) xmlDeclaration(t *tag) {
	for _, a := range t.attrs {
		if p.attrName(a) == "encoding" {
			p.declare(string(p.word(a)))
		}
	}
}

// declaration looks at what begins with "<!" before byte i. In XML it can define text and default
// attributes (XML, sections 3.3 and 4.2), which browsers put in before anything else is looked at. It
// gives what markupAt gives.
func (p *page) declaration(i int) (end int) {
	b := p.b[i:]
	if hasPrefixFold(b, "ATTLIST") || hasPrefixFold(b, "ENTITY") && !harmlessEntity(b[len("ENTITY"):]) {
		p.mark(checkSVG, i)
		p.shownAs(makesPage(b))
	}
	if !hasPrefixFold(b, "ENTITY") {
		return i + len("ATTLIST")
	}
	return min(i+len("ENTITY")+maxEntityValue, len(p.b)+1)
}

// makesPage reports whether a declaration puts elements in, or elements into a namespace, so that what
// is data without it may be a page.
func makesPage(b []byte) bool {
	b = b[:min(len(b), maxEntityValue)]
	if hasPrefixFold(b, "ATTLIST") {
		b, _, _ = bytes.Cut(b, []byte("]>"))
		return bytes.Contains(bytes.ToLower(b), []byte("xmlns"))
	}
	open := bytes.IndexAny(b, `"'`)
	if open < 0 {
		return false
	}
	value, _, _ := strings.Cut(string(b[open+1:]), string(b[open]))
	value = html.UnescapeString(value)
	return strings.Contains(value, "<") || strings.Contains(strings.ToLower(value), "xmlns")
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
