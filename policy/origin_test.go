package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const insidePolicy = `
networks: {ours: [198.51.100.0/24]}
inside:
  networks: [ours, "2001:db8::/32"]
  listeners: [submission, 192.0.2.25]
  domains: [example.net, .example.com]
rules:
`

func TestDirection(t *testing.T) {
	here, there := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("203.0.113.9")
	ours, theirs, both := []string{"bob@example.net", "eve@mail.EXAMPLE.com"}, []string{"x@example.org"}, []string{"bob@example.net", "x@example.org"}
	for _, tt := range []struct {
		policy string
		env    eml.Envelope
		want   string
	}{
		{insidePolicy, eml.Envelope{Client: there, Recipients: ours}, "in"},
		{insidePolicy, eml.Envelope{Client: there, Recipients: theirs}, "in"},
		{insidePolicy, eml.Envelope{Client: here, Recipients: ours}, "internal"},
		{insidePolicy, eml.Envelope{Client: here, Recipients: theirs}, "out"},
		{insidePolicy, eml.Envelope{Client: here, Recipients: both}, "out"},
		{insidePolicy, eml.Envelope{Client: here}, "out"},
		{insidePolicy, eml.Envelope{Client: netip.MustParseAddr("2001:db8::1"), Recipients: ours}, "internal"},
		{insidePolicy, eml.Envelope{Client: there, AuthUser: "ann", Recipients: theirs}, "out"},
		{insidePolicy, eml.Envelope{Client: there, AuthUser: "ann", Recipients: ours}, "internal"},
		{insidePolicy, eml.Envelope{Client: there, Listener: "Submission", Recipients: theirs}, "out"},
		{insidePolicy, eml.Envelope{Client: there, Listener: "smtpd", Recipients: theirs}, "in"},
		{insidePolicy, eml.Envelope{Client: there, ListenerAddr: "192.0.2.25", Recipients: ours}, "internal"},
		{"inside: {authenticated: no, domains: [example.net]}\nrules:\n", eml.Envelope{Client: here, AuthUser: "ann", Recipients: theirs}, "in"},
		{"rules:\n", eml.Envelope{Client: here, Recipients: ours}, "in"},
		{"rules:\n", eml.Envelope{AuthUser: "ann", Recipients: ours}, "out"},
		{"rules:\n", eml.Envelope{}, "in"},
	} {
		m := parse(t, "\nx")
		m.Envelope = &tt.env
		p := load(t, tt.policy+"- {name: x, then: discard, when: 'direction == \""+tt.want+"\"'}")
		if v := p.Decide(m, scanners.Report{}); v.Action != Discard {
			t.Errorf("%+v: not %s\n%s", tt.env, tt.want, traceOf(v))
		}
	}
}

// TestDirectionIsThatOfTheHost: behind a relay of ours the client says nothing.
func TestDirectionIsThatOfTheHost(t *testing.T) {
	p, err := Load("x.yaml", []byte(insidePolicy+"- {name: x, then: discard, when: direction == \"in\"}"), Options{
		Host: func(*eml.Message) netip.Addr { return netip.MustParseAddr("203.0.113.9") },
	})
	if err != nil {
		t.Fatal(err)
	}
	m := parse(t, "\nx")
	m.Envelope = &eml.Envelope{Client: netip.MustParseAddr("198.51.100.7")}
	if v := p.Decide(m, scanners.Report{}); v.Action != Discard {
		t.Errorf("got %s\n%s", v.Action, traceOf(v))
	}
}

func TestTimeIsThatOfThePolicy(t *testing.T) {
	asked := 0
	now := func() time.Time { asked++; return time.Date(2026, 11, 27, 23, 30, 0, 0, time.UTC) }
	for _, tt := range []struct{ policy, when string }{
		{"timezone: UTC\n", `date == "2026-11-27" and time == "23:30" and hour == 23 and weekday == "friday"`},
		{"timezone: Europe/Berlin\n", `date == "2026-11-28" and time == "00:30" and hour == 0 and weekday == "saturday"`},
		{"timezone: America/New_York\n", `time >= "18:00" and time < "19:00" and weekday not in ["saturday", "sunday"]`},
	} {
		asked = 0
		p, err := Load("x.yaml", []byte(tt.policy+"rules: [{name: x, then: discard, when: '"+tt.when+"'}]"), Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if v := p.Decide(parse(t, "\nx"), scanners.Report{}); v.Action != Discard || asked != 1 {
			t.Errorf("%s: got %s, asked %d times\n%s", tt.policy, v.Action, asked, traceOf(v))
		}
		asked = 0
		p = load(t, `rules: [{name: x, then: discard, when: 'size > 0'}]`)
		p.now = now
		if p.Decide(parse(t, "\nx"), scanners.Report{}); asked != 0 {
			t.Error("the time is asked for though no rule needs it")
		}
	}
}

func TestResultsOfAuthentication(t *testing.T) {
	m := parse(t, "\nx")
	r := scanners.Report{Findings: []eml.Finding{
		{Check: "signed/dkim-fail", Detail: "d=evil.example s=a: body hash did not verify"},
		{Check: "signed/dkim-pass", Detail: "d=Example.ORG s=a"},
		{Check: "signed/dkim-pass", Detail: "d=? s=a"},
		{Check: "signed/dkim-pass", Detail: "d=list.example.net s=b"},
		{Check: "signed/dkim-pass", Detail: "d=example.org s=c"},
		{Check: "spf/softfail", Detail: "smtp.mailfrom=example.org: because"},
		{Check: "dmarc/fail", Detail: "header.from=example.com: p=reject"},
		{Check: "dmarc/reject", Detail: "header.from=example.com"},
	}}
	bounce := scanners.Report{Findings: []eml.Finding{{Check: "spf/pass", Detail: "smtp.helo=mx.example.org"}}}
	for _, tt := range []struct {
		r    scanners.Report
		when string
	}{
		{r, `dkim_domains == ["example.org", "list.example.net"]`},
		{r, `spf == "softfail" and spf_domain == "example.org"`},
		{r, `dmarc == "reject" and dmarc_domain == "example.com"`},
		{bounce, `spf == "pass" and spf_domain == "mx.example.org" and dmarc == "" and dmarc_domain == "" and len(dkim_domains) == 0`},
		{scanners.Report{}, `spf == "" and spf_domain == ""`},
	} {
		p, err := Load("x.yaml", []byte("rules:\n- name: x\n  then: discard\n  when: |\n    "+tt.when), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v := p.Decide(m, tt.r); v.Action != Discard {
			t.Errorf("%s: got %s\n%s", tt.when, v.Action, traceOf(v))
		}
	}
}

func TestTextOfParts(t *testing.T) {
	m := parse(t, "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n"+
		"--b\nContent-Type: text/plain\n\n"+strings.Repeat("a", maxText)+"needle\n--b\nContent-Type: image/png\n\n\x89PNG\r\n\x1a\nGr\n--b--\n")
	for when, want := range map[string]string{
		`part.text contains "Grüße"`:  "1.1",
		`part.text contains "aaaa"`:   "1.2",
		`part.text contains "needle"`: "",
		`part.text == ""`:             "1 1.3",
	} {
		p := load(t, "rules:\n- name: x\n  for: part\n  do: [hold]\n  when: |\n    "+when)
		var got []string
		for _, s := range p.Decide(m, scanners.Report{}).Trace {
			if s.Rule == "x" && s.Matched {
				got = append(got, s.Part)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: holds for %q, want %q", when, s, want)
		}
	}
}

func TestTextsOfManyPartsFail(t *testing.T) {
	m := parse(t, "Content-Type: multipart/mixed; boundary=b\n\n"+strings.Repeat("--b\n\n"+strings.Repeat("a", maxText)+"\n", maxTextOfAll/maxText+1))
	p := load(t, `rules: [{name: x, for: part, do: [hold], when: 'part.text contains "b"'}]`)
	if v := p.Decide(m, scanners.Report{}); v.Action != TempFail || !strings.Contains(traceOf(v), "the texts of its parts have more than") {
		t.Errorf("got %s\n%.1000s", v.Action, traceOf(v))
	}
}
