package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"rastel/sanitize/eml"
)

// An inside is what of the world is ours, by which it is told in which direction a message goes.
type inside struct {
	networks  []*networks
	listeners []string
	anonymous bool // a client that has authenticated is not inside by that alone
	domains   addresses
}

// The directions of messages.
const (
	goesIn       = "in"
	goesOut      = "out"
	goesInternal = "internal"
)

// maxInside is how many networks and listeners may be named.
const maxInside = 200

// inside reads what is ours.
func (s *source) inside(n ast.Node, vocab *vocabulary, opt Options) (in inside) {
	if n == nil {
		return in
	}
	m, ok := s.mapping(n, "\"inside\"", insideKeys)
	if !ok {
		return in
	}
	if m["authenticated"] != nil {
		in.anonymous = !s.yes(m["authenticated"], "authenticated")
	}
	s.someTexts(m["networks"], "networks", "a network", func(text string) string {
		l, wrong := vocab.network(text)
		in.networks = append(in.networks, l)
		return wrong
	})
	s.someTexts(m["listeners"], "listeners", "a listener", func(text string) string {
		text = strings.ToLower(strings.TrimSpace(text))
		if a, err := netip.ParseAddr(text); err == nil {
			text = a.Unmap().String()
		}
		in.listeners = append(in.listeners, text)
		return ""
	})
	if m["domains"] != nil {
		r := &entryReader{listReader: listReader{source: s, dir: opt.Dir}}
		r.entries(m["domains"], "domains", "a domain", in.domains.add)
	}
	return in
}

// someTexts reads a short list of texts; add tells what is wrong with one.
func (s *source) someTexts(n ast.Node, key, what string, add func(text string) (wrong string)) {
	if n == nil {
		return
	}
	items := s.list(n, key)
	if len(items) > maxInside {
		s.errorf(nodePlace(n), "more than %d %s", maxInside, key)
		return
	}
	for _, item := range items {
		if v, ok := s.scalar(item, what); ok {
			if wrong := add(v.text); wrong != "" {
				s.errorf(v.at, "%s", wrong)
			}
		}
	}
}

// direction tells where a message goes: whoever sends it is inside if they have authenticated, or come
// from one of our networks, or by one of our listeners; and the recipients, if all of them are in our
// domains.
func (f *facts) direction() string {
	if f.goes == "" {
		f.goes = f.policy.inside.direction(f)
	}
	return f.goes
}

func (in *inside) direction(f *facts) string {
	if !in.sends(f) {
		return goesIn
	}
	recipients := f.plainRecipients()
	outside := func(r string) bool { return !in.domains.holds(r) }
	if len(recipients) == 0 || slices.ContainsFunc(recipients, outside) {
		return goesOut
	}
	return goesInternal
}

func (in *inside) sends(f *facts) bool {
	env := f.msg.Envelope
	switch {
	case env.AuthUser != "" && !in.anonymous:
		return true
	case len(in.networks) > 0 && inNetworks(f.hostAddr(), in.networks):
		return true
	}
	return slices.ContainsFunc(in.listeners, func(l string) bool {
		return l != "" && (l == strings.ToLower(env.Listener) || l == env.ListenerAddr)
	})
}

// timezone reads the zone of the facts about time.
func (s *source) timezone(n ast.Node) *time.Location {
	if n == nil {
		return time.Local
	}
	v, ok := s.scalar(n, "a time zone")
	if !ok {
		return time.Local
	}
	zone, err := time.LoadLocation(v.text)
	if err != nil || v.text == "" {
		s.errorf(v.at, "unknown time zone %.80q; want a name such as Europe/Berlin, or UTC", v.text)
		return time.Local
	}
	return zone
}

// time is when the policy was asked about the message.
func (f *facts) time() time.Time {
	if f.clock.IsZero() {
		f.clock = f.policy.now()
	}
	return f.clock
}

// now is the same in the zone of the policy.
func (f *facts) now() time.Time {
	if f.policy.zone == nil {
		return f.time()
	}
	return f.time().In(f.policy.zone)
}

// weekdays are what the fact weekday may be.
var weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

func (f *facts) weekday() string { return strings.ToLower(f.now().Weekday().String()) }

// Results of SPF and DMARC, which are checks in these areas.
var (
	spfResults   = []string{"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}
	dmarcResults = []string{"none", "pass", "fail", "quarantine", "reject", "temperror", "permerror"}
)

// resultOf is the last of these results that is found as a check of an area; empty if none is.
func (f *facts) resultOf(area string, results []string) (string, error) {
	out := ""
	for _, x := range f.findings {
		if r, ok := strings.CutPrefix(x.Check, area); ok && slices.Contains(results, r) {
			out = r
		}
	}
	return out, f.spend(perMatch * len(f.findings))
}

// domainOf is the domain with which the details of these checks begin, behind one of these words.
func (f *facts) domainOf(area string, words ...string) (string, error) {
	for _, x := range f.findings {
		if !strings.HasPrefix(x.Check, area) {
			continue
		}
		for _, word := range words {
			if d, ok := detailDomain(x.Detail, word); ok {
				return d, f.spend(perMatch * len(f.findings))
			}
		}
	}
	return "", f.spend(perMatch * len(f.findings))
}

// signers are the domains whose signatures are good, each once.
func (f *facts) signers() ([]string, error) {
	var out []string
	for _, x := range f.findings {
		if x.Check != "signed/dkim-pass" {
			continue
		}
		if d, ok := detailDomain(x.Detail, "d="); ok && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out, f.spend(perMatch * len(f.findings))
}

// detailDomain is the domain in a detail such as "d=example.org s=a" or "smtp.mailfrom=example.org: why".
func detailDomain(detail, word string) (string, bool) {
	rest, ok := strings.CutPrefix(detail, word)
	if !ok {
		return "", false
	}
	if i := strings.IndexAny(rest, " :"); i >= 0 {
		rest = rest[:i]
	}
	return strings.ToLower(rest), rest != "" && rest != "?"
}

// isEncrypted reports whether what is in the part can only be read with a key or a password, whether that
// was found or not.
func (p *part) isEncrypted() (bool, error) {
	return slices.ContainsFunc(p.findings, func(f *finding) bool {
		_, what, _ := strings.Cut(f.Check, "/")
		return what == "encrypted" || strings.HasSuffix(what, "-encrypted") || strings.HasPrefix(what, "password-")
	}), p.facts.spend(perMatch * len(p.findings))
}

const (
	// maxText is how many bytes of the beginning of a part its text is.
	maxText = 64 << 10
	// maxTextOfAll is how many bytes of texts of parts are kept for one message.
	maxTextOfAll = 32 << 20
)

var errTextOfAll = fmt.Errorf("the texts of its parts have more than %d bytes", maxTextOfAll)

// content is the beginning of the text in the part, in UTF-8; empty if it is no text. It is read when a
// condition asks for it, and then kept.
func (p *part) content() (string, error) {
	if p.textKnown || !p.Leaf() || !p.Is("text") {
		return p.text, nil
	}
	n := int(min(p.Size, maxText))
	if p.facts.textBytes += n; p.facts.textBytes > maxTextOfAll {
		return "", errTextOfAll
	}
	if err := p.facts.spend(n); err != nil {
		return "", err
	}
	p.textKnown = true
	p.text = eml.ToUTF8(p.Charset(), string(p.Head(n)))
	return p.text, nil
}
