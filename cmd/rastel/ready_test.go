package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/scanners/clamd"
)

func TestTellsOfEachClamd(t *testing.T) {
	c, err := clamd.New(clamd.Config{Addresses: []string{"unix:/nowhere/at/all", "unix:/nowhere/else"}, MaxDatabaseAge: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checks := clamdReady(t.Context(), c)
	if len(checks) != 3 || checks[0].OK || checks[0].Optional || checks[0].Detail != "0 of 2 up" {
		t.Fatalf("got %+v, want that none of two is up", checks)
	}
	for _, one := range checks[1:] {
		if one.OK || !one.Optional || !strings.HasPrefix(one.Detail, "down: ") {
			t.Errorf("got %+v, want one that is down", one)
		}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(clamdMetrics{c})
	families, err := r.Gather()
	if err != nil || len(families) != 4 {
		t.Fatalf("got %v, %v, want four metrics", families, err)
	}
	for _, f := range families {
		if len(f.Metric) != 2 || f.GetName() == "rastel_clamd_up" && f.Metric[0].GetGauge().GetValue() != 0 {
			t.Errorf("got %v, want one for each clamd", f)
		}
	}
	if got := clamdReady(context.Background(), nil); len(got) != 1 || !got[0].OK {
		t.Errorf("got %+v without any clamd, want that all is well", got)
	}
}
