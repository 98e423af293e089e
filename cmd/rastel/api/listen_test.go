package api_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"rastel/cmd/rastel/api"
	"rastel/policy/quarantine"
)

func TestPublicPartShowsOnlyHealthAndCounts(t *testing.T) {
	r := newRig(t, "")
	it := r.hold(t, message, nil)
	counts := prometheus.NewRegistry()
	counts.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "rastel_test_total"}))
	h := api.NewPublic(api.Options{Store: r.store, Metrics: counts, Ready: func(context.Context) []api.Check { return nil }})
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v1/quarantine": 404, "/v1/quarantine/" + it.ID: 404, "/v1/quarantine/" + it.ID + "/raw": 404, "/": 404,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("GET %s = %d, want %d", path, w.Code, want)
		}
		if path == "/metrics" && !strings.Contains(w.Body.String(), "\nrastel_test_total 0\n") {
			t.Errorf("GET %s = %q", path, w.Body)
		}
	}
	for _, c := range [][2]string{{"POST", "/v1/quarantine/" + it.ID + "/release"}, {"DELETE", "/v1/quarantine/" + it.ID}} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c[0], c[1], nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("%s %s = %d, want 404", c[0], c[1], w.Code)
		}
	}
	if got, err := r.Get(t.Context(), it.ID); err != nil || got.State != quarantine.Held {
		t.Errorf("Get = %+v, %v; want it held", got, err)
	}
}

func TestReadyzTellsWhatFails(t *testing.T) {
	tests := []struct {
		name  string
		ready func(context.Context) []api.Check
		code  int
		want  string
	}{
		{"no checks", func(context.Context) []api.Check { return []api.Check{} }, 200, `{"ready":true,"checks":[]}`},
		{"all well", func(context.Context) []api.Check { return []api.Check{{Name: "clamd", OK: true, Detail: "1.4"}} }, 200,
			`{"ready":true,"checks":[{"name":"clamd","ok":true,"detail":"1.4"}]}`},
		{"one fails", func(context.Context) []api.Check {
			return []api.Check{{Name: "policy", OK: true}, {Name: "clamd", Detail: "refused"}}
		}, 503,
			`{"ready":false,"checks":[{"name":"policy","ok":true},{"name":"clamd","ok":false,"detail":"refused"}]}`},
		{"nobody checks", nil, 503, `{"ready":false,"checks":[]}`},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		api.NewPublic(api.Options{Ready: tt.ready}).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != tt.code || got != tt.want {
			t.Errorf("%s: %d %s, want %d %s", tt.name, w.Code, got, tt.code, tt.want)
		}
	}
}

func TestReadyzChecksAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h := api.NewPublic(api.Options{Ready: func(ctx context.Context) []api.Check {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the checks have no deadline")
			}
			n++
			return nil
		}})
		ask := func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/readyz", nil)) }
		for range 100 {
			ask()
		}
		if n != 1 {
			t.Errorf("100 calls make %d checks, want 1", n)
		}
		time.Sleep(time.Second)
		ask()
		if n != 2 {
			t.Errorf("a call a second later makes %d checks, want 2", n)
		}
	})
}

func TestSocketIsOursAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	name := filepath.Join(dir, "s")
	l, err := api.ListenUnix(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for f, want := range map[string]os.FileMode{name: 0o600, dir: 0o700} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s = %v, %v; want mode %v", f, info, err, want)
		}
	}
	if _, err := api.ListenUnix(name); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second ListenUnix = %v, want that another process listens", err)
	}
	if c, err := net.Dial("unix", name); err != nil {
		t.Errorf("the first listener is gone: %v", err)
	} else {
		c.Close()
	}
}

func TestReplacesASocketThatACrashHasLeft(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	again, err := api.ListenUnix(name)
	if err != nil {
		t.Fatalf("ListenUnix = %v, want it to replace the socket", err)
	}
	again.Close()
}

func TestRefusesToListenOn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		file:                                  "no socket",
		filepath.Join(file, "s"):              "not a directory",
		"/tmp/" + strings.Repeat("x", 200):    "longer than",
		filepath.Join(dir, "missing\x00name"): "invalid",
	} {
		l, err := api.ListenUnix(name)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ListenUnix(%.100q) = %v, want an error with %q", name, err, want)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v; want it untouched", b, err)
	}
}

func TestRefusesAConfigThatCannotWork(t *testing.T) {
	for _, tt := range []struct {
		cfg  api.Config
		want string
	}{
		{api.Config{}, ""},
		{api.Config{Listen: "[::1]:0", Socket: "/run/s"}, ""},
		{api.Config{Listen: "localhost"}, "api.listen"},
		{api.Config{Listen: "localhost:"}, "api.listen"},
		{api.Config{Socket: strings.Repeat("x", 108)}, "api.socket"},
	} {
		err := tt.cfg.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Validate(%+v) = %v, want %q", tt.cfg, err, tt.want)
		}
	}
}
