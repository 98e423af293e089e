package dmarc

import (
	"context"
	"errors"
	"net/mail"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"

	"rastel/sanitize/eml"
)

// maxFrom is how many bytes of a From field are read.
const maxFrom = 10 << 10

// fromDomain is the domain in From that readers see; if there is not exactly one, why (RFC 7489 section
// 6.6.1).
func fromDomain(m *eml.Message) (domain, why string) {
	h := &m.Root.Header
	if n := h.Count("From"); n != 1 {
		return "", "there is not one From field"
	}
	value := h.Get("From")
	if len(value) > maxFrom {
		return "", "From is too long"
	}
	list, err := mail.ParseAddressList(value)
	if err != nil {
		return "", "From cannot be read"
	}
	for _, a := range list {
		d := asciiDomain(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
		if d == "" || domain != "" && d != domain {
			return "", "From does not name one domain"
		}
		domain = d
	}
	return domain, ""
}

// A published is what the domain in From says about itself.
type published struct {
	domain string
	record *dmarc.Record // nil: see result
	policy dmarc.Policy
	result string // none, tempError or permError if there is no record
	why    string
}

// policyOf asks what a domain says, or else the one under which it is registered (RFC 7489 section
// 6.6.3).
func (s *Scanner) policyOf(ctx context.Context, domain, why string) published {
	p := published{domain: domain, result: permError, why: why}
	if domain == "" {
		return p
	}
	opt := &dmarc.LookupOptions{LookupTXT: func(name string) ([]string, error) { return s.resolver.LookupTXT(ctx, name) }}
	record, err := dmarc.LookupWithOptions(domain, opt)
	org := organisation(domain)
	below := errors.Is(err, dmarc.ErrNoPolicy) && org != domain
	if below {
		record, err = dmarc.LookupWithOptions(org, opt)
	}
	switch {
	case err == nil:
		p.record, p.result, p.policy = record, "", record.Policy
		if below && record.SubdomainPolicy != "" {
			p.policy = record.SubdomainPolicy
		}
		if record.Percent != nil && *record.Percent < 100 {
			p.policy = milder(p.policy)
		}
	case errors.Is(err, dmarc.ErrNoPolicy):
		p.result = none
	case dmarc.IsTempFail(err) || ctx.Err() != nil:
		p.result, p.why = tempError, "no answer"
	default:
		p.why = strings.TrimPrefix(err.Error(), "dmarc: ")
	}
	return p
}

// milder is what happens to the messages that a domain with a percentage does not mean (RFC 7489 section
// 6.6.4). It happens to all of them: a domain that is only trying is not to lose mail by chance.
func milder(p dmarc.Policy) dmarc.Policy {
	if p == dmarc.PolicyReject {
		return dmarc.PolicyQuarantine
	}
	return dmarc.PolicyNone
}

// judge compares the domain with those that SPF and the signatures speak for.
func (p published) judge(sender identity, signed []eml.Finding) []eml.Finding {
	if p.record == nil {
		return p.findings(p.result, p.why)
	}
	later := sender.result == tempError && aligned(p.domain, sender.domain, p.record.SPFAlignment)
	if sender.result == pass && aligned(p.domain, sender.domain, p.record.SPFAlignment) {
		return p.findings(pass, "")
	}
	for _, f := range signed {
		if !aligned(p.domain, signer(f.Detail), p.record.DKIMAlignment) {
			continue
		}
		if f.Check == signedGood {
			return p.findings(pass, "")
		}
		later = later || f.Check == signedLater
	}
	if later {
		return p.findings(tempError, "SPF or a signature could not be checked for now")
	}
	out := p.findings(fail, "p="+string(p.policy))
	if p.policy == dmarc.PolicyReject || p.policy == dmarc.PolicyQuarantine {
		out = append(out, p.findings(string(p.policy), "")...)
	}
	return out
}

func (p published) findings(result, why string) []eml.Finding {
	return []eml.Finding{{Check: dmarcArea + result, Detail: detail("header.from", p.domain, why)}}
}

// aligned reports whether two domains are the same, or belong to the same (RFC 7489 section 3.1).
func aligned(from, other string, mode dmarc.AlignmentMode) bool {
	other = strings.ToLower(other)
	if mode == dmarc.AlignmentStrict {
		return from == other
	}
	return other != "" && organisation(from) == organisation(other)
}

// signer is the domain of a signature, with which the detail of its finding begins.
func signer(detail string) string {
	d, ok := strings.CutPrefix(detail, "d=")
	if !ok {
		return ""
	}
	d, _, _ = strings.Cut(d, " ")
	return asciiDomain(d)
}
