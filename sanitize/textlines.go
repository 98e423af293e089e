package sanitize

import (
	"bufio"
	"bytes"
	"cmp"
	"strings"
	"unicode/utf8"
)

// A lineText writes text line by line.
type lineText struct {
	w       *bufio.Writer // also keeps the first error
	line    []byte        // what is held back of the current one
	long    bool          // the line began with what is written already
	blank   bool          // a blank is due before the next word
	breaks  int           // line breaks that are due before the next word
	any     bool          // something was written
	quotes  int
	lists   int
	bullet  string
	prefix  string // of the current line
	tagless bool
	n       int    // how much text there was
	links   int    // that are open
	tail    []byte // the end of the text, if there are any
	width   int    // of the current line
}

// need asks for so many line breaks before what comes next.
func (l *lineText) need(n int) {
	l.breaks, l.blank = max(l.breaks, n), false
}

// lineBreak is one that the page asks for.
func (l *lineText) lineBreak() {
	if l.breaks > 0 || !l.any && len(l.line) == 0 {
		l.breaks = min(l.breaks+1, 2)
		return
	}
	l.need(1)
}

// words writes text whose white space means nothing.
func (l *lineText) words(s string) { l.text([]byte(s)) }

// text writes text whose white space means nothing.
func (l *lineText) text(b []byte) {
	for i := 0; i < len(b); {
		if byteKinds[b[i]]&byteBlank != 0 {
			l.blank = l.blank || l.breaks == 0
			i = skipSpace(b, i)
			continue
		}
		if n := plainText(b[i:]); n > 0 {
			l.due()
			l.run(b[i : i+n])
			i += n
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == 0xa0:
			l.blank = l.blank || l.breaks == 0
		case isUnread(r):
		case r == utf8.RuneError && !utf8.FullRune(b[i:]):
		default:
			l.rune(r)
		}
		i += size
	}
}

// plainText is how many bytes b begins with that are words with one blank between them.
func plainText(b []byte) int {
	i := 0
	for i < len(b) {
		switch {
		case byteKinds[b[i]]&byteWord != 0:
			i++
		case b[i] == ' ':
			if i == 0 || i+1 == len(b) || byteKinds[b[i+1]]&byteWord == 0 {
				return i
			}
			i += 2
		case b[i] < utf8.RuneSelf:
			return i
		default:
			r, size := utf8.DecodeRune(b[i:])
			if r == 0xa0 || r == utf8.RuneError || isUnread(r) {
				return i
			}
			i += size
		}
	}
	return i
}

// verbatim writes text whose white space counts.
func (l *lineText) verbatim(b []byte) {
	for _, r := range string(b) {
		if r == ' ' || r == '\t' || !isUnread(r) {
			l.rune(r)
		}
	}
}

// isUnread tells characters that are not seen: besides controls, those that only order or join others,
// and with which text is hidden or filled up.
func isUnread(r rune) bool {
	switch r {
	case 0xad, 0x34f, 0x200b, 0x2060, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, '\n', '\r':
		return true
	}
	return isUnwritten(r)
}

func (l *lineText) rune(r rune) {
	l.due()
	l.put(r)
}

// due writes what is due before the next word.
func (l *lineText) due() {
	if l.breaks > 0 {
		if l.any || len(l.line) > 0 {
			l.endLine()
			for ; l.breaks > 1; l.breaks-- {
				l.emptyLine()
			}
		}
		l.breaks, l.blank = 0, false
	}
	if l.blank && l.width > 0 {
		l.put(' ')
	}
	l.blank = false
}

func (l *lineText) put(r rune) {
	l.begin(r)
	if len(l.line) >= maxTextLine && r != '<' && l.line[len(l.line)-1] != '<' {
		l.flush()
	}
	at := len(l.line)
	l.line = utf8.AppendRune(l.line, r)
	l.n, l.width = l.n+1, l.width+1
	l.hear(l.line[at:])
}

// begin prepares the line for a character: what is before it, if it is the first, or so that it does not
// begin a tag.
func (l *lineText) begin(r rune) {
	if len(l.line) == 0 && !l.long {
		l.prefix = l.indent()
	}
	if l.begins(r) {
		l.line = append(l.line, ' ')
	}
}

// begins reports whether a character would begin a tag.
func (l *lineText) begins(r rune) bool {
	return l.tagless && len(l.line) > 0 && l.line[len(l.line)-1] == '<' && (isLetter(byte(min(r, 0x7f))) || strings.ContainsRune("/!?", r))
}

// run writes what plainText found.
func (l *lineText) run(b []byte) {
	for len(b) > 0 {
		n := min(len(b), maxTextLine-len(l.line))
		for n > 0 && n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		if r, size := utf8.DecodeRune(b); n <= 0 || l.begins(r) {
			l.put(r)
			b = b[size:]
			continue
		}
		if len(l.line) == 0 && !l.long {
			l.prefix = l.indent()
		}
		l.line = append(l.line, b[:n]...)
		count := utf8.RuneCount(b[:n])
		l.n, l.width = l.n+count, l.width+count
		l.hear(b[:n])
		b = b[n:]
	}
}

// listen keeps the text from here on, as that of a link that begins.
func (l *lineText) listen() {
	if l.links++; l.links == 1 {
		l.tail = l.tail[:0]
	}
}

// unlisten is for the end of the link.
func (l *lineText) unlisten() { l.links-- }

// hear keeps text of a link.
func (l *lineText) hear(b []byte) {
	const keep = maxTextURL * utf8.UTFMax
	if l.links == 0 {
		return
	}
	if l.tail = append(l.tail, b...); len(l.tail) > 2*keep {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-keep:]...)
	}
}

// last are the last n characters of a link that is open.
func (l *lineText) last(n int) []byte {
	if n > maxTextURL {
		return []byte("...")
	}
	i := len(l.tail)
	for ; n > 0 && i > 0; n-- {
		_, size := utf8.DecodeLastRune(l.tail[:i])
		i -= size
	}
	return bytes.TrimSpace(l.tail[i:])
}

// url writes the URL of a link.
func (l *lineText) url(u string, blank bool) {
	l.blank = l.blank || blank
	if l.tagless {
		l.words("(" + u + ")")
	} else {
		l.words("<" + u + ">")
	}
}

// underline puts a line below the current one.
func (l *lineText) underline(s string) {
	if l.width == 0 || l.breaks > 0 {
		return
	}
	n := min(l.width, 72)
	l.need(1)
	l.words(strings.Repeat(s, n))
}

// flush writes what is held back of the line, with what is before it.
func (l *lineText) flush() {
	if len(l.line) == 0 {
		return
	}
	if !l.long {
		_, _ = l.w.WriteString(l.prefix)
		if isRiskyLine(l.line, !l.any) {
			_, _ = l.w.WriteString("| ")
		}
	}
	_, _ = l.w.Write(l.line)
	l.line, l.long, l.any = l.line[:0], true, true
}

// indent is what is before a line that begins now.
func (l *lineText) indent() string {
	if l.quotes == 0 && l.lists == 0 {
		return ""
	}
	s := strings.Repeat("> ", min(l.quotes, maxTextLevels))
	if l.lists > 0 {
		s += strings.Repeat("  ", min(l.lists, maxTextLevels)-1) + cmp.Or(l.bullet, "  ")
		l.bullet = ""
	}
	return s
}

// isRiskyLine reports whether a line, if there is nothing before it, begins an encoded file, a block of
// PGP or a mailbox; or a page, if it is the first.
func isRiskyLine(line []byte, first bool) bool {
	line = bytes.TrimLeft(line, " \t")
	if len(line) == 0 || strings.IndexByte("bBfF=(-:<", line[0]) < 0 {
		return false
	}
	low := bytes.ToLower(line[:min(len(line), 64)])
	if rest, ok := bytes.CutPrefix(low, []byte("begin ")); ok && len(rest) > 0 && (isDigit(rest[0]) || isBlank(rest[0])) {
		return true
	}
	for _, s := range []string{"begin-base64", "=y", "(this file", "-----begin", "from ", ":"} {
		if bytes.HasPrefix(low, []byte(s)) {
			return true
		}
	}
	return first && bytes.HasPrefix(low, []byte("<"))
}

// endLine ends the current line, if there is one.
func (l *lineText) endLine() {
	if len(l.line) > 0 || l.long {
		l.flush()
		_ = l.w.WriteByte('\n')
	}
	l.long, l.width = false, 0
}

func (l *lineText) emptyLine() {
	_ = l.w.WriteByte('\n')
}

func (l *lineText) finish() error {
	l.endLine()
	return l.w.Flush()
}
