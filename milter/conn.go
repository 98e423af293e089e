package milter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-milter"
	"golang.org/x/sys/unix"
)

const (
	// maxFrame is the longest frame we take, as the library. Postfix sends a header field in
	// one frame, of up to its header_size_limit of 100 KiB.
	maxFrame = 1 << 20
	// maxCommand is the longest frame that is neither a header field nor body: an SMTP
	// command or the macros of a stage.
	maxCommand = 64 << 10
	// readBuffer must hold most frames other than body chunks. There is one for each
	// connection, idle or not.
	readBuffer = 4 << 10
	// flushAt is how much output may wait for the next read.
	flushAt = 32 << 10
	// keepOutput is how large a buffer for output an idle connection may keep.
	keepOutput = 512
)

var (
	errZeroFrame = errors.New("frame of length 0")
	errDraining  = errors.New("shutting down")
	errHungUp    = errors.New("the MTA hung up")
	errNoTurn    = errors.New("command out of order")
)

// A conn stands between the MTA and the library. It reads whole frames with deadlines, keeps
// what the library would lose, answers what the library would not, and lets the library have
// the rest. Output waits until the next read that blocks, so that an answer is one write.
//
// All of it runs in the goroutine of the session, except drain and the closing of the
// embedded Conn.
type conn struct {
	net.Conn
	srv     *Server
	session *session
	in      *bufio.Reader // of (*source)(conn)

	cur  []byte // what the library still has to read; views into in
	held []byte // a frame that comes after cur, which was put before it
	pass int    // bytes of a body frame that the library reads from in directly
	used int    // bytes of in that cur and held are views of

	inFrame  bool      // part of a frame was read
	frameEnd time.Time // when it must be complete; zero until we wait for more of it

	out       []byte // complete frames for the MTA
	answering bool   // the next write of the library is its answer to the negotiation
	offer     offer  // what was agreed, once greeted
	greeted   bool
	dirty     bool // the library remembers header fields

	err       error // why nothing more is read
	closeOnce sync.Once

	mu       sync.Mutex
	draining bool // to be closed at the next border
	busy     bool // between MAIL and the answer to the end of the message
}

func newConn(srv *Server, nc net.Conn) *conn {
	c := &conn{Conn: nc, srv: srv}
	c.in = bufio.NewReaderSize((*source)(c), readBuffer)
	c.session = newSession(srv, c)
	return c
}

// Read gives the library its next bytes. However the session ends, the library is told
// io.EOF: it would print any other error by package log, and we know more about it.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.cur) == 0 && c.held != nil {
		c.cur, c.held = c.held, nil
	}
	if len(c.cur) == 0 && c.pass == 0 && c.err == nil {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, io.EOF
	}
	if len(c.cur) > 0 {
		n := copy(p, c.cur)
		c.cur = c.cur[n:]
		return n, nil
	}
	return c.readBody(p)
}

// readBody gives bytes of a body frame without a copy of our own.
func (c *conn) readBody(p []byte) (int, error) {
	c.release()
	n, err := c.in.Read(p[:min(len(p), c.pass)])
	c.pass -= n
	if err != nil {
		c.fail(lost(err, 1))
		return n, io.EOF
	}
	return n, nil
}

// fail ends the session at the next read. The first reason counts.
func (c *conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// next reads frames until there is one for the library.
func (c *conn) next() error {
	for {
		code, data, err := c.frame()
		if err != nil {
			return err
		}
		forward, err := c.intercept(code, data)
		if err != nil {
			return fmt.Errorf("%s: %w", commandName(code), err)
		}
		if forward {
			return nil
		}
		c.cur, c.pass = nil, 0
	}
}

// frame reads the next frame into cur; of a body frame only the beginning, with the rest left
// to pass. The data is valid until the next call.
func (c *conn) frame() (code byte, data []byte, err error) {
	c.release()
	c.inFrame, c.frameEnd = c.in.Buffered() > 0, time.Time{}
	head, err := c.in.Peek(4)
	if err != nil {
		return 0, nil, lost(err, len(head))
	}
	n := int(binary.BigEndian.Uint32(head))
	if n == 0 {
		return 0, nil, errZeroFrame
	}
	if n > maxFrame {
		return 0, nil, fmt.Errorf("frame of %d bytes, more than %d", n, maxFrame)
	}
	if head, err = c.in.Peek(5); err != nil {
		return 0, nil, lost(err, len(head))
	}
	code = head[4]
	switch {
	case code != codeHeader && code != codeBody && n > maxCommand:
		return 0, nil, fmt.Errorf("%s of %d bytes, more than %d", commandName(code), n, maxCommand)
	case 4+n <= c.in.Size():
		c.cur, err = c.in.Peek(4 + n)
		c.used = len(c.cur)
	case code == codeBody && n <= 1+milter.MaxBodyChunk:
		c.cur, c.used, c.pass = head, len(head), n-1
	default:
		c.cur, err = c.long(4 + n)
	}
	if err != nil {
		return 0, nil, lost(err, len(c.cur))
	}
	return code, c.cur[5:], nil
}

// long reads a frame that is larger than our buffer. Memory grows as bytes arrive, not by the
// length that is claimed.
func (c *conn) long(size int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(c.in, int64(size)))
	if err == nil && len(b) < size {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// release gives back the bytes that cur was a view of.
func (c *conn) release() {
	_, _ = c.in.Discard(c.used) // they are buffered, so it cannot fail
	c.used = 0
}

// lost tells apart the end of a session and the loss of one: have is how much of a frame
// there was.
func lost(err error, have int) error {
	if err == io.EOF && have > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A source is the network side of a conn's buffer: its Read is called only when the buffer is
// empty, so flushing and deadlines cost once a system call and not once a frame.
type source conn

func (s *source) Read(p []byte) (int, error) {
	c := (*conn)(s)
	if err := c.flush(); err != nil {
		return 0, err
	}
	deadline, err := c.readDeadline(time.Now())
	if err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.inFrame = c.inFrame || n > 0
	return n, err
}

// readDeadline is until when the next bytes must be there. At a border between messages it
// may be that no more are wanted.
func (c *conn) readDeadline(now time.Time) (time.Time, error) {
	if c.inFrame || c.pass > 0 {
		if c.frameEnd.IsZero() {
			c.frameEnd = now.Add(c.srv.cfg.FrameTimeout)
		}
		return c.frameEnd, nil
	}
	if c.session.tx == nil && !c.setBusy(false) {
		return time.Time{}, errDraining
	}
	deadline := now.Add(c.srv.cfg.IdleTimeout)
	if end := c.session.deadline(); !end.IsZero() && end.Before(deadline) {
		deadline = end
	}
	return deadline, nil
}

// setBusy notes whether a message is in work, and tells whether to go on.
func (c *conn) setBusy(busy bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && !c.busy {
		return false
	}
	c.busy = busy
	return busy || !c.draining
}

// drain closes the connection at the next border between messages, which may be now.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.busy {
		c.Conn.Close()
	}
}

// Write takes what the library sends. Errors come to light at the next read.
func (c *conn) Write(p []byte) (int, error) {
	if c.answering {
		c.answering = false
		c.offer.answer(p)
	}
	if err := c.send(p); err != nil {
		c.fail(err)
	}
	return len(p), nil
}

// send writes frames, or parts of them that will be followed by the rest.
func (c *conn) send(p []byte) error {
	if len(c.out)+len(p) < flushAt {
		c.out = append(c.out, p...)
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.write(p)
}

// reply sends a frame without data.
func (c *conn) reply(code milter.ActionCode) error {
	return c.send([]byte{0, 0, 0, 1, byte(code)})
}

// progress tells the MTA at once that we are still at it. It must not be called between the
// first edit of a message and the answer: Postfix gives up a body replacement that anything
// comes between.
func (c *conn) progress() error {
	if err := c.reply(actProgress); err != nil {
		return err
	}
	return c.flush()
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	err := c.write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > keepOutput {
		c.out = nil
	}
	return err
}

func (c *conn) write(p []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
		return err
	}
	_, err := c.Conn.Write(p)
	return err
}

// gone tells whether the MTA has closed the connection, without waiting or reading. While it
// waits for an answer it sends nothing, so only this shows that nobody wants the answer.
func (c *conn) gone() bool {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	var n int
	var peekErr error
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		n, _, peekErr = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	if err != nil {
		return true
	}
	again := errors.Is(peekErr, unix.EAGAIN) || errors.Is(peekErr, unix.EINTR)
	return n <= 0 && !again
}

// Close ends the session and waits for what it has started. The library calls it, whatever
// happens.
func (c *conn) Close() error {
	var err error
	c.closeOnce.Do(func() {
		_ = c.flush() // answers from before the end; nobody may be there any more
		err = c.Conn.Close()
		c.session.end()
		c.logEnd()
		c.srv.ended(c)
	})
	return err
}

// logEnd says how the session ended: quietly if that is how sessions end.
func (c *conn) logEnd() {
	log, s := c.srv.log, c.session
	switch err := c.err; {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, errDraining), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		log.Debug("session ended", "session", s.id)
	case errors.Is(err, os.ErrDeadlineExceeded):
		log.Warn("session ended: the MTA is too slow or silent", "session", s.id, "queue_id", s.lastQueueID, "error", err)
	default:
		log.Warn("session ended by an error", "session", s.id, "queue_id", s.lastQueueID, "error", err)
	}
}
