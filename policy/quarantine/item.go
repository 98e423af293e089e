package quarantine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"rastel/sanitize/eml"
)

// A State is what has become of an item.
type State string

const (
	Held      State = "held"      // waits for somebody to decide
	Releasing State = "releasing" // is being sent; falls back to held when its lease ends
	Released  State = "released"  // the server has taken it with a 250
	Deleted   State = "deleted"   // somebody deleted the message; the record stays
	Expired   State = "expired"   // nobody decided in time; the message is gone, the record stays

	Queued  State = "queued"  // the filter is to send it, and tries until it is sent or given up; then it is held
	Sending State = "sending" // is being sent; falls back to queued when its lease ends
	Sent    State = "sent"    // the server has taken it; the message is gone, the record goes when nobody tries again
)

// A Purpose says what the filter itself sends a message for; empty: the item is one that is held.
type Purpose string

const (
	ForCopy   Purpose = "copy"   // an accepted message, as it is to be delivered to some of its recipients
	ForNotice Purpose = "notice" // tells of another message
)

// States are all states, in the order of an item's life.
var States = []State{Queued, Sending, Sent, Held, Releasing, Released, Deleted, Expired}

// Limits of one item. What the envelope needs is never cut, because a release needs it whole:
// a message with more than this cannot be held, and Hold returns ErrTooLarge. What is only
// shown to people is cut.
const (
	maxAddress    = 4 << 10 // RFC 5321 section 4.5.3.1.3 asks for 256, Postfix reads lines of 2048
	maxRecipients = 10_000
	maxArgs       = 100
	maxText       = 1 << 10
	maxFindings   = 200
	maxNames      = 200
	// MaxEvidence is how large the record of a message may be. Of a larger one nothing is stored.
	MaxEvidence = 256 << 10
)

// A Finding is what a scanner saw in a held message, as text.
type Finding struct {
	Check  string `json:"check"`
	Part   string `json:"part"`
	Detail string `json:"detail"`
}

// An Item is the record of one held message. Everything that came from the sender is stored as
// it came, control characters and invalid UTF-8 included: escaping is for whoever prints it.
// Times have a resolution of one millisecond.
type Item struct {
	ID      string    `json:"id"` // a ULID, so the order of ids is the order of time
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"` // when the message is removed
	// Retention is how long Hold keeps the message; 0 means as long as Config.Retention says. It is not
	// stored: Expires is.
	Retention time.Duration `json:"-"`

	QueueID    string     `json:"queue_id"`
	Session    string     `json:"session"`
	Client     netip.Addr `json:"client"`
	ClientName string     `json:"client_name"`
	Helo       string     `json:"helo"`
	AuthUser   string     `json:"auth_user"`
	Sender     string     `json:"sender"`
	SenderArgs []string   `json:"sender_args"`
	Recipients []string   `json:"recipients"`

	Subject   string `json:"subject"`
	From      string `json:"from"` // the header field, not the envelope
	MessageID string `json:"message_id"`

	Rule     string    `json:"rule"`
	Policy   string    `json:"policy"` // the version that decided
	Reason   string    `json:"reason"`
	Class    string    `json:"class"` // what the policy calls such messages; empty: nothing
	Findings []Finding `json:"findings"`
	Names    []string  `json:"names,omitempty"` // of attachments and what is in them
	Held     bool      `json:"held"`            // a copy: the message itself was delivered

	Size   int64  `json:"size"`   // bytes of the raw message
	SHA256 string `json:"sha256"` // of the raw message, in hexadecimal
	Stored bool   `json:"stored"` // whether the message is still there, not only its record

	State     State     `json:"state"`
	Changed   time.Time `json:"changed"` // when State was last set
	ChangedBy string    `json:"changed_by"`
	Note      string    `json:"note"` // why, such as the error of the last release

	Purpose Purpose   `json:"purpose,omitempty"` // of what the filter itself sends
	Tries   int       `json:"tries,omitempty"`   // how often it was sent, or tried to
	Next    time.Time `json:"next_try,omitzero"` // when it is tried again, while it is queued
	// Of names what a message with a Purpose is made of, for Queue to know the second try to make it.
	// Empty: nothing does. It is not stored.
	Of string `json:"-"`

	// Evidence is the record of the message, in JSON; see MaxEvidence. Put stores it, and Index.Evidence gives it.
	Evidence []byte `json:"-"`

	// Password opens the copy that the message was just released as. Only Release gives it. It is not stored.
	Password string `json:"password,omitempty"`

	// Journal says that the item waits in the local journal of this node. It is not stored.
	Journal bool `json:"journal,omitempty"`

	ReleaseTo []string  `json:"release_to"` // recipients of the last release; with a Purpose those who have not got it
	Lease     time.Time `json:"-"`          // until when a release may run
	Attempt   string    `json:"-"`          // tells one release from the next
	Digest    string    `json:"-"`          // what DigestOf gave for the raw message
	Key       string    `json:"-"`          // equal for the same message in the same envelope
}

// NewItem is an item with everything that the envelope tells. The caller adds what the
// message, the scanners and the policy say.
func NewItem(env *eml.Envelope) *Item {
	return &Item{
		QueueID: env.QueueID, Session: env.Session,
		Client: env.Client, ClientName: env.ClientName, Helo: env.Helo, AuthUser: env.AuthUser,
		Sender: env.Sender, SenderArgs: slices.Clone(env.SenderArgs), Recipients: slices.Clone(env.Recipients),
	}
}

// ErrTooLarge is returned by Hold for an envelope that exceeds the limits of an item.
var ErrTooLarge = errors.New("envelope exceeds what the quarantine stores")

// checkEnvelope refuses what could not be released as it came.
func (it *Item) checkEnvelope() error {
	if len(it.Recipients) > maxRecipients || len(it.SenderArgs) > maxArgs {
		return fmt.Errorf("%w: %d recipients, %d arguments", ErrTooLarge, len(it.Recipients), len(it.SenderArgs))
	}
	for _, s := range slices.Concat(it.Recipients, it.SenderArgs, []string{it.Sender}) {
		if len(s) > maxAddress {
			return fmt.Errorf("%w: an address or argument of %d bytes", ErrTooLarge, len(s))
		}
	}
	return nil
}

// cut shortens what is only there to be shown.
func (it *Item) cut() {
	for _, s := range []*string{
		&it.QueueID, &it.Session, &it.ClientName, &it.Helo, &it.AuthUser,
		&it.Subject, &it.From, &it.MessageID, &it.Rule, &it.Policy, &it.Reason, &it.Class, &it.ChangedBy, &it.Note,
	} {
		*s = cutText(*s)
	}
	if len(it.Evidence) > MaxEvidence {
		it.Evidence = nil
	}
	it.Names = slices.Clone(it.Names[:min(len(it.Names), maxNames)])
	for i, n := range it.Names {
		it.Names[i] = cutText(n)
	}
	it.Findings = slices.Clone(it.Findings[:min(len(it.Findings), maxFindings)])
	for i, f := range it.Findings {
		it.Findings[i] = Finding{Check: cutText(f.Check), Part: cutText(f.Part), Detail: cutText(f.Detail)}
	}
}

// cutText cuts s to maxText bytes, not within a character.
func cutText(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for i := 0; i < utf8.UTFMax-1 && !utf8.RuneStart(s[n]); i++ {
		n--
	}
	return s[:n]
}

// ValidID reports whether s has the form of an item's id: 26 characters of Crockford's
// base 32, upper case. Anything else must not reach a file name or a query.
func ValidID(s string) bool {
	id, err := ulid.ParseStrict(s)
	return err == nil && id.String() == s
}

// TimeOf is when the id of an item was made; zero if it is none.
func TimeOf(id string) time.Time {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}
	}
	return u.Timestamp().UTC()
}

// millis is t as it is stored.
func millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Envelope is the one that the message came with, as far as the record has it.
func (it *Item) Envelope() *eml.Envelope {
	return &eml.Envelope{
		QueueID: it.QueueID, Session: it.Session, Client: it.Client, ClientName: it.ClientName, Helo: it.Helo, AuthUser: it.AuthUser,
		Sender: it.Sender, SenderArgs: slices.Clone(it.SenderArgs), Recipients: slices.Clone(it.Recipients),
	}
}
