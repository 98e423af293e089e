package scanners

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
)

// A lineScanner reads text line by line.
type lineScanner struct {
	r      *bufio.Reader
	inside bool // the piece before had no line end
	line   []byte
	again  bool
}

func newLineScanner(r io.Reader) *lineScanner {
	return &lineScanner{r: bufio.NewReaderSize(r, 4<<10)}
}

// next gives the next line without its end, blanks, and the marks of a reply before it. Of a line
// that is long it gives pieces; begins says that one is the first. It is good until the next call.
func (l *lineScanner) next() (line []byte, begins bool, err error) {
	if l.again {
		l.again = false
		return l.line, true, nil
	}
	line, err = l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull || err == io.EOF && len(line) > 0 {
		err = nil
	}
	begins = !l.inside
	l.inside = len(line) > 0 && line[len(line)-1] != '\n'
	line = bytes.TrimRight(line, " \t\r\n")
	if begins {
		line = bytes.TrimLeft(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")), " \t>|")
	}
	l.line = line
	return line, begins, err
}

// unread has next give the same line again, which is a whole one.
func (l *lineScanner) unread() { l.again = true }

// An armorReader gives the base64 in an ASCII armour (RFC 9580 section 6.2) or PEM (RFC 7468) as
// GnuPG and others read it: what is not of the alphabet does not count, and padding is the end.
type armorReader struct {
	lines  *lineScanner
	header bool // fields may stand before the data
	over   bool
	text   []byte // not given yet
	buf    []byte
}

// newArmorReader decodes what is in PEM, or in base64 without anything around it.
func newArmorReader(r io.Reader) io.Reader {
	a := &armorReader{lines: newLineScanner(r), header: true}
	for {
		line, begins, err := a.lines.next()
		if err == nil && (len(line) == 0 || begins && bytes.HasPrefix(line, []byte("-----BEGIN "))) {
			continue
		}
		a.take(line, begins, err)
		return base64.NewDecoder(base64.RawStdEncoding, a)
	}
}

// newBlockReader decodes the block of an ASCII armour whose first line was read.
func newBlockReader(l *lineScanner) io.Reader {
	return base64.NewDecoder(base64.RawStdEncoding, &armorReader{lines: l, header: true})
}

func (a *armorReader) Read(p []byte) (int, error) {
	for len(a.text) == 0 {
		if a.over {
			return 0, io.EOF
		}
		line, begins, err := a.lines.next()
		if a.take(line, begins, err); err != nil && err != io.EOF {
			return 0, err
		}
	}
	n := copy(p, a.text)
	a.text = a.text[n:]
	return n, nil
}

// take takes one line.
func (a *armorReader) take(line []byte, begins bool, err error) {
	switch {
	case err != nil:
		a.over = true
		return
	case begins && bytes.HasPrefix(line, []byte("-----")):
		a.over = true
		a.lines.unread() // it may begin the next block
		return
	case a.header && len(line) == 0:
		a.header = false
	case a.header && bytes.IndexByte(line, ':') > 0:
		return
	}
	if len(line) > 0 {
		a.header = false
	}
	a.buf = a.buf[:0]
	for _, c := range line {
		if c == '=' {
			a.over = true
			break
		}
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' {
			a.buf = append(a.buf, c)
		}
	}
	a.text = a.buf
}
