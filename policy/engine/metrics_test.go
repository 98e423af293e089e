package engine_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"rastel/policy/engine"
	"rastel/policy/quarantine"
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
