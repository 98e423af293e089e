package exceptions

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A Snapshot is all exceptions at one time. It does not change, and is safe for concurrent use. Nil has none.
type Snapshot struct {
	bySHA256, byMacros, bySender, byRecipient map[string][]entry // each exception is in one of them: the first that it has
	size                                      int
	recipients                                int // those that are for some recipients
}

// An entry is an exception with when it ends.
type entry struct {
	*Exception
	end time.Time
}

// NewSnapshot makes a snapshot of a list, which it keeps. It leaves out what is none.
func NewSnapshot(list []Exception) *Snapshot {
	s := &Snapshot{bySHA256: map[string][]entry{}, byMacros: map[string][]entry{}, bySender: map[string][]entry{}, byRecipient: map[string][]entry{}}
	for i := range list {
		e := &list[i]
		end, err := e.Ends()
		if err != nil || e.checkScope() != "" || s.size == Max {
			continue
		}
		s.size++
		if e.Recipient != "" {
			s.recipients++
		}
		in, key := s.byRecipient, e.Recipient
		switch {
		case e.SHA256 != "":
			in, key = s.bySHA256, e.SHA256
		case e.Macros != "":
			in, key = s.byMacros, e.Macros
		case e.Sender != "":
			in, key = s.bySender, e.Sender
		}
		in[key] = append(in[key], entry{e, end})
	}
	return s
}

// Empty reports whether there are none.
func (s *Snapshot) Empty() bool { return s == nil || s.size == 0 }

// ForRecipients reports whether any of them is for some recipients.
func (s *Snapshot) ForRecipients() bool { return s != nil && s.recipients > 0 }

// ForSome gives the exceptions that are for certain recipients and may be for some of these, and otherwise are for the
// message.
func (s *Snapshot) ForSome(a About) []*Exception {
	if !s.ForRecipients() {
		return nil
	}
	seen := map[*Exception]bool{}
	take := func(list []entry) {
		for _, e := range list {
			if e.Recipient != "" && a.Now.Before(e.end) && e.fitsMessage(&a) {
				seen[e.Exception] = true
			}
		}
	}
	for _, list := range s.byMessage(&a) {
		take(list)
	}
	for key := range keysOf(a.Recipients) {
		take(s.byRecipient[key])
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b *Exception) int { return strings.Compare(a.ID, b.ID) })
}

// byMessage are the exceptions that may fit by the content, or the sender.
func (s *Snapshot) byMessage(a *About) (lists [][]entry) {
	for _, sum := range a.SHA256 {
		lists = append(lists, s.bySHA256[sum])
	}
	for _, sum := range a.Macros {
		lists = append(lists, s.byMacros[sum])
	}
	for _, key := range senderKeys(a.Sender) {
		lists = append(lists, s.bySender[key])
	}
	return lists
}

// ByContent reports whether any of them is for a content.
func (s *Snapshot) ByContent() bool { return s != nil && len(s.bySHA256) > 0 }

// Len is how many there are.
func (s *Snapshot) Len() int {
	if s == nil {
		return 0
	}
	return s.size
}

// About is what is known of a message.
type About struct {
	Now        time.Time
	Sender     string   // the domain in From, in lower case, if it is proved; empty if not
	Recipients []string // those that the exceptions are to be for, all of them
	SHA256     []string // the contents of all parts
	Macros     []string // the hashes of the macros of all parts
}

// For gives the exceptions for a message, in the order of their IDs.
func (s *Snapshot) For(a About) []*Exception {
	if s.Empty() {
		return nil
	}
	seen := map[*Exception]bool{}
	lists := s.byMessage(&a)
	if len(a.Recipients) > 0 { // all of them must fit, so the first tells where to look
		for _, key := range recipientKeys(a.Recipients[0]) {
			lists = append(lists, s.byRecipient[key])
		}
	}
	keys := keysOf(a.Recipients)
	for _, list := range lists {
		for _, e := range list {
			if a.Now.Before(e.end) && e.fitsMessage(&a) && (e.Recipient == "" || len(a.Recipients) > 0 && keys[e.Recipient] == len(a.Recipients)) {
				seen[e.Exception] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b *Exception) int { return strings.Compare(a.ID, b.ID) })
}

// fitsMessage reports whether the scope is that of a message, but for recipients, rule and check.
func (e *Exception) fitsMessage(a *About) bool {
	if e.Sender != "" && !slices.Contains(senderKeys(a.Sender), e.Sender) {
		return false
	}
	if e.Macros != "" && !slices.Contains(a.Macros, e.Macros) {
		return false
	}
	return e.SHA256 == "" || slices.Contains(a.SHA256, e.SHA256)
}

// keysOf counts how many of these recipients have each of their keys. There may be a thousand of them, and ten thousand
// exceptions for their domain.
func keysOf(recipients []string) map[string]int {
	keys := make(map[string]int, len(recipients))
	for _, r := range recipients {
		for _, key := range recipientKeys(r) {
			keys[key]++
		}
	}
	return keys
}

// senderKeys are the senders that a domain is one of: itself, and what is below each of those above it.
func senderKeys(domain string) []string {
	if domain == "" {
		return nil
	}
	keys := []string{domain}
	for i, c := range domain {
		if c == '.' {
			keys = append(keys, "*"+domain[i:])
		}
	}
	return keys
}

// recipientKeys are the recipients that an address is one of.
func recipientKeys(address string) []string {
	address = strings.TrimSuffix(strings.ToLower(address), ".")
	i := strings.LastIndexByte(address, '@')
	if i <= 0 {
		return []string{address}
	}
	return []string{address, address[i:]}
}

// A Whom says for which recipients some exceptions are.
type Whom map[string]bool

// WhomOf is for whom the exceptions of a list are.
func WhomOf(list []*Exception) Whom {
	w := Whom{}
	for _, e := range list {
		w[e.Recipient] = true
	}
	return w
}

// Kind is equal for recipients for whom the same of the exceptions are.
func (w Whom) Kind(address string) string {
	kind := ""
	for _, key := range recipientKeys(address) {
		if w[key] {
			kind += key + " "
		}
	}
	return kind
}
