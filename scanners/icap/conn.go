package icap

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// idleTime is how long a connection is kept that nobody uses. c-icap waits 600 s, others less.
	idleTime = 30 * time.Second
	// maxIdle bounds how many are kept.
	maxIdle = 64
)

// A conn is a connection to a service.
type conn struct {
	*wire
	net.Conn          // closed by whoever has it
	raw      net.Conn // the same without TLS
	since    time.Time
}

func newConn(c, raw net.Conn) *conn {
	abort := func() { _ = c.SetDeadline(time.Unix(1, 0)) } // fails only if c is closed
	return &conn{wire: newWire(c, abort), Conn: c, raw: raw}
}

// A pool keeps connections that can be used again. The zero value is empty.
type pool struct {
	mu   sync.Mutex
	list []*conn // the last one was used last
}

// give keeps a connection.
func (p *pool) give(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	p.list = append(p.list, c)
	var old *conn
	if len(p.list) > maxIdle {
		old, p.list = p.list[0], p.list[1:]
	}
	p.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// take gives a connection that is silent and open, as far as can be seen; nil if there is none.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.list) > 0 {
		c := p.list[len(p.list)-1]
		p.list[len(p.list)-1] = nil
		p.list = p.list[:len(p.list)-1]
		if time.Since(c.since) < idleTime && silent(c.raw) {
			return c
		}
		c.Close()
	}
	return nil
}

// close closes all that are kept.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.list {
		c.Close()
	}
	p.list = nil
}

// silent reports whether a connection is open and nothing came over it that nobody asked for: that
// would be taken for the answer to the next request, and one part would get the verdict of another.
func silent(c net.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := s.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = err == unix.EAGAIN
		return true
	})
	return err == nil && quiet
}
