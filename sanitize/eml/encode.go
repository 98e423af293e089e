package eml

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// contentCuts lowers edits of decoded content to cuts in the encoded body.
func contentCuts(p *Part, edits []Edit) ([]cut, error) {
	edits, err := settleContent(p, edits)
	if err != nil {
		return nil, err
	}
	switch p.Encoding {
	case QuotedPrintable:
		return qpCuts(p, edits)
	case Base64:
		return []cut{{start: p.body, end: p.end, encode: func(w io.Writer) error {
			return encodeBase64(w, p, edits)
		}}}, nil
	}
	return nil, fmt.Errorf("part %s: content in this encoding cannot be edited", p.ID)
}

// settleContent is settle for edits of one part's content.
func settleContent(p *Part, edits []Edit) ([]Edit, error) {
	cuts := make([]cut, len(edits))
	for i, e := range edits {
		cuts[i] = cut{start: e.Start, end: e.End, text: e.Text}
	}
	cuts, err := settle(cuts)
	if err != nil {
		return nil, fmt.Errorf("content of part %s: %w", p.ID, err)
	}
	out := make([]Edit, len(cuts))
	for i, c := range cuts {
		out[i] = Edit{Part: p, Region: InContent, Start: c.start, End: c.end, Text: c.text}
	}
	return out, nil
}

// encodeBase64 writes the content with its edits as base64 in lines of 76 characters. Every
// byte behind the first edit moves, so the whole body is written anew.
func encodeBase64(w io.Writer, p *Part, edits []Edit) error {
	enc := &base64Writer{w: w}
	ew := &editWriter{w: enc, edits: slices.Clone(edits)}
	buf := getBuffer()
	defer putBuffer(buf)
	if err := decodeTo(ew, p.RawBody(), &base64Decoder{}, buf); err != nil {
		return err
	}
	if err := ew.finish(); err != nil {
		return err
	}
	return enc.finish(p.endsInBreak())
}

// endsInBreak reports whether the raw body ends with a line break of its own.
func (p *Part) endsInBreak() bool {
	var b [1]byte
	return p.end > p.body && readFull(p.src, b[:], p.end-1) && b[0] == '\n'
}

func readFull(r io.ReaderAt, b []byte, off int64) bool {
	n, _ := r.ReadAt(b, off)
	return n == len(b)
}

// An editWriter carries out edits, sorted, on what is written through it.
type editWriter struct {
	w     io.Writer
	edits []Edit
	off   int64 // of the next byte in the unedited content
}

func (e *editWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(e.edits) == 0 || e.edits[0].Start >= e.off+int64(len(p)) {
			return n, e.pass(p)
		}
		c := &e.edits[0]
		if before := max(c.Start-e.off, 0); before > 0 {
			if err := e.pass(p[:before]); err != nil {
				return 0, err
			}
			p = p[before:]
		}
		if e.off == c.Start {
			if _, err := e.w.Write(c.Text); err != nil {
				return 0, err
			}
		}
		drop := min(c.End-e.off, int64(len(p)))
		e.off, p = e.off+drop, p[drop:]
		if e.off < c.End {
			c.Start = -1 // its text is written; the rest of it is to be dropped
			return n, nil
		}
		e.edits = e.edits[1:]
	}
	return n, nil
}

func (e *editWriter) pass(p []byte) error {
	_, err := e.w.Write(p)
	e.off += int64(len(p))
	return err
}

// finish carries out what is left: insertions at the end.
func (e *editWriter) finish() error {
	for _, c := range e.edits {
		if c.Start < 0 {
			continue
		}
		if _, err := e.w.Write(c.Text); err != nil {
			return err
		}
	}
	return nil
}

const (
	// base64Line is how many bytes make a line of 76 characters (RFC 2045 section 6.8).
	base64Line = 57
	// base64Lines is how many lines are made at a time.
	base64Lines = 64
)

// A base64Writer encodes what is written to it in lines, none of which is ended before the next begins.
type base64Writer struct {
	w     io.Writer
	begun bool
	rest  []byte // less than a line
	out   []byte
}

func (b *base64Writer) Write(p []byte) (int, error) {
	n := len(p)
	if len(b.rest) > 0 {
		k := min(base64Line-len(b.rest), len(p))
		b.rest, p = append(b.rest, p[:k]...), p[k:]
		if len(b.rest) < base64Line {
			return n, nil
		}
		if err := b.lines(b.rest); err != nil {
			return 0, err
		}
		b.rest = b.rest[:0]
	}
	for len(p) >= base64Line {
		k := min(base64Lines, len(p)/base64Line) * base64Line
		if err := b.lines(p[:k]); err != nil {
			return 0, err
		}
		p = p[k:]
	}
	b.rest = append(b.rest, p...)
	return n, nil
}

// lines writes whole lines, of which the last of all may be shorter.
func (b *base64Writer) lines(p []byte) error {
	if b.out == nil {
		b.out = make([]byte, base64Lines*(encodedLine+len("\r\n")))
	}
	n := 0
	for len(p) > 0 {
		if b.begun {
			n += copy(b.out[n:], "\r\n")
		}
		k := min(base64Line, len(p))
		if k == base64Line {
			encodeLine((*[encodedLine]byte)(b.out[n:]), (*[base64Line]byte)(p))
		} else {
			base64.StdEncoding.Encode(b.out[n:], p)
		}
		n += base64.StdEncoding.EncodedLen(k)
		b.begun, p = true, p[k:]
	}
	_, err := b.w.Write(b.out[:n])
	return err
}

// encodedLine is how long a whole line is.
const encodedLine = base64Line / 3 * 4

// base64Pairs are the two characters for each twelve bits, the first of them below the second.
var base64Pairs = func() (pairs [1 << 12]uint16) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range pairs {
		pairs[i] = uint16(alphabet[i>>6]) | uint16(alphabet[i&63])<<8
	}
	return pairs
}()

// encodeLine encodes a whole line, in half the time that encoding/base64 takes: eight characters at once.
func encodeLine(out *[encodedLine]byte, p *[base64Line]byte) {
	pair := func(bits uint64) uint64 { return uint64(base64Pairs[bits&0xfff]) }
	i, o := 0, 0
	for ; i+8 <= len(p); i, o = i+6, o+8 {
		bits := binary.BigEndian.Uint64(p[i:i+8]) >> 16
		binary.LittleEndian.PutUint64(out[o:o+8], pair(bits>>36)|pair(bits>>24)<<16|pair(bits>>12)<<32|pair(bits)<<48)
	}
	base64.StdEncoding.Encode(out[o:], p[i:])
}

// finish writes what is left, and a line break behind it if there is to be one.
func (b *base64Writer) finish(brk bool) error {
	if err := b.lines(b.rest); err != nil || !brk {
		return err
	}
	_, err := io.WriteString(b.w, "\r\n")
	return err
}

// qpCuts finds where edits of the content are in its quoted-printable form, where each byte
// stands for itself or is an escape of its own.
func qpCuts(p *Part, edits []Edit) ([]cut, error) {
	var marks []int64
	for _, e := range edits {
		marks = append(marks, e.Start, e.End)
	}
	slices.Sort(marks)
	at, err := qpOffsets(p, slices.Compact(marks))
	if err != nil {
		return nil, err
	}
	cuts := make([]cut, len(edits))
	for i, e := range edits {
		cuts[i] = cut{start: p.body + at[e.Start], end: p.body + at[e.End], text: encodeQP(e.Text)}
	}
	return cuts, nil
}

// qpOffsets gives the raw offset of each of the sorted offsets of the content.
func qpOffsets(p *Part, marks []int64) (map[int64]int64, error) {
	at := make(map[int64]int64, len(marks))
	var raw, decoded int64
	d := &qpDecoder{step: func(r, n int) {
		for len(marks) > 0 && (marks[0] < decoded+int64(n) || marks[0] == decoded) {
			within := marks[0] - decoded
			if r != n {
				within = 0 // an escape or dropped blanks: one piece
			}
			at[marks[0]] = raw + within
			marks = marks[1:]
		}
		raw, decoded = raw+int64(r), decoded+int64(n)
	}}
	buf := getBuffer()
	defer putBuffer(buf)
	if err := decodeTo(io.Discard, p.RawBody(), d, buf); err != nil {
		return nil, err
	}
	for _, m := range marks { // at the end of the content
		at[m] = raw
	}
	return at, nil
}

// encodeQP encodes the replacement of a piece of quoted-printable text. It stands on lines of
// its own, by soft line breaks, so that no line grows and no blank comes to end one.
func encodeQP(text []byte) []byte {
	const hex = "0123456789ABCDEF"
	b := []byte("=\r\n")
	if len(text) == 0 {
		return b
	}
	col := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\r' && bytes.HasPrefix(text[i:], []byte("\r\n")) {
			b, col, i = append(b, '\r', '\n'), 0, i+1
			continue
		}
		if col >= 70 {
			b, col = append(b, "=\r\n"...), 0
		}
		dash := c == '-' && (col == 0 || text[i-1] == '-') // may begin a boundary
		if dash || c == '=' || c < ' ' || c >= 0x7f || c == ' ' && atLineEnd(text, i+1) {
			b, col = append(b, '=', hex[c>>4], hex[c&15]), col+3
		} else {
			b, col = append(b, c), col+1
		}
	}
	return append(b, "=\r\n"...)
}

func atLineEnd(text []byte, i int) bool {
	return i == len(text) || text[i] == '\r' || text[i] == '\n'
}
