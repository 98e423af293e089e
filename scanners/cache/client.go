package cache

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"rastel/scanners"
)

const (
	// maxValue bounds what is stored and what is read.
	maxValue = 64 << 10
	// maxReplyLine bounds a line of a reply, such as an error.
	maxReplyLine = 512
	// maxConnections are open at a time.
	maxConnections = 16
)

// A client speaks to a server of the protocol of Redis (RESP2, redis.io/docs/reference/protocol-spec):
// GET and SET, one question at a time on each connection.
//
// Third-party clients trust the server, which is not for a mail filter: rueidis 1.0.79 ends the program
// by a panic for a reply that was not asked for, or a length such as -5, and allocates whatever length
// the server claims.
type client struct {
	network, host string
	tls           *tls.Config // nil: none
	hello         [][]string  // what a connection begins with
	slots         chan struct{}
	idle          chan *conn
}

type conn struct {
	net.Conn
	r *bufio.Reader
}

// parseAddress takes an address apart, in the terms of package net.
func parseAddress(s string) (network, host string, err error) {
	network, host, _ = strings.Cut(s, ":")
	switch network {
	case "unix":
		if !strings.HasPrefix(host, "/") {
			return "", "", fmt.Errorf("%q: a socket needs its whole path, as in unix:/run/redis/redis.sock", s)
		}
	case "tcp":
		if h, port, err := net.SplitHostPort(host); err != nil || h == "" || port == "" {
			return "", "", fmt.Errorf("%q: want a host and a port, as in tcp:127.0.0.1:6379", s)
		}
	default:
		return "", "", fmt.Errorf("%q: want unix:/path or tcp:host:port", s)
	}
	return network, host, nil
}

func newClient(cfg SharedConfig) (*client, error) {
	c := &client{slots: make(chan struct{}, maxConnections), idle: make(chan *conn, maxConnections)}
	var err error
	if c.network, c.host, err = parseAddress(cfg.Address); err != nil {
		return nil, err
	}
	if cfg.TLS {
		if c.tls, err = tlsConfig(c.host, cfg.CAFile); err != nil {
			return nil, err
		}
	}
	if cfg.PasswordFile != "" {
		password, err := scanners.ReadSecret(cfg.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
		auth := []string{"AUTH", cfg.User, password}
		if cfg.User == "" {
			auth = []string{"AUTH", password}
		}
		c.hello = append(c.hello, auth)
	}
	if cfg.Database != 0 {
		c.hello = append(c.hello, []string{"SELECT", strconv.Itoa(cfg.Database)})
	}
	return c, nil
}

func tlsConfig(host, caFile string) (*tls.Config, error) {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return nil, errors.New("tls: is for tcp addresses")
	}
	cfg := &tls.Config{ServerName: name}
	if caFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate", caFile)
	}
	return cfg, nil
}

// close closes the connections that nobody uses.
func (c *client) close() {
	for {
		select {
		case conn := <-c.idle:
			conn.Close()
		default:
			return
		}
	}
}

// get gives the value of a key; nil if there is none.
func (c *client) get(ctx context.Context, key string) (value []byte, err error) {
	err = c.do(ctx, func(conn *conn) error {
		value, err = conn.ask("GET", key)
		return err
	})
	return value, err
}

// set stores a value for a time.
func (c *client) set(ctx context.Context, key string, value []byte, age time.Duration) error {
	return c.do(ctx, func(conn *conn) error {
		return conn.order("SET", key, string(value), "PX", strconv.FormatInt(max(1, age.Milliseconds()), 10))
	})
}

// do has f speak on a connection, on a new one if a used one proves to be closed. After any error the
// connection is closed: nobody knows what comes on it next.
func (c *client) do(ctx context.Context, f func(*conn) error) error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case used := <-c.idle:
		if err := c.on(ctx, used, f); err == nil || ctx.Err() != nil {
			return err
		}
		c.close() // the others are as old
	default:
	}
	fresh, err := c.dial(ctx)
	if err != nil {
		return err
	}
	return c.on(ctx, fresh, f)
}

// on has f speak on a connection until ctx ends.
func (c *client) on(ctx context.Context, conn *conn, f func(*conn) error) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only if conn is closed
	err := f(conn)
	if err == nil && conn.r.Buffered() > 0 {
		err = errors.New("a reply that nobody asked for")
	}
	if !stop() || err != nil {
		conn.Close()
		return errors.Join(err, ctx.Err())
	}
	select {
	case c.idle <- conn:
	default:
		conn.Close()
	}
	return nil
}

func (c *client) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, c.network, c.host)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		secure := tls.Client(nc, c.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		nc = secure
	}
	fresh := &conn{nc, bufio.NewReaderSize(nc, maxReplyLine)}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for _, command := range c.hello {
		if err := fresh.order(command...); err != nil {
			nc.Close()
			return nil, fmt.Errorf("%s: %w", command[0], err)
		}
	}
	return fresh, nil
}

// send sends a command: an array of strings.
func (c *conn) send(words ...string) error {
	b := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(w), w)
	}
	_, err := c.Write(b)
	return err
}

// order sends a command whose reply is OK.
func (c *conn) order(words ...string) error {
	if err := c.send(words...); err != nil {
		return err
	}
	line, err := c.line()
	if err == nil && line != "+OK" {
		err = replyError(line)
	}
	return err
}

// ask sends a command whose reply is a string, or nil.
func (c *conn) ask(words ...string) ([]byte, error) {
	if err := c.send(words...); err != nil {
		return nil, err
	}
	line, err := c.line()
	if err != nil || line == "$-1" {
		return nil, err
	}
	length, ok := strings.CutPrefix(line, "$")
	n, err := strconv.ParseUint(length, 10, 32)
	if !ok || err != nil || n > maxValue {
		return nil, replyError(line)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, err
	}
	if string(b[n:]) != "\r\n" {
		return nil, errors.New("a string that is longer than it says")
	}
	return b[:n], nil
}

// line reads a line of a reply.
func (c *conn) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if err != nil { // bufio.ErrBufferFull too: the line is too long
		return "", err
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok || line == "" {
		return "", replyError(line)
	}
	return line, nil
}

// replyError is what an unexpected reply comes to.
func replyError(line string) error {
	const most = 100
	return fmt.Errorf("the server says %q", line[:min(len(line), most)])
}
