package engine

import (
	"context"

	"rastel/sanitize/eml"
)

// CountNow is what Run does from time to time.
func (s *Sampler) CountNow(ctx context.Context) { s.count(ctx) }

// Chosen reports whether a message is in the share.
func (s *Sampler) Chosen(m *eml.Message) bool { return s.chosen(m) }
