package policytest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Key is what a line of a case begins with. It gives something, or wants something.
type Key struct {
	Name, Doc string

	set   func(c *Case, line int, value string) error    // of what gives; nil for what wants
	check func(value string) error                       // whether a case may want that
	got   func(o *outcome, value string) (string, error) // what is there instead; empty if it is as wanted
}

// Wants tells whether it is something that is expected, as opposed to given.
func (k *Key) Wants() bool { return k.set == nil }

// Keys are all keys of case files.
func Keys() []Key { return slices.Clone(keys) }

func keyOf(name string) *Key {
	for i := range keys {
		if keys[i].Name == name {
			return &keys[i]
		}
	}
	return nil
}

func keyNames() []string {
	out := make([]string, len(keys))
	for i := range keys {
		out[i] = keys[i].Name
	}
	return out
}

var keys = giving(
	Key{Name: "why", Doc: "What the case is about. Needed.",
		set: text(func(c *Case) *string { return &c.Why })},
	Key{Name: "policy", Doc: "The name of the policy that it is for: that of its file without `.yaml`, or `default`. It is passed over for others. Without it, it is for any.",
		set: text(func(c *Case) *string { return &c.Policy })},
	Key{Name: "client", Doc: "The IP address of the SMTP client.", set: setClient},
	Key{Name: "client_name", Doc: "Its name as the MTA has verified it.", set: text(func(c *Case) *string { return &c.Envelope.ClientName })},
	Key{Name: "helo", Doc: "The argument of HELO or EHLO.", set: text(func(c *Case) *string { return &c.Envelope.Helo })},
	Key{Name: "tls", Doc: "The version of TLS, such as `TLSv1.3`.", set: text(func(c *Case) *string { return &c.Envelope.TLS })},
	Key{Name: "listener", Doc: "The name of the listener of the MTA that the client has connected to.", set: text(func(c *Case) *string { return &c.Envelope.Listener })},
	Key{Name: "listener_addr", Doc: "Its IP address.", set: text(func(c *Case) *string { return &c.Envelope.ListenerAddr })},
	Key{Name: "auth_user", Doc: "The user who has authenticated.", set: text(func(c *Case) *string { return &c.Envelope.AuthUser })},
	Key{Name: "sender", Doc: "The envelope sender; `<>` for the null sender.", set: setSender},
	Key{Name: "recipient", Doc: "An envelope recipient. May be repeated.", set: setRecipient},
	Key{Name: "time", Doc: "When the message comes, as in `2026-11-25T08:30:00+01:00`. Without it: now.", set: setTime},
	Key{Name: "given", Doc: "What an engine finds that does not run here: the check, the part (without it: the message itself, and its envelope), the detail: `clamd/malware 1.2 Eicar-Signature`. May be repeated. A `*/limit` and an `*/encrypted` count as not examined.", set: setGiven},
	Key{Name: "unexamined", Doc: "A part that could not be examined, whether that is temporary, and why: `1.2 temporary clamd does not answer`. May be repeated.", set: setUnexamined},
	Key{Name: "engine", Doc: "An engine that counts as having examined all content. May be repeated.", set: setEngine},
)

// giving puts the keys that want something behind those that give.
func giving(list ...Key) []Key { return append(list, wanting...) }

func text(field func(c *Case) *string) func(*Case, int, string) error {
	return func(c *Case, _ int, value string) error {
		f := field(c)
		if *f != "" {
			return errors.New("this key is there twice")
		}
		*f = value
		return nil
	}
}

func setClient(c *Case, _ int, value string) (err error) {
	c.Envelope.Client, err = netip.ParseAddr(value)
	return err
}

func setSender(c *Case, _ int, value string) error {
	c.Envelope.Sender = strings.TrimSuffix(strings.TrimPrefix(value, "<"), ">")
	return nil
}

func setRecipient(c *Case, _ int, value string) error {
	c.Envelope.Recipients = append(c.Envelope.Recipients, strings.TrimSuffix(strings.TrimPrefix(value, "<"), ">"))
	return nil
}

func setTime(c *Case, _ int, value string) (err error) {
	if c.Time, err = time.Parse(time.RFC3339, value); err != nil {
		return fmt.Errorf("%.80q is no time like 2026-11-25T08:30:00+01:00", value)
	}
	return nil
}

func setEngine(c *Case, _ int, value string) error {
	c.engines = append(c.engines, value)
	return nil
}

func setGiven(c *Case, line int, value string) error {
	check, rest, _ := strings.Cut(value, " ")
	if area, what, ok := strings.Cut(check, "/"); !ok || area == "" || what == "" {
		return fmt.Errorf("%.80q is no check like clamd/malware", check)
	}
	part, detail := partAndText(rest)
	c.given = append(c.given, given{line: line, check: check, part: part, detail: detail})
	return nil
}

func setUnexamined(c *Case, line int, value string) error {
	part, detail := partAndText(value)
	if part == "" {
		return fmt.Errorf("%.80q does not begin with a part, such as 1.2", value)
	}
	detail, temporary := strings.CutPrefix(detail, "temporary")
	if temporary && detail != "" && detail[0] != ' ' {
		return fmt.Errorf("%.80q is not \"part temporary why\"", value)
	}
	c.unexamined = append(c.unexamined, given{line: line, part: part, detail: strings.TrimSpace(detail), temporary: temporary})
	return nil
}

// partAndText takes the ID of a part, which begins with a digit, off a text.
func partAndText(s string) (part, rest string) {
	first, rest, _ := strings.Cut(s, " ")
	if first == "" || first[0] < '0' || first[0] > '9' {
		return "", s
	}
	return first, rest
}
