package quarantine

import (
	"cmp"
	"fmt"
	"time"
)

// JournalConfig bounds the journal: what is held while the index or the messages, which several nodes share, cannot
// be reached. Where both are on the local disk there is none.
type JournalConfig struct {
	// Items is how many messages it takes at most; then those that are to be held are refused for now.
	// Default: 100000.
	Items int `yaml:"items"`
	// Bytes is how many bytes their messages may have, as they were received. Default: 10737418240 (10 GiB).
	Bytes int64 `yaml:"bytes"`
	// Wait is how long a message that is to be held waits for the store of messages. Default: 1s, so that
	// together with index.wait it is not more than 2 s. At most 10s.
	Wait time.Duration `yaml:"wait"`
}

func (c JournalConfig) validate() error {
	if c.Items < 0 || c.Bytes < 0 {
		return fmt.Errorf("quarantine.journal: items %d and bytes %d must not be negative", c.Items, c.Bytes)
	}
	if c.Wait < 0 || c.Wait > maxWait {
		return fmt.Errorf("quarantine.journal.wait: %v is not from 0 to %v", c.Wait, maxWait)
	}
	return nil
}

// WithDefaults has the defaults where nothing is set.
func (c JournalConfig) WithDefaults() JournalConfig {
	c.Items = cmp.Or(c.Items, 100_000)
	c.Bytes = cmp.Or(c.Bytes, 10<<30)
	c.Wait = cmp.Or(c.Wait, time.Second)
	return c
}
