package quarantine

import "time"

// SetNow sets the clock of a store.
func (s *Store) SetNow(now func() time.Time) { s.now = now }

// Token is the token of an item that is being released.
func (s *Store) Token(it *Item) string { return s.token(it) }

// BeginRelease is the first half of Release.
var BeginRelease = (*Store).beginRelease

// What tests of the limits need.
const (
	MaxAddress    = maxAddress
	MaxRecipients = maxRecipients
	MaxText       = maxText
	MaxFindings   = maxFindings
	PageSize      = pageSize
)
