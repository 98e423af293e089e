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
	if len(v.Remove) > 0 && s.sendmail() && !s.c.may(milter.OptAddRcpt) {
		return errNoAdd
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
func (s *session) editEnvelope(env *eml.Envelope, v *policy.Verdict, m *milter.Modifier) error {
	for _, a := range v.Remove {
		err := m.DeleteRecipient(a)
		if last := withoutRoute(a); err == nil && last != a {
			err = m.DeleteRecipient(last)
		}
		if err != nil {
			return err
		}
	}
	add := v.Add
	if len(v.Remove) > 0 && s.sendmail() {
		add = v.To(env)
	}
	for _, a := range add {
		if err := m.AddRecipient(a); err != nil {
			return err
		}
	}
	if v.MTAHold == "" {
		return nil
	}
	return m.Quarantine(holdReason(v.MTAHold))
}

// withoutRoute is an address without the hosts that it was once to go by (RFC 5321 appendix C): Postfix tells us of
// them, and knows the recipient without.
func withoutRoute(addr string) string {
	if strings.HasPrefix(addr, "@") {
		if _, last, ok := strings.Cut(addr, ":"); ok {
			return last
		}
	}
	return addr
}

// sendmail tells whether the MTA is a Sendmail. That knows recipients by what virtusertable makes of them: if
// it is told to remove one, others that are the same mailbox behind it are gone too. So those who get the message are
// added again, which does nothing to one that is still there. Postfix has the recipients as they came, and
// would deliver twice. It tells its name; and it has no queue id at MAIL, unless it is told to.
func (s *session) sendmail() bool {
	return s.idAtMail && !strings.HasPrefix(s.macros.get(macroVersion), "Postfix")
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
