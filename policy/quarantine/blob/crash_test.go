package blob_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/quarantinetest"
)

// crashEnv tells the test binary that it is the process to be killed, and at which step.
const (
	crashEnv    = "RASTEL_TEST_BLOB_CRASH"
	crashDirEnv = "RASTEL_TEST_BLOB_CRASH_DIR"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(crashEnv); at != "" {
		useUntilKilled(at, os.Getenv(crashDirEnv))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A life is one process that uses a directory, and says what it is about to do and what is done.
type life struct {
	*blob.Dir
	dir string
}

func (l *life) put(raw string) (id string) {
	id = quarantinetest.ID(time.Now())
	fmt.Printf("put %s %s\n", id, strconv.Quote(raw))
	exitOn(l.Put(context.Background(), id, strings.NewReader(raw)))
	fmt.Println("stored", id)
	return id
}

func (l *life) remove(id string) {
	fmt.Println("remove", id)
	exitOn(l.Remove(context.Background(), id))
	fmt.Println("removed", id)
}

func exitOn(err error) {
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

// useUntilKilled does all that changes a directory, in a way that takes every step, until the step at, where it dies.
func useUntilKilled(at, dir string) {
	n, err := strconv.Atoi(at)
	exitOn(err)
	steps := 0
	use := func(list ...string) *life {
		keys, err := blob.ParseKeys(strings.Join(list, "\n"))
		exitOn(err)
		d, err := blob.Open(filepath.Join(dir, "messages"), blob.Options{Keys: keys})
		exitOn(err)
		d.SetStep(func(name string) {
			if steps++; steps == n {
				fmt.Println("dies before", name)
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		})
		return &life{d, dir}
	}
	l := use(keyA)
	first := l.put("the same")
	second := l.put("the same") // links, and replaces
	other := l.put("another")
	l.remove(other)
	l.remove(first)
	damaged := l.put("to be damaged")
	exitOn(os.WriteFile(idFile(dir, damaged), []byte("x"), 0o600))
	fmt.Println("remove", damaged) // nobody may miss it
	l.put("to be damaged")         // supersedes
	l.put("the last")
	l = use(keyB, keyA)
	for _, id := range []string{second, l.put("the same")} {
		_, err := l.Rekey(context.Background(), id)
		exitOn(err)
	}
}

// A ledger is what a process has said.
type ledger struct {
	raw          map[string]string // by id, of what was begun to be put
	stored, gone map[string]bool   // for certain; perhaps
	died         string
}

// liveUntil runs a process that dies at a step.
func liveUntil(t *testing.T, at int, dir string) *ledger {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+strconv.Itoa(at), crashDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &ledger{raw: map[string]string{}, stored: map[string]bool{}, gone: map[string]bool{}}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		l.read(t, lines.Text())
	}
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || l.died != "" && !ws.Signaled() || l.died == "" && ws.ExitStatus() != 0 {
		t.Fatalf("step %d: %v", at, cmd.ProcessState)
	}
	return l
}

func (l *ledger) read(t *testing.T, line string) {
	t.Helper()
	verb, rest, _ := strings.Cut(line, " ")
	id, text, _ := strings.Cut(rest, " ")
	switch verb {
	case "put":
		raw, err := strconv.Unquote(text)
		if err != nil {
			t.Fatal(err)
		}
		l.raw[id] = raw
	case "stored":
		l.stored[id] = true
	case "remove", "removed":
		l.gone[id] = true
	case "dies":
		l.died = rest
	default:
		t.Fatalf("the process says %q", line)
	}
}

// check wants what was stored, whole, and nothing that is half.
func (l *ledger) check(t *testing.T, dir string) {
	t.Helper()
	d := sealed(t, dir, keyB, keyA)
	for id, raw := range l.raw {
		got, err := readText(d, id)
		switch {
		case l.stored[id] && !l.gone[id] && (err != nil || got != raw):
			t.Errorf("died %s: message %s = %q, %v; want %q", l.died, id, got, err, raw)
		case err == nil && got != raw, err != nil && !errors.Is(err, quarantine.ErrNotFound) && !errors.Is(err, quarantine.ErrCorrupt):
			t.Errorf("died %s: message %s, of which nothing is promised, = %q, %v", l.died, id, got, err)
		}
	}
	l.checkClean(t, dir)
}

// checkClean wants nothing to be left once what a crash has left is old and was swept.
func (l *ledger) checkClean(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range files(t, filepath.Join(dir, "messages", "tmp")) {
		if err := os.Chtimes(name, old, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	d := sealed(t, dir, keyB, keyA)
	err := d.Walk(t.Context(), func(id string, _ time.Time) error { return d.Remove(t.Context(), id) })
	if err := errors.Join(err, d.Walk(t.Context(), func(string, time.Time) error { return nil })); err != nil {
		t.Errorf("died %s: Walk: %v", l.died, err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("died %s: left after all was removed and swept: %v", l.died, left)
	}
}

func TestKilledAtEachStep(t *testing.T) {
	var steps []string
	for n := 1; ; n++ {
		dir := t.TempDir()
		l := liveUntil(t, n, dir)
		l.check(t, dir)
		if l.died == "" {
			break
		}
		steps = append(steps, strings.TrimPrefix(l.died, "before "))
	}
	t.Logf("killed before %d steps", len(steps))
	for _, want := range []string{"write", "sync", "link", "replace", "publish", "supersede", "rename", "remove temporary", "sync directories", "remove", "release", "exchange"} {
		if !slices.Contains(steps, want) {
			t.Errorf("none was killed before the step %q", want)
		}
	}
}
