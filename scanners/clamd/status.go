package clamd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	client "github.com/baruwa-enterprise/clamd"
)

// statusTimeout bounds a command that asks clamd about itself. The library heeds ctx only
// while it connects, so this is also how long it may outlive ctx.
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

// Ping reports whether a clamd answers. It takes no more than four seconds for each address,
// and two where nothing listens.
func (s *Scanner) Ping(ctx context.Context) error {
	return s.daemon.each(func(a address) error { return ping(ctx, a) })
}

// Version tells which engine clamd runs ("1.4.6") and which database ("27500/Mon Nov 23
// 10:00:00 2026"). The database is empty if clamd has none of the official ones.
func (s *Scanner) Version(ctx context.Context) (engine, database string, err error) {
	err = s.daemon.each(func(a address) error {
		engine, database, err = version(ctx, a)
		return err
	})
	return engine, database, err
}

// each calls f for the addresses, first the one that scans go to, until it succeeds.
func (d *daemon) each(f func(address) error) error {
	var errs error
	first := int(d.last.Load())
	for i := range d.addrs {
		a := d.addrs[(first+i)%len(d.addrs)]
		err := f(a)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, fmt.Errorf("clamd at %s: %w", a, err))
	}
	return errs
}

// newClient makes the library's client, which connects anew for each command.
func newClient(ctx context.Context, a address) (*client.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := client.NewClient(a.network, a.host)
	if err != nil {
		return nil, err
	}
	c.SetConnTimeout(statusTimeout)
	c.SetConnSleep(time.Nanosecond) // it sleeps after a timeout even if it will not try again
	c.SetCmdTimeout(statusTimeout)
	return c, nil
}

func ping(ctx context.Context, a address) error {
	c, err := newClient(ctx, a)
	if err != nil {
		return err
	}
	ok, err := c.Ping(ctx)
	if err == nil && !ok {
		err = errors.New("no PONG")
	}
	return err
}

func version(ctx context.Context, a address) (engine, database string, err error) {
	c, err := newClient(ctx, a)
	if err != nil {
		return "", "", err
	}
	text, err := c.Version(ctx)
	if err != nil {
		return "", "", err
	}
	rest, ok := strings.CutPrefix(text, "ClamAV ")
	if !ok || strings.ContainsAny(rest, "\r\n\x00") {
		return "", "", garbage([]byte(text))
	}
	engine, database, _ = strings.Cut(rest, "/")
	return engine, database, nil
}
