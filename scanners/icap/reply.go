package icap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
)

const (
	// maxHead bounds the status line and the header of a reply, together with the header of HTTP in it.
	maxHead = 64 << 10
	// maxFields bounds the fields of a header.
	maxFields = 200
	// maxChunkLine bounds the line before a chunk: its length and extensions.
	maxChunkLine = 256
	// maxTag bounds an ISTag; RFC 3507 section 4.7 allows 32 bytes, and not all heed it.
	maxTag = 256
)

// errGarbage is a reply that ICAP does not allow, or that could be meant in two ways.
var errGarbage = errors.New("not a clear reply of ICAP")

// errTooLong is more than any reply needs.
var errTooLong = errors.New("the reply is too long")

func garbage(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errGarbage, fmt.Errorf(format, args...))
}

// A bounded reader gives no more than it is allowed to, and knows whether it gave anything.
type bounded struct {
	r    io.Reader
	left int64
	any  bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.any = b.any || n > 0
	return n, err
}

// A reply is what a service answers, as far as its body.
type reply struct {
	status int
	reason string
	header textproto.MIMEHeader
	body   encapsulated
}

// encapsulated tells what follows the header of a reply (RFC 3507 section 4.4.1).
type encapsulated struct {
	head int64 // bytes of a header of HTTP; -1: there is none
	kind string
}

// readReply reads the status line and the header of a reply.
func readReply(r *bufio.Reader) (*reply, error) {
	t := textproto.NewReader(r)
	line, err := t.ReadLine()
	if err != nil {
		return nil, unexpected(err)
	}
	a := &reply{}
	if a.status, a.reason, err = parseStatus(line, "ICAP/1."); err != nil {
		return nil, err
	}
	if a.header, err = readFields(t); err != nil {
		return nil, err
	}
	a.body, err = parseEncapsulated(a.header)
	return a, err
}

// parseStatus takes a status line apart: "ICAP/1.0 204 Unmodified".
func parseStatus(line, protocol string) (status int, reason string, err error) {
	rest, ok := strings.CutPrefix(line, protocol)
	if !ok || len(rest) < len("0 204") || rest[0] < '0' || rest[0] > '9' || rest[1] != ' ' {
		return 0, "", garbage("status line %.80q", line)
	}
	code, reason, _ := strings.Cut(rest[2:], " ")
	status, err = strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < 100 {
		return 0, "", garbage("status line %.80q", line)
	}
	return status, reason, nil
}

// readFields reads a header. A field of which there may be one and are two is not clear.
func readFields(t *textproto.Reader) (textproto.MIMEHeader, error) {
	h, err := t.ReadMIMEHeader()
	if err != nil {
		var p textproto.ProtocolError
		if errors.As(err, &p) {
			err = garbage("header: %w", err)
		}
		return nil, unexpected(err)
	}
	fields := 0
	for _, values := range h {
		fields += len(values)
	}
	if fields > maxFields {
		return nil, garbage("more than %d fields", maxFields)
	}
	for _, name := range []string{"Encapsulated", "Istag", "Connection", "Preview", "X-Infection-Found"} {
		if len(h.Values(name)) > 1 {
			return nil, garbage("%d fields %s", len(h.Values(name)), name)
		}
	}
	return h, nil
}

const (
	noBody    = "null-body"
	replyBody = "res-body"
	optBody   = "opt-body"
)

// parseEncapsulated reads the field that tells where header and body of HTTP begin. Where there is
// none, nothing follows; RFC 3507 wants it in every reply, and servers leave it out of 204.
func parseEncapsulated(h textproto.MIMEHeader) (encapsulated, error) {
	none := encapsulated{head: -1, kind: noBody}
	if _, ok := h["Encapsulated"]; !ok {
		return none, nil
	}
	value := h.Get("Encapsulated")
	list := strings.Split(value, ",")
	head, offset, err := section(list[0])
	if err != nil || offset != 0 || len(list) > 2 {
		return none, garbage("Encapsulated: %.80q", value)
	}
	if len(list) == 1 {
		if head != noBody && head != replyBody && head != optBody {
			return none, garbage("Encapsulated: %.80q", value)
		}
		return encapsulated{head: -1, kind: head}, nil
	}
	kind, offset, err := section(list[1])
	if err != nil || head != "res-hdr" || kind != noBody && kind != replyBody || offset <= 0 || offset > maxHead {
		return none, garbage("Encapsulated: %.80q", value)
	}
	return encapsulated{head: offset, kind: kind}, nil
}

// section takes "res-body=161" apart.
func section(s string) (name string, offset int64, err error) {
	name, value, _ := strings.Cut(strings.TrimSpace(s), "=")
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return "", 0, errGarbage
	}
	offset, err = strconv.ParseInt(value, 10, 32)
	return strings.ToLower(name), offset, err
}

// tag is the ISTag of a reply without its quotes. Each reply has one (RFC 3507 section 4.7), so what
// has none is not from an ICAP service.
func (a *reply) tag() (string, error) {
	tag := strings.Trim(a.header.Get("Istag"), `"`)
	if tag == "" || len(tag) > maxTag || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return "", garbage("ISTag: %.80q", a.header.Get("Istag"))
	}
	return tag, nil
}

// closes reports whether the service ends the connection after the reply.
func (a *reply) closes() bool {
	return strings.Contains(strings.ToLower(a.header.Get("Connection")), "close")
}

// readHTTP reads the header of HTTP in a reply, which is as long as the reply says, and gives its status.
func readHTTP(r *bufio.Reader, size int64) (status int, reason string, err error) {
	block := make([]byte, size)
	if _, err := io.ReadFull(r, block); err != nil {
		return 0, "", unexpected(err)
	}
	b := bufio.NewReader(strings.NewReader(string(block)))
	t := textproto.NewReader(b)
	line, err := t.ReadLine()
	if err != nil {
		return 0, "", garbage("header of HTTP: %w", err)
	}
	if status, reason, err = parseStatus(line, "HTTP/1."); err != nil {
		return 0, "", err
	}
	if _, err = readFields(t); err != nil {
		return 0, "", garbage("header of HTTP: %w", err)
	}
	if _, err := b.ReadByte(); err != io.EOF {
		return 0, "", garbage("the header of HTTP is shorter than Encapsulated says")
	}
	return status, reason, nil
}

// A chunked reader decodes a body in chunks (RFC 9112 section 7.1). It gives io.EOF only when the
// last chunk and the line behind it were read.
type chunked struct {
	r    *bufio.Reader
	left int64 // of this chunk
	any  bool  // a chunk was begun before
	err  error
}

func (c *chunked) Read(p []byte) (int, error) {
	if c.left == 0 && c.err == nil {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil {
		c.err = unexpected(err)
	}
	return n, c.err
}

// next reads what is between two chunks, and behind the last.
func (c *chunked) next() error {
	if c.any {
		if line, err := c.line(); err != nil || line != "" {
			return errors.Join(err, garbage("a chunk is longer than it says"))
		}
	}
	c.any = true
	line, err := c.line()
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	size = strings.TrimRight(size, " \t")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil || size[0] == '+' || len(size) > 15 {
		return garbage("size of a chunk: %.80q", line)
	}
	if c.left = int64(n); n > 0 {
		return nil
	}
	return c.trailer()
}

// trailer reads the empty line that ends a body. Fields before it could tell anything about the content,
// and nobody knows which do.
func (c *chunked) trailer() error {
	line, err := c.line()
	if err == nil && line != "" {
		err = garbage("a field behind the body: %.80q", line)
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// line reads a line that ends in CRLF, as nothing else is a line to all.
func (c *chunked) line() (string, error) {
	var b strings.Builder
	for b.Len() <= maxChunkLine {
		ch, err := c.r.ReadByte()
		if err != nil {
			return "", unexpected(err)
		}
		if b.WriteByte(ch); ch == '\n' {
			line, ok := strings.CutSuffix(b.String(), "\r\n")
			if !ok {
				return "", garbage("a line of a chunked body ends in LF alone")
			}
			return line, nil
		}
	}
	return "", garbage("a line of a chunked body is longer than %d bytes", maxChunkLine)
}

// errCut is the end of the connection in the middle of a reply. It is none of the errors of package io,
// which for some callers mean that all is well.
var errCut = errors.New("the reply ends in its middle")

// unexpected is err where there should be more.
func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCut
	}
	return err
}
