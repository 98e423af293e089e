package engine

import (
	"context"
	"time"

	"rastel/sanitize/eml"
)

// CountNow is what Run does from time to time.
func (s *Sampler) CountNow(ctx context.Context) { s.count(ctx) }

// Chosen reports whether a message is in the share.
func (s *Sampler) Chosen(m *eml.Message) bool { return s.chosen(m) }

// A Clock sets the time by which notices are counted.
type Clock struct{ start time.Time }

// Set sets it to so many minutes after its beginning.
func (c *Clock) Set(e *Engine, minutes int) {
	if c.start.IsZero() {
		c.start = time.Now()
	}
	e.notices.now = func() time.Time { return c.start.Add(time.Duration(minutes) * time.Minute) }
}
