package archive

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/archive/disk"
)

// diskFixture reads an image of disk/testdata/images.
func diskFixture(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("disk", "testdata", "images", name+".bz2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(bzip2.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpensImagesOfDisks(t *testing.T) {
	for name, checks := range map[string][]string{
		"joliet.iso": nil, "bridge.iso": nil, "fat12.img": nil, "fat32.img": nil, "ntfs.img": nil, "dynamic.vhd": nil, "a.vhdx": nil,
		"stream.vmdk": nil, "packed.qcow2": nil, "sessions.iso": {ambiguous},
	} {
		r := expandIn(t.Context(), t, New(Config{}), name, diskFixture(t, name), scanners.BudgetLimits{})
		r.wantMember(t, "payload.exe", "MZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72")
		r.wantChecks(t, checks...)
	}
	r := expand(t, diskFixture(t, "ext.img"), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
}

// What a disk is told by is not at its beginning: systems do not mind what is there.
func TestOpensImagesInDisguise(t *testing.T) {
	under := func(head string, img []byte) []byte { copy(img, head); return img }
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("\x00", 20)
	for name, content := range map[string][]byte{
		"an ISO that begins as a picture":  under(png, diskFixture(t, "joliet.iso")),
		"an ISO that begins as a program":  under("MZ\x90\x00\x03\x00", diskFixture(t, "joliet.iso")),
		"a VHD that begins as a picture":   under(png, diskFixture(t, "dynamic.vhd")),
		"a disk that begins as a document": under("%PDF-1.4 ", mbrOf(diskFixture(t, "fat12.img"))),
	} {
		if !New(Config{}).Opens(part(t, "a", content)) {
			t.Errorf("%s: is not for workers", name)
		}
		r := expand(t, content, scanners.BudgetLimits{})
		r.wantMember(t, "payload.exe", "MZ RASTEL HARMLESS TEST PAYLOAD 5d1f8c72")
		if !slices.Contains(r.checks(), ambiguous) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), ambiguous)
		}
	}
}

// mbrOf is a disk with one partition.
func mbrOf(part []byte) []byte {
	b := make([]byte, 512)
	b[446+4], b[446+8], b[510], b[511] = 0x0c, 1, 0x55, 0xaa
	binary.LittleEndian.PutUint32(b[446+12:], uint32(len(part)/512))
	return join(b, part)
}

// sparseNTFS has a file of 4 TiB, of which nothing is on the disk.
func sparseNTFS(t *testing.T) []byte {
	img := diskFixture(t, "ntfs.img")
	at := bytes.Index(img, []byte("A\x00 \x00l\x00e\x00t\x00t\x00e\x00r\x00 \x00w"))
	for at%1024 != 0 || string(img[at:at+4]) != "FILE" {
		at--
	}
	a := img[at+int(binary.LittleEndian.Uint16(img[at+20:])):]
	for binary.LittleEndian.Uint32(a) != 0x80 {
		a = a[binary.LittleEndian.Uint32(a[4:]):]
	}
	a[13] = 0x80 // sparse
	binary.LittleEndian.PutUint64(a[48:], 1<<42)
	binary.LittleEndian.PutUint64(a[56:], 0)
	return img
}

func TestSizesOfDisksAreNotBelieved(t *testing.T) {
	overlap := diskFixture(t, "rockridge.iso")
	for at := 0; at < len(overlap)-40; at++ { // each file is all of the image
		if name := string(overlap[at+33 : at+36]); overlap[at] >= 34 && overlap[at+25] == 0 && (name == "PAY" || name == "A_L" || name == "INN" || name == "ZZZ") {
			binary.LittleEndian.PutUint32(overlap[at+2:], 16+uint32(at%8))
			binary.LittleEndian.PutUint32(overlap[at+10:], 1<<30)
		}
	}
	for name, tt := range map[string]struct {
		img []byte
		lim scanners.BudgetLimits
	}{
		"a sparse file of 4 TiB":  {sparseNTFS(t), scanners.BudgetLimits{}},
		"files over one another":  {overlap, scanners.BudgetLimits{Bytes: 500_000}},
		"more files than allowed": {diskFixture(t, "fat12.img"), scanners.BudgetLimits{Members: 3}},
	} {
		start, members := time.Now(), 0
		b := scanners.NewBudget(tt.lim, eml.SpoolOptions{})
		_, err := New(Config{}).Expand(t.Context(), part(t, "a.img", tt.img), b, func(m *eml.Part) error { members++; m.Release(); return nil })
		if !errors.Is(err, scanners.ErrBudget) {
			t.Errorf("%s: got %v and %d members, want the budget used up", name, err, members)
		}
		t.Logf("%s: %v, %d members", name, time.Since(start), members)
	}
}

// Nothing else is taken for a disk in disguise.
func TestNothingElseIsADisk(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Skip("needs the third-party files in ../shared/corpus")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // a directory
		}
		if disk.Disguised(bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s is taken for a disk", name)
		}
	}
	for range 2000 {
		if b := append(noise(40000), "\x55\xaa"...); disk.Disguised(bytes.NewReader(b), int64(len(b))) {
			t.Error("noise is taken for a disk")
		}
	}
}
