package engine

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/policy"
	"rastel/sanitize/eml"
)

// metrics are what is counted of the messages that were judged.
type metrics struct {
	messages   *prometheus.CounterVec
	seconds    prometheus.Histogram
	bytes      prometheus.Counter
	findings   *prometheus.CounterVec
	unexamined *prometheus.CounterVec
	parts      *prometheus.CounterVec
	early      *prometheus.CounterVec
	watched    *prometheus.CounterVec
	notices    *prometheus.CounterVec

	mu    sync.Mutex
	rules map[string]bool // that watched has a label for
}

// maxWatched is how many rules are counted by their names; a policy has at most so many, but it may be loaded anew
// with others.
const maxWatched = 1000

// otherRules counts all rules beyond that.
const otherRules = "(others)"

// countWatched counts the rules that would have done something and only watch.
func (m *metrics) countWatched(v *policy.Verdict) {
	for _, w := range v.AllWatched() {
		m.watched.WithLabelValues(m.ruleLabel(w.Rule)).Inc()
	}
}

func (m *metrics) ruleLabel(rule string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.rules[rule] && len(m.rules) >= maxWatched {
		return otherRules
	}
	m.rules[rule] = true
	return rule
}

// newMetrics registers them; without a registry they are counted for nobody.
func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_messages_total", Help: "Messages that were judged, by action.",
		}, []string{"action"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rastel_message_duration_seconds", Help: "From the first byte of a message to its verdict.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rastel_message_bytes_total", Help: "Bytes of messages that were judged.",
		}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_findings_total", Help: "Messages with findings of a check.",
		}, []string{"check"}),
		unexamined: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_unexamined_total", Help: "Messages of which something was not examined: temporary (a scanner was down) or permanent (encrypted, beyond a limit).",
		}, []string{"kind"}),
		parts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_engine_parts_total", Help: "Parts with content that an engine has examined, or not.",
		}, []string{"engine", "examined"}),
		early: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_stage_refusals_total", Help: "Sessions, messages and recipients that were refused before there was a message, by stage and action.",
		}, []string{"stage", "action"}),
		watched: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_policy_watched_total", Help: "Messages (or sessions, or recipients) with which a rule would have done something, but only watches, by rule.",
		}, []string{"rule"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rastel_notices_total", Help: "Notices about messages that were queued, or left out because there were too many.",
		}, []string{"outcome"}),
		rules: map[string]bool{},
	}
	if r != nil {
		r.MustRegister(m.messages, m.seconds, m.bytes, m.findings, m.unexamined, m.parts, m.early, m.watched, m.notices)
	}
	return m
}

// refused counts what is refused at a stage.
func (m *metrics) refused(at eml.Stage, v *policy.Verdict) {
	m.early.WithLabelValues(at.String(), v.Action.String()).Inc()
}

// count counts a message. Checks, engines and actions are words of ours, so there are few labels.
func (m *metrics) count(x *Examination, took time.Duration) {
	m.messages.WithLabelValues(x.Verdict.Action.String()).Inc()
	m.countWatched(x.Verdict)
	m.seconds.Observe(took.Seconds())
	m.bytes.Add(float64(x.Message.Size))
	checks := map[string]bool{}
	for _, f := range x.Report.Findings {
		checks[f.Check] = true
	}
	for c := range checks {
		m.findings.WithLabelValues(c).Inc()
	}
	kinds := map[string]bool{}
	for _, u := range x.Report.Unexamined {
		if u.Temporary {
			kinds["temporary"] = true
		} else {
			kinds["permanent"] = true
		}
	}
	for k := range kinds {
		m.unexamined.WithLabelValues(k).Inc()
	}
	for _, l := range x.Report.Looks {
		examined := "no"
		if l.Examined {
			examined = "yes"
		}
		m.parts.WithLabelValues(l.Engine, examined).Inc()
	}
}
