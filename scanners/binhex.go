package scanners

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"rastel/sanitize/eml"
)

// BinHex finds files of the Macintosh that are encoded within text (BinHex 4.0, RFC 1741), by the
// line that says so, by the label, or by a header whose checksum is right.
type BinHex struct{}

// Checks are all checks that Expand may report.
func (BinHex) Checks() []eml.Check { return []eml.Check{damagedCheck} }

// Scan finds nothing: all that is to be said is said by Expand.
func (BinHex) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the data fork and the resource fork of each file that is encoded in p.
func (BinHex) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	h := &hidden{ctx: ctx, p: p, b: b, yield: yield}
	labelled := isBinHexLabel(p.MediaType)
	announced := labelled
	lines := newLineReader(ctx, p.Content())
	for {
		line, err := lines.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return h.findings, err
		}
		if isBinHexMark(line) {
			announced = true
			continue
		}
		ok, whole := looksHqx(line, announced)
		if lines.inside || !ok {
			continue
		}
		at := lines.off + int64(bytes.IndexByte(line, ':')) + 1
		end, err := h.binHex(at, announced, whole)
		if err != nil {
			return h.findings, err
		}
		if end > at {
			lines.seek(end)
			announced = false
		}
	}
	if labelled && h.index == 0 && (p.Is("text") || p.Type == "data" || p.Type == "binhex") && p.Size > 0 {
		h.report(hiddenDamaged, "labelled BinHex, and holds none")
	}
	return h.findings, nil
}

func isBinHexLabel(media string) bool {
	switch media {
	case "application/mac-binhex40", "application/mac-binhex", "application/binhex", "application/x-binhex40", "application/x-binhex", "application/x-mac-binhex40":
		return true
	}
	return false
}

// isBinHexMark reports whether a line announces BinHex (RFC 1741 section 3).
func isBinHexMark(line []byte) bool {
	return len(line) > 28 && len(line) < 200 && bytes.IndexByte(line, '(') >= 0 && bytes.Contains(bytes.ToLower(line), []byte("must be converted with binhex"))
}

// hqxLine is how long a line at least is that begins BinHex without being announced: the header
// of a file takes more, and real lines have 64 bytes.
const hqxLine = 30

// looksHqx reports whether BinHex may begin in this line, and whether it is as long as one.
func looksHqx(line []byte, announced bool) (ok, whole bool) {
	line = afterMark(line)
	if len(line) == 0 || line[0] != ':' {
		return false, false
	}
	n := 1
	for n < len(line) && hqxValue[line[n]] < 64 {
		n++
	}
	whole = n >= hqxLine
	return whole || announced && n == len(line), whole
}

// binHex yields the forks of a file whose encoded bytes begin at off, and gives the offset of their
// end; off if there is no file. Of text that was not announced the header must be right, and of
// other text it must at least be in letters of the alphabet.
func (h *hidden) binHex(off int64, announced, whole bool) (int64, error) {
	in := io.NewSectionReader(h.p.Content(), off, h.p.Size-off)
	q := &hqxReader{in: bufio.NewReaderSize(in, 1<<10)}
	name, data, resource, err := q.header()
	if err != nil && !(announced && errors.Is(err, errHqxSum) && (whole || !q.bad)) {
		return off, q.fatal
	}
	damaged := err != nil
	var names nameList
	names.add(name)
	for i, size := range [2]int64{data, resource} {
		if size == 0 && (i == 1 || resource > 0) {
			damaged = !q.sum(0) || damaged
			continue
		}
		fork := &forkReader{q: q, left: size}
		if err := h.member(names, fork); err != nil {
			return off, err
		}
		damaged = fork.left > 0 || !q.sum(fork.crc) || damaged
	}
	if damaged || q.bad || !q.ended() {
		h.report(hiddenDamaged, "a file in BinHex is damaged, or has no end")
	}
	return off + q.n, q.fatal
}

var (
	errHqxSum    = errors.New("the header has another checksum")
	errHqxHeader = errors.New("no header")
)

// hqxValue is what the letters stand for (RFC 1741 appendix A); 64 and more are none.
var hqxValue = func() (t [256]byte) {
	for i := range t {
		t[i] = hqxNone
	}
	for i, c := range []byte("!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr") {
		t[c] = byte(i)
	}
	for _, c := range []byte(" \t\r\n\x00") {
		t[c] = hqxBlank
	}
	t[':'] = hqxEnd
	return t
}()

const (
	hqxBlank = 64 + iota
	hqxEnd
	hqxNone
)

// An hqxReader decodes the letters and the repetitions of BinHex.
type hqxReader struct {
	in    *bufio.Reader
	n     int64 // bytes of the input that were read
	over  bool  // the final colon was read, or the end of the input
	colon bool
	bad   bool // letters of no alphabet
	fatal error

	acc    uint32
	bits   int
	last   byte // that a repetition repeats
	repeat int  // times
}

// letter decodes one byte from the letters; io.EOF at the end.
func (q *hqxReader) letter() (byte, error) {
	for q.bits < 8 {
		if q.over {
			return 0, io.EOF
		}
		c, err := q.in.ReadByte()
		if err != nil {
			q.over = true
			if err != io.EOF {
				q.fatal = err
			}
			return 0, io.EOF
		}
		q.n++
		switch v := hqxValue[c]; v {
		case hqxBlank:
		case hqxEnd:
			q.over, q.colon = true, true
		case hqxNone:
			q.bad = true
		default:
			q.acc = q.acc<<6 | uint32(v)
			q.bits += 6
		}
	}
	q.bits -= 8
	return byte(q.acc >> q.bits), nil
}

// hqxRepeat says that the byte before it is repeated as often as the next one says; a 0 there
// stands for hqxRepeat itself.
const hqxRepeat = 0x90

// one decodes one byte.
func (q *hqxReader) one() (byte, error) {
	for q.repeat == 0 {
		c, err := q.letter()
		if err != nil {
			return 0, err
		}
		if c != hqxRepeat {
			q.last = c
			return c, nil
		}
		n, err := q.letter()
		if err != nil {
			return 0, err
		}
		if n == 0 {
			q.last = hqxRepeat
			return hqxRepeat, nil
		}
		q.repeat = int(n) - 1
	}
	q.repeat--
	return q.last, nil
}

// header reads the header of the file: its name and the sizes of its forks.
func (q *hqxReader) header() (name string, data, resource int64, err error) {
	n, err := q.one()
	if err != nil || n == 0 {
		return "", 0, 0, errHqxHeader
	}
	b := make([]byte, 1+int(n)+1+4+4+2+4+4+2)
	b[0] = n
	for i := 1; i < len(b); i++ {
		if b[i], err = q.one(); err != nil {
			return "", 0, 0, errHqxHeader
		}
	}
	name = string(b[1 : 1+n])
	sizes := b[len(b)-10:]
	data, resource = int64(binary.BigEndian.Uint32(sizes)), int64(binary.BigEndian.Uint32(sizes[4:]))
	if crc16(0, b[:len(b)-2]) != binary.BigEndian.Uint16(sizes[8:]) {
		err = errHqxSum
	}
	return name, data, resource, err
}

// sum reads a checksum and reports whether it is this one.
func (q *hqxReader) sum(want uint16) bool {
	hi, err1 := q.one()
	lo, err2 := q.one()
	return err1 == nil && err2 == nil && uint16(hi)<<8|uint16(lo) == want
}

// ended reads to the final colon, and reports whether nothing that counts is before it.
func (q *hqxReader) ended() bool {
	n := 0
	for {
		if _, err := q.one(); err != nil {
			return q.colon && n < 3 // encoders fill the last letters
		}
		n++
	}
}

// A forkReader reads a fork of a file.
type forkReader struct {
	q    *hqxReader
	left int64
	crc  uint16
}

func (f *forkReader) Read(p []byte) (int, error) {
	n := 0
	for ; n < len(p) && f.left > 0; n++ {
		c, err := f.q.one()
		if err != nil {
			break
		}
		p[n] = c
		f.left--
	}
	f.crc = crc16(f.crc, p[:n])
	switch {
	case n > 0:
		return n, nil
	case f.q.fatal != nil:
		return 0, f.q.fatal
	}
	return 0, io.EOF
}
