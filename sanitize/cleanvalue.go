package sanitize

import "strings"

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
