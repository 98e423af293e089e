package clamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// connectTimeout bounds the search for a daemon that takes connections, all of them together: mail
// must not wait for a clamd that is down.
const connectTimeout = 2 * time.Second

// attempts is how often content is sent: once more if the first daemon fails.
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

// connect waits until a daemon is free for the attempt, and connects to it. One that does not take
// the connection is down, and the next one is tried: it has not got the content yet. If all were down
// before, they are asked whether they still are.
func (p *pool) connect(ctx context.Context, a *attempt) (net.Conn, error) {
	asked := false
	var errs error
	for range 1 + 2*len(p.daemons) {
		err := p.acquire(ctx, a)
		if err == nil {
			asked = true
			conn, err := p.dial(ctx, a.d.addr)
			if err == nil {
				return conn, nil
			}
			errs = errors.Join(errs, err)
			p.release(a, err)
		} else if asked || !errors.Is(err, errDown) {
			return nil, err
		} else {
			asked = true
			p.probeAll(ctx)
		}
		p.renew(a)
	}
	return nil, errs
}

// renew lets an attempt wait again.
func (p *pool) renew(a *attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.d, a.given = nil, make(chan struct{})
}

func (p *pool) dial(ctx context.Context, addr address) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout / time.Duration(len(p.daemons))}
	conn, err := dialer.DialContext(ctx, addr.network, addr.host)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDown, err)
	}
	return conn, nil
}

// ask sends the content over a connection and reads the verdict. It ends when ctx does, whatever
// clamd does or leaves undone, and closes the connection.
//
// The library's own scan commands are not used, because they cannot be made safe: with FILDES
// (*net.UnixConn).File makes the socket blocking, so no deadline holds; INSTREAM knows ctx
// only while it connects and begins its timeout anew with each line, so a scan of a stopped
// clamd outlives its message; it drops the reply when sending breaks, which is where clamd
// says that the size limit was exceeded; it stores a reply of any length; and it returns
// neither response nor error for an empty one.
func ask(ctx context.Context, conn net.Conn, c content) (*sighting, error) {
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
	most := int64(maxReply)
	if c.path != "" {
		most = maxAll
	}
	reply, readErr := io.ReadAll(io.LimitReader(conn, most+1))
	if ctx.Err() != nil {
		return nil, fmt.Errorf("clamd gave no verdict in time: %w", ctx.Err())
	}
	return judge(reply, c, errors.Join(sendErr, readErr))
}

// judge makes a verdict of the reply; broken is the error of the connection, if there was one.
func judge(reply []byte, c content, broken error) (*sighting, error) {
	switch {
	case len(reply) == 0:
		return nil, errors.Join(errBroken, broken)
	case c.path != "" && broken != nil: // there may be more
		return nil, fmt.Errorf("%w: %w", errGarbage, broken)
	case c.path != "":
		return parseAll(reply, c)
	}
	s, err := parseReply(reply)
	if s == nil && err == nil && broken != nil {
		// clamd may not have seen all of the content when it said OK.
		return nil, fmt.Errorf("%w: %q over a broken connection: %w", errGarbage, reply, broken)
	}
	return s, err
}
