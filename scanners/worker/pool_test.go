package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// hang is when a test gives up.
const hang = time.Minute

// newPool makes a pool of this test binary.
func newPool(t *testing.T, opt Options) *Pool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opt.Command, opt.Env = []string{self, "rastel"}, []string{workerEnv}
	pl, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pl.Close)
	return pl
}

// oneWorker is a pool of one worker: the next message has that which replaced the last.
func oneWorker(t *testing.T) *Pool { return newPool(t, Options{Workers: 1}) }

// examine runs the misbehaver in the pool, on a message with that content.
func examine(t *testing.T, pl *Pool, content string) scanners.Report {
	t.Helper()
	return examineWith(t, pl, scanners.BudgetLimits{ContainerTime: 2 * time.Second}, content)
}

func examineWith(t *testing.T, pl *Pool, lim scanners.BudgetLimits, content string) scanners.Report {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	defer s.Close()
	io.WriteString(s, "Subject: some words\r\nContent-Type: application/x; name=n\r\nContent-Transfer-Encoding: binary\r\n\r\n"+content)
	s.CloseWrite(nil)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	list := pl.Isolate([]scanners.Named{{Name: "test", Scanner: misbehaver{}}, {Name: "seen", Scanner: seen{}}})
	run := scanners.NewSet(scanners.Options{Budget: lim}, list...).Start(ctx)
	m, _, err := eml.Parse(ctx, &eml.Envelope{}, s, eml.Limits{}, run.Add)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	run.Message(m)
	return run.Wait()
}

// seen reports each member.
type seen struct{}

func (seen) Checks() []eml.Check { return []eml.Check{{ID: "test/seen", Doc: "Test."}} }
func (seen) Scan(_ context.Context, p *eml.Part) ([]eml.Finding, error) {
	if !p.Member() {
		return nil, nil
	}
	h := sha256.New()
	n, err := io.Copy(h, p.Content())
	return []eml.Finding{{Check: "test/seen", Part: p, Detail: fmt.Sprintf("%q %s %d %.3x", p.Names, p.MediaType, n, h.Sum(nil))}}, err
}

func summary(r scanners.Report) string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, fmt.Sprintf("%s %s %s", f.Check, f.Part.ID, f.Detail))
	}
	return strings.Join(out, "\n")
}

const good = "do split\r\na\r\nb\r\n"

const goodFindings = `test/x 1 1application/x[n]text16 0
test/seen 1/1 ["\xffa"] application/x-line 1 ca9781
test/x 1/1 a
test/seen 1/3 ["\xffb"] application/x-line 1 3e23e8
test/x 1/3 b`

func wantGood(t *testing.T, pl *Pool) {
	t.Helper()
	if got := summary(examine(t, pl, good)); got != goodFindings {
		t.Errorf("got\n%s\nwant\n%s", got, goodFindings)
	}
}

func TestWorkerYieldsAndReports(t *testing.T) {
	pl := oneWorker(t)
	wantGood(t, pl)
	wantGood(t, pl)
	if r := examine(t, pl, "nothing to do"); len(r.Findings) > 0 {
		t.Errorf("found %s", summary(r))
	}
}

func TestWorkerPassesLargeMembers(t *testing.T) {
	pl := oneWorker(t)
	got := strings.Split(summary(examineWith(t, pl, scanners.BudgetLimits{Ratio: 1 << 30}, "do large\r\n")), "\n")
	h := sha256.New()
	io.Copy(h, io.LimitReader(pattern{}, 20<<20))
	if len(got) != 3 || !strings.HasSuffix(got[2], fmt.Sprintf("1/3 []  20971520 %.3x", h.Sum(nil))) {
		t.Errorf("got %q, want three members of 20 MB, %x", got, h.Sum(nil))
	}
	w, err := pl.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pl.give(w, true)
	for _, f := range w.scratch {
		if info, err := f.Stat(); err != nil || info.Size() > 0 {
			t.Errorf("a file of the worker has %v, %v", info.Size(), err)
		}
	}
}

func TestWorkerPassesFixes(t *testing.T) {
	content := "do fix\r\n" + strings.Repeat("x", 3000)
	r := examine(t, oneWorker(t), content)
	if len(r.Findings) != 3 || len(r.Findings[1].Fix)+len(r.Findings[2].Fix) > 0 {
		t.Fatalf("got\n%s\nwant three findings, the first with a fix", summary(r))
	}
	fix := r.Findings[0].Fix
	if len(fix) != 2501 {
		t.Fatalf("got %d edits, want 2501", len(fix))
	}
	for i, e := range fix {
		want := eml.Edit{Part: r.Findings[0].Part, Region: eml.InContent, Start: int64(i), End: int64(i) + 1, Text: []byte{byte(i)}}
		if i == 2500 {
			want.Start, want.End, want.Text = int64(len(content)), -1, bytes.Repeat([]byte("long "), 200_000)
		}
		if e.Part != want.Part || e.Region != want.Region || e.Start != want.Start || e.End != want.End || !bytes.Equal(e.Text, want.Text) {
			t.Fatalf("edit %d is of %d to %d with %d bytes", i, e.Start, e.End, len(e.Text))
		}
	}
}

func TestBudgetHoldsInWorkers(t *testing.T) {
	pl := oneWorker(t)
	for _, tt := range []struct {
		content string
		lim     scanners.BudgetLimits
		want    string
	}{
		{"do endless\r\n", scanners.BudgetLimits{Bytes: 1 << 20}, "scan/limit 1 test: expansion limit reached: more than 1048576 bytes; 0 members of 0 bytes"},
		{"do endless\r\n", scanners.BudgetLimits{}, "scan/limit 1 test: expansion limit reached: expands more than 250 times; 0 members"},
		{good, scanners.BudgetLimits{Members: 1}, "scan/limit 1 test: expansion limit reached: more than 1 members; 1 members of 1 bytes"},
		{good, scanners.BudgetLimits{Bytes: 1}, "scan/limit 1 test: expansion limit reached: more than 1 bytes; 1 members of 1 bytes"},
		{"do take\r\n", scanners.BudgetLimits{Bytes: 999}, "scan/limit 1 test: expansion limit reached: more than 999 bytes"},
		{"do greedy\r\n", scanners.BudgetLimits{Bytes: 50 << 20}, "scan/limit 1 test: expansion limit reached: more than 52428800 bytes"},
		{"do lie\r\n", scanners.BudgetLimits{}, "scan/limit 1 test: expansion limit reached: more than 10000 members"},
		{"do loop\r\n", scanners.BudgetLimits{ContainerTime: time.Second}, "scan/limit 1 test: expansion limit reached: more than 1s for one container; 1 members of 15 bytes were examined"},
	} {
		r := examineWith(t, pl, tt.lim, tt.content)
		if got := summary(r); !strings.Contains(got, tt.want) || len(r.Unexamined) == 0 || r.Unexamined[0].Temporary {
			t.Errorf("%q: got\n%s\nwant %s", tt.content, got, tt.want)
		}
		wantGood(t, pl)
	}
}

// What has nothing in it costs nothing, also when nothing is left.
func TestNothingIsWithinAnyBudget(t *testing.T) {
	pl := oneWorker(t)
	b := scanners.NewBudget(scanners.BudgetLimits{Bytes: 1, Members: 1}, eml.SpoolOptions{})
	_ = b.Use(scanners.Usage{Bytes: 10, Members: 10})
	list := pl.Isolate([]scanners.Named{{Name: "test", Scanner: misbehaver{}}})
	found, err := list[0].Scanner.(scanners.Expander).Expand(t.Context(), part(t, "do idle\r\n"), b, nil)
	if err != nil || len(found) > 0 {
		t.Errorf("got %v, %v; want nothing", found, err)
	}
}

func TestWorkerAsksForWords(t *testing.T) {
	pl := oneWorker(t)
	if got := summary(examine(t, pl, "do words\r\n")); strings.Count(got, "some words") != 2 {
		t.Errorf("got %s, want the words twice", got)
	}
}

// A message may be long in coming, and a sender may see to it: its worker is not missed meanwhile.
func TestWorkerThatWaitsForWordsLendsItsPlace(t *testing.T) {
	pl := oneWorker(t)
	var waiting []*eml.Spool
	var done sync.WaitGroup
	for range 3 {
		s := eml.NewSpool(eml.SpoolOptions{})
		waiting = append(waiting, s)
		io.WriteString(s, "Subject: some words\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/x; name=n\r\n\r\ndo words\r\n\r\n--b\r\n\r\n")
		done.Go(func() {
			defer s.Close()
			list := pl.Isolate([]scanners.Named{{Name: "test", Scanner: misbehaver{}}, {Name: "seen", Scanner: seen{}}})
			run := scanners.NewSet(scanners.Options{}, list...).Start(t.Context())
			m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, run.Add)
			if err != nil {
				t.Error(err)
				return
			}
			defer m.Close()
			run.Message(m)
			if got := summary(run.Wait()); !strings.Contains(got, "some words") {
				t.Errorf("got %s, want the words", got)
			}
		})
	}
	for range 5 {
		wantGood(t, pl)
	}
	for _, s := range waiting {
		io.WriteString(s, "the end\r\n--b--\r\n")
		s.CloseWrite(nil)
	}
	done.Wait()
	wantGood(t, pl)
	if n := len(pl.lent); n > 0 || len(pl.slots) != 1 {
		t.Errorf("%d places are lent, and %d there, want none and 1", n, len(pl.slots))
	}
}

// Whatever a decoder does to its process, it is a failure for that message, and the next one has
// another worker.
func TestWorkerMayDie(t *testing.T) {
	var log bytes.Buffer
	pl := newPool(t, Options{Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, tt := range []struct{ what, want string }{
		{"fail", "I cannot"},
		{"panic", "panic: boom"},
		{"overflow", overflowed},
		{"memory", ""},
		{"huge", ""},
		{"goroutine", "panic: elsewhere"},
		{"exit", "exit status 0"},
		{"garbage", errProtocol.Error()},
		{"short", errProtocol.Error()},
		{"unknown", errProtocol.Error()},
		{"nobody", errProtocol.Error()},
		{"negative", errProtocol.Error()},
		{"inside", errProtocol.Error()},
		{"nothing", errProtocol.Error()},
		{"twice", errProtocol.Error()},
		{"forever", errProtocol.Error()},
		{"flood", errProtocol.Error()},
		{"fix-outside", errProtocol.Error()},
		{"fix-backward", errProtocol.Error()},
		{"fix-half", errProtocol.Error()},
		{"fix-endless", errProtocol.Error()},
	} {
		r := examineWith(t, pl, scanners.BudgetLimits{ContainerTime: hang}, "do "+tt.what+"\r\n")
		got := r.Findings
		if len(r.Unexamined) != 1 || r.Unexamined[0].Temporary {
			t.Fatalf("%s: unexamined is %+v, want the part, for good", tt.what, r.Unexamined)
		}
		if last := got[0]; last.Check != "scan/failed" || last.Part.ID != "1" || !strings.Contains(last.Detail, tt.want) {
			t.Errorf("%s: got %s %s, want scan/failed with %q", tt.what, last.Check, last.Detail, tt.want)
		}
		t.Logf("%s: %s", tt.what, got[0].Detail)
		wantGood(t, pl)
	}
	if n := strings.Count(log.String(), "worker died"); n < 10 {
		t.Errorf("the log tells of %d dead workers:\n%s", n, log.String())
	}
}

// A worker that was killed from outside is no fault of the message: it is to be tried again.
func TestKilledWorkerIsTemporary(t *testing.T) {
	pl := oneWorker(t)
	done := make(chan scanners.Report)
	go func() {
		done <- examineWith(t, pl, scanners.BudgetLimits{ContainerTime: hang}, "do loop\r\n")
	}()
	killed := false
	for !killed {
		pid, at := childAtWork(t)
		if killed = at > 20; killed { // hundredths of a second: it is in the loop
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	r := <-done
	if len(r.Unexamined) != 1 || !r.Unexamined[0].Temporary {
		t.Errorf("unexamined is %+v, want the part, temporarily", r.Unexamined)
	}
	wantGood(t, pl)
}

// childAtWork is a child of this process and its processor time in hundredths of a second.
func childAtWork(t *testing.T) (pid, ticks int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if f[1] == fmt.Sprint(os.Getpid()) {
			fmt.Sscan(filepath.Base(filepath.Dir(name)), &pid)
			fmt.Sscan(f[11], &ticks)
		}
	}
	return pid, ticks
}

// One that died while it had nothing to do is replaced before anybody notices.
func TestIdleWorkerMayBeKilled(t *testing.T) {
	pl := oneWorker(t)
	for range 3 {
		wantGood(t, pl)
		w, err := pl.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(w.cmd.Process.Pid, syscall.SIGKILL)
		<-w.dead
		pl.slots <- w
	}
	wantGood(t, pl)
}

func TestWorkerEndsWithTheContext(t *testing.T) {
	pl := oneWorker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	p := part(t, "do loop\r\n")
	list := pl.Isolate([]scanners.Named{{Name: "test", Scanner: misbehaver{}}})
	_, err := list[0].Scanner.(scanners.Expander).Expand(ctx, p, scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{}), func(m *eml.Part) error { m.Release(); return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the error of the context", err)
	}
	wantGood(t, pl)
}

func part(t *testing.T, content string) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	io.WriteString(s, "Content-Type: application/x; name=n\r\n\r\n"+content)
	s.CloseWrite(nil)
	m, _, err := eml.Parse(t.Context(), &eml.Envelope{}, s, eml.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); s.Close() })
	return m.Root
}

// A worker that has ended a job, and then does nothing any more, is no fault of the next message.
func TestStuckWorkerIsReplaced(t *testing.T) {
	pl := oneWorker(t)
	examine(t, pl, "do stick\r\n")
	wantGood(t, pl)
}

// The descriptors that a worker sends are not taken.
func TestDescriptorsOfWorkersAreNotTaken(t *testing.T) {
	pl := oneWorker(t)
	before := openFiles(t)
	for range 5 {
		examine(t, pl, "do descriptors\r\n")
	}
	if after := openFiles(t); after > before+10 {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func openFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestWorkerCannotGetOut(t *testing.T) {
	pl := oneWorker(t)
	by, notBy := pl.Confined()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := summary(examine(t, pl, "do escape\r\n"+l.Addr().String())); got != "" {
		t.Errorf("a worker could\n%s\nconfined by %s, not by %s", got, by, notBy)
	}
	t.Logf("confined by %s; not by %q", by, notBy)
}

func TestPoolIsSafeForConcurrentUse(t *testing.T) {
	pl := newPool(t, Options{Workers: 3})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				if i%4 == 0 {
					examine(t, pl, "do exit\r\n")
				} else {
					wantGood(t, pl)
				}
			}
		})
	}
	all.Wait()
}

func TestPoolTellsWhyItCannotStart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		opt  Options
		want string
	}{
		"no program":        {Options{Command: []string{"/nonexistent", "x"}}, "no such file"},
		"another program":   {Options{Command: []string{"/bin/true", "true"}}, "worker did not begin"},
		"bad configuration": {Options{Command: []string{self, "rastel"}, Env: []string{workerEnv}, Config: []byte(`"bad"`)}, "bad configuration"},
		"no directory":      {Options{Command: []string{self, "rastel"}, Env: []string{workerEnv}, Spool: eml.SpoolOptions{Dir: "/nonexistent"}}, "no such file"},
	} {
		if _, err := New(tt.opt); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

// A worker is replaced after so many jobs.
func TestWorkerIsReplacedAfterManyJobs(t *testing.T) {
	pl := oneWorker(t)
	wantGood(t, pl)
	w, err := pl.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.jobs = maxJobs
	pl.give(w, true)
	wantGood(t, pl)
	again, err := pl.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pl.give(again, true)
	if again == w {
		t.Error("it is the same")
	}
}
