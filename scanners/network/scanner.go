package network

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// The checks.
const (
	listedCheck  = "dns/listed"
	allowedCheck = "dns/allowed"
	domainCheck  = "dns/domain-listed"
	unknownCheck = "dns/unknown"
)

// A Scanner asks lists about where a message comes from. It is safe for concurrent use.
type Scanner struct {
	zones    []zone
	relays   Relays
	resolver *Resolver
	log      *slog.Logger

	mu       sync.Mutex
	troubles map[string]trouble // of lists that do not answer, by their base
}

var (
	_ scanners.MessageScanner  = (*Scanner)(nil)
	_ scanners.EnvelopeScanner = (*Scanner)(nil)
)

// New makes a Scanner that asks by way of r. The configuration is valid; a nil logger logs nothing.
func New(cfg Config, relays Relays, r *Resolver, log *slog.Logger) (*Scanner, error) {
	zones, err := cfg.zones()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Scanner{zones: zones, relays: relays, resolver: r, log: log, troubles: map[string]trouble{}}, nil
}

// Checks are all checks that ScanMessage may report.
func (*Scanner) Checks() []eml.Check {
	return []eml.Check{
		{ID: listedCheck, From: eml.AtConnect, Doc: "The host that the message comes from is on a blocklist in DNS; the detail is the list's name, the address, and the answer: `zen 192.0.2.1 127.0.0.2`."},
		{ID: allowedCheck, From: eml.AtConnect, Doc: "The host that the message comes from is on an allowlist in DNS; the detail is as that of dns/listed."},
		{ID: domainCheck, From: eml.AtMail, Doc: "The domain of the envelope sender, or the name in HELO, is on a list in DNS; the detail is the list's name, the domain, and the answer."},
		{ID: unknownCheck, From: eml.AtConnect, Doc: "A list in DNS did not answer in time, or refuses to, so it is not known whether something is on it; the detail is the list's name, what was asked about, and why."},
	}
}

// Scan finds nothing: a part comes from nowhere.
func (*Scanner) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// ScanMessage asks about the host that the message comes from, and the domains of the envelope; not if
// it is of a user who has authenticated: he may be where he is, and lists of dial-up networks say so.
func (s *Scanner) ScanMessage(ctx context.Context, m *eml.Message) ([]eml.Finding, error) {
	if m.Envelope.AuthUser != "" {
		return nil, nil
	}
	findings := s.look(ctx, append(s.aboutHost(s.relays.Host(m)), s.aboutDomains(m.Envelope)...))
	for i := range findings {
		findings[i].Part = m.Root
	}
	return findings, nil
}

// BeginEnvelope asks about the client, and at AtMail about the domains of the envelope too.
func (s *Scanner) BeginEnvelope(at eml.Stage, env *eml.Envelope) { s.begin(s.aboutEnvelope(at, env)) }

// ScanEnvelope gives what is known of these. If the client is a relay of ours, nothing is known of the
// host before there is a message.
func (s *Scanner) ScanEnvelope(ctx context.Context, at eml.Stage, env *eml.Envelope) []eml.Finding {
	return s.look(ctx, s.aboutEnvelope(at, env))
}

func (s *Scanner) aboutEnvelope(at eml.Stage, env *eml.Envelope) []inquiry {
	if env.AuthUser != "" { // see ScanMessage; at AtConnect nobody has yet
		return nil
	}
	out := s.aboutHost(env.Client)
	if at != eml.AtConnect {
		out = append(out, s.aboutDomains(env)...)
	}
	return out
}

// An inquiry is a question to one list.
type inquiry struct {
	*zone
	about string // an address or a domain
	name  string // what DNS is asked for
}

// aboutHost are the questions about an address; none if it is one of ours, or of no network.
func (s *Scanner) aboutHost(a netip.Addr) []inquiry {
	if !a.IsValid() || s.relays.Trusts(a) || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() {
		return nil
	}
	var out []inquiry
	for i := range s.zones {
		if z := &s.zones[i]; z.kind != domains {
			out = append(out, inquiry{z, a.String(), reverse(a) + z.base})
		}
	}
	return out
}

// aboutDomains are the questions about the domains of an envelope. What a relay of ours says in HELO
// is nobody's business.
func (s *Scanner) aboutDomains(env *eml.Envelope) []inquiry {
	var names []string
	if i := strings.LastIndexByte(env.Sender, '@'); i >= 0 {
		names = append(names, env.Sender[i+1:])
	}
	if !s.relays.Trusts(env.Client) {
		names = append(names, env.Helo)
	}
	for i := range names {
		names[i] = strings.ToLower(strings.TrimSuffix(names[i], "."))
	}
	var out []inquiry
	for i := range s.zones {
		z := &s.zones[i]
		for j, name := range names {
			if z.kind == domains && isAskable(name) && !slices.Contains(names[:j], name) && len(name)+len(z.base) < 254 {
				out = append(out, inquiry{z, name, name + "." + z.base})
			}
		}
	}
	return out
}

// isAskable reports whether a name is a domain: lists of domains must not be asked about addresses.
func isAskable(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	return isDomain(name) && strings.Contains(name, ".")
}

// reverse is an address as lists have it (RFC 5782 sections 2.1 and 2.4): its bytes, or for IPv6 its
// hexadecimal digits, from the last to the first, with a dot behind each.
func reverse(a netip.Addr) string {
	var b strings.Builder
	if a.Is4() {
		v4 := a.As4()
		for i := len(v4) - 1; i >= 0; i-- {
			b.WriteString(strconv.Itoa(int(v4[i])) + ".")
		}
		return b.String()
	}
	v6 := a.As16()
	digits := hex.EncodeToString(v6[:])
	for i := len(digits) - 1; i >= 0; i-- {
		b.WriteString(digits[i:i+1] + ".")
	}
	return b.String()
}

// begin asks, and does not wait for the answers. Of a list that rests there is none.
func (s *Scanner) begin(list []inquiry) []*answer {
	out := make([]*answer, len(list))
	for i, q := range list {
		if !s.rests(q.zone) {
			out[i] = s.resolver.begin(q.name, dns.TypeA, func(a *answer) {
				_, why := q.judge(a.result())
				s.note(q.zone, why)
			})
		}
	}
	return out
}

// look asks, and tells of all that is listed or not known.
func (s *Scanner) look(ctx context.Context, list []inquiry) []eml.Finding {
	var out []eml.Finding
	for i, a := range s.begin(list) {
		q, code, why := list[i], "", "the list does not answer, and is not asked for a while"
		if a != nil {
			code, why = q.judge(a.wait(ctx, q.name))
		}
		switch {
		case why != "":
			out = append(out, eml.Finding{Check: unknownCheck, Detail: q.detail(why)})
		case code != "":
			out = append(out, eml.Finding{Check: []string{listedCheck, allowedCheck, domainCheck}[q.kind], Detail: q.detail(code)})
		}
	}
	return out
}

// detail is the detail of a finding.
func (q inquiry) detail(what string) string { return q.zone.name + " " + q.about + " " + what }

// The answers by which lists refuse to answer: to anybody who asks too much, or through a public
// resolver. They are never taken for a listing, whatever Codes say.
var refusals = []netip.Prefix{
	netip.MustParsePrefix("127.255.255.0/24"), // Spamhaus and those who do as it does
	netip.MustParsePrefix("127.0.0.1/32"),     // URIBL, SURBL; RFC 5782 section 5 lets nobody list it
}

// allowRefusal is the same of dnswl.org.
var allowRefusal = netip.MustParseAddr("127.0.0.255")

// judge tells what an answer means: the first address that counts, or why it is not known. Both are
// empty if nothing is listed.
func (z *zone) judge(records []dns.RR, err error) (code, why string) {
	if err != nil {
		if notFound(err) {
			return "", ""
		}
		return "", reason(err)
	}
	for _, rr := range records {
		record, ok := rr.(*dns.A)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(record.A)
		switch a = a.Unmap(); {
		case !ok || !loopback.Contains(a):
			return "", "the answer " + a.String() + " is outside 127.0.0.0/8: the resolver invents answers, or the list has ended"
		case slices.ContainsFunc(refusals, func(p netip.Prefix) bool { return p.Contains(a) }), z.kind == allow && a == allowRefusal:
			return "", "the list refuses to answer this resolver: " + a.String()
		case code == "" && z.counts(a):
			code = a.String()
		}
	}
	return code, ""
}

// reason is what a look-up failed for, without the name.
func reason(err error) string {
	var d *net.DNSError
	if errors.As(err, &d) {
		return d.Err
	}
	return err.Error()
}

func (z *zone) counts(a netip.Addr) bool {
	return len(z.codes) == 0 || slices.ContainsFunc(z.codes, func(r codeRange) bool { return !a.Less(r.from) && !r.to.Less(a) })
}

// A list that did not answer so often in a row rests: nobody is to wait for it, nor it for us.
const (
	maxTrouble = 3
	restTime   = 30 * time.Second
)

// A trouble is a list that does not answer.
type trouble struct {
	times int
	until time.Time // it rests; zero if it does not
}

// rests reports whether a list is not to be asked now. When its rest is over one question is enough to
// send it there again.
func (s *Scanner) rests(z *zone) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.troubles[z.base].until)
}

// note takes what came of a question. It logs that a list does not answer, once until it does again.
func (s *Scanner) note(z *zone, why string) {
	s.mu.Lock()
	t, was := s.troubles[z.base]
	if why == "" {
		delete(s.troubles, z.base)
	} else {
		if t.times++; t.times >= maxTrouble {
			t.until = time.Now().Add(restTime)
		}
		s.troubles[z.base] = t
	}
	s.mu.Unlock()
	switch {
	case !was && why != "":
		s.log.Warn("a list in DNS does not answer: nothing is known to be on it", "zone", strings.TrimSuffix(z.base, "."), "error", why)
	case was && why == "":
		s.log.Info("a list in DNS answers again", "zone", strings.TrimSuffix(z.base, "."))
	}
}
