package clamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// connectTimeout bounds the search for a daemon that takes connections, all addresses
// together: mail must not wait for a clamd that is down.
const connectTimeout = 2 * time.Second

// attempts is how often content is sent: once more if the connection broke before a reply,
// as it does when clamd is restarted.
const attempts = 2

var (
	// errDown says that no daemon could be reached.
	errDown = errors.New("clamd cannot be reached")
	// errBroken says that the connection ended before there was any reply.
	errBroken = errors.New("clamd closed the connection without a reply")
	// errLocal says that the content could not be read on our side, so that what clamd was
	// sent is not the content.
	errLocal = errors.New("read what to scan")
)

// A daemon is one clamd, or several with the same task.
type daemon struct {
	addrs []address
	last  atomic.Int32 // index of the address that was reached last
	log   *slog.Logger
}

// dial connects to the first daemon that takes the connection.
func (d *daemon) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	dialer := net.Dialer{Timeout: connectTimeout / time.Duration(len(d.addrs))}
	var errs error
	first := int(d.last.Load())
	for i := range d.addrs {
		n := (first + i) % len(d.addrs)
		conn, err := dialer.DialContext(ctx, d.addrs[n].network, d.addrs[n].host)
		if err == nil {
			d.reached(n)
			return conn, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, fmt.Errorf("%w: %w", errDown, errs)
}

// reached remembers which daemon to ask first.
func (d *daemon) reached(n int) {
	if before := d.last.Swap(int32(n)); int(before) != n {
		d.log.Info("clamd address changed", "address", d.addrs[n].String(), "before", d.addrs[before].String())
	}
}

// scan has clamd examine the content and gives its verdict; nil is clean.
func (d *daemon) scan(ctx context.Context, c content) (*sighting, error) {
	for n := 1; ; n++ {
		s, err := d.ask(ctx, c)
		if !errors.Is(err, errBroken) || n == attempts || ctx.Err() != nil {
			return s, err
		}
		d.log.Warn("clamd closed the connection, asking again", "error", err)
	}
}

// ask sends the content over a connection of its own and reads the verdict. It ends when ctx
// does, whatever clamd does or leaves undone.
//
// The library's own scan commands are not used, because they cannot be made safe: with FILDES
// (*net.UnixConn).File makes the socket blocking, so no deadline holds; INSTREAM knows ctx
// only while it connects and begins its timeout anew with each line, so a scan of a stopped
// clamd outlives its message; it drops the reply when sending breaks, which is where clamd
// says that the size limit was exceeded; it stores a reply of any length; and it returns
// neither response nor error for an empty one.
func (d *daemon) ask(ctx context.Context, c content) (*sighting, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only if conn is closed
	defer stop()

	sendErr := c.send(conn)
	if errors.Is(sendErr, errLocal) {
		return nil, sendErr
	}
	// Where clamd stops reading it says why before it closes the connection: the reply is
	// there although sending broke.
	// It is read up to the end of the connection, so that a second one shows.
	reply, readErr := io.ReadAll(io.LimitReader(conn, maxReply+1))
	if ctx.Err() != nil {
		return nil, fmt.Errorf("clamd gave no verdict in time: %w", ctx.Err())
	}
	return judge(reply, errors.Join(sendErr, readErr))
}

// judge makes a verdict of the reply; broken is the error of the connection, if there was one.
func judge(reply []byte, broken error) (*sighting, error) {
	if len(reply) == 0 {
		return nil, errors.Join(errBroken, broken)
	}
	s, err := parseReply(reply)
	if s == nil && err == nil && broken != nil {
		// clamd may not have seen all of the content when it said OK.
		return nil, fmt.Errorf("%w: %q over a broken connection: %w", errGarbage, reply, broken)
	}
	return s, err
}
