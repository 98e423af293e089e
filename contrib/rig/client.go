package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// clientTimeout is how long one step of a session may take. It is longer than any limit that
// the rigs set for their servers.
const clientTimeout = 2 * time.Minute

// A Reply is what an SMTP server answers (RFC 5321 section 4.2).
type Reply struct {
	Code  int
	Lines []string // without the code
	Verb  string   // of the command that it answers; "connect" for the greeting, "." for the end of a message
}

// OK reports whether the server goes along: 2xx or 3xx.
func (r Reply) OK() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary reports whether the client is to try again: 4xx.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

func (r Reply) String() string {
	return fmt.Sprintf("%s: %d %s", r.Verb, r.Code, strings.Join(r.Lines, " / "))
}

// A Client is one SMTP session, step by step. It checks nothing and sends what it is told, so
// that it can also misbehave. One goroutine may use it at a time.
//
// An error is always one of the connection; a refusal is a Reply.
type Client struct {
	Greeting Reply
	conn     net.Conn
	r        *bufio.Reader
}

// Dial connects and reads the greeting. The caller closes the client.
func Dial(addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, clientTimeout)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, r: bufio.NewReader(conn)}
	if c.Greeting, err = c.Reply("connect"); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection without QUIT.
func (c *Client) Close() error { return c.conn.Close() }

// Write sends bytes as they are.
func (c *Client) Write(p []byte) (int, error) {
	if err := c.conn.SetWriteDeadline(time.Now().Add(clientTimeout)); err != nil {
		return 0, err
	}
	return c.conn.Write(p)
}

// Reply reads one reply, which may have several lines. The verb says what it answers.
func (c *Client) Reply(verb string) (Reply, error) {
	r := Reply{Verb: verb}
	if err := c.conn.SetReadDeadline(time.Now().Add(clientTimeout)); err != nil {
		return r, err
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return r, fmt.Errorf("%s: no reply: %w", verb, err)
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 3 {
			return r, fmt.Errorf("%s: reply %q", verb, line)
		}
		if r.Code, err = strconv.Atoi(line[:3]); err != nil {
			return r, fmt.Errorf("%s: reply %q", verb, line)
		}
		r.Lines = append(r.Lines, strings.TrimLeft(line[3:], "- "))
		if len(line) == 3 || line[3] != '-' {
			return r, nil
		}
	}
}

// Cmd sends one command line and reads the reply.
func (c *Client) Cmd(line string) (Reply, error) {
	verb, _, _ := strings.Cut(line, " ")
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		return Reply{Verb: verb}, err
	}
	return c.Reply(verb)
}

// Do sends commands in turn, until one is refused, and returns the last reply.
func (c *Client) Do(lines ...string) (r Reply, err error) {
	for _, line := range lines {
		if r, err = c.Cmd(line); err != nil || !r.OK() {
			return r, err
		}
	}
	return r, nil
}

// Message sends one message in the session: MAIL, a RCPT for each recipient, DATA and the
// content. It stops at the first refusal and returns that.
func (c *Client) Message(sender string, recipients []string, raw []byte) (Reply, error) {
	r, err := c.Do(envelope(sender, recipients)...)
	if err != nil || !r.OK() {
		return r, err
	}
	return c.Content(raw)
}

func envelope(sender string, recipients []string) []string {
	lines := []string{"MAIL FROM:<" + sender + ">"}
	for _, to := range recipients {
		lines = append(lines, "RCPT TO:<"+to+">")
	}
	return append(lines, "DATA")
}

// Content sends a message after the 354, ends it and reads the reply.
func (c *Client) Content(raw []byte) (Reply, error) {
	if _, err := c.Write(DotStuffed(raw)); err != nil {
		return Reply{Verb: "."}, err
	}
	return c.Reply(".")
}

// DotStuffed is a message as it is sent after DATA (RFC 5321 section 4.5.2), with its end. Its
// lines must end with CRLF; a last line that does not gets one.
func DotStuffed(raw []byte) []byte {
	var b bytes.Buffer
	if bytes.HasPrefix(raw, []byte(".")) {
		b.WriteByte('.')
	}
	b.Write(bytes.ReplaceAll(raw, []byte("\r\n."), []byte("\r\n..")))
	if len(raw) > 0 && !bytes.HasSuffix(raw, []byte("\r\n")) {
		b.WriteString("\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// Send sends one message in a session of its own, and returns the reply to its end or the
// first refusal.
func Send(addr, sender string, recipients []string, raw []byte) (Reply, error) {
	c, err := Dial(addr)
	if err != nil {
		return Reply{Verb: "connect"}, err
	}
	defer c.Close()
	if !c.Greeting.OK() {
		return c.Greeting, nil
	}
	if r, err := c.Cmd("EHLO client.test"); err != nil || !r.OK() {
		return r, err
	}
	r, err := c.Message(sender, recipients, raw)
	if err != nil {
		return r, err
	}
	_, _ = c.Cmd("QUIT") // the fate of the message is known
	return r, nil
}
