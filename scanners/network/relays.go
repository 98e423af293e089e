package network

import (
	"fmt"
	"net/netip"
	"strings"

	"rastel/sanitize/eml"
)

// Limits of the walk through the Received fields.
const (
	maxHops  = 50      // fields
	maxTrace = 4 << 10 // bytes of one field
)

// Relays are the networks of mail servers whose Received fields are believed: those of our own.
type Relays []netip.Prefix

// maxRelays is how many networks may be trusted.
const maxRelays = 1000

// ParseRelays reads networks ("192.0.2.0/24") and addresses.
func ParseRelays(list []string) (Relays, error) {
	if len(list) > maxRelays {
		return nil, fmt.Errorf("trusted: more than %d networks", maxRelays)
	}
	var out Relays
	for _, text := range list {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted: %q is neither a network nor an address", text)
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("trusted: %q is every address there is", text)
		}
		out = append(out, p)
	}
	return out, nil
}

// parsePrefix reads a network or an address. An IPv4-mapped address is the IPv4 address.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// Trusts reports whether mail comes from one of the relays.
func (r Relays) Trusts(a netip.Addr) bool {
	for _, p := range r {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Host is the address from which a message came to us: that of the SMTP client, or if it is a
// trusted relay, of the host that the relay says in its Received field, and so on. What that host
// and others before it wrote is not looked at: anybody can write anything there. Where a field says
// no address the walk ends, and the last relay is the answer. It is the zero Addr if the client has
// no address.
func (r Relays) Host(m *eml.Message) netip.Addr {
	host := m.Envelope.Client.Unmap()
	if !r.Trusts(host) {
		return host
	}
	h, hops := &m.Root.Header, 0
	for f := range h.All("Received") {
		if hops++; hops > maxHops || f.End-f.Start > maxTrace {
			break
		}
		value := h.Value(f)
		if isQmailNote(value) {
			continue
		}
		from := receivedFrom(value)
		if !from.IsValid() {
			break
		}
		// A relay may hand a message to itself, through a filter for example.
		if host = from; !r.Trusts(from) && !from.IsLoopback() {
			break
		}
	}
	return host
}

// isQmailNote reports whether a field is the one that qmail-queue puts on top of that of qmail-smtpd.
func isQmailNote(v string) bool {
	v = strings.TrimSpace(v)
	return strings.HasPrefix(v, "(qmail ") && strings.Contains(v, " invoked from network)")
}

// receivedFrom is the address of the host that a mail server took a message from; the zero Addr if
// the field does not say it in a form that is known:
//
//	from helo (name [192.0.2.1]) by ...            Postfix, Sendmail
//	from helo (name [IPv6:2001:db8::1]) by ...     the same
//	from name (HELO helo) (ident@192.0.2.1) by ... qmail
//	from name ([192.0.2.1] helo=helo) by ...       Exim
//	from [192.0.2.1] (helo=helo) by ...            Exim, of a host without a name
//	from name (192.0.2.1) by ...                   qmail, Exchange
//
// What the client said in HELO is never taken for an address, and neither is anything behind the
// first comment that is one, such as the name in a certificate.
func receivedFrom(v string) netip.Addr {
	v = strings.TrimSpace(v)
	const from = "from "
	if len(v) < len(from) || !strings.EqualFold(v[:len(from)], from) {
		return netip.Addr{}
	}
	words, comments, ok := splitFrom(v[len(from):])
	if !ok {
		return netip.Addr{}
	}
	for _, c := range comments {
		switch lower := strings.ToLower(c); {
		case strings.HasPrefix(lower, "helo=") || strings.HasPrefix(lower, "port="): // Exim: the word before it was verified
			return literal(words)
		case strings.HasPrefix(lower, "helo ") || strings.HasPrefix(lower, "ehlo "):
		default:
			return commentAddr(c)
		}
	}
	return netip.Addr{}
}

// splitFrom takes the part before "by" apart: what stands outside of comments, and the comments. It
// reports false if there is no "by", or a parenthesis is not closed.
func splitFrom(v string) (words string, comments []string, ok bool) {
	var out strings.Builder
	depth, start := 0, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '(':
			if depth++; depth == 1 {
				start = i + 1
			}
		case c == ')':
			if depth--; depth < 0 {
				return "", nil, false
			}
			if depth == 0 {
				comments = append(comments, strings.TrimSpace(v[start:i]))
				out.WriteByte(' ')
			}
		case depth > 0:
		case isBy(v, i):
			return out.String(), comments, true
		default:
			out.WriteByte(c)
		}
	}
	return "", nil, false
}

// isBy reports whether the word "by" begins there.
func isBy(v string, i int) bool {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ')' }
	return len(v) > i+2 && strings.EqualFold(v[i:i+2], "by") && blank(v[i+2]) && i > 0 && blank(v[i-1])
}

// commentAddr is the address in a comment about the client: in brackets, or all of it, with the name
// of a user before it or not.
func commentAddr(c string) netip.Addr {
	for _, mark := range []string{" helo=", " ident=", " port="} { // of Exim: the client says these
		if i := strings.Index(strings.ToLower(c), mark); i >= 0 {
			c = c[:i]
		}
	}
	if open := strings.LastIndexByte(c, '['); open >= 0 {
		return literal(c[open:])
	}
	c = strings.TrimSpace(c[strings.LastIndexByte(c, '@')+1:])
	return parseAddr(c)
}

// literal is the address in brackets with which a text begins.
func literal(v string) netip.Addr {
	v, opened := strings.CutPrefix(strings.TrimSpace(v), "[")
	v, _, closed := strings.Cut(v, "]")
	if !opened || !closed {
		return netip.Addr{}
	}
	const prefix = "IPv6:"
	if len(v) > len(prefix) && strings.EqualFold(v[:len(prefix)], prefix) {
		v = v[len(prefix):]
	}
	return parseAddr(v)
}

func parseAddr(v string) netip.Addr {
	a, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
