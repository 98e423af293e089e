package icap

import (
	"archive/zip"
	"bytes"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/scanners/scannertest"
)

// startServers starts a c-icap and the clamd that it asks.
func startServers(t *testing.T, o rig.ClamdOptions) (*rig.ICAP, *rig.Clamd) {
	t.Helper()
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs c-icap and clamd: run contrib/test, or set RASTEL_E2E=1")
	}
	clamd, err := rig.StartClamd(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clamd.Stop() })
	icap, err := rig.StartICAP(rig.ICAPOptions{Clamd: clamd})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { icap.Stop() })
	return icap, clamd
}

func zipped(t *testing.T, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("a.com")
	if err != nil {
		t.Fatal(err)
	}
	f.Write(data)
	w.Close()
	return b.String()
}

func TestRealService(t *testing.T) {
	server, _ := startServers(t, rig.ClamdOptions{Texts: map[string]string{"Deep": "it is here"}})
	s := newScanner(t, Config{Name: "c-icap", URL: server.URL("avscan")})
	for range 2 {
		for _, tt := range []struct{ name, data, want string }{
			{"harmless", "hello", "clean"},
			{"a byte", "x", "clean"},
			{"as long as the preview", strings.Repeat("x", 1024), "clean"},
			{"longer than the preview", strings.Repeat("x", 1025), "clean"},
			{"large", strings.Repeat("0123456789abcdef", 1<<19), "clean"},
			{"EICAR", string(rig.EICAR()), malware},
			{"EICAR in zip", zipped(t, rig.EICAR()), malware},
			{"an image", "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 5000), "clean"},
			{"a signature behind the preview", strings.Repeat("x", 5000) + "it is here", malware},
			{"a signature in an image", "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 5000) + "it is here", malware},
			{"a signature at the end of much", strings.Repeat("0123456789abcdef", 1<<18) + "it is here", malware},
		} {
			findings, err := s.Scan(t.Context(), file(t, tt.data))
			if got := scannertest.Outcome(findings, err); got != tt.want {
				t.Errorf("%s: got %s (%v, %v), want %s", tt.name, got, findings, err, tt.want)
			}
		}
	}
	findings, err := s.Scan(t.Context(), file(t, string(rig.EICAR())))
	if err != nil || len(findings) != 1 || !strings.HasPrefix(findings[0].Detail, "c-icap: Eicar-Test") {
		t.Errorf("got %+v, %v, want the name of the service and of the signature", findings, err)
	}
	detail, err := s.Ping(t.Context())
	if err != nil || !strings.Contains(detail, "C-ICAP") || s.Version() == "" {
		t.Errorf("Ping says %q, %v; version %q", detail, err, s.Version())
	}
	scannertest.Run(t, s)
}

// A service that sends all back is understood as well as one that answers 204.
func TestRealServiceThatSendsBack(t *testing.T) {
	server, _ := startServers(t, rig.ClamdOptions{})
	s := newScanner(t, Config{URL: server.URL("echo")})
	if _, err := s.service.known(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.service.able.allow204, s.service.able.preview = false, -1
	for _, data := range []string{"x", string(rig.EICAR()), strings.Repeat("0123456789abcdef", 1<<18)} {
		findings, err := s.Scan(t.Context(), file(t, data))
		if got := scannertest.Outcome(findings, err); got != "clean" {
			t.Errorf("%d bytes: got %s (%v, %v), want clean", len(data), got, findings, err)
		}
	}
	if got := scannertest.Outcome(newScanner(t, Config{URL: server.URL("nothing")}).Scan(t.Context(), file(t, "x"))); got != "temporary" {
		t.Errorf("a service that is not there: got %s, want temporary", got)
	}
}

func TestRealServiceUnderLoad(t *testing.T) {
	server, _ := startServers(t, rig.ClamdOptions{})
	s := newScanner(t, Config{URL: server.URL("avscan"), Concurrency: 16})
	var wg sync.WaitGroup
	for n := range 200 {
		data, want := strings.Repeat("hello ", n*n), "clean"
		if n%3 == 0 {
			data, want = string(rig.EICAR()), malware
		}
		wg.Go(func() {
			findings, err := s.Scan(t.Context(), file(t, data))
			if got := scannertest.Outcome(findings, err); got != want && data != "" {
				t.Errorf("scan %d: got %s (%v), want %s", n, got, err, want)
			}
		})
	}
	wg.Wait()
}

func TestRealServiceStoppedKilledAndBack(t *testing.T) {
	server, clamd := startServers(t, rig.ClamdOptions{})
	s := newScanner(t, Config{URL: server.URL("avscan"), Timeout: 500 * time.Millisecond})
	again := func(what, want string) {
		t.Helper()
		findings, err := s.Scan(t.Context(), file(t, string(rig.EICAR())))
		if got := scannertest.Outcome(findings, err); got != want {
			t.Errorf("%s: got %s (%v, %v), want %s", what, got, findings, err, want)
		}
	}
	s.Ping(t.Context())
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again("stopped", "temporary")
	if err := server.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s = newScanner(t, Config{URL: server.URL("avscan")})
	again("goes on", malware)
	server.Kill()
	again("killed", "temporary")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	again("started", malware)
	clamd.Kill()
	again("without clamd", "temporary")
}
