package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/cmd/rastel/api"
	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/journal"
	"rastel/policy/quarantine/sqlindex"
)

// openJournal puts the journal before the index and the messages of opt, where one of them is shared.
func openJournal(cfg quarantine.Config, opt *quarantine.Options) (*journal.Journal, error) {
	if cfg.Index.Postgres == "" && !cfg.S3.Enabled() {
		return nil, nil
	}
	dir := cfg.JournalDir()
	jopt := journal.Options{Config: cfg.Journal, Dir: dir, Index: opt.Index, Blobs: opt.Blobs, Log: opt.Log}
	if cfg.S3.Enabled() {
		keys, err := blobKeys(cfg.Encryption)
		if err != nil {
			return nil, err
		}
		if jopt.LocalBlobs, err = blob.Open(filepath.Join(dir, "messages"), blob.Options{Keys: keys}); err != nil {
			return nil, err
		}
	}
	local, err := sqlindex.Open(filepath.Join(dir, "index.db"))
	if err != nil {
		return nil, err
	}
	jopt.LocalIndex = local
	j, err := journal.Open(jopt)
	if err != nil {
		return nil, errors.Join(err, local.Close())
	}
	opt.Index, opt.Blobs = j.Index(), j.Blobs()
	return j, nil
}

// journalReady tells what waits in the journal. Mail flows with it, until it is full.
func journalReady(j *journal.Journal) api.Check {
	st := j.Stats()
	c := api.Check{Name: "journal", OK: st.Items == 0 && st.Trouble == nil, Optional: !st.Full, Detail: "empty"}
	if st.Items > 0 {
		c.Detail = fmt.Sprintf("%d messages, %d bytes, since %s", st.Items, st.Bytes, st.Oldest.Format(time.RFC3339))
	}
	if st.Full {
		c.Detail += ", full: what is to be held is refused"
	}
	if st.Trouble != nil {
		c.Detail += ": " + st.Trouble.Error()
	}
	return c
}

// journalMetrics tells in /metrics what waits in the journal.
type journalMetrics struct{ journal *journal.Journal }

// Describe implements prometheus.Collector.
func (m journalMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m journalMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.journal.Stats()
	age, reached := 0.0, 1.0
	if !st.Oldest.IsZero() {
		age = max(0, time.Since(st.Oldest).Seconds())
	}
	if st.Trouble != nil {
		reached = 0
	}
	for _, v := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      float64
	}{
		{"rastel_journal_messages", "Held messages that wait in the local journal for the shared index.", prometheus.GaugeValue, float64(st.Items)},
		{"rastel_journal_size_bytes", "Bytes of those messages, as they were received.", prometheus.GaugeValue, float64(st.Bytes)},
		{"rastel_journal_oldest_seconds", "For how long the oldest of them has been waiting; 0 if there is none.", prometheus.GaugeValue, age},
		{"rastel_journal_reached", "Whether the shared index and the shared messages could be reached when they were last tried.", prometheus.GaugeValue, reached},
		{"rastel_journal_drained_total", "Messages that were handed on from the journal.", prometheus.CounterValue, float64(st.Drained)},
		{"rastel_journal_refused_total", "Messages that were refused because the journal was full.", prometheus.CounterValue, float64(st.Refused)},
	} {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(v.name, v.help, nil, nil), v.kind, v.value)
	}
}
