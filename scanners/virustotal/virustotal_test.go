package virustotal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/cache"
	"rastel/scanners/scannertest"
)

// magic makes a program of a part, so that VirusTotal is asked about it.
const magic = "\x7fELF\x02\x01\x01"

const testKey = "0123456789abcdef"

// A service speaks the API as VirusTotal documents it, and with the faults that a test gives it.
type service struct {
	*httptest.Server
	asked  atomic.Int32
	answer func(w http.ResponseWriter, r *http.Request, sum string) // nil: by known
	known  map[string]string                                        // reports, by SHA-256
	posted chan string                                              // what was uploaded
}

func startService(t *testing.T) *service {
	t.Helper()
	s := &service{known: map[string]string{}, posted: make(chan string, 10)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	sum, ok := strings.CutPrefix(r.URL.Path, "/api/v3/files/")
	switch {
	case s.answer != nil:
		s.answer(w, r, sum)
	case r.Header.Get("X-Apikey") != testKey:
		fault(w, 401, "WrongCredentialsError")
	case r.Method == http.MethodPost && r.URL.Path == "/api/v3/files":
		f, h, err := r.FormFile("file")
		if err != nil {
			fault(w, 400, "BadRequestError")
			return
		}
		b, _ := io.ReadAll(f)
		s.posted <- h.Filename + " " + string(b)
		io.WriteString(w, `{"data":{"type":"analysis","id":"x","links":{}}}`)
	case !ok || r.Method != http.MethodGet:
		fault(w, 400, "BadRequestError")
	case s.known[sum] == "":
		fault(w, 404, "NotFoundError")
	default:
		io.WriteString(w, s.known[sum])
	}
}

func fault(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"message":"for people","code":%q}}`, code)
}

// report is one of the API, with most of what it has beside.
func report(sum string, malicious, suspicious, undetected int) string {
	return fmt.Sprintf(`{"data":{"id":%q,"type":"file","links":{"self":"x"},"attributes":{"sha256":%[1]q,"md5":"x","size":4,"type_tag":"peexe",
"last_analysis_results":{"A":{"category":"malicious","engine_name":"A","result":"Trojan"}},"popular_threat_classification":{"suggested_threat_label":"trojan.emotet\u001b/x"},
"last_analysis_stats":{"harmless":0,"type-unsupported":9,"suspicious":%d,"confirmed-timeout":0,"timeout":1,"failure":0,"malicious":%d,"undetected":%d}}}}`, sum, suspicious, malicious, undetected)
}

func sumOf(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

func keyFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(testKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func newScanner(t *testing.T, s *service, change func(*Config)) *Scanner {
	t.Helper()
	cfg := Config{KeyFile: keyFile(t), URL: s.URL, PerMinute: 1000, PerDay: 1000}
	if change != nil {
		change(&cfg)
	}
	v, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// program is a part that VirusTotal is asked about.
func program(t testing.TB, content string) *eml.Part {
	return scannertest.Part(t, []byte(magic+content))
}

func TestKeepsTheContractOfScanners(t *testing.T) {
	scannertest.Run(t, newScanner(t, startService(t), nil))
}

func TestTellsWhatVirusTotalKnows(t *testing.T) {
	for _, c := range []struct {
		name, report, want string
	}{
		{"malware", report(sumOf(magic+"x"), 40, 2, 28), "virustotal/malware 40 of 70 engines call it malicious, 2 suspicious: trojan.emotet/x"},
		{"just enough", report(sumOf(magic+"x"), 3, 0, 67), "virustotal/malware 3 of 70"},
		{"not enough", report(sumOf(magic+"x"), 2, 0, 68), "virustotal/suspicious 2 of 70"},
		{"suspicious", report(sumOf(magic+"x"), 0, 1, 69), "virustotal/suspicious 0 of 70"},
		{"clean", report(strings.ToUpper(sumOf(magic+"x")), 0, 0, 70), ""},
		{"not examined yet", report(sumOf(magic+"x"), 0, 0, 0), "virustotal/unknown"},
		{"unknown", "", "virustotal/unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startService(t)
			s.known[sumOf(magic+"x")] = c.report
			p := program(t, "x")
			got, err := newScanner(t, s, nil).Scan(t.Context(), p)
			if err != nil || len(got) > 1 || (len(got) == 1) != (c.want != "") {
				t.Fatalf("got %v, %v", got, err)
			}
			for _, f := range got {
				if text := f.Check + " " + f.Detail; !strings.HasPrefix(text, c.want) || f.Part != p || f.Unexamined {
					t.Errorf("got %q, want %q", text, c.want)
				}
			}
		})
	}
}

// faults are answers that are none. None of them may count as an answer.
var faults = map[string]func(w http.ResponseWriter, r *http.Request, sum string){
	"wrong key":           func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 401, "WrongCredentialsError") },
	"forbidden":           func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 403, "ForbiddenError") },
	"quota":               func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 429, "QuotaExceededError") },
	"server error":        func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(500) },
	"unavailable":         func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 503, "TransientError") },
	"deadline exceeded":   func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 504, "DeadlineExceededError") },
	"another 404":         func(w http.ResponseWriter, _ *http.Request, _ string) { http.Error(w, "<h1>Not Found</h1>", 404) },
	"404 of another kind": func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 404, "UserNotFoundError") },
	"404 without a code":  func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(404); io.WriteString(w, "{}") },
	"no content":          func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(204) },
	"part of it": func(w http.ResponseWriter, _ *http.Request, sum string) {
		w.WriteHeader(206)
		io.WriteString(w, report(sum, 0, 0, 70))
	},
	"empty":   func(http.ResponseWriter, *http.Request, string) {},
	"garbage": func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, "\x00\xff{") },
	"page": func(w http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(w, "<html>Log in to the hotel</html>")
	},
	"cut off": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, report(sum, 0, 0, 70)[:300])
	},
	"more behind it": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, report(sum, 0, 0, 70)+"{}")
	},
	"null":              func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, "null") },
	"nothing in it":     func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, "{}") },
	"an error with 200": func(w http.ResponseWriter, _ *http.Request, _ string) { fault(w, 200, "NotFoundError") },
	"another file": func(w http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(w, report(sumOf("other"), 0, 0, 70))
	},
	"no hash": func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, report("", 0, 0, 70)) },
	"not a file": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, strings.Replace(report(sum, 0, 0, 70), `"type":"file"`, `"type":"url"`, 1))
	},
	"no counts": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, strings.Replace(report(sum, 0, 0, 70), "last_analysis_stats", "other_stats", 1))
	},
	"one count missing": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, strings.Replace(report(sum, 0, 0, 70), `"malicious":0`, `"x":0`, 1))
	},
	"null for a count": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, strings.Replace(report(sum, 0, 0, 70), `"malicious":0`, `"malicious":null`, 1))
	},
	"text for a count": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, strings.Replace(report(sum, 0, 0, 70), `"malicious":0`, `"malicious":"0"`, 1))
	},
	"negative": func(w http.ResponseWriter, _ *http.Request, sum string) { io.WriteString(w, report(sum, -1, 0, 70)) },
	"too many": func(w http.ResponseWriter, _ *http.Request, sum string) { io.WriteString(w, report(sum, 0, 0, 1<<40)) },
	"huge": func(w http.ResponseWriter, _ *http.Request, sum string) {
		io.WriteString(w, report(sum, 0, 0, 70))
		for range maxReply / 1000 {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1001)); err != nil {
				return
			}
		}
	},
	"elsewhere": func(w http.ResponseWriter, r *http.Request, _ string) {
		http.Redirect(w, r, "/login", http.StatusFound)
	},
	"closes": func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) },
	"closes in between": func(w http.ResponseWriter, _ *http.Request, sum string) {
		w.Header().Set("Content-Length", "5000")
		io.WriteString(w, report(sum, 0, 0, 70))
		panic(http.ErrAbortHandler)
	},
	"hangs": func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() },
	"hangs in between": func(w http.ResponseWriter, r *http.Request, sum string) {
		io.WriteString(w, report(sum, 0, 0, 70)[:200])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	},
}

func TestFaultsAreNoAnswers(t *testing.T) {
	for name, answer := range faults {
		t.Run(name, func(t *testing.T) {
			s := startService(t)
			s.answer = answer
			short := func(required bool) func(*Config) {
				return func(c *Config) {
					if c.Required = required; strings.HasPrefix(name, "hangs") {
						c.Timeout = 100 * time.Millisecond
					}
				}
			}
			got, err := newScanner(t, s, short(false)).Scan(t.Context(), program(t, "x"))
			var optional *scanners.Optional
			if len(got) > 0 || !errors.As(err, &optional) {
				t.Errorf("got %v, %v; want a failure that nobody minds", got, err)
			}
			got, err = newScanner(t, s, short(true)).Scan(t.Context(), program(t, "x"))
			var temporary *scanners.Temporary
			if len(got) > 0 || !errors.As(err, &temporary) || errors.As(err, &optional) {
				t.Errorf("required: got %v, %v; want a temporary failure", got, err)
			}
			if err != nil && strings.Contains(err.Error(), testKey) {
				t.Errorf("%v tells the key", err)
			}
		})
	}
}

func TestTheKeyGoesNowhereElse(t *testing.T) {
	other := startService(t)
	s := startService(t)
	s.answer = func(w http.ResponseWriter, r *http.Request, _ string) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	}
	if _, err := newScanner(t, s, nil).Scan(t.Context(), program(t, "x")); err == nil || other.asked.Load() > 0 {
		t.Errorf("got %v, %d questions elsewhere", err, other.asked.Load())
	}
}

// asks tells how many questions n parts cost.
func asks(t *testing.T, s *service, v scanners.Scanner, n int) int {
	t.Helper()
	before := s.asked.Load()
	for i := range n {
		_, _ = v.Scan(t.Context(), program(t, fmt.Sprint(i)))
	}
	return int(s.asked.Load() - before)
}

func TestItIsLeftAloneAfterFailures(t *testing.T) {
	for name, want := range map[string]int{"server error": maxFailures, "garbage": maxFailures, "quota": 1, "wrong key": 1} {
		s := startService(t)
		s.answer = faults[name]
		var log bytes.Buffer
		v := newScanner(t, s, nil)
		v.log = slog.New(slog.NewTextHandler(&log, nil))
		if n := asks(t, s, v, 10); n != want {
			t.Errorf("%s: %d questions for 10 parts, want %d", name, n, want)
		}
		if n := strings.Count(log.String(), "left alone"); n != 1 || v.Trouble() == nil {
			t.Errorf("%s: told %d times, trouble %v", name, n, v.Trouble())
		}
		s.answer = nil
		v.until = time.Now() // as if it had passed
		if n := asks(t, s, v, 5); n != 5 || v.Trouble() != nil || !strings.Contains(log.String(), "answers again") {
			t.Errorf("%s: %d questions afterwards, %v, %s", name, n, v.Trouble(), &log)
		}
	}
}

func TestKeepsTheQuota(t *testing.T) {
	s := startService(t)
	if n := asks(t, s, newScanner(t, s, func(c *Config) { c.PerMinute = 3 }), 10); n != 3 {
		t.Errorf("%d questions, 3 a minute", n)
	}
	q := quota{perMinute: 2, perDay: 5, file: filepath.Join(t.TempDir(), "quota")}
	now := time.Date(2026, 11, 25, 23, 50, 0, 0, time.UTC)
	take := func(q *quota, now time.Time, want bool) {
		t.Helper()
		if ok, err := q.take(now); ok != want || err != nil {
			t.Errorf("%v: %v, %v", now, ok, err)
		}
	}
	take(&q, now, true)
	take(&q, now.Add(30*time.Second), true)
	take(&q, now.Add(59*time.Second), false)
	take(&q, now.Add(60*time.Second), true)
	take(&q, now.Add(80*time.Second), false)
	take(&q, now.Add(3*time.Minute), true)
	again := quota{perMinute: 2, perDay: 5, file: q.file} // after a restart
	if err := again.load(); err != nil {
		t.Fatal(err)
	}
	take(&again, now.Add(5*time.Minute), true)
	take(&again, now.Add(8*time.Minute), false) // the fifth was the last of the day
	take(&again, now.Add(10*time.Minute), true)
	for _, text := range []string{"", "nonsense", "2026-11-25 -5", "2026-11-25"} {
		if err := os.WriteFile(q.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		q := quota{perMinute: 1, perDay: 1, file: q.file}
		if err := q.load(); err != nil || q.asked != 0 {
			t.Errorf("%q: %v, %d", text, err, q.asked)
		}
	}
}

func TestIsAskedAboutWhatMayBeDangerous(t *testing.T) {
	v := newScanner(t, startService(t), nil)
	mail := func(header, content string) *eml.Part {
		sp := eml.NewSpool(eml.SpoolOptions{})
		io.WriteString(sp, header+"\r\nContent-Transfer-Encoding: binary\r\n\r\n"+content)
		sp.CloseWrite(nil)
		m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, sp, eml.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close(); sp.Close() })
		return m.Root
	}
	for _, c := range []struct {
		header, content string
		want            bool
	}{
		{"Content-Type: text/plain", "hello", false},
		{"Content-Type: text/html", "<html>hello</html>", false},
		{"Content-Type: image/png; name=a.png", "\x89PNG\r\n\x1a\n0000", false},
		{"Content-Type: message/rfc822", "Subject: x\r\n\r\nhello", false},
		{"Content-Type: application/octet-stream", magic, true},
		{"Content-Type: application/octet-stream", "PK\x03\x04....................", true},
		{"Content-Type: application/pdf", "%PDF-1.4\n", true},
		{"Content-Type: image/png; name=a.png", "%PDF-1.4\n", true},
		{`Content-Type: text/plain; name="INVOICE.JS"`, "hello", true},
		{`Content-Type: text/plain; name="..\\invoice.js"`, "hello", true},
		{`Content-Type: text/plain; name="invoice.js.txt"`, "hello", false},
		{"Content-Type: application/octet-stream; name=a.js", "", false},
	} {
		p := mail(c.header, c.content)
		if got := scanners.Examines(v, p); got != c.want {
			t.Errorf("%s, %q, type %s: %v", c.header, c.content, p.Type, got)
		}
	}
}

func TestAnswersAreKept(t *testing.T) {
	s := startService(t)
	c, err := cache.New(cache.Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.known[sumOf(magic+"1")] = report(sumOf(magic+"1"), 9, 0, 61)
	v := newScanner(t, s, nil)
	kept := c.Wrap("virustotal", v, v.Age)
	if n := asks(t, s, kept, 3); n != 3 {
		t.Errorf("%d questions", n)
	}
	if n := asks(t, s, kept, 3); n != 0 {
		t.Errorf("%d questions about what was asked before", n)
	}
	if v.Age([]eml.Finding{{Check: checkUnknown}}) != defaultUnknown || v.Age(nil) != defaultKnown {
		t.Error("ages")
	}
}

func TestUploadsOnlyIfToldTo(t *testing.T) {
	for _, c := range []struct{ upload, watch, want bool }{{false, true, false}, {true, false, false}, {true, true, true}} {
		s := startService(t)
		v := newScanner(t, s, func(cfg *Config) { cfg.Upload = c.upload })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		if c.watch {
			wg.Go(func() { v.Watch(ctx) })
			for c.upload && !v.uploading.Load() {
				time.Sleep(time.Millisecond)
			}
		}
		raw := eml.NewSpool(eml.SpoolOptions{})
		io.WriteString(raw, "Content-Type: application/octet-stream; name=secret.exe\r\n\r\n"+magic+"new")
		raw.CloseWrite(nil)
		m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, raw, eml.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Scan(t.Context(), m.Root)
		if err != nil || len(got) != 1 || got[0].Check != checkUnknown {
			t.Errorf("got %v, %v", got, err)
		}
		m.Close()
		raw.Close() // the message is gone
		if c.want {
			select {
			case post := <-s.posted:
				if want := sumOf(magic+"new") + " " + magic + "new"; post != want {
					t.Errorf("uploaded %q, want %q", post, want)
				}
			case <-time.After(time.Minute):
				t.Error("not uploaded after a minute")
			}
		}
		cancel()
		wg.Wait()
		if len(s.posted) > 0 {
			t.Errorf("%+v: uploaded %q", c, <-s.posted)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{URL: "http://www.virustotal.com"}, {URL: "virustotal"}, {URL: "https://x/?a"}, {URL: "https://user@x/"}, {URL: "file:///etc"}, {Timeout: 4 * time.Second}, {Timeout: -1},
		{Malicious: -1}, {PerMinute: -1}, {PerDay: -1}, {Known: maxAge + 1}, {Unknown: -1}, {Types: []string{"program"}}, {Names: []string{"[a"}},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v is valid", c)
		}
	}
	if (Config{}).Validate() != nil || (Config{URL: "https://vt.example.com/proxy/"}).Validate() != nil || (Config{}).withDefaults().Validate() != nil {
		t.Error("the defaults are not valid")
	}
	open := keyFile(t)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{open, filepath.Join(t.TempDir(), "missing")} {
		if _, err := New(Config{KeyFile: name}, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
