package policy

import "strings"

// plainAddress is an address of the envelope as conditions see it, but for its case. MTAs take many spellings for one mailbox: with comments
// and blanks (RFC 5322 section 3.2.2), quotes that change nothing, a route that nobody follows any more (RFC 5321 appendix
// C), a final dot, and without a domain "user%domain" and "domain!user". Whoever could choose among them would choose
// which rules hold.
func plainAddress(address string) string {
	if isPlain(address) {
		return address
	}
	local, domain := cutAddress(address)
	if domain == "" && !strings.Contains(local, `"`) {
		local, domain = cutOldAddress(local)
	}
	domain = strings.TrimRight(domain, ".")
	if domain == "" {
		return plainLocal(local)
	}
	return plainLocal(local) + "@" + domain
}

// isPlain reports whether an address is what almost all are.
func isPlain(s string) bool {
	at := strings.IndexByte(s, '@')
	for i := range len(s) {
		c := s[i]
		if isAlphanumeric(rune(c)) || c >= 0x80 || c == '.' && i < len(s)-1 || c == '-' || c == '_' || c == '+' || c == '=' || i == at {
			continue
		}
		return false
	}
	return at > 0
}

// cutAddress gives what is before and behind the last "@", without comments, blanks outside of quotes, and a route.
func cutAddress(s string) (local, domain string) {
	b := make([]byte, 0, len(s))
	at, quoted, depth := -1, false, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			if i++; depth == 0 {
				b = append(b, c, s[i])
			}
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		case depth > 0, c == ' ', c == '\t':
			continue
		case c == ':' && len(b) > 0 && b[0] == '@':
			b, at = b[:0], -1
			continue
		case c == '@':
			at = len(b)
		}
		b = append(b, c)
	}
	if at < 0 {
		return string(b), ""
	}
	return string(b[:at]), string(b[at+1:])
}

// cutOldAddress is cutAddress for "user%domain" and "domain!user".
func cutOldAddress(s string) (local, domain string) {
	if i := strings.LastIndexByte(s, '%'); i > 0 {
		return s[:i], s[i+1:]
	}
	if host, user, ok := strings.Cut(s, "!"); ok {
		return user, host
	}
	return s, ""
}

// plainLocal is a local part with quotes only where it needs them.
func plainLocal(s string) string {
	if !strings.ContainsAny(s, `"\`) {
		return s
	}
	var text, quoted strings.Builder
	quoted.WriteByte('"')
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
		} else if c == '"' {
			continue
		}
		if text.WriteByte(c); c == '"' || c == '\\' {
			quoted.WriteByte('\\')
		}
		quoted.WriteByte(c)
	}
	if isDotString(text.String()) {
		return text.String()
	}
	return quoted.String() + `"`
}

// plainRecipients are all recipients, plainly and in lower case.
func (f *facts) plainRecipients() []string {
	if f.plain == nil {
		f.plain = make([]string, len(f.msg.Envelope.Recipients))
		for i, a := range f.msg.Envelope.Recipients {
			f.plain[i] = sameMailbox(a)
		}
	}
	return f.plain
}
