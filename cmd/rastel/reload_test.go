package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"rastel/policy"
	"rastel/policy/engine"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
	"rastel/scanners"
)

// A syncBuffer may be written by several goroutines.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// versionRules is policy number n: each of its three rules and two changes says so.
func versionRules(n int) string {
	return fmt.Sprintf(`tests: good.case
rules:
  - {name: first %[1]d, when: 'subject startsWith "load"', do: [hold, {add_header: {name: X-First, value: "%[1]d"}}]}
  - {name: second %[1]d, for: part, when: 'part.has("html/*")', do: [defang]}
  - {name: last %[1]d, when: 'true', do: [{add_header: {name: X-Last, value: "%[1]d"}}], then: accept}
`, n)
}

// brokenRules are policies that must not be put in force, each for another reason.
func brokenRules(n int) string {
	switch n % 5 {
	case 0:
		return versionRules(n)[:60]
	case 1:
		return strings.Replace(versionRules(n), "html/*", "htlm/script", 1)
	case 2:
		return strings.Replace(versionRules(n), "good.case", "nothing.case", 1)
	case 3:
		return strings.Replace(versionRules(n), "then: accept", "then: reject", 1) // its test fails
	}
	return ""
}

const (
	reloads    = 100
	loadSender = 4
	perReload  = 6 // messages that are decided before the next one; as many as there are senders are in work meanwhile
)

// TestReloadUnderLoad replaces the policy a hundred times while messages are judged and held by the real
// engine and store, half of the times by one that is broken. Every message is decided by exactly one version, which is
// named in its verdict, its record and the log, and none is refused or lost.
func TestReloadUnderLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	writeFile(t, filepath.Join(dir, "good.case"), "why: x\nexpect: accept, patched, held\nstays: X-Last: \n\nSubject: load\n\nhello\n")
	writeFile(t, file, versionRules(0))
	cfg, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policy, cfg.tested, cfg.Quarantine.Dir = file, true, filepath.Join(dir, "quarantine")
	log := &syncBuffer{}
	b := &built{cfg: cfg, log: slog.New(slog.NewTextHandler(log, nil))}
	b.set = scanners.NewSet(scanners.Options{Budget: cfg.budget(), Spool: cfg.spool()}, builtin(cfg)...)
	if b.policy, err = policy.NewLive(file, b.policyOptions(), b.log); err != nil {
		t.Fatal(err)
	}
	store, _, err := openQuarantine(cfg.Quarantine, b.log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	e := b.engine(store)
	numbers := &versions{judged: make(chan struct{}), known: map[string]int{b.policy.Load().Version: 0}}
	stop := make(chan struct{})
	var load sync.WaitGroup
	sent := make([]int, loadSender)
	for i := range sent {
		load.Go(func() {
			for n := 0; ; n++ {
				numbers.judge(t, e, fmt.Sprintf("q%d-%d", i, n))
				select {
				case <-stop:
					sent[i] = n + 1
					return
				case numbers.judged <- struct{}{}:
				}
			}
		})
	}
	replaced, refused := 0, 0
	for n := 1; n <= reloads; n++ {
		broken := n%2 == 0
		text := versionRules(n)
		if broken {
			text = brokenRules(n / 2)
		}
		replaceFile(t, file, text)
		switch err := b.policy.Reload(); {
		case (err != nil) != broken:
			t.Fatalf("policy %d: %v\n%s", n, err, text)
		case broken:
			refused++
		default:
			replaced++
			numbers.add(b.policy.Load().Version, n)
		}
		for range perReload {
			<-numbers.judged
		}
	}
	close(stop)
	load.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	t.Logf("%d messages; %d policies put in force, %d not", total, replaced, refused)
	if replaced != reloads/2 || refused != reloads/2 || total < loadSender {
		t.Errorf("%d replaced, %d refused, %d messages", replaced, refused, total)
	}
	numbers.check(t, store, log.text.String(), total)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replaceFile puts a new file in the place of the old one, as editors do.
func replaceFile(t *testing.T, name, text string) {
	t.Helper()
	writeFile(t, name+".new", text)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// versions are the numbers of the policies that were in force, and what messages they decided.
type versions struct {
	judged chan struct{} // one is done

	mu      sync.Mutex
	known   map[string]int
	decided map[string]string // the version by queue ID
}

func (v *versions) add(version string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known[version] = n
}

var stamps = regexp.MustCompile(`(?m)^X-(First|Last): (\d+)\r$`)

// judge has one message judged, and sees that one policy has made all of its verdict.
func (v *versions) judge(t *testing.T, e *engine.Engine, id string) {
	spool := eml.NewSpool(eml.SpoolOptions{})
	defer spool.Close()
	_, _ = spool.Write([]byte("Subject: load " + id + "\r\nContent-Type: text/html\r\n\r\n<p>hello</p>\r\n"))
	spool.CloseWrite(nil)
	verdict, err := e.Judge(t.Context(), &eml.Envelope{QueueID: id, Sender: "ann@example.org", Recipients: []string{"bob@example.net"}}, spool)
	if err != nil || verdict.Action != policy.Accept || !verdict.Hold || verdict.Patch.Empty() {
		t.Errorf("%s: %+v, %v", id, verdict, err)
		return
	}
	var out bytes.Buffer
	if _, err := verdict.Patch.WriteTo(&out); err != nil {
		t.Errorf("%s: %v", id, err)
		return
	}
	n := strings.TrimPrefix(verdict.Rule, "last ")
	found := stamps.FindAllStringSubmatch(out.String(), -1)
	if len(found) != 2 || found[0][2] != n || found[1][2] != n {
		t.Errorf("%s: decided by %q, and changed by %q", id, verdict.Rule, found)
	}
	for _, s := range verdict.Trace {
		if !strings.HasSuffix(s.Rule, " "+n) {
			t.Errorf("%s: decided by %q, asked was %q", id, verdict.Rule, s.Rule)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.decided == nil {
		v.decided = map[string]string{}
	}
	v.decided[id] = verdict.Policy
}

var logged = regexp.MustCompile(`msg=verdict queue_id=(\S+) .* rule="last (\d+)" .* policy=(\S+)`)

// check compares verdicts, records and the log.
func (v *versions) check(t *testing.T, store *quarantine.Store, log string, total int) {
	t.Helper()
	items := map[string]quarantine.Item{}
	for f := (quarantine.Filter{Limit: quarantine.MaxLimit}); ; {
		page, err := store.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range page {
			items[it.QueueID] = it
		}
		if len(page) < f.Limit {
			break
		}
		f.Cursor = page[len(page)-1].ID
	}
	lines := map[string][]string{}
	for _, m := range logged.FindAllStringSubmatch(log, -1) {
		if lines[m[1]] != nil {
			t.Errorf("%s is logged twice", m[1])
		}
		lines[m[1]] = m
	}
	if len(v.decided) != total || len(items) != total || len(lines) != total {
		t.Errorf("%d messages, %d verdicts, %d records, %d lines in the log", total, len(v.decided), len(items), len(lines))
	}
	used := map[string]bool{}
	for id, version := range v.decided {
		n, ok := v.known[version]
		it, line := items[id], lines[id]
		want := fmt.Sprintf("last %d", n)
		if !ok || it.Policy != version || it.Rule != want || line == nil || line[2] != fmt.Sprint(n) || line[3] != version {
			t.Errorf("%s: verdict by %s (known: %v, number %d), record by %s %q, log %q", id, version, ok, n, it.Policy, it.Rule, line)
		}
		used[version] = true
	}
	t.Logf("%d versions have decided", len(used))
}
