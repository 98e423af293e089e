package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/policy/quarantine"
)

// outboxMetricsTime is how long the index may take to tell how much is queued.
const outboxMetricsTime = 5 * time.Second

// outboxMetrics tells in /metrics of what the filter itself has to send.
type outboxMetrics struct{ store *quarantine.Store }

// Describe implements prometheus.Collector.
func (m outboxMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m outboxMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), outboxMetricsTime)
	defer cancel()
	st, err := m.store.Outbox(ctx)
	age := 0.0
	if !st.Oldest.IsZero() {
		age = max(0, time.Since(st.Oldest).Seconds())
	}
	for _, v := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      float64
	}{
		{"rastel_outbox_messages", "Messages that the filter itself is to send, and has not sent yet.", prometheus.GaugeValue, float64(st.Queued)},
		{"rastel_outbox_oldest_seconds", "For how long the oldest of them has been waiting; 0 if there is none.", prometheus.GaugeValue, age},
		{"rastel_outbox_sent_total", "Messages that the filter itself has sent.", prometheus.CounterValue, float64(st.Sent)},
		{"rastel_outbox_failed_tries_total", "Tries to send such a message that failed.", prometheus.CounterValue, float64(st.Failed)},
		{"rastel_outbox_held_total", "Such messages that were given up and held instead.", prometheus.CounterValue, float64(st.Held)},
	} {
		d := prometheus.NewDesc(v.name, v.help, nil, nil)
		if err != nil && v.kind == prometheus.GaugeValue {
			ch <- prometheus.NewInvalidMetric(d, err)
			continue
		}
		ch <- prometheus.MustNewConstMetric(d, v.kind, v.value)
	}
}
