package dmarc

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The results (RFC 8601 sections 2.7.2 and 2.7.3, RFC 7489 section 11.2).
const (
	none      = "none"
	pass      = "pass"
	fail      = "fail"
	tempError = "temperror"
	permError = "permerror"
)

// A check is an area and a result, or what the domain of a message that fails DMARC asks for.
const (
	spfArea      = "spf/"
	dmarcArea    = "dmarc/"
	signedGood   = "signed/dkim-pass"
	signedLater  = "signed/dkim-temperror"
	wantsReject  = "reject"
	wantsSuspect = "quarantine"
)

// A Resolver asks DNS; *network.Resolver is one. Its errors are those of a net.Resolver.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Relays know where a message comes from; network.Relays are some.
type Relays interface {
	Host(m *eml.Message) netip.Addr
	Trusts(a netip.Addr) bool
}

// A Scanner looks at SPF and DMARC. It is safe for concurrent use.
type Scanner struct {
	cfg        Config
	resolver   Resolver
	relays     Relays
	signatures scanners.MessageScanner
}

var (
	_ scanners.MessageScanner  = (*Scanner)(nil)
	_ scanners.EnvelopeScanner = (*Scanner)(nil)
)

// New makes a Scanner. The signatures are what finds "signed/dkim-pass"; it runs as a part of this
// scanner, because DMARC needs its findings, which are among those of ScanMessage then.
func New(cfg Config, r Resolver, relays Relays, signatures scanners.MessageScanner) *Scanner {
	return &Scanner{cfg: cfg.withDefaults(), resolver: r, relays: relays, signatures: signatures}
}

// Checks are all checks that ScanMessage may report, but for those about signatures.
func (*Scanner) Checks() []eml.Check {
	return []eml.Check{
		{ID: spfArea + none, From: eml.AtMail, Doc: "The domain of the envelope sender does not say which hosts send for it (SPF). The detail of these checks begins with the domain: `smtp.mailfrom=example.org`, or of a bounce the name in HELO: `smtp.helo=mx.example.org`."},
		{ID: spfArea + "neutral", From: eml.AtMail, Doc: "The domain of the envelope sender says nothing about that host."},
		{ID: spfArea + pass, From: eml.AtMail, Doc: "That host may send for the domain of the envelope sender."},
		{ID: spfArea + fail, From: eml.AtMail, Doc: "That host may not send for the domain of the envelope sender. Mail that was forwarded fails too."},
		{ID: spfArea + "softfail", From: eml.AtMail, Doc: "That host should not send for the domain of the envelope sender, but the domain is not sure."},
		{ID: spfArea + tempError, From: eml.AtMail, Doc: "What the domain of the envelope sender says could not be had for now."},
		{ID: spfArea + permError, From: eml.AtMail, Doc: "What the domain of the envelope sender says breaks the rules of SPF."},
		{ID: dmarcArea + none, Doc: "The domain in From says nothing about who speaks for it (DMARC). The detail of these checks begins with it: `header.from=example.org`."},
		{ID: dmarcArea + pass, Doc: "The message comes from the domain in From, by SPF or a good signature."},
		{ID: dmarcArea + fail, Doc: "Nothing shows that the message comes from the domain in From. Mail of lists that change it fails too."},
		{ID: dmarcArea + wantsSuspect, Doc: "The message fails DMARC, and the domain asks to have such mail treated as suspicious, or a part of it rejected."},
		{ID: dmarcArea + wantsReject, Doc: "The message fails DMARC, and the domain asks to have such mail rejected."},
		{ID: dmarcArea + tempError, Doc: "Whether the message comes from the domain in From could not be told for now."},
		{ID: dmarcArea + permError, Doc: "What the domain in From says breaks the rules of DMARC, or From does not name one domain."},
	}
}

// Scan finds nothing: a part comes from nowhere.
func (*Scanner) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// ScanMessage has the signatures verified, and looks at SPF and DMARC.
func (s *Scanner) ScanMessage(ctx context.Context, m *eml.Message) ([]eml.Finding, error) {
	host := s.relays.Host(m)
	if !s.isOutside(host) || m.Envelope.AuthUser != "" {
		return s.signatures.ScanMessage(ctx, m)
	}
	lookup, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	from, why := fromDomain(m)
	var sender identity
	var asked published
	var both sync.WaitGroup
	both.Go(func() { sender = s.checkSender(lookup, host, m.Envelope) })
	both.Go(func() { asked = s.policyOf(lookup, from, why) })
	signed, err := s.signatures.ScanMessage(ctx, m)
	both.Wait()
	findings := slices.Concat(sender.findings(), asked.judge(sender, signed))
	for i := range findings {
		findings[i].Part = m.Root
	}
	return slices.Concat(signed, findings), err
}

// BeginEnvelope does nothing: most of what SPF asks for depends on the first answer.
func (*Scanner) BeginEnvelope(eml.Stage, *eml.Envelope) {}

// ScanEnvelope looks at SPF at AtMail, unless the client is a relay of ours.
func (s *Scanner) ScanEnvelope(ctx context.Context, at eml.Stage, env *eml.Envelope) []eml.Finding {
	if at != eml.AtMail || !s.isOutside(env.Client.Unmap()) || env.AuthUser != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.checkSender(ctx, env.Client.Unmap(), env).findings()
}

// isOutside reports whether SPF can say anything about a host.
func (s *Scanner) isOutside(a netip.Addr) bool {
	return a.IsValid() && !s.relays.Trusts(a) && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}

// asciiDomain is a domain as DNS has it; empty if it is none.
func asciiDomain(text string) string {
	text, err := idna.Lookup.ToASCII(strings.ToLower(strings.TrimSuffix(text, ".")))
	if err != nil || len(text) > 253 || !strings.Contains(text, ".") {
		return ""
	}
	for _, r := range text { // ToASCII lets some through that need quotes
		if r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return ""
		}
	}
	return text
}

// organisation is the domain under which somebody has registered (RFC 7489 section 3.2).
func organisation(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain // a public suffix itself
}
