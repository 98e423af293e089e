package command

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rastel/contrib/rig"
	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/scannertest"
)

// outcome says in one word what Scan made of a part: "clean", the check, or the kind of error.
func outcome(findings []eml.Finding, err error) string {
	var temporary *scanners.Temporary
	word := "clean"
	if len(findings) > 0 {
		word = findings[0].Check
	}
	if len(findings) > 1 {
		word = fmt.Sprint(len(findings), " findings")
	}
	switch {
	case errors.As(err, &temporary):
		word += " temporary"
	case err != nil:
		word += " error"
	}
	return strings.TrimPrefix(word, "clean ")
}

func newScanner(t testing.TB, cfg Config) *Scanner {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "engine"
	}
	if cfg.Infected == nil {
		cfg.Infected, cfg.Clean = []int{1}, []int{0}
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// script is a program that a shell is told to be, with the content as its first argument.
func script(text string) []string { return []string{"/bin/sh", "-c", text, "engine", placeholder} }

func file(t testing.TB, data string) *eml.Part {
	t.Helper()
	return scannertest.Part(t, []byte(data))
}

func TestTakesOnlyWhatIsConfiguredForAVerdict(t *testing.T) {
	for _, tt := range []struct{ name, script, pattern, want, detail string }{
		{"clean", "exit 0", "", "clean", ""},
		{"clean with output", "echo all is well; exit 0", "FOUND", "clean", ""},
		{"infected", "exit 1", "", malware, "engine: exit status 1"},
		{"infected with a name", "echo file: Eicar FOUND; exit 1", ": (.+) FOUND", malware, "engine: Eicar"},
		{"infected with a name on standard error", "echo file: Eicar FOUND >&2; exit 1", ": (.+) FOUND", malware, "engine: Eicar"},
		{"infected without the name", "echo something; exit 1", ": (.+) FOUND", malware, "engine: exit status 1"},
		{"a name without a group", "echo Eicar; exit 1", "Ei.ar", malware, "engine: Eicar"},
		{"an empty group", "echo Eicar; exit 1", "E(x?)icar", malware, "engine: Eicar"},
		{"clean with a name", "echo file: Eicar FOUND; exit 0", ": (.+) FOUND", malware, "engine: Eicar"},
		{"another status", "exit 2", "", "temporary", ""},
		{"another status with a name", "echo file: Eicar FOUND; exit 2", ": (.+) FOUND", malware + " temporary", "engine: Eicar"},
		{"status 255", "exit 255", "", "temporary", ""},
		{"unreadable", "exit 3", "", "error", ""},
		{"killed", "kill -9 $$", "", "temporary", ""},
		{"terminated", "kill -TERM $$", "", "temporary", ""},
		{"killed with a name", "echo file: Eicar FOUND; kill -9 $$", ": (.+) FOUND", malware + " temporary", "engine: Eicar"},
		{"much output", "head -c 1000000 /dev/zero; exit 0", "", "clean", ""},
		{"much output to look in", "head -c 1000000 /dev/zero; exit 0", "FOUND", "temporary", ""},
		{"much output and infected", "head -c 1000000 /dev/zero; exit 1", "FOUND", malware, "engine: exit status 1"},
		{"output behind the limit", "head -c 70000 /dev/zero; echo FOUND; exit 0", "FOUND", "temporary", ""},
		{"a name with what no log should have", "printf 'a\\033[1m\\nb FOUND'; exit 1", "(?s)(.+) FOUND", malware, "engine: a?[1m b"},
		{"no environment", "test -z \"$HOME$RASTEL_TEST$USER\"", "", "clean", ""},
		{"a locale", "test \"$LC_ALL\" = C", "", "clean", ""},
		{"nothing to read", "test -z \"$(cat)\"", "", "clean", ""},
		{"the content", "test \"$(cat $1)\" = 'some content'", "", "clean", ""},
		{"the content twice", "cat $1 >/dev/null; test \"$(cat $1)\" = 'some content'", "", "clean", ""},
		{"a group of its own", "test $(ps -o pgid= -p $$) = $$", "", "clean", ""},
	} {
		t.Setenv("RASTEL_TEST", "set")
		s := newScanner(t, Config{Argv: script(tt.script), Pattern: tt.pattern, Infected: []int{1}, Clean: []int{0}, Unreadable: []int{3}})
		p := file(t, "some content")
		findings, err := s.Scan(t.Context(), p)
		got := outcome(findings, err)
		if got != tt.want || len(findings) > 0 && (findings[0].Detail != tt.detail || findings[0].Part != p) {
			t.Errorf("%s: %s: got %s (%+v, %v), want %s, %q", tt.name, tt.script, got, findings, err, tt.want, tt.detail)
		}
	}
}

func TestGivesTheContentToStandardInput(t *testing.T) {
	for _, content := range []string{"x", strings.Repeat("0123456789abcdef", 1<<17)} {
		s := newScanner(t, Config{Argv: []string{"/bin/sh", "-c", "test $(wc -c) = " + strconv.Itoa(len(content)) + " && test ! -e /proc/self/fd/3"}})
		findings, err := s.Scan(t.Context(), file(t, content))
		if got := outcome(findings, err); got != "clean" {
			t.Errorf("%d bytes: got %s (%v, %v), want clean", len(content), got, findings, err)
		}
		// A program that does not read is no reason to wait.
		s = newScanner(t, Config{Argv: []string{"/bin/true"}})
		if got := outcome(s.Scan(t.Context(), file(t, content))); got != "clean" {
			t.Errorf("%d bytes that are not read: got %s, want clean", len(content), got)
		}
	}
}

// No part of a message becomes part of a command.
func TestArgumentsAreNotReadByAShell(t *testing.T) {
	s := newScanner(t, Config{Argv: []string{"/usr/bin/test", "$(exit 1) ; *", "=", "$(exit 1) ; *"}})
	if got := outcome(s.Scan(t.Context(), file(t, "x"))); got != "clean" {
		t.Errorf("got %s, want clean", got)
	}
}

// The program has what any program has here, and the content.
func TestInheritsNothingElse(t *testing.T) {
	open, err := os.Open("command_test.go")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	usual, err := exec.Command("/bin/ls", "/proc/self/fd").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(t, Config{Argv: []string{"/bin/ls", placeholder, "/proc/self/fd"}, Pattern: `self/fd:\s+([0-9\s]+)`})
	findings, err := s.Scan(t.Context(), file(t, "x"))
	if err != nil || len(findings) != 1 {
		t.Fatalf("got %+v, %v, want a list of descriptors", findings, err)
	}
	if got, want := len(strings.Fields(findings[0].Detail))-1, len(strings.Fields(string(usual)))+1; got != want {
		t.Errorf("the program has %d descriptors, %s, want %d", got, findings[0].Detail, want)
	}
}

func TestIsAnErrorWhereTheProgramCannotRun(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "x")
	os.WriteFile(notExecutable, []byte("#!/bin/true\n"), 0o600)
	for _, argv := range [][]string{{"/nowhere/at/all"}, {notExecutable}, {"/"}} {
		s := newScanner(t, Config{Argv: argv})
		if got := outcome(s.Scan(t.Context(), file(t, "x"))); got != "temporary" {
			t.Errorf("%s: got %s, want temporary", argv, got)
		}
		if _, err := s.Ping(t.Context()); err == nil {
			t.Errorf("%s: Ping succeeded", argv)
		}
	}
}

// A program whose time is up is killed, and so is all that it has started.
func TestKillsAllWhenTimeIsUp(t *testing.T) {
	for name, text := range map[string]string{
		"child":            "echo $$ >DIR/pids; sleep 1000 & echo $! >>DIR/pids; sleep 1000",
		"deaf":             "trap '' TERM INT HUP; echo $$ >DIR/pids; while :; do sleep 1000; done",
		"left behind":      "echo $$ >DIR/pids; sleep 1000 >/dev/null 2>&1 & echo $! >>DIR/pids; exit 0",
		"output left open": "echo $$ >DIR/pids; sleep 1000 & echo $! >>DIR/pids; exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newScanner(t, Config{Argv: script(strings.ReplaceAll(text, "DIR", dir)), Timeout: 500 * time.Millisecond})
			want := "temporary"
			if strings.Contains(text, "exit 0") {
				want = "clean"
			}
			findings, err := s.Scan(t.Context(), file(t, "x"))
			if got := outcome(findings, err); got != want {
				t.Errorf("got %s (%v), want %s", got, err, want)
			}
			pids, err := os.ReadFile(filepath.Join(dir, "pids"))
			if err != nil {
				t.Fatal(err)
			}
			for _, pid := range strings.Fields(string(pids)) {
				wantGone(t, pid)
			}
		})
	}
}

// wantGone waits until a process has ended: one that was killed takes a moment, and then init has to
// wait for it.
func wantGone(t *testing.T, pid string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		status, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		<-tick.C
	}
	t.Errorf("process %s is still there", pid)
}

func TestLimitsTheProgram(t *testing.T) {
	s := newScanner(t, Config{Argv: script("sleep 0.2; test $(ulimit -v) = 65536 && test $(ulimit -t) = 2"), Memory: 64 << 20, CPUTime: 1500 * time.Millisecond})
	if findings, err := s.Scan(t.Context(), file(t, "x")); outcome(findings, err) != "clean" {
		t.Errorf("got %v, %v, want the limits to be set", findings, err)
	}
	s = newScanner(t, Config{Argv: script("while :; do :; done"), CPUTime: time.Second, Timeout: time.Minute})
	if got := outcome(s.Scan(t.Context(), file(t, "x"))); got != "temporary" {
		t.Errorf("beyond cpu_time: got %s, want temporary", got)
	}
}

func TestManyAtATime(t *testing.T) {
	dir := t.TempDir()
	s := newScanner(t, Config{Concurrency: 8, Pattern: "name=(.+)",
		Argv: script("ls " + dir + " | wc -l >>" + dir + ".most; : >" + dir + "/$$; read -r x <$1; rm " + dir + "/$$; echo name=$x; test $x != bad")})
	defer os.Remove(dir + ".most")
	before := children(t)
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			findings, err := s.Scan(t.Context(), file(t, fmt.Sprintf("%d\n", n)))
			if want := fmt.Sprintf("engine: %d", n); err != nil || len(findings) != 1 || findings[0].Detail != want {
				t.Errorf("got %+v, %v, want %q", findings, err, want)
			}
		})
	}
	wg.Wait()
	most, _ := os.ReadFile(dir + ".most")
	for _, n := range strings.Fields(string(most)) {
		if n, _ := strconv.Atoi(n); n > 8 {
			t.Errorf("%d programs at a time, want no more than 8", n)
		}
	}
	if after := children(t); after > before {
		t.Errorf("%d processes are left", after-before)
	}
}

// children counts the processes that this one has started, with those that nobody has waited for.
func children(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	n := 0
	for _, name := range tasks {
		b, _ := os.ReadFile(name) // a thread that has ended has none
		n += len(strings.Fields(string(b)))
	}
	return n
}

func TestCancelKills(t *testing.T) {
	dir := t.TempDir()
	s := newScanner(t, Config{Argv: script("echo $$ >" + dir + "/pids; sleep 1000")})
	started := exec.Command("/bin/sh", "-c", "while ! test -s "+dir+"/pids; do sleep 0.01; done")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { started.Run(); cancel() }()
	if got := outcome(s.Scan(ctx, file(t, "x"))); got != "temporary" {
		t.Errorf("got %s, want temporary", got)
	}
	pid, _ := os.ReadFile(dir + "/pids")
	wantGone(t, strings.TrimSpace(string(pid)))
}

func TestGivesTheProgramOnlyWhatItIsFor(t *testing.T) {
	no := false
	text := file(t, "hello")
	text.Type = "text"
	pdf := file(t, "%PDF")
	pdf.Type = "pdf"
	for _, tt := range []struct {
		cfg  Config
		part *eml.Part
		want string
	}{
		{Config{}, text, malware},
		{Config{Types: []string{"document", "zip"}}, pdf, malware},
		{Config{Types: []string{"document", "zip"}}, text, "clean"},
		{Config{SizeMax: 4}, text, tooMuch},
		{Config{Members: &no}, text, malware},
		{Config{}, file(t, ""), "clean"},
	} {
		tt.cfg.Argv = []string{"/bin/false"}
		s := newScanner(t, tt.cfg)
		findings, err := s.Scan(t.Context(), tt.part)
		if got := outcome(findings, err); got != tt.want {
			t.Errorf("%+v: got %s (%v), want %s", tt.cfg, got, err, tt.want)
		}
		if examines := scanners.Examines(s, tt.part); examines != (tt.want != "clean") {
			t.Errorf("%+v: Examines says %v", tt.cfg, examines)
		}
		if len(findings) > 0 && findings[0].Unexamined != (tt.want == tooMuch) {
			t.Errorf("%+v: Unexamined is %v", tt.cfg, findings[0].Unexamined)
		}
	}
}

func TestVersionIsAskedAnewAndNeverWaitedFor(t *testing.T) {
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	s := newScanner(t, Config{Argv: []string{"/bin/true"}, Version: []string{"/bin/sh", "-c", "echo x >>" + count + "; wc -l <" + count}})
	if got := s.Version(); got != "" {
		t.Errorf("before it was asked: got %q, want nothing", got)
	}
	for range 3 {
		s.Scan(t.Context(), file(t, "x"))
	}
	if got := s.Version(); !strings.HasSuffix(got, " 1") {
		t.Errorf("got %q, want the first version", got)
	}
	s.mu.Lock()
	s.asked = s.asked.Add(-s.cfg.VersionEvery)
	s.mu.Unlock()
	if got := s.Version(); got != "" {
		t.Errorf("long after it was asked: got %q, want nothing", got)
	}
	s.Scan(t.Context(), file(t, "x"))
	if got := s.Version(); !strings.HasSuffix(got, " 2") {
		t.Errorf("got %q, want the second version", got)
	}
	for _, argv := range [][]string{{"/bin/false"}, {"/bin/true"}, {"/nowhere/at/all"}, {"/bin/sh", "-c", "echo 1; kill -9 $$"}} {
		s := newScanner(t, Config{Argv: []string{"/bin/true"}, Version: argv})
		if got := outcome(s.Scan(t.Context(), file(t, "x"))); got != "clean" || s.Version() != "" {
			t.Errorf("version by %q: got %s, %q, want clean without a version", argv, got, s.Version())
		}
		if _, err := s.Ping(t.Context()); err == nil {
			t.Errorf("version by %q: Ping succeeded", argv)
		}
	}
	one, two := newScanner(t, Config{Argv: []string{"/bin/true"}, Version: []string{"/bin/echo", "1"}}), newScanner(t, Config{Argv: []string{"/bin/true", "-x"}, Version: []string{"/bin/echo", "1"}})
	one.Ping(t.Context())
	two.Ping(t.Context())
	if one.Version() == two.Version() {
		t.Errorf("with other arguments the version is %q too", one.Version())
	}
}

func TestNamesTheSettingThatIsWrong(t *testing.T) {
	good := func(change func(*Config)) Config {
		c := Config{Name: "a", Argv: []string{"/bin/true"}, Infected: []int{1}, Clean: []int{0}}
		change(&c)
		return c
	}
	for _, tt := range []struct {
		cfg  Config
		want string // in the error; empty: no error
	}{
		{good(func(*Config) {}), ""},
		{good(func(c *Config) { c.Name = "" }), "name"},
		{good(func(c *Config) { c.Name = "a b" }), "name"},
		{good(func(c *Config) { c.Argv = nil }), "argv"},
		{good(func(c *Config) { c.Argv = []string{"true"} }), "whole path"},
		{good(func(c *Config) { c.Argv = []string{"/bin/true", "a\x00b"} }), "NUL"},
		{good(func(c *Config) { c.Argv = make([]string, maxArgs+1) }), "more than"},
		{good(func(c *Config) { c.Infected = nil }), "infected"},
		{good(func(c *Config) { c.Clean = []int{} }), "clean"},
		{good(func(c *Config) { c.Clean = []int{0, 1} }), "in infected already"},
		{good(func(c *Config) { c.Clean = []int{0, 0} }), "in clean already"},
		{good(func(c *Config) { c.Unreadable = []int{0} }), "in clean already"},
		{good(func(c *Config) { c.Clean = []int{256} }), "no exit status"},
		{good(func(c *Config) { c.Infected = []int{-1} }), "no exit status"},
		{good(func(c *Config) { c.Pattern = "(" }), "pattern"},
		{good(func(c *Config) { c.Pattern = "x*" }), "nothing"},
		{good(func(c *Config) { c.Types = []string{"pdf", "executable"} }), ""},
		{good(func(c *Config) { c.Types = []string{"word"} }), "types"},
		{good(func(c *Config) { c.Version = []string{"true"} }), "version"},
		{good(func(c *Config) { c.Timeout = -1 }), "timeout"},
		{good(func(c *Config) { c.SizeMax = -1 }), "size_max"},
		{good(func(c *Config) { c.Concurrency = maxConcurrency + 1 }), "concurrency"},
		{good(func(c *Config) { c.Memory = 1 }), "memory"},
		{good(func(c *Config) { c.CPUTime = 1 }), "cpu_time"},
		{good(func(c *Config) { c.VersionEvery = -1 }), "version_every"},
	} {
		_, err := New(tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: got %v, want an error with %q", tt.cfg, err, tt.want)
		}
	}
	if err := ValidateAll([]Config{good(func(*Config) {}), {}}); err == nil || !strings.HasPrefix(err.Error(), "commands[1].name") {
		t.Errorf("got %v, want an error of commands[1].name", err)
	}
	if err := ValidateAll(make([]Config, maxCommands+1)); err == nil {
		t.Error("more programs than there may be: no error")
	}
}

func TestKeepsItsContract(t *testing.T) {
	scannertest.Run(t, newScanner(t, Config{Argv: script("! grep -q script $1")}))
}

// TestRealClamscan has ClamAV's own program, with a database that knows EICAR alone.
func TestRealClamscan(t *testing.T) {
	if os.Getenv("RASTEL_E2E") != "1" {
		t.Skip("needs clamscan: run contrib/test, or set RASTEL_E2E=1")
	}
	db := t.TempDir()
	signature := "Eicar-Test:0:0:" + hex.EncodeToString(rig.EICAR()) + "\n"
	if err := os.WriteFile(filepath.Join(db, "test.ndb"), []byte(signature), 0o600); err != nil {
		t.Fatal(err)
	}
	clamscan := func(args ...string) []string {
		return append([]string{"/usr/bin/clamscan", "--database=" + db}, args...)
	}
	var zipped bytes.Buffer
	w := zip.NewWriter(&zipped)
	f, _ := w.Create("a.com")
	f.Write(rig.EICAR())
	w.Close()
	for _, argv := range [][]string{clamscan("--no-summary", placeholder), clamscan("--no-summary", "-")} {
		s := newScanner(t, Config{Name: "clamscan", Argv: argv, Pattern: `: (.+) FOUND`, Version: clamscan("--version")})
		for _, tt := range []struct{ name, data, want string }{
			{"harmless", "hello", "clean"}, {"EICAR", string(rig.EICAR()), malware}, {"EICAR in zip", zipped.String(), malware},
			{"large", strings.Repeat("0123456789abcdef", 1<<17), "clean"},
		} {
			findings, err := s.Scan(t.Context(), file(t, tt.data))
			if got := outcome(findings, err); got != tt.want || len(findings) > 0 && findings[0].Detail != "clamscan: Eicar-Test.UNOFFICIAL" {
				t.Errorf("%q, %s: got %s (%+v, %v), want %s", argv, tt.name, got, findings, err, tt.want)
			}
		}
		if detail, err := s.Ping(t.Context()); err != nil || !strings.HasPrefix(detail, "ClamAV ") || !strings.Contains(s.Version(), "ClamAV ") {
			t.Errorf("Ping says %q, %v; version %q", detail, err, s.Version())
		}
	}
	s := newScanner(t, Config{Name: "clamscan", Argv: []string{"/usr/bin/clamscan", "--database=/nowhere/at/all", placeholder}})
	if got := outcome(s.Scan(t.Context(), file(t, string(rig.EICAR())))); got != "temporary" {
		t.Errorf("without a database: got %s, want temporary", got)
	}
}
