// Package milter is the wire between an MTA and the judgement of messages: it collects each
// message from a milter session, has it judged, and carries out the verdict.
//
// It is built on go-milter, whose state cannot be trusted across messages, rejected
// recipients and MTAs (see naive_test.go for what goes wrong). So every connection has a
// library server of its own, wrapped in a net.Conn that checks each frame first, and a
// session object of ours that outlives whatever the library resets.
package milter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-milter"

	"rastel/sanitize/eml"
)

// Options of a Server.
type Options struct {
	Config Config
	Judge  Judge // must not be nil
	Logger *slog.Logger
	// Spool says where messages are kept while they are examined. If its Max is zero,
	// Config.MaxMessageSize is used.
	Spool eml.SpoolOptions
	// Listeners, if any, are used instead of what Config and systemd say. The Server closes
	// them.
	Listeners []net.Listener
}

// A Server takes connections of MTAs and serves them.
type Server struct {
	cfg   Config
	judge Judge
	log   *slog.Logger
	spool eml.SpoolOptions
	allow []netip.Prefix

	slots  chan struct{} // one element for each connection that is served
	stop   chan struct{} // closed by Shutdown: nothing new is begun
	forced chan struct{} // closed when Shutdown has lost patience: what was begun ends

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*conn]struct{}
	stopping  bool
	forcing   bool
	sessions  sync.WaitGroup // of conns
}

const (
	backOffFirst = 5 * time.Millisecond // after an error of Accept, such as EMFILE
	backOffMax   = time.Second

	// forceWait is how long sessions may take to end once their contexts were cancelled.
	forceWait = 10 * time.Second
)

// New makes a Server. It opens nothing yet.
func New(opt Options) (*Server, error) {
	if opt.Judge == nil {
		return nil, errors.New("milter: no judge")
	}
	if err := opt.Config.Validate(); err != nil {
		return nil, err
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	cfg := opt.Config.withDefaults()
	if opt.Spool.Max == 0 {
		opt.Spool.Max = cfg.MaxMessageSize
	}
	allow, err := parseAllow(cfg.Allow)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, judge: opt.Judge, log: opt.Logger, spool: opt.Spool, allow: allow,
		slots: make(chan struct{}, cfg.MaxConnections), stop: make(chan struct{}), forced: make(chan struct{}),
		listeners: opt.Listeners, conns: map[*conn]struct{}{},
	}, nil
}

// Listen opens the sockets, so that connections are taken from now on and wait for Serve. It
// does nothing if there are sockets already.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) > 0 || s.stopping {
		return nil
	}
	list, err := activated()
	if err == nil && len(list) == 0 {
		list, err = s.cfg.open()
	}
	s.listeners = list
	return err
}

// Addrs are the addresses of the sockets that are open.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []net.Addr
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Serve calls Listen and serves connections until Shutdown, then returns nil, or until a
// listener is lost, then returns that error. Sessions may go on after it has returned: call
// Shutdown in any case.
func (s *Server) Serve() error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.mu.Lock()
	list := s.listeners
	s.mu.Unlock()
	errs := make(chan error, len(list))
	for _, l := range list {
		go func() { errs <- s.accept(l) }()
	}
	var first error
	for range list {
		if err := <-errs; err != nil && first == nil {
			first = err
			closeAll(list) // so that the other loops end too
		}
	}
	return first
}

// accept serves the connections of one listener. Errors that may pass, such as too many open
// files, are waited out.
func (s *Server) accept(l net.Listener) error {
	var delay time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case s.stopped():
			if err == nil {
				nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("milter: accept on %v: %w", l.Addr(), err)
		case err != nil:
			delay = min(max(2*delay, backOffFirst), backOffMax)
			s.log.Warn("connection not accepted", "error", err, "retry_in", delay)
			if !s.pause(delay) {
				return nil
			}
		default:
			delay = 0
			s.take(nc)
		}
	}
}

func (s *Server) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// pause waits, and tells whether to go on.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop:
		return false
	}
}

// take serves a connection if its peer may talk to us, once there is a slot for it. While it
// waits here the others wait in the queue of the listener.
func (s *Server) take(nc net.Conn) {
	if !allowed(nc.RemoteAddr(), s.allow) {
		s.log.Warn("peer refused: neither this host nor in milter.allow", "peer", nc.RemoteAddr().String())
		nc.Close()
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		s.log.Warn("connection limit reached, a connection waits", "max_connections", s.cfg.MaxConnections)
		select {
		case s.slots <- struct{}{}:
		case <-s.stop:
			nc.Close()
			return
		}
	}
	s.begin(nc)
}

// begin starts the session of a connection that has a slot.
func (s *Server) begin(nc net.Conn) {
	c := newConn(s, nc)
	if !s.add(c) {
		nc.Close()
		<-s.slots
		return
	}
	lib := &milter.Server{
		NewMilter: func() milter.Milter { return c.session }, // the library asks after each final reply
		Actions:   wantActions,
		Protocol:  wantProtocol,
	}
	// Serve starts a goroutine for the connection, fails to get a second one, and returns.
	// That goroutine always ends with c.Close, which ends the session.
	_ = lib.Serve(&oneConn{conn: c})
}

// add counts a connection in, unless the server is stopping.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.conns[c] = struct{}{}
	s.sessions.Add(1)
	return true
}

// ended counts a connection out.
func (s *Server) ended(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	<-s.slots
	s.sessions.Done()
}

// Shutdown stops listening, ends sessions that have no message in work, and waits for the
// others to finish theirs. When ctx ends it cuts them off, which the MTA takes for "try again
// later", and returns the error of ctx. It may be called several times.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	done := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	if n := s.force(); n == 0 {
		<-done // the last one has only just ended
		return nil
	}
	t := time.NewTimer(forceWait)
	defer t.Stop()
	select {
	case <-done:
		return fmt.Errorf("milter: sessions were cut off: %w", ctx.Err())
	case <-t.C:
		return fmt.Errorf("milter: sessions do not end: %w", ctx.Err())
	}
}

func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
		closeAll(s.listeners)
	}
	for c := range s.conns {
		c.drain()
	}
}

// force cuts off what is left and tells how many connections that are.
func (s *Server) force() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forcing {
		s.forcing = true
		close(s.forced)
	}
	for c := range s.conns {
		c.Conn.Close()
	}
	return len(s.conns)
}

// A oneConn is a listener that has one connection, ready to be accepted.
type oneConn struct{ conn net.Conn }

// errNoMore ends the library's accept loop, and nothing else.
var errNoMore = errors.New("no more connections")

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, errNoMore
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }
