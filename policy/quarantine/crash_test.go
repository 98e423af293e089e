package quarantine_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/sqlindex"
)

// crashEnv tells the test binary that it is the process to be killed, and where.
const (
	crashEnv    = "RASTEL_TEST_CRASH"
	crashDirEnv = "RASTEL_TEST_CRASH_DIR"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(crashEnv); at != "" {
		holdUntilKilled(at, os.Getenv(crashDirEnv))
	}
	if env := os.Getenv(nodeEnv); env != "" {
		runNode(env)
	}
	os.Exit(m.Run())
}

func ulidAt(t time.Time) string { return ulid.MustNew(ulid.Timestamp(t), rand.Reader).String() }

// randomText cannot be packed to less than half.
func randomText(n int) string {
	b := make([]byte, n/2)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// die is a crash: nothing is flushed, no deferred call runs.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// A dyingIndex dies before or after it has written the third item.
type dyingIndex struct {
	quarantine.Index
	at   string
	puts int
}

func (d *dyingIndex) Put(ctx context.Context, it *quarantine.Item, since time.Time) (*quarantine.Item, error) {
	d.puts++
	if d.at == "after-blob" && d.puts == 3 {
		die()
	}
	got, err := d.Index.Put(ctx, it, since)
	if d.at == "after-index" && d.puts == 3 {
		die()
	}
	return got, err
}

// A dyingReader dies when it is reached.
type dyingReader struct{}

func (dyingReader) Read([]byte) (int, error) { die(); return 0, io.EOF }

// holdUntilKilled holds messages, and prints the id of each once Hold has returned.
func holdUntilKilled(at, dir string) {
	cfg := quarantine.Config{Dir: dir}
	index, err := sqlindex.Open(cfg.IndexFile())
	exitOn(err)
	blobs, err := blob.Open(cfg.BlobDir(), blob.Options{})
	exitOn(err)
	s, err := quarantine.New(quarantine.Options{Config: cfg, Index: &dyingIndex{Index: index, at: at}, Blobs: blobs})
	exitOn(err)
	for n := 1; ; n++ {
		it := quarantine.NewItem(envelope())
		raw := io.Reader(strings.NewReader("Subject: x\r\n\r\n" + randomText(30<<10)))
		if at == "half-blob" && n == 3 {
			raw = io.MultiReader(raw, strings.NewReader(randomText(1<<20)), dyingReader{})
		}
		exitOn(s.Hold(context.Background(), it, raw))
		fmt.Println(it.ID)
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestKilledProcessLosesNothingItHasHeld(t *testing.T) {
	points := []string{"half-blob", "after-blob", "after-index"}
	for range 8 {
		points = append(points, "random")
	}
	dir := t.TempDir()
	known := 0
	for _, at := range points {
		held := crash(t, at, dir)
		if at != "random" && len(held) != 2 {
			t.Errorf("killed at %s: %d held, want 2", at, len(held))
		}
		known += len(held)
		checkAfterCrash(t, at, dir, held)
	}
	if known < 20 {
		t.Errorf("only %d messages were held before the crashes: too few to tell", known)
	}
}

// crash runs a process until it is killed, and returns the ids for which its Hold returned.
func crash(t *testing.T, at, dir string) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+at, crashDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var held []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		held = append(held, lines.Text())
		if at == "random" && len(held) == 3 {
			// At some moment of one of the next ones.
			time.AfterFunc(time.Duration(mrand.IntN(20_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
		t.Fatalf("process that holds: %v, want it killed", cmd.ProcessState)
	}
	return held
}

// checkAfterCrash wants every message that was held to be there, and all that is listed to be
// whole.
func checkAfterCrash(t *testing.T, at, dir string, held []string) {
	t.Helper()
	s := newStore(t, quarantine.Config{Dir: dir})
	defer s.Close()
	for _, id := range held {
		s.wantState(t, id, quarantine.Held)
	}
	items, err := s.List(t.Context(), quarantine.Filter{Limit: quarantine.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		r, err := s.Store.Open(t.Context(), it.ID)
		if err != nil {
			t.Errorf("killed at %s: Open(%s): %v", at, it.ID, err)
			continue
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("killed at %s: read %s: %v", at, it.ID, err)
		}
		r.Close()
	}
}
