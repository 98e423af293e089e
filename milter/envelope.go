package milter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-milter"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// Why the envelope of a message cannot be changed.
var (
	errNoAdd    = errors.New("the MTA does not let filters add recipients")
	errNoRemove = errors.New("the MTA does not let filters remove recipients")
	errNoHold   = errors.New("the MTA does not let filters hold messages")
)

// maxAdded is how many recipients a verdict may add.
const maxAdded = maxRecipients

// nobodyLeft tells whether an accepted message goes to nobody: what an MTA does with one that has no
// recipients is its own affair, so it does not get it.
func nobodyLeft(env *eml.Envelope, v *policy.Verdict) bool {
	return len(v.Remove) > 0 && len(v.To(env)) == 0
}

// checkEnvelope finds fault with changes that the MTA would not carry out: it says nothing about a
// recipient that it does not know, and delivers to it.
func (s *session) checkEnvelope(env *eml.Envelope, v *policy.Verdict) error {
	switch {
	case len(v.Add) > 0 && !s.c.may(milter.OptAddRcpt):
		return errNoAdd
	case len(v.Remove) > 0 && !s.c.may(milter.OptRemoveRcpt):
		return errNoRemove
	case v.MTAHold != "" && !s.c.may(milter.OptQuarantine):
		return errNoHold
	case len(v.Add) > maxAdded:
		return fmt.Errorf("%d recipients to be added, more than %d", len(v.Add), maxAdded)
	}
	there := make(map[string]bool, len(env.Recipients))
	if len(v.Remove) > 0 {
		for _, a := range env.Recipients {
			there[a] = true
		}
	}
	for _, a := range v.Remove {
		if !there[a] {
			return fmt.Errorf("recipient %.60q is to be removed and is not there", a)
		}
	}
	if i := slices.IndexFunc(v.Add, func(a string) bool { return !sendable(a) }); i >= 0 {
		return fmt.Errorf("recipient %.60q cannot be added", v.Add[i])
	}
	return nil
}

// sendable tells whether an address can stand between angle brackets.
func sendable(addr string) bool {
	return addr != "" && !strings.ContainsFunc(addr, func(r rune) bool { return r < ' ' || r == 0x7f || r == '<' || r == '>' })
}

// editEnvelope sends recipients, between angle brackets as they came, and the wish that the MTA keep the
// message. Postfix takes a recipient away wherever it stands in the envelope until then, so those that are
// added come after.
func editEnvelope(v *policy.Verdict, m *milter.Modifier) error {
	for _, a := range v.Remove {
		if err := m.DeleteRecipient(a); err != nil {
			return err
		}
	}
	for _, a := range v.Add {
		if err := m.AddRecipient(a); err != nil {
			return err
		}
	}
	if v.MTAHold == "" {
		return nil
	}
	return m.Quarantine(holdReason(v.MTAHold))
}

// maxHoldReason is how much of the reason an MTA gets: Sendmail writes it into one line of its queue file.
const maxHoldReason = 200

// holdReason is printable ASCII, which both MTAs take as it stands.
func holdReason(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return clean[:min(len(clean), maxHoldReason)]
}
