package sanitize

import (
	"bytes"

	"golang.org/x/net/html"
)

// rawElements are those whose content is read as text (HTML, section 13.2.6.4.7), as the tokenizer reads it.
var rawElements = set("iframe noembed noframes plaintext script style textarea title xmp")

// readRaw reads raw text, or a piece of it. It reports false if there is none, or none that anybody looks
// at.
func (t *tokenReader) readRaw() bool {
	if t.in.is&isSilentElement != 0 {
		t.skipRaw()
		return false
	}
	style := t.in.name == "style"
	room := textRoom
	if style && !t.given {
		room = maxToken
	}
	n, found := t.rawEnd(room)
	t.raw = !found && n > 0 && (len(t.rest()) > n || !t.ended)
	if t.raw && !style {
		n = pieceEnd(t.rest()[:n])
	}
	if n == 0 {
		return false
	}
	t.kind, t.text, t.has = html.TextToken, t.rest()[:n], kindsNotKnown
	t.pos += n
	t.given, t.goes = true, t.given
	if style {
		return true // CSS takes CR for white space too
	}
	if bytes.IndexByte(t.text, 0) >= 0 {
		t.text = bytes.ReplaceAll(t.text, []byte{0}, []byte("\ufffd"))
	}
	t.decodeText(t.in.name == "textarea")
	return true
}

// rawEnd gives how many bytes of raw text come next, at most room, and whether its end is behind them.
func (t *tokenReader) rawEnd(room int) (n int, found bool) {
	for {
		b := t.rest()
		b = b[:min(len(b), room)]
		if n, found = t.endTag(b, n); found {
			return n, true
		}
		if t.more(room) {
			continue
		}
		if len(t.rest()) < room { // so all is read
			n = len(b)
		}
		return n, false
	}
}

// endTag finds the tag that ends the raw text in b, from byte i on. If it finds none, it gives where one may
// begin whose end is not there.
func (t *tokenReader) endTag(b []byte, i int) (int, bool) {
	for ; ; i++ {
		n := bytes.IndexByte(b[i:], '<')
		if n < 0 || t.in.name == "plaintext" {
			return len(b), false
		}
		if i += n; len(b)-i < len("</>")+len(t.in.name) {
			return i, false
		}
		if isEndTag(b[i:], t.in.name) {
			return i, true
		}
	}
}

// isEndTag reports whether b begins with an end tag of an element. It is long enough for one.
func isEndTag(b []byte, name string) bool {
	return b[1] == '/' && endsName(b[2:], name)
}

// endsName reports whether b begins with a name, and what ends one.
func endsName(b []byte, name string) bool {
	return hasPrefixFold(b, name) && byteKinds[b[len(name)]]&byteTagName == 0
}

// skipRaw passes over raw text.
func (t *tokenReader) skipRaw() {
	t.raw = false
	for {
		var n int
		var found bool
		if t.in.name == "script" {
			n, found = t.script.end(t.rest(), t.ended)
		} else {
			n, found = t.endTag(t.rest(), 0)
		}
		if t.pos += n; found {
			return
		}
		if !t.more(readRoom) {
			t.pos = len(t.buf)
			return
		}
	}
}

// A scriptText is how far the text of a script was read: "</script>" does not end it everywhere (HTML, section
// 13.2.5.15 on).
type scriptText struct {
	escaped bool // it is within "<!--"
	double  bool // and there within a script element
	dashes  int  // how many were just read, at most two
}

// end finds the tag that ends the script in b. If it finds none, it gives how much of b was read: all of it, or,
// unless that is the end of the page, all but the beginning of a tag.
func (s *scriptText) end(b []byte, ended bool) (n int, found bool) {
	for i := 0; i < len(b); {
		if !s.escaped {
			n := bytes.IndexByte(b[i:], '<')
			if n < 0 {
				break
			}
			i += n
		}
		switch c := b[i]; {
		case c == '<' && len(b)-i < len("</script>") && !ended:
			return i, false
		case c == '<':
			n, found := s.tag(b[i:])
			if found {
				return i, true
			}
			i += n
		case c == '-':
			s.dashes = min(s.dashes+1, 2)
			i++
		default:
			if c == '>' && s.dashes == 2 {
				s.escaped, s.double = false, false
			}
			s.dashes = 0
			i++
		}
	}
	return len(b), false
}

// tag reads what begins with the "<" at the start of b. It gives how many bytes are read with it, or that the
// script ends before it.
func (s *scriptText) tag(b []byte) (n int, found bool) {
	whole := len(b) >= len("</script>")
	ends := whole && isEndTag(b, "script")
	s.dashes = 0
	switch {
	case s.double && ends:
		s.double = false
		return len("</script>"), false
	case s.double:
	case ends:
		return 0, true
	case !s.escaped && bytes.HasPrefix(b, []byte("<!--")):
		s.escaped, s.dashes = true, 2
		return len("<!--"), false
	case !s.escaped, len(b) == 1, b[1] == '/':
	case !isLetter(b[1]):
		s.escaped = false
	case len(b) > len("<script") && endsName(b[1:], "script"):
		s.double = true
		return len("<script>"), false
	}
	return 1, false
}
