package scanners

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"rastel/sanitize/eml"
)

// The checks of all that opens files which are hidden in other content: uuencode, yEnc, BinHex,
// the containers of the Macintosh, TNEF. Both mean that something was not seen.
const (
	hiddenDamaged = "hidden/damaged"
	hiddenPartial = "hidden/partial"
)

var (
	damagedCheck = eml.Check{ID: hiddenDamaged, Doc: "A file in an encoding such as uuencode, BinHex or TNEF is damaged and was not examined, or not to its end, or programs decode it to something else."}
	partialCheck = eml.Check{ID: hiddenPartial, Doc: "One part of a file that was sent in several (yEnc); the rest is in other messages, and the file was not examined."}
)

const (
	// maxHiddenFindings is how many findings about one part are kept. More of them say nothing new.
	maxHiddenFindings = 100
	// maxHiddenName is how many bytes of a name are kept, counted from its end: what it opens with
	// is told by its end.
	maxHiddenName = 4 << 10
	// maxHiddenNames is how many names of one member are kept.
	maxHiddenNames = 16
)

// A hidden is the expansion of one part that hides others. One goroutine uses it.
type hidden struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	p     *eml.Part
	b     *Budget
	yield func(*eml.Part) error

	index    int // of the last member
	findings []eml.Finding
}

// report adds a finding about p, once.
func (h *hidden) report(check, detail string) {
	told := func(f eml.Finding) bool { return f.Check == check && f.Detail == detail }
	if len(h.findings) < maxHiddenFindings && !slices.ContainsFunc(h.findings, told) {
		h.findings = append(h.findings, eml.Finding{Check: check, Part: h.p, Detail: detail, Unexamined: true})
	}
}

// member makes a member of what r gives and yields it. The error is one that ends the expansion:
// what is wrong with the content is not for r to say.
func (h *hidden) member(names nameList, r io.Reader) error {
	h.index++
	m, err := h.b.Member(h.ctx, h.p, h.index, names, r)
	if err != nil {
		if m != nil {
			m.Release()
		}
		return err
	}
	return h.yield(m)
}

// A nameList collects the names under which programs show one member.
type nameList []string

// add adds a name, as UTF-8 whatever it is in.
func (l *nameList) add(raw string) {
	name := toUTF8(raw[max(len(raw)-maxHiddenName, 0):])
	if name != "" && len(*l) < maxHiddenNames && !slices.Contains(*l, name) {
		*l = append(*l, name)
	}
}

// addStopped adds a name that may be filled up with zeros. Programs stop at the first; what is
// behind it is a name of its own kind.
func (l *nameList) addStopped(raw string) {
	raw = strings.TrimRight(raw, "\x00")
	before, _, stops := strings.Cut(raw, "\x00")
	l.add(before)
	if stops {
		l.add(raw)
	}
}

// toUTF8 takes what is not UTF-8 for Latin-1: of a name in any other charset the extension, which
// matters, comes out right.
func toUTF8(raw string) string {
	if utf8.ValidString(raw) {
		return raw
	}
	var b strings.Builder
	for i := range len(raw) {
		b.WriteRune(rune(raw[i]))
	}
	return b.String()
}

// crc16 is the cyclic redundancy check of BinHex and MacBinary (CRC-CCITT, initially 0).
func crc16(crc uint16, p []byte) uint16 {
	for _, c := range p {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^c]
	}
	return crc
}

var crc16Table = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

// lineRoom is how much of its input a lineReader holds. A longer line comes in pieces.
const lineRoom = 32 << 10

// A lineReader reads lines that end in CRLF, LF or CR. Bytes that are 0 are passed over, so that
// UTF-16 is read as what it stands for where that is ASCII.
type lineReader struct {
	ctx  context.Context //nolint:containedctx // lives as long as one call of Expand
	r    io.ReaderAt
	next int64 // in r, of what is read into buf next
	end  int64 // of r

	buf        []byte
	start, lim int // what in buf is not consumed yet
	lf         int // in buf, of the next LF, or lim; less than start if not known

	line   []byte
	off    int64 // of the line in r
	inside bool  // the line goes on from the one before
	more   bool  // the line goes on in the next
	cr     bool  // the last line ended in CR
	again  bool
}

// newLineReader reads the lines of r.
func newLineReader(ctx context.Context, r *io.SectionReader) *lineReader {
	return &lineReader{ctx: ctx, r: r, end: r.Size(), lf: -1, buf: make([]byte, min(lineRoom, r.Size()))}
}

// seek has the next line begin at off.
func (l *lineReader) seek(off int64) {
	l.next, l.start, l.lim, l.lf = off, 0, 0, -1
	l.again, l.more, l.cr = false, false, false
}

// unread has the next call of read give the same line again.
func (l *lineReader) unread() { l.again = true }

// read goes to the next line, or the next piece of one, and gives it without its end. It is good
// until the next call. The error is io.EOF, or one that ends the expansion.
func (l *lineReader) read() ([]byte, error) {
	if l.again {
		l.again = false
		return l.line, nil
	}
	l.inside = l.more
	at := 0 // bytes that were looked at
	for {
		if l.cr && l.start < l.lim {
			l.cr = false
			if l.buf[l.start] == '\n' {
				l.start++
			}
		}
		if end := l.lineEnd(l.start + at); end < l.lim {
			l.cr, l.more = l.buf[end] == '\r', false
			return l.take(end-l.start, 1), nil
		}
		at = l.lim - l.start
		if at == len(l.buf) && at > 0 {
			l.more = true
			return l.take(at, 0), nil
		}
		err := l.fill()
		switch {
		case err == io.EOF && at > 0:
			l.more = false
			return l.take(at, 0), nil
		case err != nil:
			return nil, err
		}
	}
}

// lineEnd is where in the buffer a line ends that has no end before from; lim if it is not there.
func (l *lineReader) lineEnd(from int) int {
	if l.lf < from {
		l.lf = l.lim
		if i := bytes.IndexByte(l.buf[from:l.lim], '\n'); i >= 0 {
			l.lf = from + i
		}
	}
	if i := bytes.IndexByte(l.buf[from:l.lf], '\r'); i >= 0 {
		return from + i
	}
	return l.lf
}

// take consumes a line of n bytes and its end.
func (l *lineReader) take(n, end int) []byte {
	l.off = l.next - int64(l.lim-l.start)
	l.line = l.buf[l.start : l.start+n]
	l.start += n + end
	if bytes.IndexByte(l.line, 0) < 0 {
		return l.line
	}
	kept := l.line[:0]
	for _, c := range l.line {
		if c != 0 {
			kept = append(kept, c)
		}
	}
	l.line = kept
	return kept
}

// fill reads more into the buffer.
func (l *lineReader) fill() error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if l.start > 0 {
		l.lim = copy(l.buf, l.buf[l.start:l.lim])
		l.start = 0
	}
	l.lf = -1
	room := l.buf[l.lim:]
	n, err := l.r.ReadAt(room[:min(int64(len(room)), l.end-l.next)], l.next)
	l.lim += n
	l.next += int64(n)
	switch {
	case n > 0:
		return nil
	case l.next >= l.end || errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}

// text reads the next line that is not blank.
func (l *lineReader) text() ([]byte, error) {
	for {
		line, err := l.read()
		if err != nil || len(trimBlanks(line)) > 0 {
			return line, err
		}
	}
}

// rest reads a line to its end: the end of what is in its pieces.
func (l *lineReader) rest() ([]byte, error) {
	line := l.line
	for l.more {
		tail := slices.Clone(line[max(len(line)-maxHiddenName, 0):])
		next, err := l.read()
		if err != nil {
			return tail, err
		}
		line = append(tail, next...)
	}
	return line, nil
}

func trimBlanks(line []byte) []byte {
	for len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		line = line[1:]
	}
	for len(line) > 0 && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	return line
}

// afterMark is a line without blanks and a byte order mark at its beginning. Of a mark in UTF-16
// no zeros are left.
func afterMark(line []byte) []byte {
	for {
		switch {
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
			line = line[1:]
		case bytes.HasPrefix(line, []byte("\xef\xbb\xbf")):
			line = line[3:]
		case bytes.HasPrefix(line, []byte("\xff\xfe")), bytes.HasPrefix(line, []byte("\xfe\xff")):
			line = line[2:]
		default:
			return line
		}
	}
}
