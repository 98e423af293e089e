package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Delivery is a message that a sink was given.
type Delivery struct {
	Sender     string   // as between the angle brackets of MAIL
	Recipients []string // as between those of RCPT
	Raw        []byte   // byte for byte, without the doubled dots
}

// A Sink is an SMTP server that takes everything and keeps it. It is not built on go-smtp,
// because that takes quotes off local parts and does not see the end of a message after
// CR CR LF: here counts what was on the wire. Its methods may be called at any time.
type Sink struct {
	Addr string

	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	got     []Delivery
	changed chan struct{} // closed and replaced when a message comes in
	conns   map[net.Conn]bool
	closed  bool
}

// StartSink starts a sink on a free port. The caller stops it.
func StartSink() (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Sink{Addr: l.Addr().String(), listener: l, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	s.serving.Go(s.accept)
	return s, nil
}

// Stop ends all connections and waits until nothing runs any more.
func (s *Sink) Stop() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.serving.Wait()
	return err
}

// Deliveries returns what has come in so far, in the order of coming.
func (s *Sink) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// Wait waits until n messages have come in since the start, and returns all there are.
func (s *Sink) Wait(n int, timeout time.Duration) ([]Delivery, error) {
	giveUp := time.After(timeout)
	for {
		s.mu.Lock()
		got, changed := slices.Clone(s.got), s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got, nil
		}
		select {
		case <-changed:
		case <-giveUp:
			return got, fmt.Errorf("%d messages delivered after %v, want %d", len(got), timeout, n)
		}
	}
}

func (s *Sink) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		if s.track(c, true) {
			s.serving.Go(func() { defer s.track(c, false); s.serve(c) })
		}
	}
}

// track notes a connection, or closes and forgets it. It reports whether it was noted.
func (s *Sink) track(c net.Conn, add bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if add && !s.closed {
		s.conns[c] = true
		return true
	}
	delete(s.conns, c)
	c.Close()
	return false
}

// serve is one session. It knows just the commands that an MTA sends.
func (s *Sink) serve(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(reply string) { _, _ = io.WriteString(c, reply+"\r\n") } // an error shows at the next read
	say("220 sink.test ESMTP")
	var d Delivery
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			say("250-sink.test\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 SIZE 0")
		case "MAIL":
			d = Delivery{Sender: path(line)}
			say("250 2.1.0 ok")
		case "RCPT":
			d.Recipients = append(d.Recipients, path(line))
			say("250 2.1.5 ok")
		case "DATA":
			say("354 go on")
			if d.Raw, err = readContent(r); err != nil {
				return
			}
			s.add(d)
			say("250 2.0.0 kept")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// path is what stands between the angle brackets of a command.
func path(line string) string {
	from, to := strings.IndexByte(line, '<'), strings.LastIndexByte(line, '>')
	if from < 0 || to < from {
		return ""
	}
	return line[from+1 : to]
}

// errTooLarge is a message that no rig sends.
var errTooLarge = errors.New("message larger than a sink takes")

const maxContent = 256 << 20

// readContent reads a message up to the line with the dot. Only CRLF ends a line.
func readContent(r *bufio.Reader) ([]byte, error) {
	var raw bytes.Buffer
	for start := true; raw.Len() < maxContent; {
		chunk, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if start && string(chunk) == ".\r\n" {
			return raw.Bytes(), nil
		}
		if start && chunk[0] == '.' {
			chunk = chunk[1:]
		}
		raw.Write(chunk)
		start = bytes.HasSuffix(raw.Bytes(), []byte("\r\n"))
	}
	return nil, errTooLarge
}

func (s *Sink) add(d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, d)
	close(s.changed)
	s.changed = make(chan struct{})
}
