package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rastel/policy"
	"rastel/policy/quarantine"
)

// A quarantine that cannot take anything, whatever the reason: what is to be held is refused for now, what is
// clean goes on, and nothing is left that counts as held.
func TestQuarantineThatCannotTakeAnythingIsForWhatIsHeldOnly(t *testing.T) {
	tests := map[string]struct {
		options string
		damage  func(t *testing.T, disk, dir string)
	}{
		"full":           {"size=2m", func(t *testing.T, disk, _ string) { fill(t, disk) }},
		"without inodes": {"size=32m,nr_inodes=40", func(t *testing.T, disk, _ string) { useInodes(t, disk) }},
		"messages read-only": {"size=2m", func(t *testing.T, _, dir string) {
			messages := filepath.Join(dir, "messages")
			if err := errors.Join(unix.Mount(messages, messages, "", unix.MS_BIND, ""), unix.Mount("", messages, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(messages, unix.MNT_DETACH) })
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			disk := t.TempDir()
			if err := unix.Mount("tmpfs", disk, "tmpfs", 0, tt.options); err != nil {
				if os.Getenv("RASTEL_E2E") == "1" {
					t.Fatalf("mount tmpfs: %v", err)
				}
				t.Skipf("needs root, to mount a small tmpfs: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
			dir := filepath.Join(disk, "q")
			w := newWorld(t, quarantine.Config{Dir: dir}, nil)
			if v, _ := w.judge(t, mail("x", "bad")); v.Action != policy.Quarantine {
				t.Fatalf("before: %s, want quarantine", v.Action)
			}
			tt.damage(t, disk, dir)
			large := strings.Repeat("some text of which there is much\r\n", 4)
			v, err := w.refused(t, mail("x", "bad "+large))
			if err == nil && v.Action != policy.TempFail {
				t.Errorf("what is to be held: %s, want tempfail or an error", v.Action)
			}
			if v, _ := w.judge(t, mail("x", large)); v.Action != policy.Accept {
				t.Errorf("what is clean: %s, want accept", v.Action)
			}
			items, err := w.store.List(t.Context(), quarantine.Filter{})
			if err != nil || len(items) != 1 {
				t.Errorf("held = %d items, %v; want the one of before", len(items), err)
			}
		})
	}
}

// refused is judge for what may end with an error, which milter answers with a 4xx.
func (w *world) refused(t *testing.T, raw string) (*policy.Verdict, error) {
	t.Helper()
	return w.Judge(t.Context(), envelope(), spool(t, raw))
}

// fill writes until there is no room.
func fill(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for block := make([]byte, size); err == nil; _, err = f.Write(block) {
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
}

// useInodes makes files until there can be no more.
func useInodes(t *testing.T, disk string) {
	t.Helper()
	for {
		f, err := os.CreateTemp(disk, "inode-")
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}
