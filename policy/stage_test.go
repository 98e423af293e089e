package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

var stageChecks = []eml.Check{{ID: "dns/listed", From: eml.AtConnect}, {ID: "dns/domain-listed", From: eml.AtMail}, {ID: "clamd/malware"}}

func stageEnvelope() *eml.Envelope {
	return &eml.Envelope{
		Client: netip.MustParseAddr("192.0.2.1"), ClientName: "mx.example.org", Helo: "helo.example.org", TLS: "TLSv1.3", AuthUser: "ann",
		Sender: "Ann@Example.ORG", Recipients: []string{"bob@example.net"}, Session: "S1",
	}
}

func TestStages(t *testing.T) {
	found := []eml.Finding{{Check: "dns/listed", Detail: "zen 192.0.2.1 127.0.0.2"}}
	for _, tt := range []struct {
		stage, when string
		want        bool
	}{
		{"connect", `client == "192.0.2.1"`, true},
		{"connect", `client_name endsWith ".example.net"`, false},
		{"connect", `clientIn("192.0.2.0/24")`, true},
		{"connect", `has("dns/listed") and count("dns/listed") == 1`, true},
		{"connect", `any(findings, .check == "dns/listed" and .detail startsWith "zen ")`, true},
		{"connect", `any(findings, .part.id == "1")`, true},
		{"mail", `sender_domain == "example.org" and sender == "Ann@Example.ORG"`, true},
		{"mail", `helo == "helo.example.org" and tls == "TLSv1.3" and auth_user == "ann"`, true},
		{"mail", `has("dns/*")`, true},
		{"rcpt", `recipient == "eve@example.com"`, true},
		{"rcpt", `recipient_domain in ["example.com"] and client == "192.0.2.1"`, true},
		{"rcpt", `recipient == "bob@example.net"`, false},
	} {
		text := fmt.Sprintf("rules:\n- name: x\n  stage: %s\n  then: reject\n  reply: {text: no}\n  when: |\n    %s\n", tt.stage, tt.when)
		p, err := Load("x.yaml", []byte(text), Options{Checks: stageChecks})
		if err != nil {
			t.Error(err)
			continue
		}
		at := ruleStages[tt.stage]
		v := p.DecideAt(at, stageEnvelope(), "Eve@Example.com", found)
		if got := v.Action == Reject; got != tt.want || got && (v.Rule != "x" || v.Reply.Text != "no" || v.Reply.Code != 550) || len(v.Trace) != 1 {
			t.Errorf("%s: %s: %s by %q, %v\n%s", tt.stage, tt.when, v.Action, v.Rule, v.Reply, traceOf(v))
		}
		for _, other := range []eml.Stage{eml.AtConnect, eml.AtMail, eml.AtRcpt, eml.AtData} {
			if p.Asks(other) != (other == at) {
				t.Errorf("%s: rules for %s: %v", tt.stage, other, p.Asks(other))
			}
		}
		// The rule says nothing about the message.
		if v := p.Decide(parse(t, "\nx"), scanners.Report{}); v.Action != Accept || len(v.Trace) != 1 {
			t.Errorf("%s: the message: %s\n%s", tt.stage, v.Action, traceOf(v))
		}
	}
}

func TestRulesOfAStageInTheirOrder(t *testing.T) {
	p := load(t, `rules:
- {name: broken, stage: mail, when: 'int(helo) > 1', then: reject}
- {name: other stage, stage: connect, when: 'true', then: reject}
- {name: message, when: 'true', then: quarantine}
- {name: friend, stage: mail, when: 'client == "192.0.2.1"', then: accept}
- {name: all, stage: mail, when: 'true', then: tempfail}
`)
	env := stageEnvelope()
	v := p.DecideAt(eml.AtMail, env, "", nil)
	if v.Action != Accept || v.Rule != "friend" || !v.Trace[0].Failed || len(v.Trace) != 3 {
		t.Errorf("%s by %q\n%s", v.Action, v.Rule, traceOf(v))
	}
	env.Client = netip.Addr{}
	if v := p.DecideAt(eml.AtMail, env, "", nil); v.Action != TempFail || v.Rule != "all" {
		t.Errorf("%s by %q\n%s", v.Action, v.Rule, traceOf(v))
	}
	if v := p.DecideAt(eml.AtRcpt, env, "a@b", nil); v.Action != Accept || v.Rule != "" {
		t.Errorf("without a rule: %s by %q", v.Action, v.Rule)
	}
}

func TestStagesKnowNoMoreThanIsKnown(t *testing.T) {
	for rule, want := range map[string]string{
		`stage: connect, when: 'sender == ""', then: reject`:                                          `:1:42: "sender" is not known at stage "connect", but from stage "mail" on`,
		`stage: mail, when: 'recipient == ""', then: reject`:                                          `"recipient" is known in rules with "for: recipient" or "stage: rcpt" only`,
		`when: 'recipient == ""', then: reject`:                                                       `"recipient" is known in rules with "for: recipient" or "stage: rcpt" only`,
		`stage: rcpt, when: 'subject == ""', then: reject`:                                            `"subject" is not known at stage "rcpt", but from stage "data" on`,
		`stage: rcpt, when: 'header("X") == ""', then: reject`:                                        `"header" is not known at stage "rcpt"`,
		`stage: rcpt, when: 'unexamined()', then: reject`:                                             `"unexamined" is not known at stage "rcpt"`,
		`stage: rcpt, when: 'hostIn("192.0.2.1")', then: reject`:                                      `"hostIn" is not known`,
		`stage: mail, when: 'any(parts, .member)', then: reject`:                                      `"parts" is not known`,
		`stage: mail, when: 'has("clamd/malware")', then: reject`:                                     `"clamd/malware" is not known at stage "mail", but from stage "data" on`,
		`stage: connect, when: 'has("dns/*")', then: reject`:                                          `"dns/domain-listed" is not known at stage "connect", but from stage "mail" on`,
		`stage: mail, when: 'any(findings, .check == "clamd/malware")', then: reject`:                 `"clamd/malware" is not known`,
		`stage: mail, when: 'any(findings, .check in ["dns/listed", "clamd/malware"])', then: reject`: `"clamd/malware" is not known`,
		`stage: rset, when: 'true', then: reject`:                                                     `unknown stage "rset"`,
		`stage: mail, when: 'true', then: quarantine`:                                                 `at stage "mail" the action must be accept, tempfail or reject`,
		`stage: mail, when: 'true', then: discard`:                                                    `at stage "mail" the action must be`,
		`stage: mail, when: 'true', do: [hold]`:                                                       `at stage "mail" there is nothing to change`,
		`stage: mail, for: part, when: 'true', then: reject`:                                          `at stage "mail" there are no parts`,
	} {
		_, err := Load("x.yaml", []byte("rules: [{name: x, "+rule+"}]"), Options{Checks: stageChecks})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", rule, err, want)
		}
	}
}
