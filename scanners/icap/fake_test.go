package icap

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners/scannertest"
)

// able is what a service can do that asks for a preview of eight bytes.
const able = "ICAP/1.0 200 OK\r\nMethods: RESPMOD\r\nService: fake\r\nISTag: \"one\"\r\nPreview: 8\r\nAllow: 204\r\nEncapsulated: null-body=0\r\n\r\n"

// A fake is a server with the faults that a real service does not have at our command.
type fake struct {
	url     string
	conns   atomic.Int32
	options atomic.Int32 // requests to tell what it can do
	scans   atomic.Int32 // other requests
}

// A call is one RESPMOD request as the fake sees it.
type call struct {
	conn    net.Conn
	r       *bufio.Reader
	n       int32 // which one this is, from 1
	header  textproto.MIMEHeader
	content []byte // as far as it was sent
	whole   bool   // nothing of it is missing
}

// reply writes what the fake answers.
func (c *call) reply(text string) { io.WriteString(c.conn, text) }

// rest asks for what is behind the preview, and reads it.
func (c *call) rest() {
	if !c.whole {
		c.reply("ICAP/1.0 100 Continue\r\n\r\n")
		c.more()
	}
}

// more reads what is behind the preview.
func (c *call) more() {
	b, _ := readChunks(c.r)
	c.content, c.whole = append(c.content, b...), true
}

// serve starts a fake that answers OPTIONS by a text and hands each other request to handle. The
// connection is closed when handle says that it is to be.
func serve(t testing.TB, options string, handle func(c *call) (keep bool)) *fake {
	t.Helper()
	f := &fake{}
	return f.serve(t, func(conn net.Conn) { f.converse(conn, options, handle) })
}

// serve is serveRaw for a fake that is there.
func (f *fake) serve(t testing.TB, handle func(net.Conn)) *fake {
	t.Helper()
	f.url = "icap://" + scannertest.Serve(t, "tcp", "127.0.0.1:0", func(conn net.Conn) { f.conns.Add(1); handle(conn) }) + "/scan"
	return f
}

func (f *fake) converse(conn net.Conn, options string, handle func(c *call) bool) {
	r := bufio.NewReader(conn)
	for {
		t := textproto.NewReader(r)
		line, err := t.ReadLine()
		if err != nil {
			return
		}
		h, err := t.ReadMIMEHeader()
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "OPTIONS ") {
			f.options.Add(1)
			io.WriteString(conn, options)
			continue
		}
		c := &call{conn: conn, r: r, n: f.scans.Add(1), header: h}
		if c.read() != nil || !handle(c) {
			return
		}
	}
}

// read reads what a request encapsulates, as far as it comes unasked.
func (c *call) read() error {
	var res, body int
	if _, err := fmt.Sscanf(c.header.Get("Encapsulated"), "req-hdr=0, res-hdr=%d, res-body=%d", &res, &body); err != nil {
		return err
	}
	if _, err := c.r.Discard(body); err != nil {
		return err
	}
	var ieof bool
	c.content, ieof = readChunks(c.r)
	c.whole = ieof || c.header.Get("Preview") == ""
	return nil
}

// readChunks reads a chunked body and tells whether it ended in "ieof".
func readChunks(r *bufio.Reader) (b []byte, ieof bool) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return b, ieof
		}
		size, ext, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if err != nil {
			return b, ieof
		}
		chunk := make([]byte, n)
		io.ReadFull(r, chunk)
		b = append(b, chunk...)
		r.Discard(2)
		if n == 0 {
			return b, strings.TrimSpace(ext) == "ieof"
		}
	}
}

// answering reads all of the content, then replies.
func answering(reply string) func(*call) bool {
	return func(c *call) bool {
		c.rest()
		c.reply(reply)
		return false
	}
}

const clean204 = "ICAP/1.0 204 Unmodified\r\nISTag: \"one\"\r\n\r\n"

// back is a reply with a response of HTTP.
func back(status, body string) string {
	head := "HTTP/1.1 " + status + "\r\nContent-Type: x/y\r\n\r\n"
	return fmt.Sprintf("ICAP/1.0 200 OK\r\nISTag: \"one\"\r\nEncapsulated: res-hdr=0, res-body=%d\r\n\r\n%s%x\r\n%s\r\n0\r\n\r\n", len(head), head, len(body), body)
}

func newScanner(t testing.TB, cfg Config) *Scanner {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "fake"
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func file(t testing.TB, data string) *eml.Part {
	t.Helper()
	return scannertest.Part(t, []byte(data))
}
