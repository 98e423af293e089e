package sanitize

import "io"

// A qpWriter writes in quoted-printable (RFC 2045, section 6.7). Of two hyphens it encodes the second:
// what stood in base64 or behind character references must not become the boundary of a part.
type qpWriter struct {
	w      io.Writer
	out    []byte
	column int
	cr     bool // a line break is written, of which a LF may follow
	hyphen bool // the last character of the line is one
	blank  byte // a space or tab that is held back, as it is encoded at the end of a line; 0 if there is none
}

func (q *qpWriter) Write(p []byte) (int, error) {
	q.out = q.out[:0]
	for i := 0; i < len(p); {
		c := p[i]
		if k := byteKinds[c]; k&byteQP != 0 {
			n := 1
			for i+n < len(p) && byteKinds[p[i+n]]&byteQP != 0 {
				n++
			}
			q.run(p[i : i+n])
			i += n
			continue
		}
		switch {
		case c == '\n' && q.cr:
			q.cr = false
		case c == '\n' || c == '\r':
			q.end()
			q.cr = c == '\r'
		case c == '-' && !q.hyphen:
			q.run(p[i : i+1])
			q.hyphen = true
		default:
			q.release()
			q.encode(c)
			q.hyphen, q.cr = c == '-', false
		}
		i++
	}
	if _, err := q.w.Write(q.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is held back. It does not close the writer below.
func (q *qpWriter) Close() error {
	q.out = q.out[:0]
	q.encodeBlank()
	_, err := q.w.Write(q.out)
	return err
}

// run writes characters that need no encoding, but for a blank at their end.
func (q *qpWriter) run(b []byte) {
	q.release()
	q.hyphen, q.cr = false, false
	if c := b[len(b)-1]; c == ' ' || c == '\t' {
		q.blank, b = c, b[:len(b)-1]
	}
	q.plain(b)
}

func (q *qpWriter) plain(b []byte) {
	for len(b) > 0 {
		if q.column == maxEncodedLine-1 {
			q.softBreak()
		}
		n := min(len(b), maxEncodedLine-1-q.column)
		q.out = append(q.out, b[:n]...)
		q.column += n
		b = b[n:]
	}
}

// release writes the blank that is held back, as something follows it in the line.
func (q *qpWriter) release() {
	if q.blank != 0 {
		q.plain([]byte{q.blank})
		q.blank = 0
	}
}

func (q *qpWriter) encodeBlank() {
	if q.blank != 0 {
		q.encode(q.blank)
		q.blank = 0
	}
}

func (q *qpWriter) encode(c byte) {
	const hex = "0123456789ABCDEF"
	if q.column+len("=XX") > maxEncodedLine-1 {
		q.softBreak()
	}
	q.out = append(q.out, '=', hex[c>>4], hex[c&15])
	q.column += len("=XX")
}

func (q *qpWriter) softBreak() {
	q.out = append(q.out, "=\r\n"...)
	q.column = 0
}

// end ends the line.
func (q *qpWriter) end() {
	q.encodeBlank()
	q.out = append(q.out, "\r\n"...)
	q.column, q.hyphen = 0, false
}
