package scanners

import (
	"html"
	"strings"
)

// inlineTags are the elements that do not part words: what a client shows of "12<b>34</b>" is 1234.
const inlineTags = " a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark nobr o:p q s samp small span strike strong sub sup tt u var wbr "

// shown is about what a client shows of a page, with a line for each block. It does not judge what is
// hidden: more is shown rather than less.
func shown(page string) string {
	var out strings.Builder
	for page != "" {
		text, rest, more := strings.Cut(page, "<")
		out.WriteString(blanks.Replace(text))
		if !more {
			break
		}
		page = rest
		if strings.HasPrefix(page, "!--") {
			_, page, _ = strings.Cut(page, "-->")
			continue
		}
		tag, rest, _ := strings.Cut(page, ">")
		page = rest
		name := strings.ToLower(tagName(tag))
		if name == "style" || name == "script" {
			page = behindTag(page, name)
		}
		if !strings.Contains(inlineTags, " "+strings.TrimPrefix(name, "/")+" ") {
			out.WriteByte('\n')
		}
	}
	return html.UnescapeString(out.String())
}

// blanks are breaks of lines, which a page does not show.
var blanks = strings.NewReplacer("\r", " ", "\n", " ")

// tagName is the name in a tag, with the slash of one that ends an element.
func tagName(tag string) string {
	i := strings.IndexAny(tag, " \t\r\n\f")
	if i >= 0 {
		tag = tag[:i]
	}
	return strings.TrimRight(tag, "/")
}

// behindTag is what follows the end of an element that is not shown.
func behindTag(page, name string) string {
	for rest := page; ; {
		i := strings.Index(rest, "</")
		if i < 0 {
			return ""
		}
		rest = rest[i+2:]
		if len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
			_, rest, _ = strings.Cut(rest, ">")
			return rest
		}
	}
}
