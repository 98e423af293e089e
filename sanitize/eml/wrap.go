package eml

import (
	"bufio"
	"bytes"
	"io"
	"slices"
)

// A Wrapping is how an MTA breaks lines that are longer than SMTP allows (RFC 5321 section
// 4.5.3.1.6) when it hands a message on. It does so behind the filter, so that what is one word
// here is two for the recipient: "xonerror=" in a page becomes "onerror=".
type Wrapping uint8

const (
	ByPostfix  Wrapping = iota // smtp_line_length_limit = 998: CRLF and a blank between
	BySendmail                 // L=990 of its SMTP mailers: the same behind an exclamation mark
	wrappings                  // how many there are
)

// Wrappings are all of them.
func Wrappings() []Wrapping { return []Wrapping{ByPostfix, BySendmail} }

// maxLine is the longest line that no MTA breaks.
const maxLine = 990

var wrapRules = [wrappings]struct {
	limit, first, next int // the longest line that is left; how much of a longer one comes before a break
	mark               string
	chunk              int // of a line that is longer the MTA takes so much for a line of its own; 0: any length
}{
	ByPostfix:  {limit: 998, first: 998, next: 997, mark: "\r\n "},
	BySendmail: {limit: maxLine, first: 989, next: 988, mark: "!\r\n ", chunk: 2047},
}

// A wrapReader reads what an MTA makes of a text.
type wrapReader struct {
	r       *bufio.Reader
	by      Wrapping
	wrapped bool // within a line, behind a break
	used    int  // bytes of the line's chunk that were read
	out     []byte
	err     error
}

func newWrapReader(r io.Reader, by Wrapping) *wrapReader {
	return &wrapReader{r: bufio.NewReaderSize(r, 4<<10), by: by}
}

func (w *wrapReader) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		w.piece()
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

// piece reads up to the end of a line, or to where it is broken.
func (w *wrapReader) piece() {
	rule := wrapRules[w.by]
	limit, keep := rule.limit, rule.first
	if w.wrapped {
		limit, keep = rule.limit-1, rule.next // the blank counts
	}
	room := limit + 2
	if rule.chunk > 0 {
		room = min(room, rule.chunk-w.used)
	}
	b, err := w.r.Peek(room)
	line := b
	n := bytes.IndexByte(b, '\n')
	if n >= 0 {
		line = bytes.TrimSuffix(b[:n], []byte("\r"))
	}
	switch {
	case len(line) > limit:
		w.take(b[:keep], rule.mark)
		w.wrapped, w.used = true, w.used+keep
	case n >= 0:
		w.take(b[:n+1], "")
		w.wrapped, w.used = false, 0
	default: // the end, or that of a chunk
		w.err = err
		w.take(b, "")
		w.wrapped, w.used = false, 0
	}
}

// take hands out the next bytes, and a mark behind them.
func (w *wrapReader) take(b []byte, mark string) {
	w.out = slices.Concat(b, []byte(mark))
	_, _ = w.r.Discard(len(b)) // they were peeked at
}

// A lineMeter finds out whether what is read through it has a line that an MTA breaks.
type lineMeter struct {
	r    io.Reader
	col  int
	long bool
}

func (l *lineMeter) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if !l.long {
		l.measure(p[:n])
	}
	return n, err
}

// Write measures too.
func (l *lineMeter) Write(p []byte) (int, error) {
	l.measure(p)
	return len(p), nil
}

func (l *lineMeter) measure(p []byte) {
	for !l.long {
		n := bytes.IndexByte(p, '\n')
		if n < 0 {
			l.col += len(p)
			l.long = l.col > maxLine+1 // the CR
			return
		}
		l.long = l.col+n > maxLine+1
		l.col, p = 0, p[n+1:]
	}
}

// HasLongLines reports whether MTAs may break lines in the body of the part. They do no harm to
// base64.
func (p *Part) HasLongLines() bool { return p.long }

// WriteWrapped writes the content of a leaf as its recipient gets it behind an MTA that breaks
// long lines. An edit of the content, if only of nothing, makes a patch write the part in base64,
// so that no MTA does.
func (p *Part) WriteWrapped(w io.Writer, by Wrapping) error {
	buf := getBuffer()
	defer putBuffer(buf)
	return decodeTo(w, newWrapReader(p.RawBody(), by), newDecoder(p.Encoding, p.strict), buf)
}
