package quarantine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/emersion/go-smtp"
)

// A SendError says why a message could not be released.
type SendError struct {
	Server string // host:port
	Err    error
	// Temporary says that trying again later may help: a 4xx reply, or no connection.
	Temporary bool
	// Unsure says that the server may have taken the message all the same.
	Unsure bool
}

func (e *SendError) Error() string {
	if e.Unsure {
		return fmt.Sprintf("send to %s: %v; %s", e.Server, e.Err, mayBeDelivered)
	}
	return fmt.Sprintf("send to %s: %v", e.Server, e.Err)
}

func (e *SendError) Unwrap() error { return e.Err }

// send sends the message, or the copy in its place, to the server, in its original envelope but for ReleaseTo,
// with a TokenField on top. It returns nil or a *SendError; of an item that the filter itself sends also a
// *refusedError.
func (s *Store) send(ctx context.Context, it *Item, form *Copy) error {
	server := s.cfg.Release.SMTP
	raw, err := s.outgoing(ctx, it, form)
	if err != nil {
		return &SendError{Server: server, Err: err}
	}
	defer raw.Close()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", server)
	if err != nil {
		return &SendError{Server: server, Err: err, Temporary: true}
	}
	defer conn.Close()
	// The client sets deadlines of its own, so a deadline would not last.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	t := &transfer{conn: conn, enter: s.enter, item: it, helo: s.cfg.Release.Helo, size: raw.size, field: TokenField + ": " + raw.token + "\r\n"}
	if err := t.run(ctx, raw); err != nil {
		return t.sendError(ctx, server, err)
	}
	if len(t.refused) > 0 {
		return &refusedError{t.refused}
	}
	return nil
}

// A refusedError says that a message with a Purpose was sent, but not to these recipients.
type refusedError struct{ list []refusal }

func (e *refusedError) Error() string {
	return fmt.Sprintf("%d recipients were refused; the first: %v", len(e.list), e.list[0].err)
}

// A refusal is a recipient that the server has refused, and why.
type refusal struct {
	to        string
	err       error
	temporary bool
}

func (t *transfer) sendError(ctx context.Context, server string, err error) *SendError {
	e := &SendError{Server: server, Err: err}
	var reply *smtp.SMTPError
	var network net.Error
	var entry *accessError
	switch {
	case errors.As(err, &entry) && ctx.Err() == nil:
		e.Temporary = true
	case errors.As(err, &reply):
		e.Temporary = reply.Temporary()
	case ctx.Err() != nil:
		// The connection was closed under the client; what it says about that helps nobody.
		e.Err, e.Temporary, e.Unsure = ctx.Err(), true, t.ended
	default:
		e.Temporary = errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		e.Unsure = t.ended
	}
	return e
}

// errEnvelope is an envelope that cannot be sent as it came.
var errEnvelope = errors.New("envelope cannot be sent")

// A transfer is one message on its way to the server.
type transfer struct {
	conn  net.Conn // what the message is written to
	enter *access
	item  *Item
	helo  string
	size  int64  // of the message
	field string // what is put on top of the message
	ended bool   // the end of the message was sent, so its fate is the server's

	refused []refusal // recipients, of what the filter itself sends
}

func (t *transfer) run(ctx context.Context, raw io.Reader) (err error) {
	if t.conn, err = t.enter.secure(ctx, t.conn, t.helo); err != nil {
		return err
	}
	c := smtp.NewClient(t.conn)
	if err := c.Hello(t.helo); err != nil {
		return err
	}
	if err := t.enter.login(c); err != nil {
		return err
	}
	if err := t.envelope(c); err != nil {
		return err
	}
	data, err := c.Data()
	if err != nil {
		return err
	}
	if err := t.content(raw); err != nil {
		return err // without an end of the message, so that half of it is never delivered
	}
	t.ended = true
	if err := data.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the server has the message, whatever it says now
	return nil
}

func (t *transfer) envelope(c *smtp.Client) error {
	if !sendable(t.item.Sender) {
		return fmt.Errorf("%w: sender %.200q", errEnvelope, t.item.Sender)
	}
	opt := &smtp.MailOptions{Size: t.size + int64(len(t.field))}
	for _, arg := range t.item.SenderArgs {
		switch strings.ToUpper(arg) {
		case "SMTPUTF8": // RFC 6531; the client refuses if the server cannot
			opt.UTF8 = true
		case "BODY=8BITMIME": // RFC 6152; the client says it wherever the server can
			if ok, _ := c.Extension("8BITMIME"); !ok {
				return fmt.Errorf("%w: the server does not support 8BITMIME", errEnvelope)
			}
		}
	}
	if err := c.Mail(t.item.Sender, opt); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	return t.recipients(c)
}

// recipients names them. A release is all or nothing, because somebody waits for its answer; what the filter
// sends goes to whom the server takes.
func (t *transfer) recipients(c *smtp.Client) error {
	for _, to := range t.item.ReleaseTo {
		err := t.recipient(c, to)
		var reply *smtp.SMTPError
		switch {
		case err == nil:
		case t.item.State == Sending && (errors.As(err, &reply) || errors.Is(err, errEnvelope)):
			t.refused = append(t.refused, refusal{to, err, reply != nil && reply.Temporary()})
		default:
			return err
		}
	}
	if n := len(t.refused); n > 0 && n == len(t.item.ReleaseTo) {
		i := max(0, slices.IndexFunc(t.refused, func(r refusal) bool { return r.temporary }))
		return t.refused[i].err
	}
	return nil
}

func (t *transfer) recipient(c *smtp.Client, to string) error {
	if to == "" || !sendable(to) {
		return fmt.Errorf("%w: recipient %.200q", errEnvelope, to)
	}
	if err := c.Rcpt(to, nil); err != nil {
		return fmt.Errorf("recipient %.200q: %w", to, err)
	}
	return nil
}

// content writes the message but for its last line end, which data.Close sends before the dot.
// It goes past the writer of the library: that one is net/textproto's, which makes CR CR LF
// into CR CR CR LF.
func (t *transfer) content(raw io.Reader) error {
	w := &dotWriter{w: bufio.NewWriterSize(t.conn, 32<<10), start: true}
	if _, err := io.Copy(w, io.MultiReader(strings.NewReader(t.field), raw)); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	return nil
}

// A dotWriter doubles the dot at the start of a line (RFC 5321 section 4.5.2) and keeps back
// the line end that nothing has followed. All other bytes, NUL and bare CR included, go out
// as they are, with one exception: a bare LF becomes CRLF. SMTP has no bare LF (section
// 2.3.8), and a server that takes it for a line end could be made to see the end of the
// message in it (CVE-2023-51764). No MTA hands us one, as all of them take it for a line end.
type dotWriter struct {
	w     *bufio.Writer
	start bool // of a line
	cr    bool // a CR was kept back
	end   bool // a line end was kept back
}

func (d *dotWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		d.one(c)
	}
	_, err := d.w.Write(nil) // the first error of the writes before: it sticks
	return len(p), err
}

func (d *dotWriter) one(c byte) {
	if d.end {
		_, _ = d.w.WriteString("\r\n")
		d.end, d.start = false, true
	}
	switch {
	case c == '\n':
		d.cr, d.end = false, true
		return
	case d.cr:
		_ = d.w.WriteByte('\r')
		d.cr, d.start = false, false
	}
	if c == '\r' {
		d.cr = true
		return
	}
	if c == '.' && d.start {
		_ = d.w.WriteByte('.')
	}
	_ = d.w.WriteByte(c)
	d.start = false
}

// finish sends what is left. A CR at the very end becomes the line end that SMTP needs there
// anyhow: some servers do not see the end of the message in CR CR LF dot.
func (d *dotWriter) finish() error { return d.w.Flush() }

// sendable reports whether an address can stand between the angle brackets of a command
// without ending them: what a sender wrote must not become an argument of ours.
func sendable(addr string) bool {
	quoted, escaped := false, false
	for i := range len(addr) {
		c := addr[i]
		switch {
		case c < ' ' || c == 0x7f:
			return false
		case escaped:
			escaped = false
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '<' || c == '>' || c == ' '):
			return false
		}
	}
	return !quoted
}
