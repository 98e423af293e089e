package quarantine

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// IndexConfig says where the records of items are kept.
type IndexConfig struct {
	// Postgres is the URL of a database in PostgreSQL, which several nodes may share:
	// "postgres://user@host/database?sslmode=verify-full". Default: none, the records are in SQLite.
	Postgres string `yaml:"postgres"`
	// PasswordFile is a file with the password for it. It is no part of the URL because configurations are
	// shown and copied. Default: none, the server knows the user otherwise.
	PasswordFile string `yaml:"password_file"`
	// Connections is how many connections there are at most. Default: 8. At most 100.
	Connections int `yaml:"connections"`
	// Wait is how long a message that is to be held waits for the database. Default: 1s, so that together with
	// the message itself it is not more than 2 s. At most 10s.
	Wait time.Duration `yaml:"wait"`
}

// Limits of the database.
const (
	maxConnections = 100
	maxWait        = 10 * time.Second
)

func (c IndexConfig) validate() error {
	if c.Connections < 0 || c.Connections > maxConnections {
		return fmt.Errorf("quarantine.index.connections: %d is not from 0 to %d", c.Connections, maxConnections)
	}
	if c.Wait < 0 || c.Wait > maxWait {
		return fmt.Errorf("quarantine.index.wait: %v is not from 0 to %v", c.Wait, maxWait)
	}
	if c.Postgres == "" {
		if c != (IndexConfig{}) {
			return errors.New("quarantine.index: there is no postgres that the other keys could be for")
		}
		return nil
	}
	u, err := url.Parse(c.Postgres)
	if err != nil {
		return errors.New("quarantine.index.postgres: not a URL") // it would be quoted whole, with what is secret
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("quarantine.index.postgres: not a URL that begins with postgres://")
	}
	if _, there := u.User.Password(); there || u.Query().Has("password") {
		return errors.New("quarantine.index.postgres: the password belongs into a file, see password_file")
	}
	return nil
}

// WithDefaults has the defaults where nothing is set.
func (c IndexConfig) WithDefaults() IndexConfig {
	if c.Postgres != "" {
		c.Connections = cmp.Or(c.Connections, 8)
		c.Wait = cmp.Or(c.Wait, time.Second)
	}
	return c
}
