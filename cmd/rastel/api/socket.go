package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dialTime is how long a server on this host may take to accept.
const dialTime = 5 * time.Second

// ListenUnix listens on a unix socket that only its owner can open. A socket that a crash has
// left is replaced; one on which somebody listens is an error.
func ListenUnix(name string) (net.Listener, error) {
	if len(name) > maxSocket {
		return nil, fmt.Errorf("listen on %s: the name is longer than %d bytes", name, maxSocket)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	if err := removeStale(name); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	// Linux gives the file the mode that the socket has when it is bound. To change it after
	// that would leave a moment in which anybody can connect.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	l, err := lc.Listen(context.Background(), "unix", name)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	return l, nil
}

// removeStale removes a socket that nobody listens on. It removes nothing else.
func removeStale(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of that name that is no socket")
	}
	c, err := net.DialTimeout("unix", name, dialTime)
	if err == nil {
		c.Close()
		return errors.New("another process listens there")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(name)
}
