package policy

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/scanners"
)

const tested = "tests: [\"*.case\", b.case]\nrules: [{name: all, when: true, then: accept}]"

func TestTestsAreTheFilesThatAreThere(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.case", "a.case", "c.txt"} {
		write(t, filepath.Join(dir, name), "x")
	}
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, tested)
	p, err := LoadFile(file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(dir, "a.case"), filepath.Join(dir, "b.case")}; !slices.Equal(p.Tests(), want) {
		t.Errorf("tests are %q, want %q", p.Tests(), want)
	}
	write(t, filepath.Join(dir, "a.case"), "y")
	if q, err := LoadFile(file, Options{}); err != nil || q.Version != p.Version {
		t.Errorf("the version depends on tests: %v, %v", q, err)
	}
}

func TestWrongTestsAreTold(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ tests, want string }{
		{"none/*.case", "p:1:8: there is no file " + filepath.Join(dir, "none/*.case")},
		{"'[a'", `p:1:8: "[a" is no pattern of files`},
		{"{a: b}", "p:1:8: the name of a test must be a text"},
		{".", "is no regular file"},
		{"[" + strings.Repeat("a,", maxTestPatterns) + "a]", "more than 100 names of tests"},
	} {
		_, err := Load("p", []byte("tests: "+tt.tests+"\nrules: [{name: all, when: true, then: accept}]"), Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("tests: %.40s: %v, want %q", tt.tests, err, tt.want)
		}
	}
}

func TestTestsAreBounded(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.case")
	write(t, big, "x")
	if err := os.Truncate(big, maxTestBytes+1); err != nil {
		t.Fatal(err)
	}
	text := []byte("tests: \"*.case\"\nrules: [{name: all, when: true, then: accept}]")
	if _, err := Load("p", text, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "more than 67108864 bytes") {
		t.Errorf("a large one: %v", err)
	}
	os.Remove(big)
	for i := range maxTestFiles + 1 {
		write(t, filepath.Join(dir, strings.Repeat("x", i%50)+string(rune('a'+i%26))+time.Duration(i).String()+".case"), "x")
	}
	if _, err := Load("p", text, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "more than 1000 files") {
		t.Errorf("many: %v", err)
	}
}

// TestPolicyThatFailsItsTestsIsNotPutInForce: neither at first nor later; and a test that is changed is
// run again.
func TestPolicyThatFailsItsTestsIsNotPutInForce(t *testing.T) {
	dir := t.TempDir()
	file, test := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "b.case")
	write(t, file, tested)
	write(t, test, "reject")
	runs := 0
	opt := Options{Test: func(ctx context.Context, p *Policy) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the tests have no deadline")
		}
		runs++
		want, err := os.ReadFile(p.Tests()[0])
		if got := p.Decide(parse(t, "\nx"), scanners.Report{}).Action.String(); err == nil && got != string(want) {
			return errors.New("it gives " + got)
		}
		return err
	}}
	if _, err := NewLive(file, opt, nil); !errors.Is(err, ErrTests) || !strings.Contains(err.Error(), "it gives accept") {
		t.Fatalf("it is loaded: %v", err)
	}
	write(t, test, "accept")
	log := &logBuffer{}
	l, err := NewLive(file, opt, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	before := l.Load()
	write(t, file, strings.Replace(tested, "accept", "reject", 1))
	if err := l.Reload(); !errors.Is(err, ErrTests) || l.Load() != before || log.count("it gives reject") != 1 {
		t.Errorf("it is loaded: %v, %s\n%s", err, l.Load().Version, &log.text)
	}
	runs = 0
	if err := l.reload(false); err != nil || runs != 0 {
		t.Errorf("nothing has changed, and there are %d runs, %v", runs, err)
	}
	write(t, test, "reject")
	if err := l.reload(false); err != nil || l.Load() == before || runs != 1 {
		t.Errorf("the test is changed: %v, %d runs\n%s", err, runs, &log.text)
	}
}

func TestPolicyAtAnotherTime(t *testing.T) {
	p, err := Load("p", []byte("signatures: [{match: Test.Signature, as: ignore, owner: a, reason: b, until: 2027-03-31}]\nrules: [{name: all, when: true, then: accept}]"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := p.At(time.Date(2027, 4, 2, 0, 0, 0, 0, time.UTC))
	if q == p || q.Version != p.Version || len(q.Expired(q.now())) != 1 {
		t.Errorf("expired then: %v", q.Expired(q.now()))
	}
}
