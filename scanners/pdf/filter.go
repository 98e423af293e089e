package pdf

import (
	"bufio"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

const (
	// maxFilters is how many filters one stream may have.
	maxFilters = 8
	// maxRow is how many bytes a row of a predictor may have.
	maxRow = 1 << 20
)

// What is wrong with a stream.
var (
	errFilters = errors.New("too many filters")
	errFilter  = errors.New("an unknown filter")
	errStream  = errors.New("damaged stream")
)

// A filter is one step of decoding a stream (PDF 32000-1, 7.4).
type filter struct {
	name  string
	parms parms
}

// parms are those of a filter, with their defaults.
type parms struct {
	predictor, colors, bits, columns int64
	early                            bool   // LZWDecode: codes grow one early
	crypt                            string // Crypt: the name of the crypt filter
}

// imageFilters make pictures; what they decode is left as it is, for their formats are types of their
// own.
var imageFilters = map[string]bool{
	"DCTDecode": true, "DCT": true, "JPXDecode": true, "JBIG2Decode": true, "CCITTFaxDecode": true, "CCF": true,
}

// filters are those of a stream.
func (d *document) filters(dict value) ([]filter, error) {
	names, err := d.deref(dict.get("Filter"))
	if err != nil {
		return nil, err
	}
	set := dict.get("DecodeParms")
	if set.kind() == kindNull {
		set = dict.get("DP")
	}
	if set, err = d.deref(set); err != nil {
		return nil, err
	}
	if names.kind() == kindName {
		p, err := d.parms(first(set))
		return []filter{{names.name(), p}}, err
	}
	var all []value
	for v := range set.items {
		all = append(all, v)
	}
	if set.kind() == kindDict {
		all = []value{set}
	}
	var list []filter
	for v := range names.items {
		if len(list) == maxFilters {
			return nil, errFilters
		}
		if v, err = d.deref(v); err != nil {
			return nil, err
		}
		f := filter{name: v.name()}
		if i := len(list); i < len(all) {
			if f.parms, err = d.parms(all[i]); err != nil {
				return nil, err
			}
		} else {
			f.parms = defaults()
		}
		list = append(list, f)
	}
	return list, nil
}

// first is a dictionary, or the first thing in an array.
func first(v value) value {
	if v.kind() == kindArray {
		for item := range v.items {
			return item
		}
	}
	return v
}

func defaults() parms { return parms{predictor: 1, colors: 1, bits: 8, columns: 1, early: true} }

func (d *document) parms(v value) (parms, error) {
	p := defaults()
	v, err := d.deref(v)
	if err != nil || v.kind() != kindDict {
		return p, err
	}
	for key, to := range map[string]*int64{"Predictor": &p.predictor, "Colors": &p.colors, "BitsPerComponent": &p.bits, "Columns": &p.columns} {
		n, err := d.deref(v.get(key))
		if err != nil {
			return p, err
		}
		*to = n.int(*to)
	}
	p.early = v.get("EarlyChange").int(1) != 0
	p.crypt = v.get("Name").name()
	return p, nil
}

// inflaters are decoders of deflate, each of which takes more memory than most streams.
type inflaters struct{ free, used []io.ReadCloser }

func (f *inflaters) take(r io.Reader) io.Reader {
	if n := len(f.free); n > 0 {
		z := f.free[n-1]
		f.free, f.used = f.free[:n-1], append(f.used, z)
		_ = z.(flate.Resetter).Reset(r, nil) // nothing of it can fail
		return z
	}
	z := flate.NewReader(r)
	f.used = append(f.used, z)
	return z
}

// done says that nothing is read any more from what was taken.
func (f *inflaters) done() {
	f.free, f.used = append(f.free, f.used...), f.used[:0]
}

// decode gives a reader of what filters make of r. Between two of them, what comes out goes through
// between.
func decode(r io.Reader, list []filter, pool *inflaters, between func(io.Reader) io.Reader) (io.Reader, error) {
	for i, f := range list {
		if imageFilters[f.name] {
			return r, nil
		}
		if i > 0 {
			r = between(r)
		}
		next, err := f.decode(bufio.NewReaderSize(r, 4<<10), pool)
		if err != nil {
			return nil, err
		}
		r = next
	}
	return r, nil
}

func (f filter) decode(r *bufio.Reader, pool *inflaters) (io.Reader, error) {
	switch f.name {
	case "FlateDecode", "Fl":
		return f.parms.predict(inflate(r, pool))
	case "LZWDecode", "LZW":
		return f.parms.predict(&lzwReader{r: r, early: f.parms.early})
	case "ASCIIHexDecode", "AHx":
		return &hexReader{r: r}, nil
	case "ASCII85Decode", "A85":
		return &ascii85Reader{r: r}, nil
	case "RunLengthDecode", "RL":
		return &runReader{r: r}, nil
	case "Crypt", "None", "":
		return r, nil // decrypted before
	}
	return nil, fmt.Errorf("%w: %q", errFilter, f.name)
}

// inflate reads zlib (RFC 1950). Its checksum does not count, and what follows its end is nothing;
// without its header it is read as deflate.
func inflate(r *bufio.Reader, pool *inflaters) io.Reader {
	head, _ := r.Peek(2)
	if len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 && head[1]&0x20 == 0 {
		_, _ = r.Discard(2)
	}
	if len(head) == 0 {
		return r
	}
	return &flateReader{pool.take(r)}
}

// A flateReader says of damaged deflate what any other reader says.
type flateReader struct{ r io.Reader }

func (f *flateReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errStream
	}
	return n, err
}

// A hexReader decodes ASCIIHexDecode (7.4.2).
type hexReader struct {
	r    *bufio.Reader
	done bool
}

func (h *hexReader) Read(p []byte) (int, error) {
	high := -1
	for n := 0; ; {
		if n == len(p) {
			return n, nil
		}
		c, err := byte('>'), error(nil)
		if !h.done {
			c, err = h.r.ReadByte()
		}
		if err != nil && err != io.EOF {
			return n, err
		}
		if err != nil || c == '>' {
			h.done = true
			if high >= 0 {
				p[n] = byte(high << 4)
				n++
			}
			if n > 0 {
				return n, nil
			}
			return 0, io.EOF
		}
		switch v := hexDigit(c); {
		case v < 0:
		case high < 0:
			high = v
		default:
			p[n], high = byte(high<<4|v), -1
			n++
		}
	}
}

// An ascii85Reader decodes ASCII85Decode (7.4.3).
type ascii85Reader struct {
	r    *bufio.Reader
	out  []byte // of a group, not yet read
	buf  [4]byte
	done bool
}

func (a *ascii85Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(a.out) == 0 {
			if err := a.group(); err != nil {
				if n > 0 && err == io.EOF {
					return n, nil
				}
				return n, err
			}
		}
		k := copy(p[n:], a.out)
		a.out = a.out[k:]
		n += k
	}
	return n, nil
}

// group reads five digits, or less at the end.
func (a *ascii85Reader) group() error {
	v, n := uint64(0), 0
	for n < 5 && !a.done {
		c, err := a.r.ReadByte()
		switch {
		case err != nil && err != io.EOF:
			return err
		case err != nil, c == '~':
			a.done = true
		case c == 'z' && n == 0:
			a.buf = [4]byte{}
			a.out = a.buf[:]
			return nil
		case c >= '!' && c <= 'u':
			v = v*85 + uint64(c-'!')
			n++
		}
	}
	if n < 2 {
		return io.EOF
	}
	for range 5 - n {
		v = v*85 + 84
	}
	a.buf = [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
	a.out = a.buf[:n-1]
	return nil
}

// A runReader decodes RunLengthDecode (7.4.5).
type runReader struct {
	r    *bufio.Reader
	left int  // bytes of the present run
	same bool // they are all b
	b    byte
}

func (u *runReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if u.left == 0 {
			c, err := u.r.ReadByte()
			if err == nil && c == 128 {
				err = io.EOF
			}
			if err == nil && c > 128 {
				u.left, u.same = 257-int(c), true
				u.b, err = u.r.ReadByte()
			} else if err == nil {
				u.left, u.same = int(c)+1, false
			}
			if err != nil {
				u.left = 0
				if n > 0 && err == io.EOF {
					return n, nil
				}
				return n, err
			}
		}
		b := u.b
		if !u.same {
			if b, err = u.r.ReadByte(); err != nil {
				u.left = 0
				if n > 0 && err == io.EOF {
					return n, nil
				}
				return n, err
			}
		}
		p[n] = b
		n++
		u.left--
	}
	return n, nil
}

// An lzwReader decodes LZWDecode (7.4.4): codes of 9 to 12 bits, the highest bit first.
type lzwReader struct {
	r     *bufio.Reader
	early bool

	bits  uint32
	have  uint // bits in bits
	width uint
	next  int // the code that is defined next
	last  int // the code before; -1: none
	// What each code stands for: what another one does, and one byte more.
	prefix [4096]int16
	suffix [4096]byte
	text   [4097]byte
	out    []byte // not yet read
	err    error
}

const (
	lzwClear = 256
	lzwEnd   = 257
)

func (l *lzwReader) Read(p []byte) (n int, err error) {
	if l.width == 0 {
		l.clear()
	}
	for n < len(p) {
		if len(l.out) == 0 {
			if l.err == nil {
				l.err = l.step()
			}
			if len(l.out) == 0 && l.err != nil {
				if n > 0 {
					return n, nil
				}
				return 0, l.err
			}
		}
		k := copy(p[n:], l.out)
		l.out = l.out[k:]
		n += k
	}
	return n, nil
}

func (l *lzwReader) clear() { l.width, l.next, l.last = 9, 258, -1 }

// code reads a code.
func (l *lzwReader) code() (int, error) {
	for l.have < l.width {
		b, err := l.r.ReadByte()
		if err != nil {
			return 0, err
		}
		l.bits = l.bits<<8 | uint32(b)
		l.have += 8
	}
	l.have -= l.width
	return int(l.bits >> l.have & (1<<l.width - 1)), nil
}

// step decodes one code.
func (l *lzwReader) step() error {
	c, err := l.code()
	switch {
	case err != nil:
		return err
	case c == lzwEnd:
		return io.EOF
	case c == lzwClear:
		l.clear()
		return nil
	case c > l.next || c == l.next && l.last < 0 || c > lzwEnd && l.last < 0:
		return errStream
	}
	at := len(l.text)
	from := c
	if c == l.next { // what was before, and its first byte again
		at--
		from = l.last
	}
	for from > lzwEnd {
		at--
		l.text[at] = l.suffix[from]
		from = int(l.prefix[from])
	}
	at--
	l.text[at] = byte(from)
	if c == l.next {
		l.text[len(l.text)-1] = byte(from)
	}
	l.out = l.text[at:]
	l.define(byte(from))
	l.last = c
	return nil
}

// define gives the next code a meaning.
func (l *lzwReader) define(b byte) {
	if l.last < 0 || l.next >= 4096 {
		return
	}
	l.prefix[l.next], l.suffix[l.next] = int16(l.last), b
	l.next++
	early := 0
	if l.early {
		early = 1
	}
	if l.next+early >= 1<<l.width && l.width < 12 {
		l.width++
	}
}
