package policytest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// words is a scanner for which a part that says "bad" is bad.
type words struct{}

func (words) Checks() []eml.Check { return []eml.Check{{ID: "words/bad", Doc: "It says so."}} }

func (words) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	text, err := io.ReadAll(p.Content())
	if err == nil && bytes.Contains(text, []byte("bad")) {
		return []eml.Finding{{Check: "words/bad", Detail: "bad"}}, nil
	}
	return nil, err
}

const rules = `
timezone: Europe/Berlin
rules:
  - {name: neighbour, stage: connect, when: 'has("dns/listed")', then: reject}
  - {name: eve, stage: rcpt, when: 'recipient == "eve@example.net"', then: reject, reply: {text: "Eve is gone"}}
  - {name: old, for: recipient, when: 'recipient == "old@example.net"', do: [{redirect: new@example.net}]}
  - {name: malware, when: 'has("clamd/malware")', then: quarantine}
  - {name: bad, for: part, when: 'part.has("words/bad")', do: [{add_header: {name: X-Bad, value: "yes"}}, hold]}
  - {name: user, when: 'auth_user == "ann" and helo == "h" and client == "192.0.2.1"', then: discard}
  - {name: later, when: 'unexamined("temporary")', then: tempfail}
  - {name: watching, mode: watch, when: 'has("words/bad")', then: reject}
  - {name: desk, for: recipient, when: 'recipient_domain == "desk.example"', then: quarantine, class: desk}
  - {name: moved, for: recipient, when: 'recipient == "adam@example.net"', do: [{redirect: zoe@example.net}]}
  - {name: night, when: 'subject == "night" and hour < 6 and weekday == "wednesday"', then: discard}
  - {name: engine, when: 'subject == "engine" and all(parts, .examinedBy("clamd"))', then: accept}
`

func newRunner() *Runner {
	set := scanners.NewSet(scanners.Options{}, scanners.Named{Name: "words", Scanner: words{}})
	return &Runner{Engine: engine.New(engine.Options{Set: set}), Checks: []eml.Check{{ID: "clamd/malware"}, {ID: "dns/listed"}, {ID: "clamd/limit"}}}
}

// run runs a case by the rules.
func run(t *testing.T, header, message string) ([]string, error) {
	t.Helper()
	p, err := policy.Load("test", []byte(rules), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("a.case", []byte("why: x\n"+header+"\n\n"+message))
	if err != nil {
		t.Fatal(err)
	}
	return newRunner().Run(t.Context(), p, c)
}

const (
	good = "Subject: x\n\nhello\n"
	bad  = "Subject: x\n\nbad\n"
)

func TestCasesThatPass(t *testing.T) {
	for _, tt := range []struct{ header, message string }{
		{"expect: accept, unchanged\nsame: 1 all\nstays: hello\ngone: bad\nunmatched: bad", good},
		{"expect: accept, patched, held\nfinding: words/bad 1\nfinding: words/bad\nmatched: bad\nstays: X-Bad: yes\nsame: 1 body", bad},
		{"recipient: bob@example.net\nrecipient: ann@desk.example\nexpect: accept, unchanged\noutcome: ann@desk.example quarantine\noutcome: bob@example.net accept\nremoved: ann@desk.example\nclass: desk\nmatched: desk", good},
		{"recipient: adam@example.net\nexpect: accept\nadded: zoe@example.net\nremoved: adam@example.net", good},
		{"expect: accept\nwatched: watching\nwatched: watching: reject", bad},
		{"given: clamd/malware 1 X\nexpect: quarantine\nrule: malware\nfinding: clamd/malware 1", good},
		{"given: clamd/malware\nexpect: quarantine", good},
		{"given: dns/listed\nexpect: reject\nrule: neighbour", good},
		{"auth_user: ann\nhelo: h\nclient: 192.0.2.1\nexpect: discard", good},
		{"unexamined: 1 temporary clamd is away\nexpect: tempfail\nrule: later\nfinding: scan/failed 1", good},
		{"unexamined: 1 it is broken\nexpect: quarantine", good},
		{"given: clamd/limit 1\nexpect: quarantine", good}, // by default, because it was not examined
		{"engine: clamd\nrule: engine\nexpect: accept", "Subject: engine\n\nx\n"},
		{"time: 2026-11-25T03:00:00Z\nexpect: discard\nrule: night", "Subject: night\n\nx\n"},
		{"time: 2026-11-25T05:30:00Z\nexpect: accept", "Subject: night\n\nx\n"}, // it is half past six in Berlin
		{"time: 2026-11-26T03:00:00+01:00\nexpect: accept", "Subject: night\n\nx\n"},
		{"expect: accept\nunmatched: engine", "Subject: engine\n\nx\n"},
		{"recipient: bob@example.net\nrecipient: old@example.net\n" + "to: bob@example.net new@example.net", good},
		{"recipient: bob@example.net\nauth_user: ann\nhelo: h\nclient: 192.0.2.1\nto: nobody", good},
		{"recipient: bob@example.net\nrecipient: <eve@example.net>\noutcome: bob@example.net accept, unchanged\noutcome: eve@example.net reject", good},
		{"recipient: eve@example.net\nexpect: reject\nrule: eve\nreply: 550 5.7.1 Eve is gone", good},
	} {
		if failures, err := run(t, tt.header, tt.message); err != nil || len(failures) > 0 {
			t.Errorf("%s\n%q, %v", tt.header, failures, err)
		}
	}
}

func TestFailuresSayWhatWasWantedAndWhatIsThere(t *testing.T) {
	for _, tt := range []struct{ header, message, want string }{
		{"expect: quarantine", good, `a.case:2: want expect: quarantine; got accept, unchanged, and no rule decides; findings: nothing`},
		{"expect: quarantine", bad, `a.case:2: want expect: quarantine; got accept, patched, held, and no rule decides; findings: words/bad 1`},
		{"given: clamd/malware 1\nexpect: accept", good, `a.case:3: want expect: accept; got quarantine, unchanged by rule "malware"; findings: clamd/malware 1`},
		{"rule: bad", good, `a.case:2: want rule: bad; got accept, and no rule decides; findings: nothing`},
		{"given: clamd/malware 1\nrule: bad", good, `a.case:3: want rule: bad; got quarantine by rule "malware"`},
		{"matched: bad", good, `a.case:2: want matched: bad; got it does not hold: not true: part.has("words/bad")`},
		{"unmatched: bad", bad, `a.case:2: want unmatched: bad; got it holds: words/bad in 1`},
		{"finding: words/bad", good, `a.case:2: want finding: words/bad; got nothing`},
		{"stays: welcome", good, `a.case:2: want stays: welcome; got it is not in what is delivered, and no rule decides`},
		{"given: clamd/malware 1\nstays: hello", good, `a.case:3: want stays: hello; got quarantine by rule "malware", so nothing is delivered`},
		{"gone: hello", good, `a.case:2: want gone: hello; got it is still delivered, and no rule decides`},
		{"same: 1 header", bad, `a.case:2: want same: 1 header; got "Subject: x\r\nX-Bad: yes\r\n", it was "Subject: x\r\n"`},
		{"watched: watching: discard", bad, `a.case:2: want watched: watching: discard; got watching: reject`},
		{"recipient: bob@example.net\nrecipient: ann@desk.example\noutcome: ann@desk.example accept", good, `a.case:4: want outcome: ann@desk.example accept; got quarantine, unchanged by rule "desk"`},
		{"recipient: adam@example.net\nadded: eve@example.net", good, `a.case:3: want added: eve@example.net; got zoe@example.net`},
		{"removed: eve@example.net", good, `a.case:2: want removed: eve@example.net; got nothing`},
		{"watched: watching", good, `a.case:2: want watched: watching; got nothing`},
		{"class: virus", good, `a.case:2: want class: virus; got nothing`},
		{"reply: hello", good, `a.case:2: want reply: hello; got the reply that accept has by default`},
		{"recipient: eve@example.net\nreply: bye", good, `a.case:3: want reply: bye; got 550 5.7.1 Eve is gone`},
		{"recipient: bob@example.net\n" + "to: nobody", good, `a.case:3: want to: nobody; got bob@example.net`},
		{"recipient: bob@example.net\ngiven: clamd/malware 1\nto: bob@example.net", good, `a.case:4: want to: bob@example.net; got nobody by rule "malware"`},
		{"recipient: bob@example.net\noutcome: bob@example.net reject", good, `a.case:3: want outcome: bob@example.net reject; got accept, unchanged, and no rule decides`},
	} {
		failures, err := run(t, tt.header, tt.message)
		if err != nil || !slices.Equal(failures, []string{tt.want}) {
			t.Errorf("%s\ngot  %q, %v\nwant %q", tt.header, failures, err, tt.want)
		}
	}
}

func TestCasesThatCannotBeRun(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"given: clamd/malwar 1\nexpect: accept", `a.case:2: given: there is no check "clamd/malwar"; did you mean "clamd/malware"?`},
		{"given: clamd/malware 1.7\nexpect: accept", `a.case: line 2: there is no part "1.7" in the message; there are 1`},
		{"rule: x\nmatched: bda", `a.case:3: matched: there is no rule "bda"`},
		{"unmatched: bda", `a.case:2: unmatched: there is no rule "bda"`},
		{"same: 1.7 all", `a.case:2: same: there is no part "1.7" in the message`},
		{"outcome: bob@example.net accept", `a.case:2: outcome: "bob@example.net" is no recipient of the case`},
	} {
		if failures, err := run(t, tt.header, good); err == nil || err.Error() != tt.want {
			t.Errorf("%s\n%q, got %v\nwant %s", tt.header, failures, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := Parse("a.case", []byte(head+"\n"+good))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newRunner().Run(ctx, policy.Default(), c); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("after the end: %v", err)
	}
}

// TestSecondPass: a policy that changes what it has changed is told of, if that is asked for.
func TestSecondPass(t *testing.T) {
	p, err := policy.Load("test", []byte("rules: [{name: a, when: 'not (subject startsWith \"b\")', do: [{tag_subject: \"a\"}]}, {name: b, when: 'subject startsWith \"a\"', do: [{tag_subject: \"b\"}]}]"), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("a.case", []byte(head+"\n"+good))
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner()
	r.Twice = true
	if failures, err := r.Run(t.Context(), p, c); err != nil || len(failures) != 1 || !strings.Contains(failures[0], "a second pass changes") {
		t.Errorf("got %q, %v", failures, err)
	}
}
