package policy

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Limits of an address (RFC 5321 section 4.5.3.1).
const (
	maxMailbox = 254 // a path has 256, of which two are the angle brackets
	maxLocal   = 64
	maxLabel   = 63
)

// isAddress reports whether s may stand between the angle brackets of RCPT TO: a Mailbox of RFC 5321
// section 4.1.2, in ASCII.
func isAddress(s string) bool {
	i := strings.LastIndexByte(s, '@')
	return i > 0 && len(s) <= maxMailbox && isLocalPart(s[:i]) && (isDomain(s[i+1:]) || isAddressLiteral(s[i+1:]))
}

// isLocalPart follows Local-part: a Dot-string or a Quoted-string.
func isLocalPart(s string) bool {
	if len(s) > maxLocal {
		return false
	}
	if inner, quoted := strings.CutPrefix(s, `"`); quoted {
		return isQuoted(inner)
	}
	return isDotString(s)
}

func isDotString(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

// isQuoted is about what follows the first quote.
func isQuoted(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			return false
		case c == '\\':
			if i++; i == len(s) || s[i] < ' ' || s[i] > '~' {
				return false
			}
		case c == '"':
			return i == len(s)-1 && i > 0
		}
	}
	return false
}

// isAtext follows RFC 5322 section 3.2.3.
func isAtext(r rune) bool {
	return isAlphanumeric(r) || r < 0x80 && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return r != '-' && !isAlphanumeric(r) }) {
			return false
		}
	}
	return true
}

func isAddressLiteral(s string) bool {
	s, open := strings.CutPrefix(s, "[")
	s, closed := strings.CutSuffix(s, "]")
	if !open || !closed {
		return false
	}
	six, is6 := strings.CutPrefix(s, "IPv6:")
	a, err := netip.ParseAddr(six)
	return err == nil && a.Is6() == is6 && a.Zone() == ""
}

// sameMailbox is an address as others are compared with it: what differs in case, or in what plainAddress leaves out, is
// one mailbox wherever mail is delivered, and some MTAs cannot tell one from the other in an envelope.
func sameMailbox(address string) string { return lowerAddress(plainAddress(address)) }

// lowerAddress is an address in lower case. A letter outside of ASCII stays one: the Kelvin sign is no "k" to any MTA.
func lowerAddress(s string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, s)
}

// maxAddresses is how many addresses one change has.
const maxAddresses = 20

// addresses reads one address or a list of them.
func (s *source) addresses(c *change, arg ast.Node, _ *vocabulary) {
	items := []ast.Node{arg}
	if l, ok := arg.(*ast.SequenceNode); ok {
		items = l.Values
	}
	if len(items) == 0 || len(items) > maxAddresses {
		s.errorf(nodePlace(arg), "there must be from 1 to %d addresses", maxAddresses)
		return
	}
	for _, item := range items {
		v, ok := s.scalar(item, "an address")
		if ok && !isAddress(v.text) {
			s.errorf(v.at, "%.80q is no address such as ann@example.org", v.text)
		}
		c.addresses = append(c.addresses, v.text)
	}
}
