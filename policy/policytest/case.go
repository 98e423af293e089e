// Package policytest reads case files and runs them: what a policy is tested with. A case file is a
// header that says what is expected and why, an empty line, and a raw message to the end of the file. Line
// ends of the message are CRLF, or all LF, which stands for CRLF.
//
//	why: our supplier sends programs
//	sender: ann@supplier.example
//	given: clamd/malware 1.2 Eicar-Signature
//	expect: quarantine
//	rule: malware
//
//	From: Ann <ann@supplier.example>
//	...
//
// Keys has all keys.
package policytest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// Limits of a case file.
const (
	MaxFile  = 4 << 20 // bytes
	maxLines = 2000    // of the header
)

// A Case is a message, what is given about it, and what is wanted of a policy.
type Case struct {
	File   string // as it was named
	Why    string // what the case is about, for people
	Policy string // the name of the policy that it is for; empty: any
	Raw    []byte // the message, with CRLF at the end of lines

	// Envelope is what the case says of the SMTP session. It is not to be changed.
	Envelope eml.Envelope
	// Time is when the message comes; zero: now.
	Time time.Time

	given      []given
	unexamined []given  // without a check
	engines    []string // that count as having examined everything
	wants      []want
}

// A given is a finding of a scanner that does not run.
type given struct {
	line                int
	check, part, detail string // part is empty for the message itself, and what is known of its envelope
	temporary           bool
}

// A want is something that is expected.
type want struct {
	line  int
	key   *Key
	value string
}

// Read reads a case file. Errors name the file, and the line if one is wrong.
func Read(name string) (*Case, error) {
	data, err := policy.ReadRegular(name, MaxFile)
	if err != nil {
		return nil, err
	}
	return Parse(name, data)
}

// Parse reads a case; the name is for errors.
func Parse(name string, data []byte) (*Case, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", name, MaxFile)
	}
	c := &Case{File: name}
	for line := 1; ; line++ {
		text, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok || line > maxLines {
			return nil, fmt.Errorf("%s:%d: there is no empty line before a message", name, line)
		}
		data = rest
		if text = bytes.TrimRight(text, "\r"); len(text) == 0 {
			break
		}
		if err := c.set(line, string(text)); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	if c.Why == "" || len(c.wants) == 0 {
		return nil, fmt.Errorf("%s:1: a case needs \"why\", and something that is expected", name)
	}
	c.Raw = data
	if !bytes.Contains(data, []byte("\r\n")) {
		c.Raw = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	return c, nil
}

// set takes one line of the header.
func (c *Case) set(line int, text string) error {
	name, value, ok := strings.Cut(text, ": ")
	if !ok {
		return fmt.Errorf("%.80q is not \"key: value\"", text)
	}
	k := keyOf(name)
	if k == nil {
		return errors.New(unknown("key", name, keyNames()))
	}
	if k.set != nil {
		return k.set(c, line, value)
	}
	if err := k.check(value); err != nil {
		return err
	}
	c.wants = append(c.wants, want{line, k, value})
	return nil
}

// unknown says that there is no such word, and which one was probably meant.
func unknown(what, word string, known []string) string {
	if near := policy.Nearest(word, known); near != "" {
		return fmt.Sprintf("unknown %s %.80q; did you mean %q?", what, word, near)
	}
	return fmt.Sprintf("unknown %s %.80q; there are %s", what, word, strings.Join(known, ", "))
}

// IsFor reports whether the case is for a policy of one of these names, or for any.
func (c *Case) IsFor(names ...string) bool {
	if c.Policy == "" {
		return true
	}
	for _, n := range names {
		if n == c.Policy {
			return true
		}
	}
	return false
}
