package quarantine_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rastel/policy/quarantine"
	"rastel/policy/quarantine/blob"
	"rastel/policy/quarantine/quarantinetest"
)

func TestHoldWithoutInodesLeavesNothingHalf(t *testing.T) {
	s := newStore(t, quarantine.Config{Dir: filepath.Join(smallDisk(t, "32m,nr_inodes=60"), "q")})
	held := map[string]string{}
	full := 0
	for n := range 60 {
		raw := fmt.Sprintf("N: %d\r\n\r\n", n) + randomText(1<<10)
		it := quarantine.NewItem(envelope())
		if err := s.Hold(t.Context(), it, strings.NewReader(raw)); err == nil {
			held[it.ID] = raw
		} else {
			full++
		}
	}
	if full == 0 || len(held) == 0 {
		t.Fatalf("%d held, %d refused; want some of both", len(held), full)
	}
	items := s.wantItems(t, held)
	for _, it := range items[:3] { // as many as the directories of another message may need
		if err := s.Delete(t.Context(), it.ID, ""); err != nil {
			t.Fatalf("Delete without inodes: %v", err)
		}
	}
	s.hold(t, message)
}

// wantItems wants these messages by their ids, no other ones, and gives their items.
func (s *setup) wantItems(t *testing.T, held map[string]string) []quarantine.Item {
	t.Helper()
	items, err := s.List(t.Context(), quarantine.Filter{Limit: 1000})
	if err != nil || len(items) != len(held) {
		t.Errorf("List = %d items, %v; want the %d held", len(items), err, len(held))
	}
	for _, it := range items {
		s.wantRaw(t, it.ID, held[it.ID])
	}
	s.wantOnly(t, len(held))
	return items
}

// wantOnly wants files of so many messages, and nothing in tmp/.
func (s *setup) wantOnly(t *testing.T, n int) {
	t.Helper()
	if files := s.blobFiles(t); len(files) != n {
		t.Errorf("%d files for %d items", len(files), n)
	}
	if left, _ := filepath.Glob(filepath.Join(s.cfg.BlobDir(), "tmp", "*")); len(left) > 0 {
		t.Errorf("left in tmp/: %v", left)
	}
}

// failingDisk is a file system on a device that takes writes, and then cannot do them: they fail at the sync,
// as on a disk that breaks. heal gives it what it lacks.
func failingDisk(t *testing.T) (dir string, heal func()) {
	t.Helper()
	under := smallDisk(t, "4m")
	image, dir := filepath.Join(under, "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 64<<20)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-O", "^has_journal", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			if os.Getenv("RASTEL_E2E") == "1" {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
			t.Skipf("needs root and loop devices: %v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-d", "-l", dir).Run() })
	return dir, func() {
		if err := unix.Mount("", under, "", unix.MS_REMOUNT, "size=128m"); err != nil {
			t.Fatal(err)
		}
	}
}

// What a write has taken is not stored before the sync says so.
func TestPutFailsIfTheDiskFailsAtTheSync(t *testing.T) {
	dir, heal := failingDisk(t)
	d, err := blob.Open(filepath.Join(dir, "messages"), blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{cfg: quarantine.Config{Dir: dir}}
	stored := map[string]string{}
	failed := 0
	for range 40 {
		id, raw := quarantinetest.ID(time.Now()), randomText(400<<10)
		if err := d.Put(t.Context(), id, strings.NewReader(raw)); err == nil {
			stored[id] = raw
			continue
		} else if failed++; failed == 1 {
			t.Logf("after %d: %v", len(stored), err)
		}
		if _, err := d.Open(t.Context(), id); !errors.Is(err, quarantine.ErrNotFound) {
			t.Errorf("Open after Put failed = %v, want ErrNotFound", err)
		}
	}
	if failed == 0 || len(stored) == 0 {
		t.Fatalf("%d stored, %d failed; want some of both", len(stored), failed)
	}
	s.wantOnly(t, len(stored))
	heal()
	for id, raw := range stored {
		wantBlobText(t, d, id, raw)
	}
	id := quarantinetest.ID(time.Now())
	if err := d.Put(t.Context(), id, strings.NewReader(message)); err != nil {
		t.Fatalf("Put once the disk is well: %v", err)
	}
	wantBlobText(t, d, id, message)
}

func wantBlobText(t *testing.T, b quarantine.Blobs, id, want string) {
	t.Helper()
	r, err := b.Open(t.Context(), id)
	if err != nil {
		t.Fatalf("Open(%s): %v", id, err)
	}
	defer r.Close()
	var got strings.Builder
	if _, err := io.Copy(&got, r); err != nil || got.String() != want {
		t.Errorf("blob %s = %d bytes, %v; want %d", id, got.Len(), err, len(want))
	}
}
