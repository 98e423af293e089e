package sanitize

import (
	"bytes"
	"strings"
)

// bodyStart is where the body of a page begins that a browser shows: behind the tag that opens it, or
// before the first thing that opens it by itself (HTML, section 13.2.6.4). It goes through what may
// stand in a head; where anything there may be read in two ways it goes no further, so that what is
// put in there is no comment and no part of a style sheet.
func bodyStart(b []byte) int {
	i := 0
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		i = 3
	}
	start, r := i, &tagReader{b: b}
	for {
		j := i
		for j < len(b) && isBlank(b[j]) {
			j++
		}
		next, open := headItem(r, b, j, j == start)
		if next < 0 {
			return safePlace(b, i, start)
		}
		if i = next; open {
			return safePlace(b, i, start)
		}
	}
}

// safePlace is the place i, or the start if some bytes before it are not in ASCII (ISO-2022, UTF-7):
// who knows in which state a client is there.
func safePlace(b []byte, i, start int) int {
	if bytes.IndexByte(b[:i], 0x1b) >= 0 {
		return start
	}
	return i
}

// headItem gives the byte behind what stands at byte j of a page, if it is one of what a page has
// before its body; -1 if it is not. It reports whether the body begins behind it.
func headItem(r *tagReader, b []byte, j int, first bool) (next int, open bool) {
	rest := b[min(j, len(b)):]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return j + commentEnd(rest), false
	case hasPrefixFold(rest, "<!doctype"), first && hasPrefixFold(rest, "<?xml "):
		n := bytes.IndexByte(rest, '>')
		if n < 0 || bytes.ContainsAny(rest[1:n], "[<") {
			return -1, false
		}
		return j + n + 1, false
	case hasPrefixFold(rest, "</head>"):
		return j + len("</head>"), false
	case len(rest) < 2 || rest[0] != '<' || !isLetter(rest[1]) || !r.read(j+1):
		return -1, false
	}
	switch name := strings.ToLower(string(b[r.tag.name.start:r.tag.name.end])); name {
	case "html", "head", "meta", "base", "link", "defanged_meta", "defanged_base", "defanged_link":
		return r.tag.end, false
	case "body":
		return r.tag.end, true
	case "title", "style":
		return rawEnd(b, r.tag.end, name), false
	}
	return -1, false
}

// commentEnd is how long a comment is that all browsers end at the same place; so small that its sum
// with any offset is negative if there is none.
func commentEnd(b []byte) int {
	const none = -1 << 40
	n := bytes.Index(b[4:], []byte("-->"))
	text := b[4:max(4, 4+n)]
	if n < 0 || bytes.HasPrefix(text, []byte(">")) || bytes.HasPrefix(b[4:], []byte("->")) || bytes.Contains(text, []byte("--!>")) || bytes.Contains(text, []byte("<!--")) {
		return none
	}
	return 4 + n + 3
}

// rawEnd is the byte behind the tag that closes an element whose content is no markup; -1 if there is
// none.
func rawEnd(b []byte, i int, name string) int {
	n := indexFold(b[i:], "</"+name)
	if n < 0 {
		return -1
	}
	i += n + len("</") + len(name)
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	if i == len(b) || b[i] != '>' {
		return -1
	}
	return i + 1
}
