package blob_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/quarantinetest"
)

func open(t *testing.T, dir string) quarantine.Blobs {
	t.Helper()
	d, err := blob.Open(filepath.Join(dir, "messages"), blob.Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return d
}

func TestBlobs(t *testing.T) { quarantinetest.TestBlobs(t, open) }

// files are all files below dir, without directories.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestLeavesNoFileOfAFailedPut(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), &failing{})
	if err := d.Put(t.Context(), quarantinetest.ID(time.Now()), broken); err == nil {
		t.Fatal("Put = nil, want the error of the reader")
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("files left: %v", left)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSweepsOldTemporaryFilesAtOpen(t *testing.T) {
	dir := t.TempDir()
	id := quarantinetest.ID(time.Now())
	if err := open(t, dir).Put(t.Context(), id, strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	crashed, busy := filepath.Join(dir, "messages", "tmp", "1"), filepath.Join(dir, "messages", "tmp", "2")
	for _, f := range []string{crashed, busy} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(crashed, old, old); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	got := files(t, dir)
	got = slices.DeleteFunc(got, func(name string) bool { return strings.Contains(name, "/objects/") }) // the message again
	if len(got) != 2 || !strings.Contains(got[0], id) || got[1] != busy {
		t.Errorf("files = %v, want the message and %s, which may be in use", got, busy)
	}
}

func TestFilesAreOursAlone(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Put(t.Context(), quarantinetest.ID(time.Now()), strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(dir, "messages"), func(path string, d os.DirEntry, _ error) error {
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v, want none for others", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPacksMessages(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir).Put(t.Context(), quarantinetest.ID(time.Now()), bytes.NewReader(make([]byte, 10<<20))); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(files(t, dir)[0])
	if err != nil || info.Size() > 100<<10 {
		t.Errorf("10 MiB of zeros take %v, %v; want less than 100 KiB", info, err)
	}
}

func TestReportsDamage(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	id := quarantinetest.ID(time.Now())
	if err := d.Put(t.Context(), id, strings.NewReader(strings.Repeat("some text ", 1000))); err != nil {
		t.Fatal(err)
	}
	name := files(t, dir)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := []byte(strings.Repeat("some text ", 1000))
	for n := 1; n < len(whole); n++ {
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := d.Open(t.Context(), id)
		if err != nil {
			continue
		}
		// Without its tail it is as it was stored before there were any.
		if got, err := io.ReadAll(r); err == nil && (!bytes.Equal(got, want) || n != len(whole)-blob.TailLen) {
			t.Errorf("%d of %d bytes of the file read without an error", n, len(whole))
		} else if err != nil && !errors.Is(err, quarantine.ErrCorrupt) {
			t.Errorf("%d of %d bytes: %v, want ErrCorrupt", n, len(whole), err)
		}
		r.Close()
	}
}
