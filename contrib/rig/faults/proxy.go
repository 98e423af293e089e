package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A mode is what a proxy does with connections.
type mode int32

const (
	pass        mode = iota // nothing
	crawl                   // hands on a few bytes a second
	lateReplies             // hands on the replies to scans late
	babble                  // answers nonsense itself
	babbleScans             // answers nonsense itself, but not to PING and VERSION
	hangUp                  // closes connections in the middle
)

const (
	crawlInterval = 200 * time.Millisecond // from byte to byte
	lateTime      = 8 * time.Second
)

// nonsense are replies that clamd does not give, or that are none.
var nonsense = []string{
	"", "\x00", "OK", "OK\x00", "stream: OK", "stream: OK\n", "stream: OK\x00stream: OK\x00", "stream: OK\x00stream: X FOUND\x00",
	"fd[]: OK\x00", "stream: ok\x00", "stream:  FOUND\x00", "stream: X FOUND", "COMMAND READ TIMED OUT\n", "UNKNOWN COMMAND\x00",
	"HTTP/1.1 200 OK\r\n\r\nstream: OK\x00", "stream: Can't allocate memory ERROR\x00", strings.Repeat("stream: OK\x00", 1<<17),
}

// A proxy stands before a clamd, in every mode that it is told to have.
type proxy struct {
	addr     string // host:port
	target   string
	mode     atomic.Int32
	count    atomic.Int32
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func startProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}}
	p.serving.Go(p.accept)
	return p, nil
}

// set changes the mode, of connections that are open already by closing them.
func (p *proxy) set(m mode) {
	p.mode.Store(int32(m))
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) stop() error {
	err := p.listener.Close()
	p.set(pass)
	p.serving.Wait()
	return err
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.track(c, true)
		p.serving.Go(func() { defer p.track(c, false); p.serve(c) })
	}
}

func (p *proxy) track(c net.Conn, add bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if add {
		p.conns[c] = true
		return
	}
	delete(p.conns, c)
	c.Close()
}

// serve handles a connection: one command, as rastel sends it.
func (p *proxy) serve(c net.Conn) {
	m := mode(p.mode.Load())
	r := bufio.NewReader(c)
	command, err := r.ReadString(0)
	if err != nil {
		return
	}
	status := command == "zPING\x00" || command == "zVERSION\x00"
	n := int(p.count.Add(1))
	switch {
	case m == babble, m == babbleScans && !status:
		p.nonsense(c, r, status, n)
		return
	case m == hangUp && !status:
		_, _ = io.CopyN(io.Discard, r, int64(n%5)*1000) // content has more, or closes itself
		return
	}
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	p.track(up, true)
	defer p.track(up, false)
	p.serving.Go(func() {
		_ = copyAt(up, io.MultiReader(strings.NewReader(command), r), m) // the end of either is that of both
		_ = c.(*net.TCPConn).CloseRead()
	})
	if m == lateReplies && !status {
		reply, _ := io.ReadAll(up)
		<-time.After(lateTime)
		_, _ = c.Write(reply)
		return
	}
	_ = copyAt(c, up, m)
}

// nonsense reads all content and answers in its own way.
func (p *proxy) nonsense(c net.Conn, r *bufio.Reader, status bool, n int) {
	if !status {
		_ = skipContent(r)
	}
	_, _ = io.WriteString(c, nonsense[n%len(nonsense)])
}

// skipContent reads the chunks of INSTREAM (clamd(8)).
func skipContent(r *bufio.Reader) error {
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := int64(head[0])<<24 | int64(head[1])<<16 | int64(head[2])<<8 | int64(head[3])
		if n == 0 {
			return nil
		}
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			return err
		}
	}
}

// copyAt copies at the speed of a mode.
func copyAt(w io.Writer, r io.Reader, m mode) error {
	if m != crawl {
		_, err := io.Copy(w, r)
		return err
	}
	var b [1]byte
	for {
		if _, err := r.Read(b[:]); err != nil {
			return err
		}
		<-time.After(crawlInterval)
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
}
