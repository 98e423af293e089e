package eml

import (
	"bytes"
	"io"
	"slices"
)

// unhex gives the value of a hexadecimal digit; 0xff for any other byte.
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = byte(10+i), byte(10+i)
	}
	return t
}()

// A decoder turns encoded bytes into decoded ones, as tolerant as mail clients are. Each
// piece of input may be cut anywhere.
type decoder interface {
	// decode appends what p decodes to to dst.
	decode(dst, p []byte) []byte
	// finish appends what is left at the end of the input.
	finish(dst []byte) []byte
	// damage tells, for people, why clients may decode something else; empty if they do not.
	damage() string
}

// A strictness is how a decoder takes what is not as the standards want it.
type strictness uint8

const (
	lenient        strictness = iota // makes of it what it can, as most clients do
	stopsAtPadding                   // base64: what is behind padding is not read
	stopsAtStray                     // base64: nor what is behind a byte outside the alphabet; quoted-printable: the "=" of an invalid escape is dropped
	passesURL                        // base64: bytes of the URL alphabet are passed over; quoted-printable: soft line breaks are taken out first, those with a bare CR too
	passesPadding                    // base64: padding is passed over, so that what is behind it goes on from before
	strictnesses                     // how many there are
)

func newDecoder(e Encoding, s strictness) decoder {
	switch e {
	case Base64:
		return &base64Decoder{strict: s}
	case QuotedPrintable:
		if s == passesURL {
			return &softDecoder{}
		}
		return &qpDecoder{drop: s == stopsAtStray}
	case UUEncode:
		return &uuDecoder{}
	}
	return identityDecoder{}
}

type identityDecoder struct{}

func (identityDecoder) decode(dst, p []byte) []byte { return append(dst, p...) }
func (identityDecoder) finish(dst []byte) []byte    { return dst }
func (identityDecoder) damage() string              { return "" }

const (
	b64Invalid = 0xff
	b64Space   = 0xfe
	b64Pad     = 0xfd
)

// b64Value knows both alphabets of RFC 4648: clients decode the URL alphabet too.
var b64Value = func() (t [256]byte) {
	for i := range t {
		t[i] = b64Invalid
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	t['='] = b64Pad
	t[' '], t['\t'], t['\r'], t['\n'] = b64Space, b64Space, b64Space, b64Space
	return t
}()

// b64Standard knows the alphabet of RFC 2045 alone.
var b64Standard = func() (t [256]byte) {
	t = b64Value
	t['-'], t['_'] = b64Invalid, b64Invalid
	return t
}()

// A base64Decoder decodes base64 (RFC 2045 section 6.8). It passes over bytes outside the
// alphabet, as section 6.8 asks, and goes on after padding: some clients stop there.
type base64Decoder struct {
	strict strictness
	over   bool // nothing more is read
	acc    uint32
	n      int  // sextets in acc
	padded bool // padding was seen
	stray  bool // bytes outside the alphabet
	after  bool // data after padding
	short  bool // padding was missing or misplaced
	url    bool // bytes of the URL alphabet
}

func (d *base64Decoder) decode(dst, p []byte) []byte {
	for i := 0; i < len(p) && !d.over; {
		if d.n == 0 && !d.padded {
			i, dst = d.quads(dst, p, i)
			if i == len(p) {
				break
			}
		}
		dst = d.one(dst, p[i])
		i++
	}
	return dst
}

// quads decodes whole groups of four from p[i:], the common case, up to the first byte that
// is anything but one of the standard alphabet or a line break between groups.
func (d *base64Decoder) quads(dst, p []byte, i int) (int, []byte) {
	n := len(dst)
	dst = slices.Grow(dst, (len(p)-i)/4*3)
	out := dst[:cap(dst)]
	for i+4 <= len(p) {
		in := p[i : i+4 : i+4]
		a, b, c, e := b64Standard[in[0]], b64Standard[in[1]], b64Standard[in[2]], b64Standard[in[3]]
		if (a|b|c|e)&0xc0 == 0 {
			v := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(e)
			o := out[n : n+3 : n+3]
			o[0], o[1], o[2] = byte(v>>16), byte(v>>8), byte(v)
			n, i = n+3, i+4
			continue
		}
		switch {
		case in[0] == '\r' && in[1] == '\n':
			i += 2
		case in[0] == '\n':
			i++
		default:
			return i, dst[:n]
		}
	}
	return i, dst[:n]
}

func (d *base64Decoder) one(dst []byte, c byte) []byte {
	v := b64Value[c]
	switch v {
	case b64Space:
		return dst
	case b64Invalid:
		d.stray = true
		d.over = d.strict == stopsAtStray
		return dst
	case b64Pad:
		if d.strict == passesPadding {
			return dst
		}
		if d.n == 0 {
			// The second "=" of a pair, or one too many.
			d.short = d.short || !d.padded
			return dst
		}
		d.short = d.short || d.n == 1
		d.padded = true
		return d.flush(dst)
	}
	if c == '-' || c == '_' {
		d.url = true
		d.over = d.strict == stopsAtStray
		if d.strict == stopsAtStray || d.strict == passesURL {
			return dst
		}
	}
	if d.padded {
		d.after = true
		d.over = d.strict == stopsAtPadding || d.strict == stopsAtStray
		if d.over {
			return dst
		}
	}
	d.acc = d.acc<<6 | uint32(v)
	if d.n++; d.n == 4 {
		dst = append(dst, byte(d.acc>>16), byte(d.acc>>8), byte(d.acc))
		d.acc, d.n = 0, 0
	}
	return dst
}

// flush appends the whole bytes of an incomplete group.
func (d *base64Decoder) flush(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.acc>>4))
	case 3:
		dst = append(dst, byte(d.acc>>10), byte(d.acc>>2))
	}
	d.acc, d.n = 0, 0
	return dst
}

func (d *base64Decoder) finish(dst []byte) []byte {
	d.short = d.short || d.n != 0
	if d.strict == stopsAtStray {
		return dst // without the bytes of an incomplete group
	}
	return d.flush(dst)
}

// withoutPadding is the damage of base64 that ends too early.
const withoutPadding = "base64 without proper padding"

func (d *base64Decoder) damage() string {
	switch {
	case d.after:
		return "base64 goes on after its padding"
	case d.stray:
		return "base64 holds bytes outside its alphabet"
	case d.url:
		return "base64 in the URL alphabet"
	case d.short:
		return withoutPadding
	}
	return ""
}

// A qpDecoder decodes quoted-printable (RFC 2045 section 6.7). Blanks at the end of a line are
// dropped (rule 3); what is no valid escape stays as it is.
type qpDecoder struct {
	held []byte // an escape or blanks whose end is not here yet
	room []byte // for what was held and what follows it
	bad  bool
	drop bool // drop the "=" of an invalid escape

	// last, if set, is told of each decoded piece: how much raw input made how much output.
	step func(raw, decoded int)
}

func (d *qpDecoder) decode(dst, p []byte) []byte {
	if len(d.held) > 0 {
		d.room = append(append(d.room[:0], d.held...), p...)
		p, d.held = d.room, d.held[:0]
	}
	for len(p) > 0 {
		if n := qpPlain(p); n > 0 {
			dst = append(dst, p[:n]...)
			d.told(n, n)
			p = p[n:]
			continue
		}
		used, out, ok := d.special(dst, p, false)
		if !ok {
			d.held = append(d.held[:0], p...)
			break
		}
		d.told(used, len(out)-len(dst))
		dst, p = out, p[used:]
	}
	return dst
}

// qpPlain is how many bytes at the start of p stand for themselves, as far as that is plain.
func qpPlain(p []byte) int {
	for i, c := range p {
		switch {
		case !qpSpecial[c]:
		case c == '=' || i+1 == len(p) || qpSpecial[p[i+1]] && p[i+1] != '=' || p[i+1] == '\r' || p[i+1] == '\n':
			return i // an escape, or blanks that may end a line
		}
	}
	return len(p)
}

// qpSpecial are the bytes that begin what is not plain.
var qpSpecial = [256]bool{'=': true, ' ': true, '\t': true}

func (d *qpDecoder) told(raw, decoded int) {
	if d.step != nil && raw > 0 {
		d.step(raw, decoded)
	}
}

// maxHeld is how many blanks may wait for the end of their line; more are kept as they are.
const maxHeld = 1000

// special decodes one escape or one run of blanks at the start of p. It reports false if its
// end is not in p and more may come.
func (d *qpDecoder) special(dst, p []byte, last bool) (int, []byte, bool) {
	if p[0] == '=' {
		return d.escape(dst, p, last)
	}
	n := 0
	for n < len(p) && n < maxHeld && (p[n] == ' ' || p[n] == '\t') {
		n++
	}
	switch {
	case n == maxHeld:
		return n, append(dst, p[:n]...), true
	case n == len(p) && !last, n+1 == len(p) && p[n] == '\r' && !last:
		return 0, dst, false
	case n == len(p), p[n] == '\n', p[n] == '\r' && (n+1 == len(p) || p[n+1] == '\n'):
		return n, dst, true // at the end of a line
	}
	return n, append(dst, p[:n]...), true
}

func (d *qpDecoder) escape(dst, p []byte, last bool) (int, []byte, bool) {
	if len(p) >= 3 && p[1] > '\r' { // the usual one
		if hi, lo := unhex[p[1]], unhex[p[2]]; hi|lo < 16 {
			return 3, append(dst, hi<<4|lo), true
		}
	}
	n := 1
	for n < len(p) && n < maxHeld && (p[n] == ' ' || p[n] == '\t') {
		n++ // blanks that a relay put behind a soft line break
	}
	switch {
	case n < len(p) && p[n] == '\n':
		return n + 1, dst, true
	case n+1 < len(p) && p[n] == '\r' && p[n+1] == '\n':
		return n + 2, dst, true
	case last && n == len(p):
		return n, dst, true // "=" at the very end is a soft line break
	case !last && n < maxHeld && (n == len(p) || n+1 == len(p) && (p[n] == '\r' || n == 1)):
		return 0, dst, false // but with nothing behind it: what is held is looked at again
	}
	d.bad = true
	if d.drop {
		return 1, dst, true
	}
	return 1, append(dst, '='), true
}

func (d *qpDecoder) finish(dst []byte) []byte {
	p := d.held
	d.held = d.held[:0]
	for len(p) > 0 {
		if p[0] != '=' && p[0] != ' ' && p[0] != '\t' {
			dst = append(dst, p[0])
			d.told(1, 1)
			p = p[1:]
			continue
		}
		used, out, _ := d.special(dst, p, true)
		d.told(used, len(out)-len(dst))
		dst, p = out, p[used:]
	}
	return dst
}

func (d *qpDecoder) damage() string {
	if d.bad {
		return "quoted-printable with an invalid escape"
	}
	return ""
}

// A softDecoder decodes quoted-printable as clients do that take out soft line breaks before they
// look for escapes, so that a break may divide an escape, and that need no LF for one.
type softDecoder struct {
	qp   qpDecoder
	held []byte // a soft line break whose end is not here yet
	room []byte // for that and what follows it
	buf  []byte
}

func (d *softDecoder) decode(dst, p []byte) []byte { return d.qp.decode(dst, d.join(p, false)) }
func (d *softDecoder) finish(dst []byte) []byte {
	return d.qp.finish(d.qp.decode(dst, d.join(nil, true)))
}
func (d *softDecoder) damage() string { return d.qp.damage() }

// join takes out the soft line breaks. What it gives is valid until the next call.
func (d *softDecoder) join(p []byte, last bool) []byte {
	if len(d.held) > 0 {
		d.room = append(append(d.room[:0], d.held...), p...)
		p, d.held = d.room, d.held[:0]
	}
	d.buf = d.buf[:0]
	for {
		n := bytes.IndexByte(p, '=')
		if n < 0 {
			d.buf = append(d.buf, p...)
			return d.buf
		}
		d.buf, p = append(d.buf, p[:n]...), p[n:]
		end := softBreak(p)
		switch {
		case end == len(p) && !last:
			d.held = append(d.held[:0], p...)
			return d.buf
		case end == 0:
			d.buf, end = append(d.buf, '='), 1
		}
		p = p[end:]
	}
}

// softBreak is the length of the soft line break that p begins with, or of all of p if more may belong
// to it; 0 if there is none.
func softBreak(p []byte) int {
	n := 1
	for n < len(p) && n < maxHeld && (p[n] == ' ' || p[n] == '\t') {
		n++
	}
	blanks := n
	for n < len(p) && n < maxHeld && p[n] == '\r' {
		n++
	}
	if n == maxHeld {
		return 0
	}
	if n < len(p) && p[n] == '\n' {
		return n + 1
	}
	if n < len(p) && n == blanks {
		return 0
	}
	return n
}

// A uuDecoder decodes uuencoded data (POSIX uuencode): the lines after "begin". Lines before
// it and after "end" are passed over.
type uuDecoder struct {
	line    []byte
	free    int // how many bytes that are not there may still be taken for zeros
	inside  bool
	outside bool // something but blank lines is outside
	bad     bool
}

// maxUUFree is how many bytes may come out that are not there: blanks at the end of a line, which
// stand for zeros, get lost on the way. Without a limit three bytes would become 63.
const maxUUFree = 8 << 10

// maxUULine is the longest line that is taken for uuencoded data; a real one has 61 bytes.
const maxUULine = 200

func (d *uuDecoder) decode(dst, p []byte) []byte {
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		if n < 0 {
			d.more(p)
			return dst
		}
		d.more(p[:n])
		dst = d.one(dst, bytes.TrimRight(d.line, "\r"))
		d.line, p = d.line[:0], p[n+1:]
	}
	return dst
}

// more adds to the line that we are in, up to the longest one.
func (d *uuDecoder) more(p []byte) {
	room := maxUULine - len(d.line)
	d.bad = d.bad || len(p) > room
	d.line = append(d.line, p[:min(len(p), room)]...)
}

func (d *uuDecoder) one(dst, line []byte) []byte {
	switch {
	case bytes.HasPrefix(line, []byte("begin ")):
		d.inside = true
	case string(line) == "end":
		d.inside = false
	case !d.inside:
		d.outside = d.outside || len(bytes.TrimSpace(line)) > 0
	case len(line) > 0:
		return d.data(dst, line)
	}
	return dst
}

func (d *uuDecoder) data(dst, line []byte) []byte {
	want := int(line[0]-' ') & 0x3f
	line = line[1:]
	d.free += len(line)
	for want > 0 {
		var g [4]byte
		if len(line) < 2 {
			d.bad = true
			if d.free -= min(want, 3); d.free < -maxUUFree {
				return dst
			}
		}
		n := copy(g[:], line)
		for i := range g {
			if i < n {
				g[i] = (g[i] - ' ') & 0x3f
			}
		}
		out := [3]byte{g[0]<<2 | g[1]>>4, g[1]<<4 | g[2]>>2, g[2]<<6 | g[3]}
		dst = append(dst, out[:min(want, 3)]...)
		want, line = want-3, line[n:]
	}
	return dst
}

func (d *uuDecoder) finish(dst []byte) []byte {
	if len(d.line) > 0 {
		dst = d.one(dst, bytes.TrimRight(d.line, "\r"))
	}
	d.bad = d.bad || d.inside
	return dst
}

func (d *uuDecoder) damage() string {
	if d.bad || d.outside {
		return "uuencoded data with something else around or in it"
	}
	return ""
}

// decodeTo writes what r decodes to to w, with a buffer of the caller.
func decodeTo(w io.Writer, r io.Reader, d decoder, buf *copyBuffer) error {
	for {
		n, err := r.Read(buf.in[:])
		buf.out = d.decode(buf.out[:0], buf.in[:n])
		if err == io.EOF {
			buf.out = d.finish(buf.out)
		}
		if len(buf.out) > 0 {
			if _, e := w.Write(buf.out); e != nil {
				return e
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
