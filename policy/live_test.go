package policy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"rastel/scanners"
)

const (
	acceptAll = "rules: [{name: all, when: true, then: accept}]"
	rejectAll = "rules: [{name: all, when: true, then: reject}]"
	broken    = "rules: [{name: all, when: tru, then: reject}]"
)

// A logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count says how often the log has a text.
func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func newLive(t *testing.T, text string) (*Live, string, *logBuffer) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, file, text)
	log := &logBuffer{}
	l, err := NewLive(file, Options{}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return l, file, log
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l *Live) action(t *testing.T) Action {
	return l.Load().Decide(parse(t, "\nx"), scanners.Report{}).Action
}

func TestReloadPutsTheNewPolicyInForce(t *testing.T) {
	l, file, log := newLive(t, acceptAll)
	write(t, file, rejectAll)
	if got := l.action(t); got != Accept {
		t.Errorf("before: %s, want accept", got)
	}
	if err := l.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := l.action(t); got != Reject || log.count("policy loaded") != 1 {
		t.Errorf("after: %s, want reject\n%s", got, &log.text)
	}
}

func TestBrokenPolicyNeverReplacesTheOneInForce(t *testing.T) {
	l, file, log := newLive(t, rejectAll)
	before := l.Load()
	for _, text := range []string{broken, "", "rules: []"} {
		write(t, file, text)
		if err := l.Reload(); err == nil {
			t.Errorf("%q is loaded", text)
		}
	}
	os.Remove(file)
	if err := l.Reload(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if l.Load() != before || log.count("level=ERROR") != 4 || log.count(before.Version) != 4 {
		t.Errorf("the policy is %s, was %s\n%s", l.Load().Version, before.Version, &log.text)
	}
}

func TestLiveNeedsAPolicyToBeginWith(t *testing.T) {
	if _, err := NewLive(filepath.Join(t.TempDir(), "none.yaml"), Options{}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLiveWithoutAFileIsTheBuiltInPolicy(t *testing.T) {
	l, err := NewLive("", Options{}, nil)
	if err != nil || l.Load().Version != Default().Version {
		t.Fatalf("got %v, %v", l, err)
	}
	if err := l.Reload(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Watch(ctx); err != nil {
		t.Error(err)
	}
}

// TestChangesAreReadWhenTheyHaveComeToRest gives the events by hand, so that time can be.
func TestChangesAreReadWhenTheyHaveComeToRest(t *testing.T) {
	l, file, log := newLive(t, acceptAll)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events, errs := make(chan fsnotify.Event), make(chan error)
		var done sync.WaitGroup
		done.Go(func() {
			if err := l.follow(ctx, events, errs); err != nil {
				t.Error(err)
			}
		})
		write(t, file, "rules:") // half of it
		events <- fsnotify.Event{Name: file}
		time.Sleep(settleTime / 2)
		write(t, file, rejectAll)
		events <- fsnotify.Event{Name: file}
		time.Sleep(settleTime * 3 / 4)
		if log.count("policy") != 0 {
			t.Errorf("read too early\n%s", &log.text)
		}
		time.Sleep(settleTime)
		if log.count("policy loaded") != 1 || log.count("ERROR") != 0 {
			t.Errorf("not read once\n%s", &log.text)
		}
		events <- fsnotify.Event{Name: "another file"}
		time.Sleep(2 * settleTime)
		if log.count("policy loaded") != 1 {
			t.Errorf("read without a change\n%s", &log.text)
		}
		write(t, file, broken)
		for range 3 { // a broken file is told of once
			events <- fsnotify.Event{Name: file}
			time.Sleep(2 * settleTime)
		}
		if log.count("ERROR") != 1 {
			t.Errorf("not told once\n%s", &log.text)
		}
		write(t, file, acceptAll)
		errs <- fsnotify.ErrEventOverflow // the event of that was lost
		time.Sleep(2 * settleTime)
		if log.count("policy loaded") != 2 || log.count("WARN") != 1 {
			t.Errorf("not read after an overflow\n%s", &log.text)
		}
		cancel()
		done.Wait()
	})
}

func TestFollowEndsWithItsWatcher(t *testing.T) {
	l, _, _ := newLive(t, acceptAll)
	events := make(chan fsnotify.Event)
	close(events)
	if err := l.follow(t.Context(), events, nil); !errors.Is(err, fsnotify.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A loadSignal is a log handler that tells when a policy was loaded.
type loadSignal struct {
	slog.Handler
	loaded chan struct{}
}

func (h loadSignal) Enabled(context.Context, slog.Level) bool { return true }
func (h loadSignal) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "policy loaded" {
		h.loaded <- struct{}{}
	}
	return nil
}

// TestWatchSeesHowEditorsWrite uses the real file system.
func TestWatchSeesHowEditorsWrite(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "policy.yaml")
	write(t, filepath.Join(real, "policy.yaml"), acceptAll)
	if err := os.Symlink(filepath.Join(real, "policy.yaml"), file); err != nil {
		t.Fatal(err)
	}
	signal := loadSignal{slog.DiscardHandler, make(chan struct{}, 10)}
	l, err := NewLive(file, Options{}, slog.New(signal))
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, rejectAll) // before the watch begins
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := l.Watch(ctx); err != nil {
			t.Error(err)
		}
	})
	defer done.Wait()
	defer cancel()
	<-signal.loaded
	for _, step := range []struct {
		name   string
		write  func()
		action Action
	}{
		{"behind the link", func() { write(t, filepath.Join(real, "policy.yaml"), acceptAll) }, Accept},
		{"renamed into place", func() {
			write(t, filepath.Join(dir, "new"), rejectAll)
			if err := os.Rename(filepath.Join(dir, "new"), file); err != nil {
				t.Fatal(err)
			}
		}, Reject},
		{"in place", func() { write(t, file, acceptAll) }, Accept},
	} {
		step.write()
		select {
		case <-signal.loaded:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the change was not noticed", step.name)
		}
		if got := l.action(t); got != step.action {
			t.Errorf("%s: %s, want %s", step.name, got, step.action)
		}
	}
}

func TestWatchOfNoDirectoryIsAnError(t *testing.T) {
	l, file, _ := newLive(t, acceptAll)
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	if err := l.Watch(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
