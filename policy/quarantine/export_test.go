package quarantine

import (
	"os"
	"path/filepath"
	"time"
)

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

// What tests of the outbox need.
var (
	BeginSend = (*Store).beginSend
	EndSend   = (*Store).endSend
	Backoff   = (*Store).backoff
)

// Owner is the name of who sends from a directory; it is made if there is none.
func Owner(t interface{ Fatal(...any) }, dir string) string {
	f, err := os.OpenFile(filepath.Join(dir, "outbox.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name, err := ownerOf(f)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
