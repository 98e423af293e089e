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
	tail    []byte // the end of it
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
func (l *lineText) words(s string) {
	for i, r := range s {
		switch {
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == '\f' || r == 0xa0:
			l.blank = l.blank || l.breaks == 0
		case isUnread(r):
		case r == utf8.RuneError && !utf8.FullRuneInString(s[i:]):
		default:
			l.rune(r)
		}
	}
}

// verbatim writes text whose white space counts.
func (l *lineText) verbatim(s string) {
	for _, r := range s {
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
	l.put(r)
}

func (l *lineText) put(r rune) {
	if len(l.line) == 0 && !l.long {
		l.prefix = l.indent()
	}
	if l.tagless && len(l.line) > 0 && l.line[len(l.line)-1] == '<' && (isLetter(byte(min(r, 0x7f))) || strings.ContainsRune("/!?", r)) {
		l.line = append(l.line, ' ')
	}
	if len(l.line) >= maxTextLine && r != '<' && l.line[len(l.line)-1] != '<' {
		l.flush()
	}
	l.line = utf8.AppendRune(l.line, r)
	l.n, l.width = l.n+1, l.width+1
	if l.tail = utf8.AppendRune(l.tail, r); len(l.tail) > 2*maxTextURL {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-maxTextURL:]...)
	}
}

// last are the last n characters.
func (l *lineText) last(n int) string {
	if n > maxTextURL {
		return "..."
	}
	i := len(l.tail)
	for ; n > 0 && i > 0; n-- {
		_, size := utf8.DecodeLastRune(l.tail[:i])
		i -= size
	}
	return strings.TrimSpace(string(l.tail[i:]))
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
