package milter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config says where the milter listens and what its sessions may cost. The zero value is
// usable.
//
// The times must fit those of the MTA. Postfix waits milter_content_timeout (300s) for each
// answer at the end of a message and starts anew when it hears of progress; Sendmail waits R
// of its T= likewise, and E (5m) for all of the end of the message.
type Config struct {
	// Listen are the sockets: "inet:host:port", "unix:/path", or host:port. Sockets that
	// systemd passes under the name "milter" are used instead. Default: 127.0.0.1:6785.
	Listen []string `yaml:"listen"`
	// Allow are the addresses and networks, besides this host, from which TCP connections
	// are taken, such as "192.0.2.0/28". Whoever can connect can have messages examined in
	// the name of anybody.
	Allow []string `yaml:"allow"`
	// SocketMode are the permissions of unix sockets. The MTA must be able to write.
	// Default: 0660.
	SocketMode FileMode `yaml:"socket_mode"`
	// SocketOwner is the name or number of the user who owns unix sockets. Default: our own.
	SocketOwner string `yaml:"socket_owner"`
	// SocketGroup is the name or number of their group. Default: our own.
	SocketGroup string `yaml:"socket_group"`
	// MaxConnections is how many connections are served at a time; others wait. Default: 4096.
	MaxConnections int `yaml:"max_connections"`
	// MaxMessageSize is the size in bytes beyond which a message is refused for good.
	// It should be more than the MTA takes. Default: 268435456 (256 MiB).
	MaxMessageSize int64 `yaml:"max_message_size"`
	// IdleTimeout is how long the MTA may be silent between two commands. It must be longer
	// than the MTA waits for its own client. Default: 2h, as libmilter.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// FrameTimeout is how long the rest of a command may take once it has begun. Default: 30s.
	FrameTimeout time.Duration `yaml:"frame_timeout"`
	// WriteTimeout is how long the MTA may take to read an answer. Default: 30s.
	WriteTimeout time.Duration `yaml:"write_timeout"`
	// VerdictTimeout is how long a message may take from its first header field to its
	// verdict; then it is refused for now. Default: 240s.
	VerdictTimeout time.Duration `yaml:"verdict_timeout"`
	// ProgressInterval is how often the MTA is told that a verdict is still being worked on.
	// Default: 20s. Sendmail wants to hear within R, which is 10s unless set; contrib/sendmail
	// sets it.
	ProgressInterval time.Duration `yaml:"progress_interval"`
}

const (
	defaultListen           = "127.0.0.1:6785"
	defaultSocketMode       = 0o660
	defaultMaxConnections   = 4096
	defaultMaxMessageSize   = 256 << 20
	defaultIdleTimeout      = 2 * time.Hour
	defaultFrameTimeout     = 30 * time.Second
	defaultWriteTimeout     = 30 * time.Second
	defaultVerdictTimeout   = 240 * time.Second
	defaultProgressInterval = 20 * time.Second
)

// withDefaults fills what is not set.
func (c Config) withDefaults() Config {
	if len(c.Listen) == 0 {
		c.Listen = []string{defaultListen}
	}
	if c.SocketMode == 0 {
		c.SocketMode = defaultSocketMode
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = defaultMaxConnections
	}
	if c.MaxMessageSize == 0 {
		c.MaxMessageSize = defaultMaxMessageSize
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.IdleTimeout, defaultIdleTimeout},
		{&c.FrameTimeout, defaultFrameTimeout},
		{&c.WriteTimeout, defaultWriteTimeout},
		{&c.VerdictTimeout, defaultVerdictTimeout},
		{&c.ProgressInterval, defaultProgressInterval},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	return c
}

// Validate reports all values that cannot work, each with its key.
func (c Config) Validate() error {
	var errs []error
	for _, a := range c.Listen {
		if _, err := parseAddress(a); err != nil {
			errs = append(errs, fmt.Errorf("milter.listen: %w", err))
		}
	}
	if _, err := parseAllow(c.Allow); err != nil {
		errs = append(errs, err)
	}
	if c.SocketMode > maxFileMode {
		errs = append(errs, fmt.Errorf("milter.socket_mode: %w", errFileMode))
	}
	for _, v := range []struct {
		key string
		n   int64
	}{
		{"max_connections", int64(c.MaxConnections)},
		{"max_message_size", c.MaxMessageSize},
		{"idle_timeout", int64(c.IdleTimeout)},
		{"frame_timeout", int64(c.FrameTimeout)},
		{"write_timeout", int64(c.WriteTimeout)},
		{"verdict_timeout", int64(c.VerdictTimeout)},
		{"progress_interval", int64(c.ProgressInterval)},
	} {
		if v.n < 0 {
			errs = append(errs, fmt.Errorf("milter.%s: is negative", v.key))
		}
	}
	return errors.Join(errs...)
}

// A FileMode is the permissions of a file. In YAML it is octal however it is written: YAML
// itself takes 660 for a decimal number.
type FileMode uint32

const maxFileMode = 0o777

var errFileMode = errors.New("not an octal permission such as 0660")

// UnmarshalYAML implements goccy/go-yaml's BytesUnmarshaler.
func (m *FileMode) UnmarshalYAML(b []byte) error {
	text := strings.Trim(strings.TrimSpace(string(b)), `"'`)
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || n == 0 || n > maxFileMode {
		return fmt.Errorf("%.20q is %w", text, errFileMode)
	}
	*m = FileMode(n)
	return nil
}

// An address is one entry of Config.Listen.
type address struct{ network, name string }

// parseAddress reads "inet:host:port", "unix:/path" or "host:port".
func parseAddress(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return address{}, fmt.Errorf("%q: the path of a socket must be absolute", s)
		}
		return address{"unix", path}, nil
	}
	hostPort := strings.TrimPrefix(s, "inet:")
	_, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return address{}, fmt.Errorf("%q is neither inet:host:port nor unix:/path", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return address{}, fmt.Errorf("%q: port %q is no number up to 65535", s, port)
	} else if n == 0 && hostPort == s {
		return address{}, fmt.Errorf("%q: port 0", s) // what a mistyped port often comes to
	}
	return address{"tcp", hostPort}, nil
}

// parseAllow reads addresses and networks.
func parseAllow(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("milter.allow: %q is neither an IP address nor a network such as 192.0.2.0/28", s)
			}
			a = a.WithZone("").Unmap()
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
