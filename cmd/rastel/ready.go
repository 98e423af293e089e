package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/cmd/rastel/api"
	"rastel/scanners/clamd"
)

// clamdReady tells of each clamd whether it can be used, and whether all scans can be done: one must
// be up, and none may have a database that is too old.
func clamdReady(ctx context.Context, c *clamd.Scanner) []api.Check {
	if c == nil {
		return []api.Check{{Name: "clamd", OK: true, Detail: "none found and none configured: no message is scanned for malware"}}
	}
	var each []api.Check
	up, stale := 0, 0
	for _, d := range c.Status(ctx) {
		one := api.Check{Name: "clamd " + d.Address, OK: d.Why == nil && !d.Stale, Optional: true, Detail: clamdDetail(d)}
		if d.Why == nil {
			up++
		}
		if d.Why == nil && d.Stale {
			stale++
		}
		each = append(each, one)
	}
	all := api.Check{Name: "clamd", OK: up > 0 && stale == 0, Detail: fmt.Sprintf("%d of %d up", up, len(each))}
	if stale > 0 {
		all.Detail += fmt.Sprintf(", %d with a database older than max_database_age", stale)
	}
	return append([]api.Check{all}, each...)
}

func clamdDetail(d clamd.Daemon) string {
	if d.Why != nil {
		return d.State + ": " + d.Why.Error()
	}
	text := fmt.Sprintf("%s, %d scans, ClamAV %s", d.State, d.Scans, d.Engine)
	switch {
	case d.Database == "":
		text += ", no official database"
	case d.Built.IsZero():
		text += ", database " + d.Database
	default:
		text += fmt.Sprintf(", database %s, %.1f days old", d.Database, time.Since(d.Built).Hours()/24)
	}
	return text
}

// clamdMetrics tells of each clamd in /metrics, by its number in the configuration, from 1.
type clamdMetrics struct{ *clamd.Scanner }

// Describe implements prometheus.Collector.
func (m clamdMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m clamdMetrics) Collect(ch chan<- prometheus.Metric) {
	for i, d := range m.Daemons() {
		up, built := 0.0, 0.0
		if d.Why == nil {
			up = 1
		}
		if !d.Built.IsZero() {
			built = float64(d.Built.Unix())
		}
		for _, v := range []struct {
			name, help string
			kind       prometheus.ValueType
			value      float64
		}{
			{"rastel_clamd_up", "Whether a clamd answers.", prometheus.GaugeValue, up},
			{"rastel_clamd_scans", "Scans that a clamd has at the moment.", prometheus.GaugeValue, float64(d.Scans)},
			{"rastel_clamd_failed_scans_total", "Scans by a clamd that came to no verdict.", prometheus.CounterValue, float64(d.Failed)},
			{"rastel_clamd_database_timestamp_seconds", "When the database of a clamd was made; 0 if that is not known.", prometheus.GaugeValue, built},
		} {
			ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(v.name, v.help, []string{"daemon"}, nil), v.kind, v.value, strconv.Itoa(i+1))
		}
	}
}
