package dmarc

import (
	"context"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"

	"rastel/sanitize/eml"
)

// An identity is the domain that SPF was asked about, and what came of it.
type identity struct {
	property string // "smtp.mailfrom" or "smtp.helo"
	domain   string // empty if there is none that can be asked about
	result   string // empty if nothing was asked
	why      string
}

// checkSender asks whether a host may send for the sender of an envelope, or for the host itself if it
// is a bounce (RFC 7208 section 2.4). Of a relay's HELO nothing follows.
func (s *Scanner) checkSender(ctx context.Context, host netip.Addr, env *eml.Envelope) identity {
	helo := ""
	if host == env.Client.Unmap() {
		helo = asciiDomain(env.Helo)
	}
	id := identity{property: "smtp.mailfrom"}
	at := strings.LastIndexByte(env.Sender, '@')
	sender := ""
	if at >= 0 {
		id.domain = asciiDomain(env.Sender[at+1:])
		sender = localPart(env.Sender[:at]) + "@" + id.domain
	}
	if env.Sender == "" {
		id.property, id.domain, sender = "smtp.helo", helo, "postmaster@"+helo
	}
	if id.domain == "" {
		id.result = none
		return id
	}
	result, err := spf.CheckHostWithSender(host.AsSlice(), helo, sender, spf.WithContext(ctx), spf.WithResolver(s.resolver))
	id.result = string(result)
	switch {
	case ctx.Err() != nil && result != spf.Pass:
		id.result, id.why = tempError, "no answer in time"
	case err != nil && (result == spf.TempError || result == spf.PermError):
		id.why = err.Error()
	}
	return id
}

// localPart is one without what the library takes for the end of it, or a name in DNS cannot hold; in
// macros only.
func localPart(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '@' || r == '"' || r == '\\' {
			return '-'
		}
		return r
	}, s[:min(len(s), 64)])
}

// findings tell the result.
func (id identity) findings() []eml.Finding {
	return []eml.Finding{{Check: spfArea + id.result, Detail: detail(id.property, id.domain, id.why)}}
}

// detail is what a finding tells: a property of RFC 8601, and why.
func detail(property, domain, why string) string {
	if domain == "" {
		domain = "?"
	}
	d := property + "=" + domain
	if why != "" {
		d += ": " + why
	}
	return d
}
