package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rastel/cmd/rastel/api"
	"rastel/policy"
	"rastel/policy/exceptions"
	"rastel/policy/quarantine"
	"rastel/sanitize/eml"
)

// A filter is what a running one keeps.
type filter struct {
	store *quarantine.Store
	book  *exceptions.Book
}

// heldWorld is a real quarantine behind the real API, with a configuration that leads to its socket.
func heldWorld(t *testing.T, items ...quarantine.Item) (config string, in *filter) {
	t.Helper()
	dir := t.TempDir()
	config = filepath.Join(dir, "rastel.yaml")
	writeFile(t, config, "state_dir: "+dir+"\n")
	cfg, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	store, book, err := openQuarantine(cfg.Quarantine, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { book.Close(); store.Close() })
	for i := range items {
		env := &eml.Envelope{Sender: "ann@example.org", Recipients: []string{"bob@example.net"}}
		it := quarantine.NewItem(env)
		it.Rule, it.Held, it.Class, it.Findings, it.Subject = items[i].Rule, items[i].Held, items[i].Class, items[i].Findings, fmt.Sprint("number ", i)
		if err := store.Hold(t.Context(), it, strings.NewReader(fmt.Sprintf("Subject: number %d\r\n\r\nhello\r\n", i))); err != nil {
			t.Fatal(err)
		}
	}
	l, err := api.ListenUnix(cfg.API.Socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := api.NewServer(api.New(api.Options{Store: store, Exceptions: book, Policy: policy.Default, Log: slog.New(slog.DiscardHandler)}), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return config, &filter{store, book}
}

func policyFileWith(t *testing.T, rules string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, name, "rules:\n"+rules)
	return name
}

const (
	malwareRule = "  - {name: malware, when: 'has(\"clamd/malware\")', then: quarantine}\n"
	limitRule   = "  - {name: limit, when: 'unexamined()', then: tempfail}\n"
)

var clamdFound = []quarantine.Finding{{Check: "clamd/malware", Part: "1", Detail: "Test"}}

// TestReplayBelievesTheRecordOfEngines: what clamd found is not asked again, and counts.
func TestReplayBelievesTheRecordOfEngines(t *testing.T) {
	config, _ := heldWorld(t,
		quarantine.Item{Rule: "malware", Findings: clamdFound},
		quarantine.Item{Rule: "old rule", Findings: []quarantine.Finding{{Check: "clamd/limit", Part: "1.7"}, {Check: "html/script", Part: "1"}}},
		quarantine.Item{Rule: "", Held: true},
	)
	p := policyFileWith(t, malwareRule+limitRule)
	var out, errOut strings.Builder
	status := run(t.Context(), []string{"policy", "replay", "-config", config, p}, nil, &out, &errOut)
	for _, want := range []string{
		`: quarantine -> tempfail; rule old rule -> limit (from "ann@example.org" to "bob@example.net", "number 1")`,
		"3 messages, 1 changed\n", "  quarantine -> the same: 1\n", "  accept -> the same: 1\n", "  quarantine -> tempfail: 1\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q", want)
		}
	}
	if status != exitActed || strings.Contains(out.String(), "number 0") || errOut.String() != "" {
		t.Errorf("status %d\n%s%s", status, &out, &errOut)
	}
}

// TestDiffOfWhatIsHeld examines each message once and decides twice.
func TestDiffOfWhatIsHeld(t *testing.T) {
	config, _ := heldWorld(t, quarantine.Item{Rule: "malware", Findings: clamdFound}, quarantine.Item{Rule: "x"})
	old, changed := policyFileWith(t, malwareRule), policyFileWith(t, "  - {name: malware, when: 'has(\"clamd/*\")', do: [{add_header: {name: X-Malware, value: \"yes\"}}, hold], then: accept}\n")
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{old, changed}, exitActed, `: quarantine -> accept; changes none -> 1 edits (`},
		{[]string{old, old}, exitOK, "2 messages, 0 changed\n"},
		{[]string{"-since", "7d", old, old}, exitOK, "2 messages, 0 changed\n"},
		{[]string{"-limit", "1", old, old}, exitOK, "1 messages, 0 changed\n"},
		{[]string{old, changed, "-want", "quarantine->accept=1"}, exitOK, "2 messages, 1 changed\n"},
		{[]string{old, changed, "-want", "quarantine->accept=0"}, exitActed, "2 messages, 1 changed\n"},
	} {
		var out, errOut strings.Builder
		status := run(t.Context(), append([]string{"policy", "diff", "-config", config}, tt.args...), nil, &out, &errOut)
		if status != tt.status || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: status %d, want %d and %q\n%s%s", tt.args, status, tt.status, tt.want, &out, &errOut)
		}
	}
}

// TestReplayIsInterrupted: it gives what is known by then, and says that this is not all.
func TestReplayIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := policyFileWith(t, malwareRule)
	loaded, err := loadPolicy(p, policyOptions(&Config{}))
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	r := &replay{
		call: &call{out: &out, errOut: &errOut}, engine: defaultEngine(t), old: loaded, now: loaded,
		compare: aspects, progress: newProgress(&errOut), tally: tally{moves: map[string]int{}},
	}
	source := func(_ context.Context, each func(*oldMessage) error) error {
		for n := 0; ; n++ {
			if n == 2 {
				cancel()
			}
			open := func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("Subject: x\r\n\r\nx\r\n")), nil
			}
			if err := each(&oldMessage{name: "m", env: &eml.Envelope{}, open: open}); err != nil {
				return err
			}
		}
	}
	if status := r.run(ctx, source, nil); status != exitUnsure {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(out.String(), "2 messages, 0 changed\n") || !strings.Contains(errOut.String(), "interrupted: what follows is about a part") {
		t.Errorf("%s%s", &out, &errOut)
	}
}

// TestReplayGoesOnAfterAMessageThatCannotBeRead, and is not sure then.
func TestReplayGoesOnAfterAMessageThatCannotBeRead(t *testing.T) {
	loaded, err := loadPolicy(policyFileWith(t, malwareRule), policyOptions(&Config{}))
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	r := &replay{
		call: &call{out: &out, errOut: &errOut}, engine: defaultEngine(t), old: loaded, now: loaded,
		compare: aspects, progress: newProgress(&errOut), tally: tally{moves: map[string]int{}},
	}
	source := func(_ context.Context, each func(*oldMessage) error) error {
		for _, fails := range []bool{true, false} {
			open := func(context.Context) (io.ReadCloser, error) {
				if fails {
					return nil, quarantine.ErrCorrupt
				}
				return io.NopCloser(strings.NewReader("Subject: x\r\n\r\nx\r\n")), nil
			}
			if err := each(&oldMessage{name: "m\x1b[1m", env: &eml.Envelope{}, open: open}); err != nil {
				return err
			}
		}
		return nil
	}
	if status := r.run(t.Context(), source, nil); status != exitUnsure {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(out.String(), "1 messages, 1 that could not be examined, 0 changed\n") || strings.Contains(errOut.String(), "\x1b") {
		t.Errorf("%s%q", &out, &errOut)
	}
}

// TestDiffTellsOfRecipients: the outcome of each group counts.
func TestDiffTellsOfRecipients(t *testing.T) {
	eml := filepath.Join(t.TempDir(), "a.eml")
	writeFile(t, eml, "Subject: x\n\nhello\n")
	old := policyFileWith(t, "  - {name: all, when: 'true', then: accept}\n")
	now := policyFileWith(t, "  - {name: desk, for: recipient, when: 'recipient_domain == \"desk.example\"', then: quarantine, class: desk}\n  - {name: all, when: 'true', then: accept}\n")
	var out, errOut strings.Builder
	status := run(t.Context(), []string{"policy", "diff", "-to", "bob@example.net", "-to", "ann@desk.example", old, now, eml, "-want", "changed=1"}, nil, &out, &errOut)
	want := ": accept -> accept | quarantine; rule all -> all | desk; class none -> none | desk; recipients none -> bob@example.net -ann@desk.example | ann@desk.example (from"
	if status != exitOK || !strings.Contains(out.String(), want) {
		t.Errorf("status %d\n%s%s", status, &out, &errOut)
	}
}

// TestReplayKnowsExceptions: what an administrator has excepted is not told of as a change.
func TestReplayKnowsExceptions(t *testing.T) {
	config, in := heldWorld(t, quarantine.Item{Rule: "", Held: true})
	p := policyFileWith(t, "  - {name: all, when: 'true', then: reject}\n")
	replay := func() string {
		var out, errOut strings.Builder
		run(t.Context(), []string{"policy", "replay", "-config", config, p}, nil, &out, &errOut)
		return out.String() + errOut.String()
	}
	if got := replay(); !strings.Contains(got, "  accept -> reject: 1\n") {
		t.Errorf("without an exception:\n%s", got)
	}
	until := time.Now().Add(48 * time.Hour).Format(time.DateOnly)
	e := exceptions.Exception{Scope: exceptions.Scope{Recipient: "bob@example.net", Rule: "all"}, Owner: "ann", Reason: "a trial", Until: until}
	if _, err := in.book.Create(t.Context(), e, "test"); err != nil {
		t.Fatal(err)
	}
	if got := replay(); !strings.Contains(got, "  accept -> the same: 1\n") {
		t.Errorf("with an exception:\n%s", got)
	}
}

// TestReplayKnowsWhatEnginesDid: what they have found, examined, and could not examine is on record, and so is the action
// of which only a copy was kept. An engine that is not asked is not missed then.
func TestReplayKnowsWhatEnginesDid(t *testing.T) {
	config, in := heldWorld(t)
	rules := "  - {name: found, when: 'has(\"command/malware\")', do: [hold], then: reject}\n" +
		"  - {name: later, when: 'unexamined(\"temporary\")', then: quarantine}\n" +
		"  - {name: examined, when: 'all(parts, .examinedBy(\"grep\"))', then: quarantine, class: seen}\n" +
		"  - {name: rest, when: 'true', then: discard}\n"
	p := policyFileWith(t, rules)
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, string(data)+"commands: [{name: grep, argv: [/bin/grep, bad, '{file}'], infected: [0], clean: [1]}]\n")
	cfg, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policy = p
	judge := func(text string) {
		b, err := build(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		spool := eml.NewSpool(eml.SpoolOptions{})
		defer spool.Close()
		fmt.Fprintf(spool, "Subject: %s\r\n\r\n%s\r\n", text, text)
		spool.CloseWrite(nil)
		if _, err := b.engine(in.store).Judge(t.Context(), &eml.Envelope{Sender: "a@example.org", Recipients: []string{"b@example.net"}, TLS: "TLSv1.3"}, spool); err != nil {
			t.Fatal(err)
		}
	}
	judge("bad")
	judge("good")
	cfg.Commands[0].Argv, cfg.Commands[0].Clean = []string{"/bin/false"}, []int{2} // fails, for now
	judge("other")
	var out, errOut strings.Builder
	if status := run(t.Context(), []string{"policy", "replay", "-config", config, p}, nil, &out, &errOut); status != exitOK {
		t.Errorf("status %d\n%s%s", status, &out, &errOut)
	}
	want := "3 messages, 0 changed\n  quarantine -> the same: 2\n  reject -> the same: 1\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// TestReplayDecidesAtTheTimeOfTheMessage, for rules that ask for it.
func TestReplayDecidesAtTheTimeOfTheMessage(t *testing.T) {
	name := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, name, "timezone: UTC\nrules:\n  - {name: night, when: 'hour == 3 and date == \"2026-11-20\"', then: discard}\n")
	loaded, err := loadPolicy(name, policyOptions(&Config{}))
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	r := &replay{
		call: &call{out: &out, errOut: &errOut}, engine: defaultEngine(t), now: loaded,
		compare: aspects, progress: newProgress(&errOut), tally: tally{moves: map[string]int{}},
	}
	source := func(_ context.Context, each func(*oldMessage) error) error {
		open := func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("Subject: x\r\n\r\nx\r\n")), nil
		}
		it := &quarantine.Item{Created: time.Date(2026, 11, 20, 3, 30, 0, 0, time.UTC), Held: true}
		return each(&oldMessage{name: "m", env: &eml.Envelope{}, item: it, open: open})
	}
	if r.run(t.Context(), source, nil); !strings.Contains(out.String(), "  accept -> discard: 1\n") {
		t.Errorf("%s%s", &out, &errOut)
	}
}
