// Package policy turns what scanners found into a verdict, by rules that an administrator
// wrote. It is pure: the same policy, message, report and time always give the same verdict, and
// nothing is changed, stored or sent here.
package policy

import (
	"time"

	"rastel/sanitize/eml"
)

// An Action is what is done with a message in the end.
type Action uint8

const (
	// Undecided is the zero value and is carried out as TempFail: a verdict that nobody
	// filled in must not let a message through.
	Undecided  Action = iota
	Accept            // deliver, as changed by the patch
	Quarantine        // keep it, tell the sender nothing, deliver nothing
	Discard           // delete it and tell the sender nothing
	TempFail          // refuse for now; the sender tries again (4xx)
	Reject            // refuse for good; the sender tells its author (5xx)
)

var actionNames = [...]string{"undecided", "accept", "quarantine", "discard", "tempfail", "reject"}

// String is the word that policies, logs and JSON use.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "undecided"
}

// MarshalText gives the same word as String.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// A Reply is what the SMTP client is told (RFC 5321 section 4.2, RFC 3463). The zero value
// means the reply that the action has by default.
type Reply struct {
	Code     int    // 4xx or 5xx, of the class of the action
	Enhanced string // such as "5.7.1", of the same class
	Text     string // what the sender can do about it; nothing about our insides
}

// A Verdict is what is to be done with one message, and why. It is for all recipients of the
// envelope, or for some of them.
type Verdict struct {
	Action Action
	Reply  Reply      // for TempFail and Reject
	Hold   bool       // keep the original in quarantine even though the message goes on
	Patch  *eml.Patch // changes of an accepted message; nil if there are none
	Rule   string     // the rule with the final action; empty if none matched and the default applies
	Policy string     // the version that decided: the beginning of the hash of its file
	Trace  []Step     // every rule that was considered, in order

	Class     string        // of what is held, in quarantine; empty: none
	Retention time.Duration // of what is held; 0: as long as the quarantine keeps anything
	MTAHold   string        // why the MTA is to keep an accepted message in its hold queue; empty: it is not
	Add       []string      // recipients of an accepted message that its envelope does not have
	Remove    []string      // recipients of the envelope that do not get it by this transaction
	Notices   []Notification
	// Exceptions are the IDs of those that made a difference.
	Exceptions []string
	Watched    []Watched // what rules that only watch would have done

	// Recipients are those of the envelope that the verdict is for; nil: all of them.
	Recipients []string
	// Others are the verdicts for the other recipients. An accepted one of them is sent as a message of
	// its own. They have no Others.
	Others []*Verdict
}

// A Notification is a message that is sent about another one.
type Notification struct {
	To   []string // recipients; never an address that only the message itself names
	Rule string   // the rule that wants it
	Text string   // what the policy says, before the account of what was found
	Full bool     // with the header of the message
}

// A Watched is what a rule that only watches would have done.
type Watched struct {
	Rule string
	Did  []string // as that of a Step
}

// A Step is what became of one rule: the explanation of a verdict.
type Step struct {
	Rule    string
	Part    string   // the ID of the part it was evaluated for; empty for a rule about the whole message
	Matched bool     // whether its condition held
	Final   bool     // whether it decided
	Failed  bool     // it could not be evaluated
	Watched bool     // it only watches: Did is what it would have done
	Did     []string // what it did or added, for people: "defang: 3 edits", "quarantine"
	Why     string   // for people: what the condition came to, or why it was not evaluated
}
