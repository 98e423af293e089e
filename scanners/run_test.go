package scanners

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"rastel/sanitize/eml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scanFunc is a scanner that is one function.
type scanFunc func(ctx context.Context, p *eml.Part) ([]eml.Finding, error)

func (scanFunc) Checks() []eml.Check { return []eml.Check{{ID: "test/x", Doc: "Test."}} }
func (f scanFunc) Scan(ctx context.Context, p *eml.Part) ([]eml.Finding, error) {
	return f(ctx, p)
}

// splitter is an expander whose members are the words of its content, and that splits members
// again while they have several words, at the comma, the semicolon, and so on.
type splitter struct{ seps []string }

func (splitter) Checks() []eml.Check                                    { return nil }
func (splitter) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }
func (s splitter) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	text, err := io.ReadAll(p.Content())
	if err != nil || p.Depth >= len(s.seps) || !bytes.Contains(text, []byte(s.seps[p.Depth])) {
		return nil, err
	}
	for i, w := range strings.Split(strings.TrimSpace(string(text)), s.seps[p.Depth]) {
		m, err := b.Member(ctx, p, i+1, []string{w}, strings.NewReader(w))
		if err != nil {
			return nil, err
		}
		if err := yield(m); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// examine parses raw and runs the set on it.
func examine(t *testing.T, set *Set, raw string) (*eml.Message, Report) {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	t.Cleanup(func() { s.Close() })
	s.Write([]byte(strings.ReplaceAll(raw, "\n", "\r\n")))
	s.CloseWrite(nil)
	run := set.Start(t.Context())
	m, findings, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, run.Add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	run.Message(m)
	report := run.Wait()
	report.Merge(findings)
	return m, report
}

func summary(r Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s %s %s", f.Check, f.Part.ID, f.Detail))
	}
	return strings.Join(out, "; ")
}

// seen reports each part it is given, with its content.
var seen = scanFunc(func(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	b, err := io.ReadAll(p.Content())
	return []eml.Finding{{Check: "test/x", Part: p, Detail: string(bytes.TrimSpace(b))}}, err
})

func TestRunExaminesMembersOfMembers(t *testing.T) {
	set := NewSet(Options{}, Named{Name: "split", Scanner: splitter{[]string{";", ","}}}, Named{Name: "seen", Scanner: seen, Waits: true})
	m, r := examine(t, set, "Subject: x\n\na,b;c\n")
	want := "test/x 1 a,b;c; test/x 1/1 a,b; test/x 1/1/1 a; test/x 1/1/2 b; test/x 1/2 c"
	if got := summary(r); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var ids []string
	m.Root.Walk(func(p *eml.Part) bool { ids = append(ids, p.ID); return true })
	if got, want := strings.Join(ids, " "), "1 1/1 1/1/1 1/1/2 1/2"; got != want {
		t.Errorf("the tree is %s, want %s", got, want)
	}
}

func TestRunGivesBackMembersThatNobodyReads(t *testing.T) {
	var last *eml.Part
	keep := scanFunc(func(_ context.Context, p *eml.Part) ([]eml.Finding, error) { last = p; return nil, nil })
	examine(t, NewSet(Options{Workers: 1}, Named{Name: "split", Scanner: splitter{[]string{","}}}, Named{Name: "keep", Scanner: keep}), "\na,b")
	if !last.Member() || last.Size == 0 {
		t.Fatalf("the last part is %s of %d bytes", last.ID, last.Size)
	}
	if _, err := io.ReadAll(last.Content()); err == nil {
		t.Error("the content of a member is still there after the run")
	}
}

func TestPanicIsAFailureOfThatScanner(t *testing.T) {
	var log bytes.Buffer
	boom := scanFunc(func(context.Context, *eml.Part) ([]eml.Finding, error) { panic("boom") })
	set := NewSet(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, Named{Name: "bad", Scanner: boom}, Named{Name: "seen", Scanner: seen})
	_, r := examine(t, set, "\nhello")
	if got, want := summary(r), "scan/failed 1 bad: panic: boom; test/x 1 hello"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(r.Unexamined) != 1 || r.Unexamined[0].Temporary {
		t.Errorf("unexamined is %+v, want one, for good", r.Unexamined)
	}
	if !strings.Contains(log.String(), "run_test.go") {
		t.Errorf("the log has no stack: %s", log.String())
	}
}

func TestFailuresAreTemporaryWhenAScannerSaysSo(t *testing.T) {
	for _, tt := range []struct {
		err       error
		temporary bool
		check     string
	}{
		{errors.New("bad"), false, "scan/failed"},
		{&Temporary{errors.New("down")}, true, "scan/failed"},
		{fmt.Errorf("wrapped: %w", &Temporary{errors.New("down")}), true, "scan/failed"},
		{context.DeadlineExceeded, true, "scan/failed"},
		{fmt.Errorf("x: %w", ErrBudget), false, "scan/limit"},
	} {
		fail := scanFunc(func(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, tt.err })
		_, r := examine(t, NewSet(Options{}, Named{Name: "f", Scanner: fail}), "\nx")
		if len(r.Unexamined) != 1 || r.Unexamined[0].Temporary != tt.temporary || r.Findings[0].Check != tt.check {
			t.Errorf("%v: got %s, %+v; want %s, temporary %v", tt.err, summary(r), r.Unexamined, tt.check, tt.temporary)
		}
	}
}

func TestBudgetBoundsExpansion(t *testing.T) {
	for _, tt := range []struct {
		name string
		lim  BudgetLimits
	}{
		{"members", BudgetLimits{Members: 2}}, {"bytes", BudgetLimits{Bytes: 3}}, {"depth", BudgetLimits{Depth: 1}},
	} {
		set := NewSet(Options{Budget: tt.lim}, Named{Name: "split", Scanner: splitter{[]string{";", ","}}})
		_, r := examine(t, set, "\na,b;c,d\n")
		if got := summary(r); !strings.Contains(got, "scan/limit") || len(r.Unexamined) == 0 {
			t.Errorf("%s: got %q, %v; want scan/limit", tt.name, got, r.Unexamined)
		}
	}
}

func TestBudgetBoundsTheRatio(t *testing.T) {
	b := NewBudget(BudgetLimits{Ratio: 2}, eml.SpoolOptions{})
	s := eml.NewSpool(eml.SpoolOptions{})
	s.Write([]byte("small"))
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Member(t.Context(), m.Root, 1, nil, io.LimitReader(zeros{}, ratioFree+1<<20))
	if !errors.Is(err, ErrBudget) {
		t.Errorf("got %v, want ErrBudget", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestRunKeepsToItsWorkers(t *testing.T) {
	var now, most atomic.Int32
	busy := scanFunc(func(context.Context, *eml.Part) ([]eml.Finding, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		for range 1000 {
			now.Load()
		}
		now.Add(-1)
		return nil, nil
	})
	raw := "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 100)
	examine(t, NewSet(Options{Workers: 2}, Named{Name: "busy", Scanner: busy}), raw)
	if most.Load() > 2 {
		t.Errorf("%d scanners computed at a time, want at most 2", most.Load())
	}
}

func TestMailOpensMessagesThatAreFiles(t *testing.T) {
	inner := "Received: x\nFrom: a\nSubject: b\nContent-Type: multipart/mixed; boundary=q\n\n--q\n\none\n--q\nContent-Disposition: attachment; filename=x.exe\n\ntwo\n--q--\n"
	raw := "Content-Type: application/octet-stream; name=a.eml\n\n" + inner
	m, r := examine(t, NewSet(Options{}, Named{Name: "mail", Scanner: Mail{}}, Named{Name: "seen", Scanner: seen}), raw)
	if got := summary(r); !strings.Contains(got, "test/x 1/1.1 one") || !strings.Contains(got, "test/x 1/1.2 two") {
		t.Errorf("got %q, want both parts of the inner message", got)
	}
	var names []string
	m.Root.Walk(func(p *eml.Part) bool {
		names = append(names, p.Names...)
		if p.Member() && p.Carrier() != m.Root {
			t.Errorf("the carrier of %s is %s", p.ID, p.Carrier().ID)
		}
		return true
	})
	if fmt.Sprint(names) != "[a.eml x.exe]" {
		t.Errorf("names are %v", names)
	}
}

func TestReportIsInTheOrderOfParts(t *testing.T) {
	for _, tt := range []struct{ a, b string }{{"1.2", "1.10"}, {"1", "1.1"}, {"1.1", "1.1/1"}, {"1.1/9", "1.1/10"}, {"1.1/2.3", "1.2"}} {
		if compareIDs(tt.a, tt.b) >= 0 || compareIDs(tt.b, tt.a) <= 0 || compareIDs(tt.a, tt.a) != 0 {
			t.Errorf("%s does not come before %s", tt.a, tt.b)
		}
	}
}

func TestWaitOfAnEmptyRunReturns(t *testing.T) {
	if r := NewSet(Options{}).Start(t.Context()).Wait(); len(r.Findings) > 0 {
		t.Errorf("got %v", r.Findings)
	}
}
