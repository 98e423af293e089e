package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	readyTime = 5 * time.Second // for all checks together
	readyKeep = time.Second     // for which their result is good
)

func health(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// metrics answers in the text format of Prometheus.
func metrics(g prometheus.Gatherer) call {
	h := promhttp.HandlerFor(g, promhttp.HandlerOpts{})
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// A readiness makes the checks at most once in readyKeep: anybody may ask, and an answer costs
// a connection to clamd.
type readiness struct {
	check func(context.Context) []Check
	mu    sync.Mutex
	made  time.Time
	last  Readiness
}

func (d *readiness) serve(w http.ResponseWriter, r *http.Request) error {
	res := d.get(r.Context())
	status := http.StatusOK
	if !res.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, res)
	return nil
}

func (d *readiness) get(ctx context.Context) Readiness {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.check == nil {
		return Readiness{Checks: []Check{}}
	}
	if !d.made.IsZero() && time.Since(d.made) < readyKeep {
		return d.last
	}
	// The result is for others too, so one that hangs up must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTime)
	defer cancel()
	checks := d.check(ctx)
	failed := slices.ContainsFunc(checks, func(c Check) bool { return !c.OK && !c.Optional })
	d.last, d.made = Readiness{Ready: !failed, Checks: checks}, time.Now()
	return d.last
}
