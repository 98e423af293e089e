package sanitize

import "bytes"

// A tag is one reading of the bytes from a "<" on as a tag (HTML, section 13.2.5), whatever is
// around them.
type tag struct {
	end   int // behind ">"
	name  span
	attrs []attr
}

// An attr is an attribute of a tag. The value is without quotes; empty if there is none.
type attr struct{ name, value span }

// A span is the bytes [start, end) of a page.
type span struct{ start, end int }

func (s span) len() int { return s.end - s.start }

// maxAttrs is how many attributes one tag may have.
const maxAttrs = 2000

// isBlank tells the bytes that HTML takes for white space (ASCII whitespace, Infra section 4.5).
func isBlank(c byte) bool {
	return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f'
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// A tagReader reads tags out of a page from any byte on.
type tagReader struct {
	b    []byte
	last [256]int // where '>', '"' and '\'' occur for the last time, one more than the index; 0 if that is not known yet
	tag  tag      // the last one read; its attributes are overwritten by the next
}

// read reads the tag whose name begins at byte name. It reports false if the page ends before the
// tag does, or the tag has more than maxAttrs attributes.
func (r *tagReader) read(name int) bool {
	r.tag = tag{attrs: r.tag.attrs[:0]}
	i := name
	for i < len(r.b) && !isBlank(r.b[i]) && r.b[i] != '/' && r.b[i] != '>' {
		i++
	}
	r.tag.name = span{name, i}
	for {
		for i < len(r.b) && (isBlank(r.b[i]) || r.b[i] == '/') {
			i++
		}
		if i >= len(r.b) || !r.has('>', i) || len(r.tag.attrs) == maxAttrs {
			return false
		}
		if r.b[i] == '>' {
			r.tag.end = i + 1
			return true
		}
		if i = r.attr(i); i < 0 {
			return false
		}
	}
}

// has reports whether c occurs at byte i or behind it; so that a page of nothing but opened
// quotes costs no more than one that closes them.
func (r *tagReader) has(c byte, i int) bool {
	if r.last[c] == 0 {
		if r.last[c] = bytes.LastIndexByte(r.b, c) + 1; r.last[c] == 0 {
			r.last[c] = -1
		}
	}
	return r.last[c] > i
}

// attr reads an attribute that begins at byte i, and returns the byte behind it; -1 if the page
// ends in its value.
func (r *tagReader) attr(i int) int {
	a := attr{name: span{start: i}}
	for i++; i < len(r.b) && !isBlank(r.b[i]) && r.b[i] != '/' && r.b[i] != '>' && r.b[i] != '='; {
		i++ // even a "=" may be the first character of a name
	}
	a.name.end = i
	for i < len(r.b) && isBlank(r.b[i]) {
		i++
	}
	if i < len(r.b) && r.b[i] == '=' {
		a.value, i = r.value(i + 1)
	} else {
		i = a.name.end
	}
	r.tag.attrs = append(r.tag.attrs, a)
	return i
}

func (r *tagReader) value(i int) (span, int) {
	for i < len(r.b) && isBlank(r.b[i]) {
		i++
	}
	if i >= len(r.b) {
		return span{}, -1
	}
	if q := r.b[i]; q == '"' || q == '\'' {
		i++
		if !r.has(q, i) {
			return span{}, -1
		}
		end := i + bytes.IndexByte(r.b[i:], q)
		return span{i, end}, end + 1
	}
	start := i
	for i < len(r.b) && !isBlank(r.b[i]) && r.b[i] != '>' {
		i++
	}
	return span{start, i}, i
}
