package milter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// activationName is the FileDescriptorName of our sockets in a systemd socket unit.
const activationName = "milter"

// probeTimeout is how long a unix socket that is in our way may take to show that somebody
// listens on it.
const probeTimeout = time.Second

// activated are the sockets that systemd passes us (sd_listen_fds(3)). Sockets under other
// names are left alone, but the environment that tells of them is used up.
func activated() ([]net.Listener, error) {
	byName, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	return byName[activationName], nil
}

// open listens on all addresses of the configuration, or on none.
func (c Config) open() (_ []net.Listener, err error) {
	var out []net.Listener
	defer func() {
		if err != nil {
			closeAll(out)
		}
	}()
	for _, text := range c.Listen {
		a, err := parseAddress(text)
		if err != nil {
			return nil, err
		}
		l, err := c.listen(a)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func closeAll(list []net.Listener) {
	for _, l := range list {
		_ = l.Close() // closed already: nothing left to do
	}
}

func (c Config) listen(a address) (net.Listener, error) {
	if a.network == "unix" {
		return c.listenUnix(a.name)
	}
	return net.Listen(a.network, a.name)
}

// listenUnix makes a socket that never has more permissions than it should: between bind and
// chmod only we may connect.
func (c Config) listenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		// Linux gives the file the mode that the unbound socket has, less the umask.
		return errors.Join(rc.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := c.handOver(path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// handOver gives the socket its owner, then its permissions.
func (c Config) handOver(path string) error {
	uid, gid := -1, -1
	if c.SocketOwner != "" {
		u, err := lookupID(c.SocketOwner, userID)
		if err != nil {
			return fmt.Errorf("milter.socket_owner: %w", err)
		}
		uid = u
	}
	if c.SocketGroup != "" {
		g, err := lookupID(c.SocketGroup, groupID)
		if err != nil {
			return fmt.Errorf("milter.socket_group: %w", err)
		}
		gid = g
	}
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, fs.FileMode(c.SocketMode))
}

// lookupID takes a number as it is and looks up a name.
func lookupID(name string, find func(string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := find(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// removeStale removes a socket that a dead process has left behind. A socket that somebody
// listens on, and anything that is no socket, stays.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen unix %s: there is a file that is no socket", path)
	}
	nc, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		nc.Close()
		return fmt.Errorf("listen unix %s: another process listens there", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen unix %s: %w", path, err)
	}
	return os.Remove(path)
}

// allowed tells whether a peer may talk to us. For unix sockets their permissions decide.
func allowed(peer net.Addr, allow []netip.Prefix) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return true
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	if a.IsLoopback() {
		return true
	}
	for _, p := range allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
