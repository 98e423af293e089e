package exceptions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeTable is one that can fail. The real one is tested with its database.
type fakeTable struct {
	Table
	list []Exception
	err  error
	mu   sync.Mutex
	hits map[string]int64
}

func (f *fakeTable) Exceptions(context.Context) ([]Exception, error) { return f.list, f.err }

func (f *fakeTable) ChangeException(_ context.Context, e Entry) error {
	if f.err == nil && e.What == Created {
		f.list = append(f.list, e.Exception)
	}
	return f.err
}

func (f *fakeTable) HitExceptions(_ context.Context, hits []Hit) error {
	if f.err != nil {
		return f.err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range hits {
		f.hits[h.ID] += h.Count
	}
	return nil
}

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.Local)

func openBook(t *testing.T, f *fakeTable) (*Book, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	f.hits = map[string]int64{}
	b, err := Open(t.Context(), f, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	b.now = func() time.Time { return now }
	return b, &log
}

func good() Exception {
	return Exception{Scope: Scope{Sender: "example.org", Rule: "program"}, Owner: "ann", Reason: "their installer", Until: "2026-12-31"}
}

func TestRefusesWhatIsTooWide(t *testing.T) {
	b, _ := openBook(t, &fakeTable{})
	sum := strings.Repeat("ab", 32)
	for _, tt := range []struct {
		change func(*Exception)
		want   string
	}{
		{func(e *Exception) {}, ""},
		{func(e *Exception) { e.Sender = " *.Example.ORG " }, ""},
		{func(e *Exception) { e.Scope = Scope{SHA256: strings.ToUpper(sum)} }, ""},
		{func(e *Exception) { e.Scope = Scope{SHA256: sum, Check: "clamd/malware"} }, ""},
		{func(e *Exception) { e.Scope = Scope{Recipient: "@example.org", Check: "html/*"} }, ""},
		{func(e *Exception) { e.Scope = Scope{Recipient: "a.b+c@example.org", Rule: "x"} }, ""},
		{func(e *Exception) { e.Sender = "" }, "needs a sender, a recipient, a sha256 or macros"},
		{func(e *Exception) { e.Rule = "" }, "needs a rule, a check, a sha256 or macros"},
		{func(e *Exception) { e.Sender = "org" }, "no domain"},
		{func(e *Exception) { e.Sender = "*.org" }, "no domain"},
		{func(e *Exception) { e.Sender = "*.co.uk" }, "no domain"},
		{func(e *Exception) { e.Sender = "a@example.org" }, "no domain"},
		{func(e *Exception) { e.Sender = "exa mple.org" }, "no domain"},
		{func(e *Exception) { e.Sender = "*.*.example.org" }, "no domain"},
		{func(e *Exception) { e.Sender = strings.Repeat("a.", 200) + "org" }, "no domain"},
		{func(e *Exception) { e.Recipient = "example.org" }, "neither an address"},
		{func(e *Exception) { e.Recipient = "a@" }, "neither an address"},
		{func(e *Exception) { e.Recipient = "a\n@example.org" }, "neither an address"},
		{func(e *Exception) { e.SHA256 = "abc" }, "64 hexadecimal"},
		{func(e *Exception) { e.SHA256 = nothing }, "sha256 of nothing"},
		{func(e *Exception) { e.Macros = "abc" }, "64 hexadecimal"},
		{func(e *Exception) { e.SHA256, e.Macros = strings.Repeat("1", 64), strings.Repeat("2", 64) }, "has always the same macros"},
		{func(e *Exception) { e.Rule, e.Check, e.Macros = "", "clamd/malware", strings.Repeat("2", 64) }, "macros are for"},
		{func(e *Exception) { e.Check = "*" }, "no check"},
		{func(e *Exception) { e.Check = "*/malware" }, "no check"},
		{func(e *Exception) { e.Check = "html/[" }, "no check"},
		{func(e *Exception) { e.Check = "html" }, "no check"},
		{func(e *Exception) { e.Check = "clamd/malware" }, "by the sha256 of the part only"},
		{func(e *Exception) { e.Check = "icap/blocked" }, "by the sha256 of the part only"},
		{func(e *Exception) { e.Owner = "" }, "an owner"},
		{func(e *Exception) { e.Reason = "a\nb" }, "a reason"},
		{func(e *Exception) { e.Until = "" }, "no day"},
		{func(e *Exception) { e.Until = "tomorrow" }, "no day"},
		{func(e *Exception) { e.Until = "2026-11-24" }, "is over"},
		{func(e *Exception) { e.Until = "2026-11-25" }, ""},
		{func(e *Exception) { e.Until = "2036-01-01" }, "more than 5 years"},
	} {
		e := good()
		tt.change(&e)
		got, err := b.Create(t.Context(), e, "test")
		if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: got %v, want %q", e.Scope, err, tt.want)
		}
		if err == nil && (got.Sender != strings.ToLower(strings.TrimSpace(e.Sender)) || len(got.ID) != 26 || got.CreatedBy != "test") {
			t.Errorf("%+v: made %+v", e.Scope, got)
		}
	}
}

// TestSnapshotStaysWhenTheTableFails: what was in force stays, nothing is lost, and the log tells it once.
func TestSnapshotStaysWhenTheTableFails(t *testing.T) {
	f := &fakeTable{}
	b, log := openBook(t, f)
	e, err := b.Create(t.Context(), good(), "test")
	if err != nil {
		t.Fatal(err)
	}
	f.err = errors.New("disk on fire")
	b.Hit([]string{e.ID}, now)
	for range 3 {
		if err := b.Reload(t.Context()); err == nil {
			t.Error("Reload = nil")
		}
		if err := b.flush(t.Context()); err == nil {
			t.Error("flush = nil")
		}
		b.Hit([]string{e.ID}, now)
	}
	if _, err := b.Create(t.Context(), good(), "test"); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("Create = %v", err)
	}
	if n := len(b.Snapshot().For(About{Now: now, Sender: "example.org"})); n != 1 {
		t.Errorf("%d exceptions in force, want the one from before", n)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n == 0 || n > 6 {
		t.Errorf("%d errors in the log:\n%s", n, log)
	}
	f.err = nil
	if err := b.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil || f.hits[e.ID] != 4 {
		t.Errorf("Close = %v, %d hits written, want 4", err, f.hits[e.ID])
	}
	if !strings.Contains(log.String(), "can be read and written again") {
		t.Errorf("log:\n%s", log)
	}
}

// TestEndedIsToldOnce: also that it does not hold any more.
func TestEndedIsToldOnce(t *testing.T) {
	f := &fakeTable{}
	b, log := openBook(t, f)
	if _, err := b.Create(t.Context(), good(), "test"); err != nil {
		t.Fatal(err)
	}
	later := time.Date(2027, 1, 1, 0, 0, 0, 0, time.Local)
	b.now = func() time.Time { return later }
	for range 3 {
		if err := b.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "an exception has ended"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log)
	}
	for at, want := range map[time.Time]int{later.Add(-time.Second): 1, later: 0} {
		if got := len(b.Snapshot().For(About{Now: at, Sender: "example.org"})); got != want {
			t.Errorf("at %v %d hold, want %d", at, got, want)
		}
	}
}

func TestSnapshotFindsWhatFits(t *testing.T) {
	var list []Exception
	for i, s := range []Scope{
		{Sender: "example.org", Rule: "a"}, {Sender: "*.example.org", Rule: "a"}, {Recipient: "bob@example.net", Rule: "a"}, {Recipient: "@example.net", Rule: "a"},
		{SHA256: "11", Sender: "example.org"}, {Sender: "example.org", Recipient: "@example.net", Rule: "a"}, {}, {Rule: "a"}, {SHA256: "11"},
	} {
		list = append(list, Exception{ID: fmt.Sprint(i), Scope: s, Until: "2026-12-31"})
	}
	s := NewSnapshot(list)
	for _, tt := range []struct {
		about About
		want  string
	}{
		{About{}, ""},
		{About{Sender: "example.org"}, "0"},
		{About{Sender: "a.b.example.org"}, "1"},
		{About{Recipients: []string{"bob@example.net"}}, "2 3"},
		{About{Recipients: []string{"BOB@Example.Net", "eve@example.net"}}, "3"},
		{About{Recipients: []string{"bob@example.net", "eve@example.com"}}, ""},
		{About{Recipients: []string{"@example.net", "eve@example.com"}}, ""},
		{About{Recipients: []string{"@example.net", "@example.net"}}, "3"},
		{About{SHA256: []string{"00", "11", "11"}}, "8"},
		{About{SHA256: []string{"11"}, Sender: "example.org", Recipients: []string{"x@example.net"}}, "0 3 4 5 8"},
	} {
		tt.about.Now = now
		var got []string
		for _, e := range s.For(tt.about) {
			got = append(got, e.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: got %v, want %s", tt.about, got, tt.want)
		}
	}
	if !(*Snapshot)(nil).Empty() || (*Snapshot)(nil).Len() != 0 || (*Snapshot)(nil).For(About{}) != nil || s.Len() != 7 {
		t.Errorf("of nil, or the length %d, is wrong", s.Len())
	}
}

func TestHitsOfManyAreCounted(t *testing.T) {
	f := &fakeTable{}
	b, _ := openBook(t, f)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				b.Hit([]string{"a", "b"}, now)
			}
			_ = b.flush(t.Context())
		})
	}
	wg.Wait()
	if err := b.Close(); err != nil || f.hits["a"] != 800 || f.hits["b"] != 800 {
		t.Errorf("Close = %v, hits %v; want 800 each", err, f.hits)
	}
}
