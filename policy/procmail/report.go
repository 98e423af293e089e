package procmail

import "fmt"

// A Fate is what became of a setting.
type Fate int

// The fates. Unverified is for names and meanings that are only believed to be the Sanitizer's:
// they could not be checked against its documentation.
const (
	NotCarried Fate = iota
	Carried
	Unverified
	NotNeeded // no setting of the Sanitizer, or one without effect
)

var fates = [...]string{"not carried over", "carried over", "carried over, unverified", "not needed"}

func (f Fate) String() string { return fates[f] }

// An Entry tells what became of one setting.
type Entry struct {
	At      Place
	Setting string
	Fate    Fate
	Text    string
}

func (e Entry) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", e.At, e.Setting, e.Fate, e.Text)
}
