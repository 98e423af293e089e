package clamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/baruwa-enterprise/clamd/protocol"
)

// statusTimeout bounds a command that asks clamd about itself.
const statusTimeout = 2 * time.Second

// Discover looks for a clamd that answers at one of its usual sockets, in the form that
// Config.Addresses has.
func Discover(ctx context.Context) (addr string, ok bool) {
	return discover(ctx, usualAddresses())
}

func discover(ctx context.Context, candidates []string) (string, bool) {
	for _, s := range candidates {
		a, err := parseAddress(s)
		if err == nil && ping(ctx, a) == nil {
			return s, true
		}
	}
	return "", false
}

// probe asks a clamd whether it is there, and what it is.
func probe(ctx context.Context, a address) (engine, database string, err error) {
	if err := ping(ctx, a); err != nil {
		return "", "", err
	}
	return version(ctx, a)
}

func ping(ctx context.Context, a address) error {
	text, err := inquire(ctx, a, protocol.Ping)
	if err == nil && text != "PONG" {
		err = garbage([]byte(text))
	}
	return err
}

// version tells which engine clamd runs ("1.4.6") and which database ("27500/Mon Nov 23
// 10:00:00 2026"). The database is empty if clamd has none of the official ones.
func version(ctx context.Context, a address) (engine, database string, err error) {
	text, err := inquire(ctx, a, protocol.Version)
	if err != nil {
		return "", "", err
	}
	rest, ok := strings.CutPrefix(text, "ClamAV ")
	engine, database, _ = strings.Cut(rest, "/")
	if !ok || engine == "" || strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' }) || strings.HasSuffix(rest, " ERROR") {
		return "", "", garbage([]byte(text))
	}
	return engine, database, nil
}

// inquire sends a command without content and gives the reply without its NUL. The library's own
// commands read as many lines as there come, and begin their timeout anew with each.
func inquire(ctx context.Context, a address, c protocol.Command) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, a.network, a.host)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // fails only if conn is closed
	defer stop()
	_, sendErr := conn.Write(command(c))
	reply, readErr := io.ReadAll(io.LimitReader(conn, maxReply+1))
	if err := errors.Join(sendErr, readErr); err != nil {
		return "", fmt.Errorf("%s: %w", c, err)
	}
	if len(reply) == 0 {
		return "", errBroken
	}
	text, ok := strings.CutSuffix(string(reply), "\x00")
	if !ok || len(reply) > maxReply {
		return "", garbage(reply)
	}
	return text, nil
}
