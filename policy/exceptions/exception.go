// Package exceptions keeps what administrators have excepted from the rules: for whom, what, why, and until when.
// What an exception means for a message is decided by package policy, which is given a Snapshot with each.
package exceptions

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/publicsuffix"
)

// Limits of one exception, and of all.
const (
	Max       = 10_000 // exceptions
	maxText   = 200    // bytes of who, why and the like
	maxName   = 253    // bytes of a domain (RFC 1035 section 2.3.4)
	maxPath   = 254    // bytes of an address (RFC 5321 section 4.5.3.1.3, without the angle brackets)
	maxPeriod = 5      // years until it ends
)

// What callers can tell apart.
var (
	ErrNotFound = errors.New("no such exception")
	ErrInvalid  = errors.New("not an exception")
	ErrFull     = fmt.Errorf("there are %d exceptions already", Max)
)

// A Scope says what is excepted. Of its fields all that are set must fit.
type Scope struct {
	// Sender is a domain, or with "*." before it the domains below it. The message must come from it: it is that of
	// the From field, and DKIM, SPF or DMARC proves it. The bare address never counts.
	Sender string `json:"sender,omitempty"`
	// Recipient is an address, or all those of a domain as "@example.org".
	Recipient string `json:"recipient,omitempty"`
	// SHA256 is that of the content of a part, in hexadecimal. The exception is for that part and for what is in it.
	SHA256 string `json:"sha256,omitempty"`
	// Macros is the hash of macros (office/vba-hash), in hexadecimal. The exception is for findings that say that they are
	// there, and what they do, in parts that have no other macros.
	Macros string `json:"macros,omitempty"`
	// Rule is the name of a rule that does not count.
	Rule string `json:"rule,omitempty"`
	// Check is a check, or several by "*", whose findings do not count: for the rule, or if none is named for all.
	Check string `json:"check,omitempty"`
}

// An Exception is a scope with who answers for it, why, and until when it holds.
type Exception struct {
	ID string `json:"id"` // a ULID
	Scope
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	Until  string `json:"until"` // the last day on which it holds, as in 2027-03-31, by the clock of the filter

	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Changed   time.Time `json:"changed"`
	ChangedBy string    `json:"changed_by"`
	Hits      int64     `json:"hits"` // messages of which it took something away
	LastHit   time.Time `json:"last_hit,omitzero"`
}

// Ends is when the exception stops to hold.
func (e *Exception) Ends() (time.Time, error) {
	day, err := time.ParseInLocation(time.DateOnly, e.Until, time.Local)
	return day.AddDate(0, 0, 1), err
}

// String tells for people what a scope is.
func (s Scope) String() string {
	var out []string
	for _, f := range []struct{ name, value string }{
		{"sender", s.Sender}, {"recipient", s.Recipient}, {"sha256", s.SHA256}, {"macros", s.Macros}, {"rule", s.Rule}, {"check", s.Check},
	} {
		if f.value != "" {
			out = append(out, f.name+" "+f.value)
		}
	}
	return strings.Join(out, ", ")
}

// nothing is the SHA-256 of no bytes at all.
const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// ofMacros are the checks whose findings are taken away by the hash of macros.
var ofMacros = []string{"office/macro", "office/macro-autorun", "office/macro-suspicious"}

// Protected reports whether findings of a check are taken away by their hash only: what is known as malware.
func Protected(check string) bool {
	return strings.HasSuffix(check, "/malware") || check == "icap/blocked"
}

// settle puts an exception into the form in which it is compared, and returns what is wrong with it, an ErrInvalid.
func (e *Exception) settle(now time.Time) error {
	e.Sender, e.Recipient, e.SHA256, e.Macros = fold(e.Sender), fold(e.Recipient), fold(e.SHA256), fold(e.Macros)
	e.Rule, e.Check, e.Owner, e.Reason = strings.TrimSpace(e.Rule), strings.TrimSpace(e.Check), strings.TrimSpace(e.Owner), strings.TrimSpace(e.Reason)
	err := cmp.Or(e.checkScope(), e.checkWhom(), e.checkWhat(), e.checkWhy(now))
	if err != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, err)
	}
	return nil
}

func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// checkScope refuses an exception that would be for everybody, or for everything.
func (e *Exception) checkScope() string {
	switch {
	case e.SHA256 != "" && e.Macros != "":
		return "it has a sha256 and macros: a content has always the same macros"
	case e.Sender == "" && e.Recipient == "" && e.SHA256 == "" && e.Macros == "":
		return "it needs a sender, a recipient, a sha256 or macros: what is for everybody belongs into the policy"
	case e.Rule == "" && e.Check == "" && e.SHA256 == "" && e.Macros == "":
		return "it needs a rule, a check, a sha256 or macros: it would be for everything"
	}
	return ""
}

func (e *Exception) checkWhom() string {
	if e.Sender != "" && !isSender(e.Sender) {
		return fmt.Sprintf("sender %.80q is no domain such as example.org or *.example.org under which somebody is registered", e.Sender)
	}
	if e.Recipient != "" {
		i := strings.LastIndexByte(e.Recipient, '@')
		if i < 0 || len(e.Recipient) > maxPath || !isDomain(e.Recipient[i+1:]) || !printable(e.Recipient) {
			return fmt.Sprintf("recipient %.80q is neither an address nor all those of a domain, as in @example.org", e.Recipient)
		}
	}
	return ""
}

func (e *Exception) checkWhat() string {
	if e.SHA256 != "" {
		if b, err := hex.DecodeString(e.SHA256); err != nil || len(b) != 32 {
			return fmt.Sprintf("sha256 %.80q has not 64 hexadecimal digits", e.SHA256)
		}
		if e.SHA256 == nothing {
			return "that is the sha256 of nothing, which is everywhere"
		}
	}
	if e.Macros != "" {
		if b, err := hex.DecodeString(e.Macros); err != nil || len(b) != 32 {
			return fmt.Sprintf("macros %.80q has not 64 hexadecimal digits", e.Macros)
		}
	}
	if e.Rule != "" && (len(e.Rule) > maxText || !printable(e.Rule)) {
		return "the name of the rule is not such a name"
	}
	if e.Check == "" {
		return ""
	}
	area, what, ok := strings.Cut(e.Check, "/")
	_, err := path.Match(e.Check, "")
	switch {
	case !ok || what == "" || area == "" || strings.ContainsAny(area, `*?[\`) || err != nil || len(e.Check) > maxText || !printable(e.Check):
		return fmt.Sprintf("check %.80q is no check such as html/script, and no pattern such as html/*", e.Check)
	case e.Macros != "" && !slices.ContainsFunc(ofMacros, func(check string) bool { ok, _ := path.Match(e.Check, check); return ok }):
		return fmt.Sprintf("macros are for %s only, and check %.80q is none of them", strings.Join(ofMacros, ", "), e.Check)
	case e.SHA256 == "" && Protected(e.Check):
		return fmt.Sprintf("%s is excepted by the sha256 of the part only", e.Check)
	}
	return ""
}

func (e *Exception) checkWhy(now time.Time) string {
	for _, f := range []struct{ name, value string }{{"an owner", e.Owner}, {"a reason", e.Reason}} {
		if f.value == "" || len(f.value) > maxText || !printable(f.value) {
			return fmt.Sprintf("it needs %s of 1 to %d printable bytes on one line", f.name, maxText)
		}
	}
	end, err := e.Ends()
	switch {
	case err != nil:
		return fmt.Sprintf("until %.80q is no day such as 2027-03-31", e.Until)
	case !now.Before(end):
		return fmt.Sprintf("until %s is over", e.Until)
	case end.After(now.AddDate(maxPeriod, 0, 0)):
		return fmt.Sprintf("until %s is more than %d years from now", e.Until, maxPeriod)
	}
	return ""
}

// isSender takes a domain, but not one under which anybody may register.
func isSender(s string) bool {
	d := strings.TrimPrefix(s, "*.")
	suffix, managed := publicsuffix.PublicSuffix(d)
	return isDomain(d) && strings.Contains(d, ".") && (suffix != d || !managed)
}

func isDomain(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		}) {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
