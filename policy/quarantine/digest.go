package quarantine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// DigestOf identifies the content of a raw message however MTAs change it on its way from a
// release back to this filter. It covers
//
//   - the body, where a line ends with LF, CRLF or more CRs (Postfix strips those) and empty
//     lines at the end do not count, because an MTA ends a last line that has no end; this is
//     the simple canonicalization of RFC 6376 section 3.4.3;
//   - the fields that say how the body is read: MIME-Version and Content-*, in their order,
//     with each run of white space as one blank. Not Content-Length, which Postfix removes.
//
// Other fields are not covered: MTAs add Received, Date and Message-ID, and rewrite addresses.
// The result is in hexadecimal. The error is that of r.
func DigestOf(r io.Reader) (string, error) {
	d := newDigester()
	if _, err := io.Copy(d, r); err != nil {
		return "", err
	}
	return d.sum(), nil
}

// A digester computes DigestOf of what is written to it, cut anywhere.
type digester struct {
	hash  hash.Hash
	state digestState
	name  []byte // of the field, lower case, as far as maxName
	blank bool   // white space that was not written yet
	any   bool   // the value has begun
	cr    int64  // CRs of the body that were not written yet
	lf    int64  // line ends of the body, before them
	one   [1]byte
}

type digestState uint8

const (
	lineStart  digestState = iota // before the first byte of a header line
	lineEmpty                     // after a CR there
	fieldName                     // in the name of a field
	fieldValue                    // in a field that counts
	fieldSkip                     // in one that does not
	body
)

// maxName is how much of a field's name is looked at.
const maxName = 64

func newDigester() *digester { return &digester{hash: sha256.New()} }

func (d *digester) Write(p []byte) (int, error) {
	n := len(p)
	for i, c := range p {
		if d.state == body {
			d.body(p[i:])
			break
		}
		d.header(c)
	}
	return n, nil
}

// header takes one byte of the header.
func (d *digester) header(c byte) {
	switch d.state {
	case lineStart:
		d.begin(c)
	case lineEmpty:
		if c == '\n' {
			d.endHeader()
			return
		}
		d.endField()
		d.state = fieldSkip // a CR alone begins no field
	case fieldName:
		d.inName(c)
	case fieldValue:
		d.inValue(c)
	}
	if c == '\n' && d.state != body {
		d.state = lineStart
	}
}

// begin takes the first byte of a line.
func (d *digester) begin(c byte) {
	switch {
	case c == '\n':
		d.endHeader()
	case c == '\r':
		d.state = lineEmpty
	case (c == ' ' || c == '\t') && counts(d.name):
		d.state, d.blank = fieldValue, true
	case c == ' ' || c == '\t':
		d.state = fieldSkip
	default:
		d.endField()
		d.name, d.state = d.name[:0], fieldName
		d.inName(c)
	}
}

func (d *digester) inName(c byte) {
	switch {
	case c == ':' && counts(d.name):
		d.hash.Write(d.name)
		d.put(':')
		d.state, d.blank, d.any = fieldValue, false, false
	case c == ':':
		d.state = fieldSkip
	case c == '\n':
		d.name = d.name[:0] // no field
	case c == ' ' || c == '\t' || c == '\r':
		// Blanks before the colon are obsolete syntax (RFC 5322 section 4.5).
	case len(d.name) < maxName:
		d.name = append(d.name, lower(c))
	}
}

func (d *digester) inValue(c byte) {
	if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
		d.blank = true
		return
	}
	if d.blank && d.any {
		d.put(' ')
	}
	d.blank, d.any = false, true
	d.put(c)
}

// endField ends the field before, if it counts. No value holds a line end, so fields cannot
// run into one another.
func (d *digester) endField() {
	if counts(d.name) {
		d.put('\n')
	}
	d.name = d.name[:0]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func (d *digester) put(c byte) {
	d.one[0] = c
	d.hash.Write(d.one[:])
}

// endHeader marks where the body begins, so that no header can stand for a body.
func (d *digester) endHeader() {
	d.endField()
	d.put('\n')
	d.state = body
}

// counts reports whether a field says how the body is read.
func counts(name []byte) bool {
	return string(name) == "mime-version" ||
		bytes.HasPrefix(name, []byte("content-")) && string(name) != "content-length"
}

// body takes bytes of the body. Line ends wait until something follows them.
func (d *digester) body(p []byte) {
	for len(p) > 0 {
		switch p[0] {
		case '\n':
			d.lf, d.cr, p = d.lf+1, 0, p[1:]
			continue
		case '\r':
			d.cr, p = d.cr+1, p[1:]
			continue
		}
		d.flush()
		n := bytes.IndexAny(p, "\r\n")
		if n < 0 {
			n = len(p)
		}
		d.hash.Write(p[:n])
		p = p[n:]
	}
}

func (d *digester) flush() {
	writeRun(d.hash, '\n', d.lf)
	writeRun(d.hash, '\r', d.cr)
	d.lf, d.cr = 0, 0
}

func writeRun(h hash.Hash, c byte, n int64) {
	for ; n > 0; n -= min(n, 1024) {
		h.Write(bytes.Repeat([]byte{c}, int(min(n, 1024))))
	}
}

// sum is the digest of what was written. A header without an end has an empty body.
func (d *digester) sum() string {
	if d.state != body {
		d.endHeader()
	}
	return hex.EncodeToString(d.hash.Sum(nil))
}
