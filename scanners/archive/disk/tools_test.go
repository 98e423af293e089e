package disk

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// tool runs a program of Debian, which contrib/test installs.
func tool(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	if os.Getenv("RASTEL_E2E") == "" {
		t.Skip("needs RASTEL_E2E=1 and the programs that make images")
	}
	if _, err := exec.LookPath(name); err != nil {
		name = "/usr/sbin/" + name // not in the path of everybody
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// A tree is the files that are put into an image: names with directories, and contents.
type tree map[string]string

// sampleTree has many files in several directories: long and odd names, every size around those of
// sectors and clusters, and nothing at all.
func sampleTree() tree {
	r := rand.New(rand.NewPCG(1, 2))
	files := tree{"payload.exe": "MZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72", "empty.txt": ""}
	for i, size := range []int{1, 511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097, 32768, 65537, 300000, 1500000} {
		b := make([]byte, size)
		for k := range b {
			b[k] = byte(r.Uint32())
		}
		files[fmt.Sprintf("sizes/size %d.bin", i)] = string(b)
	}
	for i := range 300 {
		files[fmt.Sprintf("many/A file with a long name, number %03d.txt", i)] = fmt.Sprintf("file %d\n", i)
	}
	files["a/b/c/d/e/f/deep.txt"] = "deep"
	files["a/b/c/d/e/f/g/h/i/j/deeper.txt"] = "deeper"
	files["Größe/Ünïcode Ωμ.txt"] = "unicode"
	files["zeros.bin"] = strings.Repeat("\x00", 200000)
	return files
}

// write puts a tree under dir.
func (f tree) write(t *testing.T, dir string) {
	t.Helper()
	for name, content := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// check compares what a walk shows with what was put in.
func (f tree) check(t *testing.T, s *seen) {
	t.Helper()
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	sort.Strings(names)
	missing := 0
	for _, name := range names {
		if missing > 5 {
			return
		}
		if g := s.find(name); g == nil {
			missing++
		}
		s.want(t, name, f[name])
	}
}

// image walks an image in a file.
func image(t *testing.T, path string) *seen {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{max: 20000}
	if err := Walk(r, info.Size(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// sample makes a directory with the sample tree in "in".
func sample(t *testing.T) (dir string, files tree) {
	t.Helper()
	dir, files = t.TempDir(), sampleTree()
	files.write(t, filepath.Join(dir, "in"))
	return dir, files
}

func TestISOOfRealTools(t *testing.T) {
	dir, files := sample(t)
	for name, args := range map[string][]string{
		"rock ridge":   {"genisoimage", "-quiet", "-R"},
		"joliet":       {"genisoimage", "-quiet", "-J", "-joliet-long"},
		"both":         {"genisoimage", "-quiet", "-R", "-J", "-joliet-long"},
		"bridge":       {"genisoimage", "-quiet", "-R", "-J", "-joliet-long", "-udf", "-allow-limited-size"},
		"xorriso":      {"xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long"},
		"hybrid":       {"xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long", "-partition_offset", "16"},
		"iso level 4":  {"genisoimage", "-quiet", "-R", "-iso-level", "4"},
		"multi-extent": {"genisoimage", "-quiet", "-R", "-iso-level", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".iso")
			tool(t, dir, args[0], append(args[1:], "-o", out, "in")...)
			s := image(t, out)
			files := maps.Clone(files)
			if name == "joliet" { // genisoimage leaves out what is too deep for ISO 9660
				delete(files, "a/b/c/d/e/f/g/h/i/j/deeper.txt")
			}
			files.check(t, s)
			if name == "hybrid" {
				return
			}
			s.wantNotes(t)
			if want := len(files); len(s.files) < want || len(s.files) > want+3 { // an empty file is in each tree
				t.Errorf("got %d files, want %d", len(s.files), want)
			}
		})
	}
}

func TestUDFOfRealTools(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--media-type=hd", "--blocksize=512"}, {"--media-type=hd", "--blocksize=2048"}, {"--media-type=hd", "--blocksize=4096"},
		{"--media-type=hd", "--udfrev=0x0102", "--blocksize=512"}, {"--media-type=cdrw"}, {"--media-type=cdr"}, {"--media-type=cdr", "--udfrev=0x0150"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			out := filepath.Join(dir, "a.udf")
			os.Remove(out)
			if err := os.WriteFile(out, make([]byte, 8<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			tool(t, dir, "mkudffs", append(args, out)...)
			if args[0] == "--media-type=cdr" { // the image ends where the disc does
				b, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				n := (len(strings.TrimRight(string(b), "\x00")) + 2047) / 2048 * 2048
				os.WriteFile(out, b[:n], 0o644)
			}
			s := image(t, out)
			s.wantNotes(t) // it has a file system, and nothing in it but, in some, lost+found
		})
	}
}

func TestFATOfRealTools(t *testing.T) {
	dir, files := sample(t)
	for name, c := range map[string]struct {
		size int64
		args []string
	}{
		"fat12": {8 << 20, []string{"-F", "12", "-s", "8"}}, "fat16": {32 << 20, []string{"-F", "16"}}, "fat32": {64 << 20, []string{"-F", "32", "-s", "1"}},
		"sectors of 4096": {64 << 20, []string{"-F", "16", "-S", "4096"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(dir, "fat.img")
			makeFAT(t, dir, out, c.size, c.args...)
			s := image(t, out)
			files.check(t, s)
			s.wantNotes(t)
			if len(s.files) != len(files) {
				t.Errorf("got %d files, want %d", len(s.files), len(files))
			}
		})
	}
}

// makeFAT makes a FAT with the sample in it.
func makeFAT(t *testing.T, dir, out string, size int64, args ...string) {
	t.Helper()
	os.Remove(out)
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	f.Truncate(size)
	f.Close()
	tool(t, dir, "mkfs.vfat", append(args, out)...)
	entries, _ := filepath.Glob(filepath.Join(dir, "in", "*"))
	tool(t, dir, "mcopy", append([]string{"-s", "-Q", "-i", out}, append(entries, "::")...)...)
}

func TestVirtualDisksOfRealTools(t *testing.T) {
	dir, files := sample(t)
	raw := filepath.Join(dir, "fat.img")
	makeFAT(t, dir, raw, 16<<20, "-F", "16")
	for name, args := range map[string][]string{
		"vpc": {"-O", "vpc"}, "vpc fixed": {"-O", "vpc", "-o", "subformat=fixed"}, "vhdx": {"-O", "vhdx"}, "vhdx fixed": {"-O", "vhdx", "-o", "subformat=fixed"},
		"vmdk": {"-O", "vmdk"}, "vmdk stream": {"-O", "vmdk", "-o", "subformat=streamOptimized"},
		"qcow2": {"-O", "qcow2"}, "qcow2 packed": {"-O", "qcow2", "-c"}, "qcow2 old": {"-O", "qcow2", "-o", "compat=0.10"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			tool(t, dir, "qemu-img", append(append([]string{"convert", "-f", "raw"}, args...), raw, out)...)
			s := image(t, out)
			files.check(t, s)
			s.wantNotes(t)
		})
	}
}

func TestNTFSOfRealTools(t *testing.T) {
	dir, files := sample(t)
	out := filepath.Join(dir, "ntfs.img")
	if err := os.WriteFile(out, make([]byte, 24<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	tool(t, dir, "mkntfs", "-F", "-q", "-s", "512", "-p", "0", "-H", "16", "-S", "63", out)
	flat := tree{}
	for name, content := range files {
		if base := filepath.Base(name); !strings.HasPrefix(name, "many/") {
			tool(t, dir, "ntfscp", "-q", out, filepath.Join(dir, "in", name), base)
			flat[base] = content
		}
	}
	tool(t, dir, "ntfscp", "-q", "-N", "hidden.exe", out, filepath.Join(dir, "in", "payload.exe"), "deep.txt")
	flat["deep.txt:hidden.exe"] = files["payload.exe"]
	s := image(t, out)
	flat.check(t, s)
	s.wantNotes(t)
	if len(s.files) != len(flat) {
		t.Errorf("got %d files, want %d:%s", len(s.files), len(flat), s)
	}
}

// The exFAT that the tests build is whole to a program that others wrote.
func TestExFATOfTheTests(t *testing.T) {
	out := filepath.Join(t.TempDir(), "exfat.img")
	img := exfatWith(t, seenFile{names: []string{"payload.exe"}, head: payload, size: int64(len(payload))},
		seenFile{names: []string{"A letter whose name is long.txt"}, head: letter, size: int64(len(letter)), link: true})
	if err := os.WriteFile(out, img, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := tool(t, "", "fsck.exfat", "-n", out); !strings.Contains(said, "clean. directories 1, files 2") {
		t.Errorf("fsck.exfat says %s", said)
	}
}

// What other programs list is among what we show, with its size; and what they unpack has the same
// content.
func TestSameAsOtherPrograms(t *testing.T) {
	dir, _ := sample(t)
	tool(t, dir, "genisoimage", "-quiet", "-R", "-J", "-joliet-long", "-udf", "-allow-limited-size", "-o", "many.iso", "in")
	tool(t, dir, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long", "-o", "xorriso.iso", "in")
	makeFAT(t, dir, filepath.Join(dir, "many.img"), 16<<20, "-F", "16")
	images := map[string][]string{"many.iso": {"7zz", "bsdtar"}, "xorriso.iso": {"7zz", "bsdtar"}, "many.img": {"7zz"}}
	for _, name := range []string{
		"rockridge.iso", "joliet.iso", "bridge.iso", "eltorito.iso", "fat12.img", "fat16.img", "fat32.img", "ntfs.img",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), fixture(t, name), 0o644); err != nil {
			t.Fatal(err)
		}
		images[name] = []string{"7zz"}
	}
	for name, programs := range images {
		s := image(t, filepath.Join(dir, name))
		for _, program := range programs {
			out := filepath.Join(dir, "out")
			os.RemoveAll(out)
			os.Mkdir(out, 0o755)
			if program == "7zz" {
				tool(t, dir, "7zz", "x", "-y", "-o"+out, name)
			} else {
				tool(t, dir, "bsdtar", "-x", "-f", name, "-C", out)
			}
			n := 0
			err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				rel, err := filepath.Rel(out, path)
				if err != nil || strings.HasPrefix(rel, "[") { // what 7-Zip calls the boot image and the files of the file system
					return err
				}
				n++
				b, err := os.ReadFile(path)
				s.want(t, filepath.ToSlash(rel), string(b))
				return err
			})
			if err != nil || n < 2 {
				t.Errorf("%s: %s gave %d files, %v", name, program, n, err)
			}
			t.Logf("%s: the same %d files as %s", name, n, program)
		}
	}
}
