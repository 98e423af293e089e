package blob_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/quarantinetest"
)

const text = "Subject: the same\r\n\r\nto all\r\n"

// putText stores the text as a message of its own.
func putText(t *testing.T, b quarantine.Blobs, text string) (id string) {
	t.Helper()
	id = quarantinetest.ID(time.Now())
	if err := b.Put(t.Context(), id, strings.NewReader(text)); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return id
}

func readText(b quarantine.Blobs, id string) (string, error) {
	r, err := b.Open(nil, id) //nolint:staticcheck // a Dir does not use it
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(r)
	return string(got), errors.Join(err, r.Close())
}

func wantText(t *testing.T, b quarantine.Blobs, id, want string) {
	t.Helper()
	if got, err := readText(b, id); err != nil || got != want {
		t.Errorf("message of %s = %.100q, %v; want %.100q", id, got, err, want)
	}
}

// idFile is the file of an item in dir/messages.
func idFile(dir, id string) string { return filepath.Join(dir, "messages", id[:5], id+".zst") }

// inodes are how many files there are, whatever their names.
func inodes(t *testing.T, dir string) int {
	t.Helper()
	seen := map[uint64]bool{}
	for _, name := range files(t, dir) {
		seen[inode(t, name)] = true
	}
	return len(seen)
}

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestTheSameMessageIsStoredOnce(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var ids []string
	for range 5 {
		ids = append(ids, putText(t, d, text))
	}
	other := putText(t, d, text+"more")
	if n := inodes(t, dir); n != 2 {
		t.Errorf("%d files for two messages held six times: %v", n, files(t, dir))
	}
	for n, id := range ids {
		wantText(t, d, id, text)
		if err := d.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for _, kept := range ids[n+1:] {
			wantText(t, d, kept, text)
		}
	}
	wantText(t, d, other, text+"more")
	kept := putText(t, d, text)
	for range 2 { // who goes leaves the name by which others find the file
		if err := d.Remove(t.Context(), putText(t, d, text)); err != nil {
			t.Fatal(err)
		}
	}
	if inode(t, idFile(dir, kept)) != inode(t, idFile(dir, putText(t, d, text))) {
		t.Error("after another was removed the message is not shared any more")
	}
	if err := d.Walk(t.Context(), func(id string, _ time.Time) error {
		if id == other {
			return nil
		}
		return d.Remove(t.Context(), id)
	}); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("files = %v, want those of the other message", got)
	}
}

func TestPutAgainUnderTheSameID(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	id := putText(t, d, text)
	for _, raw := range []string{text, "another", text} {
		if err := d.Put(t.Context(), id, strings.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
		wantText(t, d, id, raw)
		if left, _ := filepath.Glob(filepath.Join(dir, "messages", "tmp", "*")); len(left) > 0 {
			t.Errorf("after Put of %q: %v is left", raw, left)
		}
	}
}

// A message must not take the bytes of a damaged one for its own.
func TestDoesNotShareADamagedFile(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	long := strings.Repeat(text, 1000)
	damaged := putText(t, d, long)
	b, err := os.ReadFile(idFile(dir, damaged))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(idFile(dir, damaged), b, 0o600); err != nil { // the same file
		t.Fatal(err)
	}
	second, third := putText(t, d, long), putText(t, d, long)
	wantText(t, d, second, long)
	wantText(t, d, third, long)
	if inode(t, idFile(dir, second)) != inode(t, idFile(dir, third)) {
		t.Error("the damaged file was not superseded: the third message has one of its own")
	}
	if _, err := readText(d, damaged); !errors.Is(err, quarantine.ErrCorrupt) {
		t.Errorf("Open of the damaged one = %v, want ErrCorrupt", err)
	}
}

// Sweep takes what Walk says for the age of a message that has no record yet.
func TestASharedMessageIsAsYoungAsItsLastItem(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	first := putText(t, d, text)
	long := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(idFile(dir, first), long, long); err != nil {
		t.Fatal(err)
	}
	second := putText(t, d, text)
	if inode(t, idFile(dir, first)) != inode(t, idFile(dir, second)) {
		t.Fatal("they do not share a file")
	}
	err := d.Walk(t.Context(), func(id string, stored time.Time) error {
		if age := time.Since(stored); age > time.Hour {
			t.Errorf("%s was stored %v ago", id, age)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// putOld stores a message as rastel did before there were addresses.
func putOld(t *testing.T, dir, text string) (id string) {
	t.Helper()
	id = quarantinetest.ID(time.Now())
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, text)
	if err := errors.Join(w.Close(), os.MkdirAll(filepath.Dir(idFile(dir, id)), 0o700), os.WriteFile(idFile(dir, id), packed.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestReadsAndRemovesWhatWasStoredBefore(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for _, raw := range []string{"", "a", text, strings.Repeat(text, 100_000)} {
		id := putOld(t, dir, raw)
		wantText(t, d, id, raw)
		again := putText(t, d, raw)
		if err := d.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := readText(d, id); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("Open after Remove = %v, want ErrNotFound", err)
		}
		wantText(t, d, again, raw)
	}
}

// An older rastel on the same directory unpacks the whole file, and knows of no tail.
func TestAnyZstdReadsWhatIsStored(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for _, raw := range []string{"", "a", text, strings.Repeat(text, 100_000)} {
		f, err := os.Open(idFile(dir, putText(t, d, raw)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || string(got) != raw {
			t.Errorf("zstd reads %.100q, %v; want %.100q", got, err, raw)
		}
	}
}

func TestWalkRemovesFilesThatNoItemHas(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	kept, gone := putText(t, d, text), putText(t, d, "gone")
	if err := os.Remove(idFile(dir, gone)); err != nil { // as an older rastel does
		t.Fatal(err)
	}
	if err := d.Walk(t.Context(), func(string, time.Time) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if n := inodes(t, dir); n != 1 {
		t.Errorf("files = %v, want those of one message", files(t, dir))
	}
	wantText(t, d, kept, text)
}

// Two processes are two Dirs. One message comes and goes in both, in directories that come and go.
func TestTwoProcessesShareMessages(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		d, err := blob.Open(filepath.Join(dir, "messages"), blob.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 30 {
				id := quarantinetest.ID(time.Now())
				if err := d.Put(t.Context(), id, strings.NewReader(text)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if got, err := readText(d, id); err != nil || got != text {
					t.Errorf("message = %q, %v", got, err)
				}
				if err := errors.Join(d.Remove(t.Context(), id), d.Walk(t.Context(), func(string, time.Time) error { return nil })); err != nil {
					t.Errorf("Remove, Walk: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}
