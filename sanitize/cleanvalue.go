package sanitize

import (
	"bytes"
	"strings"
)

// attrs writes the attributes of the start tag that may stay.
func (c *cleaner) attrs(el *htmlElement) {
	for i := range c.t.attrs {
		a := &c.t.attrs[i]
		if !el.attrs.has(a.id) {
			continue
		}
		mark := len(c.w.buf)
		c.w.raw(a.lead)
		if !c.value(el, a) {
			c.w.buf = c.w.buf[:mark]
			continue
		}
		c.w.buf = append(c.w.buf, '"')
	}
}

// attrsOf gives them instead.
func (c *cleaner) attrsOf(el *htmlElement) string {
	mark := len(c.w.buf)
	c.attrs(el)
	s := string(c.w.buf[mark:])
	c.w.buf = c.w.buf[:mark]
	return s
}

// value writes the value of an attribute as it may stay, and reports whether it may.
func (c *cleaner) value(el *htmlElement, a *tagAttr) bool {
	v := a.value
	var ok bool
	switch a.kind {
	case cleanStyle:
		return c.styles(v)
	case cleanLink, cleanImage:
		if v, ok = cleanURL(el, a.kind, v, a.has); !ok {
			return false
		}
	case cleanImages:
		ok = allowedURL(el.name, a.name, string(v)) && !bytes.ContainsAny(v, "\\<>") && !anyNetworkPath(v)
	case cleanMap:
		ok = len(v) > 0 && v[0] == '#'
	case cleanTarget:
		c.w.raw("_blank")
		return len(bytes.TrimSpace(v)) > 0
	default:
		ok = isHarmlessWord(a.has) || dangerousURL(v) == "" // nobody follows it, and nobody needs it
	}
	if ok {
		c.w.quoted(v, a.has)
	}
	return ok
}

// isHarmlessWord reports whether a value is no URL that is dangerous anywhere, if that is seen at once: there
// is neither a scheme in it nor a host in the Windows network.
func isHarmlessWord(has byteKind) bool {
	return has&(byteAmp|byteBack|byteColon) == 0
}

// The schemes that links, and pictures, may have.
var (
	linkSchemes  = set("http https ftp mailto tel sms callto xmpp sip sips news webcal geo cid mid")
	imageSchemes = set("http https cid data")
)

// cleanURL gives a URL without what browsers drop from it, and reports whether it may stay. kind is
// that of the attribute that has it.
func cleanURL(el *htmlElement, kind cleanKind, v []byte, has byteKind) ([]byte, bool) {
	if has&byteUnplain != 0 {
		v = bytes.TrimSpace(bytes.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || isUnwritten(r) {
				return -1
			}
			return r
		}, v))
	}
	if has&byteBack != 0 || len(v) == 0 {
		return nil, false
	}
	allowed := imageSchemes
	if kind == cleanLink {
		allowed = linkSchemes
	}
	if bytes.HasPrefix(v, []byte("//")) {
		v = append([]byte("https:"), v...) // in a file on the disk it would be a host in the Windows network
	}
	if plainURL(v) {
		return v, !bytes.HasPrefix(v, []byte("mailto:")) || allowed["mailto"]
	}
	image := kind == cleanImage && el.name != "a"
	if refusedURL(v, image) != "" || dangerousURL(v) != "" {
		return nil, false
	}
	head, _, ok := bytes.Cut(v, []byte(":"))
	if !ok || bytes.ContainsAny(head, "/?#") {
		return v, true // relative
	}
	return v, allowed[strings.ToLower(strings.TrimSpace(string(head)))]
}

// A cleanLook is the clean form of a style attribute, as it is written.
type cleanLook []byte

// styles writes the value of a style attribute as it may stay; false if nothing of it may.
func (c *cleaner) styles(v []byte) bool {
	known, ok := c.looks.at(v)
	if ok {
		c.w.buf = append(c.w.buf, *known...)
		return len(*known) > 0
	}
	mark := len(c.w.buf)
	css, odd := cleanDeclarations(c.css[:0], v)
	if c.css = css; odd {
		c.w.escape(c.css, byteMarkup|byteQuote)
	} else {
		c.w.buf = append(c.w.buf, c.css...)
	}
	if known != nil {
		*known = append((*known)[:0], c.w.buf[mark:]...)
	}
	return len(c.w.buf) > mark
}
