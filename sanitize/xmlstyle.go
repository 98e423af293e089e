package sanitize

import (
	"bytes"
	"unicode/utf8"
)

const (
	// maxStyleText is how much of the text of a style element is put together from pieces.
	maxStyleText = 1 << 20
	// maxStyleDepth is how many elements within each other may stand in one.
	maxStyleDepth = 64
)

// dividedStyle examines a style element as a drawing has it, in XML or within HTML: its text is what is
// left without comments and elements, and with what is in CDATA, so that "u<!-- -->rl(" is a word. It
// gives where the element ends.
func (p *page) dividedStyle(t *tag, start, end int) int {
	if p.over || !p.drawing && !p.xml || bytes.IndexByte(p.b[start:end], '<') < 0 {
		return end
	}
	p.quiet = span{} // this may see otherwise
	last := p.dividedAs(t, start, false)
	if p.xml && p.b[t.end-2] != '/' {
		last = max(last, p.dividedAs(t, start, true))
	}
	return max(last, end)
}

func (p *page) dividedAs(t *tag, start int, xml bool) int {
	d := styleText{b: p.b, xml: xml, pos: start, names: []span{t.name}}
	ok := d.read()
	p.spend(d.pos - start)
	if p.over = p.over || !ok; p.over {
		return d.pos
	}
	whole, first := p.b, len(p.marks)
	p.b, p.css.raw = d.text, true
	p.style(span{0, len(d.text)})
	p.b, p.css.raw = whole, false
	for i := range p.marks[first:] {
		p.marks[first+i].at = int(d.at[p.marks[first+i].at])
	}
	return d.pos
}

// A styleText is the text of a style element, put together.
type styleText struct {
	b     []byte
	xml   bool // read as XML, not as a drawing within HTML
	pos   int
	names []span // of the elements that are open; the first is the style element
	text  []byte
	at    []int32 // where each byte of it is from
}

// read reads to the end of the element. It reports false if that is more than the limits.
func (d *styleText) read() bool {
	for d.pos < len(d.b) && len(d.names) > 0 {
		if len(d.text) > maxStyleText || len(d.names) > maxStyleDepth {
			return false
		}
		switch b := d.b[d.pos:]; {
		case b[0] == '&':
			r, n := decodeEntity(b)
			d.add(utf8.AppendRune(nil, r), 0)
			d.pos += n
		case b[0] != '<':
			n := bytes.IndexAny(b, "<&")
			if n < 0 {
				n = len(b)
			}
			if n > maxStyleText {
				return false
			}
			d.add(b[:n], 1)
			d.pos += n
		default:
			d.markup(b)
		}
	}
	return true
}

// add appends text of the style element itself, which begins at the byte that is to be read; each of
// its bytes is so many bytes behind the one before.
func (d *styleText) add(text []byte, step int) {
	if len(d.names) > 1 {
		return
	}
	for i := range text {
		d.at = append(d.at, int32(d.pos+i*step)) //nolint:gosec // pages are smaller than maxHTMLSize
	}
	d.text = append(d.text, text...)
}

// markup reads what begins with the "<" at the start of b.
func (d *styleText) markup(b []byte) {
	switch {
	case bytes.HasPrefix(b, []byte("<!--")):
		d.pos += d.comment(b)
	case bytes.HasPrefix(b, []byte("<![CDATA[")):
		n := len("<![CDATA[")
		end := behind(b, n, "]]>")
		d.pos += n
		d.add(bytes.TrimSuffix(b[n:end], []byte("]]>")), 1)
		d.pos += end - n
	case bytes.HasPrefix(b, []byte("<?")) && d.xml:
		d.pos += behind(b, 2, "?>")
	case bytes.HasPrefix(b, []byte("<!")), bytes.HasPrefix(b, []byte("<?")):
		d.pos += behind(b, 2, ">")
	case len(b) > 1 && b[1] == '/':
		d.close(d.name(d.pos + 2))
		d.pos += behind(b, 2, ">")
	case len(b) > 1 && (isLetter(b[1]) || d.xml):
		d.open(b)
	default:
		d.add(b[:1], 1)
		d.pos++
	}
}

// comment gives the length of the comment at the start of b (HTML, section 13.2.5.43; XML, section 2.5).
func (d *styleText) comment(b []byte) int {
	if d.xml {
		return behind(b, len("<!--"), "-->")
	}
	for _, s := range []string{"<!-->", "<!--->"} {
		if bytes.HasPrefix(b, []byte(s)) {
			return len(s)
		}
	}
	for i := len("<!--"); ; {
		n := bytes.IndexByte(b[i:], '>')
		if n < 0 {
			return len(b)
		}
		if i += n + 1; bytes.HasSuffix(b[4:i], []byte("-->")) || bytes.HasSuffix(b[4:i], []byte("--!>")) {
			return i
		}
	}
}

// behind gives the byte behind the next s, from byte i on; the length of b if there is none.
func behind(b []byte, i int, s string) int {
	n := bytes.Index(b[i:], []byte(s))
	if n < 0 {
		return len(b)
	}
	return i + n + len(s)
}

func (d *styleText) name(start int) span {
	end := start
	for end < len(d.b) && !isBlank(d.b[end]) && d.b[end] != '/' && d.b[end] != '>' {
		end++
	}
	return span{start, end}
}

func (d *styleText) open(b []byte) {
	end, quote := 1, byte(0)
	for ; end < len(b) && (quote != 0 || b[end-1] != '>'); end++ {
		switch c := b[end]; {
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	if b[end-1] != '>' || b[end-2] != '/' {
		d.names = append(d.names, d.name(d.pos+1))
	}
	d.pos += end
}

// close ends the element of that name, and those within it. What was never begun does not end.
func (d *styleText) close(name span) {
	for i := len(d.names) - 1; i >= 0; i-- {
		if n := d.names[i]; bytes.EqualFold(d.b[n.start:n.end], d.b[name.start:name.end]) {
			d.names = d.names[:i]
			return
		}
	}
}
