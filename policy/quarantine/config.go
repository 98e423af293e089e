package quarantine

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"
)

// Config says where held messages are kept, for how long, and how they are released. The zero
// value is usable once Dir is set.
type Config struct {
	// Dir is the directory of the index, the messages and the key that release tokens are
	// made with. Default: "quarantine" in the state directory.
	Dir string `yaml:"dir"`
	// Index says where the records are kept. Default: in SQLite, in Dir.
	Index IndexConfig `yaml:"index"`
	// Journal says what is kept on the local disk while the index or the messages cannot be reached, where they
	// are shared.
	Journal JournalConfig `yaml:"journal"`
	// Retention is how long a message is kept. Default: 720h (30 days).
	Retention time.Duration `yaml:"retention"`
	// Release says how messages are released.
	Release ReleaseConfig `yaml:"release"`
	// S3 says in which bucket messages are stored instead of in Dir. Default: none.
	S3 S3Config `yaml:"s3"`
	// Encryption says whether messages are sealed.
	Encryption EncryptionConfig `yaml:"encryption"`
	// Outbox says how the filter sends messages of its own, to the same server.
	Outbox OutboxConfig `yaml:"outbox"`
}

// OutboxConfig says how the filter sends what is queued: copies of messages for some of their recipients,
// and notices.
type OutboxConfig struct {
	// GiveUp is how long a message is tried. Then it is held. Default: 120h (5 days). At most 720h.
	GiveUp time.Duration `yaml:"give_up"`
	// Retry is how long it waits after the first try that failed; then twice as long each time, up to an
	// hour. Default: 30s.
	Retry time.Duration `yaml:"retry"`
	// Parallel is how many messages are sent at a time. Default: 4. At most 100.
	Parallel int `yaml:"parallel"`
}

// Limits of the outbox.
const (
	maxGiveUp   = 30 * 24 * time.Hour
	maxRetry    = time.Hour
	maxParallel = 100
)

func (c OutboxConfig) validate() error {
	switch {
	case c.GiveUp < 0 || c.GiveUp > maxGiveUp:
		return fmt.Errorf("quarantine.outbox.give_up: %v is not from 0 to %v", c.GiveUp, maxGiveUp)
	case c.Retry < 0 || c.Retry > maxRetry:
		return fmt.Errorf("quarantine.outbox.retry: %v is not from 0 to %v", c.Retry, maxRetry)
	case c.Parallel < 0 || c.Parallel > maxParallel:
		return fmt.Errorf("quarantine.outbox.parallel: %d is not from 0 to %d", c.Parallel, maxParallel)
	}
	return nil
}

// ReleaseConfig says to which SMTP server messages are released.
type ReleaseConfig struct {
	// SMTP is host:port of the MTA that this filter serves. Default: 127.0.0.1:25.
	SMTP string `yaml:"smtp"`
	// TLS says how the connection is encrypted. "off": not at all, for a server on this host. "starttls": if
	// the server offers it; its certificate is not checked. "required": by STARTTLS, or nothing is sent.
	// "implicit": from the first byte, as on port 465. With the last two the certificate must be good.
	// Default: off.
	TLS string `yaml:"tls"`
	// CAFile has the certificates that the server's may be signed with. Default: those of the system.
	CAFile string `yaml:"ca_file"`
	// ServerName is the name in the certificate. Default: the host of SMTP.
	ServerName string `yaml:"server_name"`
	// User logs in, by AUTH PLAIN or LOGIN; only with TLS "required" or "implicit". Default: nobody does.
	User string `yaml:"user"`
	// PasswordFile has the password. It is read for each connection.
	PasswordFile string `yaml:"password_file"`
	// Helo is the argument of EHLO. Default: localhost.
	Helo string `yaml:"helo"`
	// Timeout is how long one release may take. Default: 10m, as long as RFC 5321 section
	// 4.5.3.2.6 lets a server think about the end of a message. At most 20m.
	Timeout time.Duration `yaml:"timeout"`
}

// maxReleaseTime bounds how long an item may be between held and released.
const maxReleaseTime = 20 * time.Minute

// Validate reports the first value that cannot work.
func (c Config) Validate() error {
	if c.Retention < 0 {
		return fmt.Errorf("quarantine.retention: %v is negative", c.Retention)
	}
	if c.Release.Timeout < 0 || c.Release.Timeout > maxReleaseTime {
		return fmt.Errorf("quarantine.release.timeout: %v is not from 0 to %v", c.Release.Timeout, maxReleaseTime)
	}
	if !sendable(c.Release.Helo) {
		return fmt.Errorf("quarantine.release.helo: %q is no host name", c.Release.Helo)
	}
	if err := errors.Join(c.Release.validateTLS(), c.Index.validate(), c.Journal.validate(), c.S3.validate(), c.Outbox.validate()); err != nil {
		return err
	}
	if c.Release.SMTP == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(c.Release.SMTP); err != nil || port == "" {
		return fmt.Errorf("quarantine.release.smtp: %q is not host:port", c.Release.SMTP)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Retention == 0 {
		c.Retention = 30 * 24 * time.Hour
	}
	c.Index = c.Index.WithDefaults()
	c.Outbox.GiveUp = cmp.Or(c.Outbox.GiveUp, retryTime)
	c.Outbox.Retry = cmp.Or(c.Outbox.Retry, 30*time.Second)
	c.Outbox.Parallel = cmp.Or(c.Outbox.Parallel, 4)
	if c.Release.SMTP == "" {
		c.Release.SMTP = "127.0.0.1:25"
	}
	if c.Release.Helo == "" {
		c.Release.Helo = "localhost"
	}
	if c.Release.Timeout == 0 {
		c.Release.Timeout = 10 * time.Minute
	}
	return c
}

// IndexFile is where the index belongs.
func (c Config) IndexFile() string { return filepath.Join(c.Dir, "index.db") }

// BlobDir is where the messages belong.
func (c Config) BlobDir() string { return filepath.Join(c.Dir, "messages") }

// JournalDir is where the journal belongs.
func (c Config) JournalDir() string { return filepath.Join(c.Dir, "journal") }

func (c Config) keyFile() string { return filepath.Join(c.Dir, "release.key") }
