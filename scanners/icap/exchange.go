package icap

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"rastel/scanners"
)

// A wire is a connection to a service.
type wire struct {
	r     *bufio.Reader
	in    *bounded // what r reads from
	w     *bufio.Writer
	abort func() // makes all that reads and writes fail
}

func newWire(conn io.ReadWriter, abort func()) *wire {
	in := &bounded{r: conn}
	return &wire{r: bufio.NewReader(in), in: in, w: bufio.NewWriter(conn), abort: abort}
}

// A verdict is what a service says of some content.
type verdict struct {
	tag   string // ISTag of the reply
	seen  []sighting
	early bool // the content is clean by its first bytes; the service did not want the others
	keep  bool // the connection can be used again
}

// options asks what the service can do.
func (c *wire) options(t target) (*reply, error) {
	c.in.left, c.in.any = maxHead, false
	c.w.WriteString(t.optionsRequest())
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	a, err := readReply(c.r)
	if err != nil {
		return nil, err
	}
	if a.status != statusOK {
		return nil, refused(a)
	}
	if a.body.kind != noBody {
		return nil, garbage("OPTIONS was answered with a body")
	}
	return a, c.wantSilence()
}

// refused is an answer that is no verdict.
func refused(a *reply) error {
	return fmt.Errorf("the service answers %d %s", a.status, scanners.Said(a.reason))
}

// wantSilence sees that nothing stands behind a reply: on a connection that is used again it would be
// taken for the answer to the next request.
func (c *wire) wantSilence() error {
	if c.r.Buffered() > 0 {
		return garbage("more behind the reply")
	}
	return nil
}

// modify has the service examine content (RESPMOD). The preview is how many bytes are sent before the
// service says that it wants the others; negative means that all are sent at once.
func (c *wire) modify(t target, x content, preview int64, allow204 bool) (verdict, error) {
	c.in.left, c.in.any = maxHead, false
	preview = min(preview, x.size)
	r := x.reader()
	c.w.WriteString(t.modifyRequest(x.size, preview, allow204))
	if preview < 0 {
		return c.upload(r, x, allow204, x.size)
	}
	if err := c.sendPreview(r, x.size, preview); err != nil {
		return verdict{}, err
	}
	a, err := readReply(c.r)
	if err != nil {
		return verdict{}, err
	}
	if a.status == statusContinue && preview < x.size {
		if err := c.wantSilence(); err != nil {
			return verdict{}, err
		}
		c.in.left = maxHead
		return c.upload(r, x, allow204, x.size-preview)
	}
	// To a preview 204 is always allowed (RFC 3507 section 4.6).
	v, err := c.judge(a, x, true)
	v.early = preview < x.size
	return v, err
}

func (c *wire) sendPreview(r io.Reader, size, preview int64) error {
	if err := writeChunks(c.w, r, preview); err != nil {
		return err
	}
	if preview == size {
		c.w.WriteString(wholeOnly)
	} else {
		c.w.WriteString(lastChunk)
	}
	return c.w.Flush()
}

// upload sends the rest of the content and reads the reply meanwhile: a service may send the content
// back while it comes, and neither side must wait for the other to read.
func (c *wire) upload(r io.Reader, x content, allow204 bool, rest int64) (verdict, error) {
	sent := make(chan error, 1)
	go func() {
		err := writeRest(c.w, r, rest)
		if errors.Is(err, errLocal) {
			c.abort() // the service waits for the rest
		}
		sent <- err
	}()
	a, err := readReply(c.r)
	var v verdict
	if err == nil {
		v, err = c.judge(a, x, allow204)
	}
	if err != nil || len(v.seen) > 0 {
		return v, c.stopSending(sent, &v, err)
	}
	// What is clean is clean only if all of it was sent.
	if err := <-sent; err != nil {
		return verdict{}, err
	}
	return v, nil
}

// stopSending ends the sending of what the service does not wait for, and adds its error to err.
func (c *wire) stopSending(sent <-chan error, v *verdict, err error) error {
	select {
	case sendErr := <-sent:
		v.keep = v.keep && sendErr == nil
		if err != nil {
			err = errors.Join(err, sendErr)
		}
	default:
		v.keep = false
		c.abort()
		if sendErr := <-sent; err != nil && errors.Is(sendErr, errLocal) {
			err = sendErr
		}
	}
	return err
}

// judge makes a verdict of a reply to RESPMOD, and reads its body as far as needed. There are two ways
// to be clean: 204 where it is allowed, and the content itself sent back; both without any field that
// tells of something.
func (c *wire) judge(a *reply, x content, allow204 bool) (verdict, error) {
	seen := sightings(a.header)
	if a.status != statusOK && a.status != statusNoContent {
		if len(seen) > 0 { // such as 403 with the name of what was found
			return verdict{seen: seen}, nil
		}
		return verdict{}, refused(a)
	}
	if len(seen) > 0 {
		tag, _ := a.tag() // a finding does not need one
		return verdict{tag: tag, seen: seen}, nil
	}
	tag, err := a.tag()
	if err != nil {
		return verdict{}, err
	}
	v := verdict{tag: tag, keep: !a.closes()}
	switch {
	case a.status == statusOK:
		v.seen, err = c.compare(a, x)
		v.keep = v.keep && len(v.seen) == 0 // of another content not all is read
	case !allow204:
		err = garbage("204, which was not allowed")
	case a.body.kind != noBody || a.body.head >= 0:
		err = garbage("204 with a body")
	}
	if err == nil && len(v.seen) == 0 {
		err = c.wantSilence()
	}
	return v, err
}

// compare reads the response of HTTP in a reply: if it is not what was sent, the service replaced it.
func (c *wire) compare(a *reply, x content) ([]sighting, error) {
	if a.body.kind == optBody || a.body.head < 0 && a.body.kind == noBody {
		return nil, garbage("200 without the content and without another")
	}
	status, reason := statusOK, ""
	if a.body.head >= 0 {
		c.in.left = maxHead
		var err error
		if status, reason, err = readHTTP(c.r, a.body.head); err != nil {
			return nil, err
		}
	}
	if status != statusOK || a.body.kind == noBody {
		return replaced(status, reason), nil
	}
	// Chunks may be as short as a byte each.
	c.in.left = 16*x.size + maxHead
	alike, err := same(&chunked{r: c.r}, x.reader())
	if err != nil {
		return nil, err
	}
	if !alike {
		return replaced(status, reason), nil
	}
	return nil, nil
}
