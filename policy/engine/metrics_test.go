package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

func TestJudgedMessagesAreCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) { opt.Metrics = r })
	for _, raw := range []string{"Subject: a\n\nhello\n", "Subject: b\n\nhello\n", "Subject: c\n\nbad\n", "Subject: d\n\nlater\n", "Subject: e\n\nbroken\n"} {
		w.judge(t, raw)
	}
	const want = `
# HELP rastel_messages_total Messages that were judged, by action.
# TYPE rastel_messages_total counter
rastel_messages_total{action="accept"} 2
rastel_messages_total{action="quarantine"} 2
rastel_messages_total{action="tempfail"} 1
# HELP rastel_findings_total Messages with findings of a check.
# TYPE rastel_findings_total counter
rastel_findings_total{check="scan/failed"} 2
rastel_findings_total{check="words/bad"} 1
# HELP rastel_unexamined_total Messages of which something was not examined: temporary (a scanner was down) or permanent (encrypted, beyond a limit).
# TYPE rastel_unexamined_total counter
rastel_unexamined_total{kind="permanent"} 1
rastel_unexamined_total{kind="temporary"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "rastel_messages_total", "rastel_findings_total", "rastel_unexamined_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestWatchedRulesAreCounted: by rule, of messages and of sessions, and no more labels than there may be.
func TestWatchedRulesAreCounted(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("rules:\n- {name: mail, stage: mail, mode: watch, when: true, then: reject}\n- {name: bad, mode: watch, when: 'has(\"words/bad\")', then: quarantine}\n")
	p, err := policy.Load("test", []byte(rules.String()), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	w := newWorld(t, quarantine.Config{}, func(opt *engine.Options) {
		opt.Metrics, opt.Policy = r, func() *policy.Policy { return p }
	})
	if v := w.Stages()(t.Context(), eml.AtMail, envelope(), ""); v != nil {
		t.Errorf("at MAIL: %v", v.Action)
	}
	for range 2 {
		if v, _ := w.judge(t, "Subject: c\n\nbad\n"); v.Action != policy.Accept {
			t.Errorf("got %v", v.Action)
		}
	}
	w.judge(t, "Subject: c\n\ngood\n")
	const want = `
# HELP rastel_policy_watched_total Messages (or sessions, or recipients) with which a rule would have done something, but only watches, by rule.
# TYPE rastel_policy_watched_total counter
rastel_policy_watched_total{rule="bad"} 2
rastel_policy_watched_total{rule="mail"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "rastel_policy_watched_total"); err != nil {
		t.Error(err)
	}
	if log := w.log.String(); strings.Count(log, "watched=bad") != 2 || !strings.Contains(log, "msg=watched") || len(w.held(t)) != 0 {
		t.Errorf("log:\n%s", log)
	}
	for i := range 20 { // a policy that is loaded anew again and again, with other rules
		var text strings.Builder
		text.WriteString("mode: watch\nrules:\n")
		for j := range 100 {
			fmt.Fprintf(&text, "- {name: r%d, when: true, do: [{add_header: {name: X-A, value: b}}]}\n", i*100+j)
		}
		if p, err = policy.Load("test", []byte(text.String()), policy.Options{}); err != nil {
			t.Fatal(err)
		}
		w.judge(t, "Subject: c\n\ngood\n")
	}
	if n, err := testutil.GatherAndCount(r, "rastel_policy_watched_total"); err != nil || n != 1001 {
		t.Errorf("%d labels, %v; want 1000, and one for all others", n, err)
	}
}
