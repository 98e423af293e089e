package eml

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSniffsImagesOfDisks(t *testing.T) {
	files, err := filepath.Glob("../../scanners/archive/disk/testdata/images/*.bz2")
	if err != nil || len(files) == 0 {
		t.Fatalf("no images: %v", err)
	}
	words := map[string]string{".iso": "iso", ".img": "img", ".vhd": "vhd", ".vhdx": "vhdx", ".vmdk": "vmdk", ".qcow2": "qcow"}
	for _, name := range files {
		packed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(packed)))
		if err != nil {
			t.Fatal(err)
		}
		want := words[filepath.Ext(strings.TrimSuffix(name, ".bz2"))]
		if filepath.Base(name) == "udf.img.bz2" {
			want = "udf"
		}
		if got := sniff(bytes.NewReader(b), int64(len(b))); got != want {
			t.Errorf("%s: got %q, want %q", filepath.Base(name), got, want)
		}
	}
}

func TestSniffsTablesOfPartitions(t *testing.T) {
	mbr := func(entries ...[3]uint32) []byte { // type, first sector, number
		b := make([]byte, 1<<20)
		copy(b, "\xfa\x33\xc0 some code")
		b[510], b[511] = 0x55, 0xaa
		for i, e := range entries {
			b[446+16*i+4] = byte(e[0])
			binary.LittleEndian.PutUint32(b[446+16*i+8:], e[1])
			binary.LittleEndian.PutUint32(b[446+16*i+12:], e[2])
		}
		return b
	}
	for name, tt := range map[string]struct {
		img  []byte
		want string
	}{
		"one":        {mbr([3]uint32{0x0c, 63, 1000}), "img"},
		"two":        {mbr([3]uint32{0x07, 63, 1000}, [3]uint32{0x83, 1063, 500}), "img"},
		"cut":        {mbr([3]uint32{0x07, 63, 1 << 30}), "img"},
		"overlap":    {mbr([3]uint32{0x07, 63, 1000}, [3]uint32{0x83, 500, 500}), "data"},
		"none":       {mbr(), "data"},
		"no type":    {mbr([3]uint32{0, 63, 1000}), "data"},
		"elsewhere":  {mbr([3]uint32{7, 1 << 30, 1000}), "data"},
		"LUKS":       {append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 2000)...), "img"},
		"BitLocker":  {append([]byte("\xeb\x58\x90-FVE-FS-"), make([]byte, 2000)...), "img"},
		"short":      {[]byte("LUKS\xba\xbe\x00\x01"), "data"},
		"boot alone": {append([]byte("\xeb\x3c\x90MSDOS5.0"), make([]byte, 2000)...), "data"},
	} {
		if got := sniff(bytes.NewReader(tt.img), int64(len(tt.img))); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// Innocent content is no disk, not even with the two bytes at which boot sectors end.
func TestSniffsNoDisksInOtherContent(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 4096)
	for n := range 20_000 {
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64())
		}
		if n%2 == 0 {
			b[510], b[511] = 0x55, 0xaa
		}
		if n%4 == 0 {
			copy(b, "\xeb\x3c\x90")
		}
		if got := sniff(bytes.NewReader(b), int64(len(b))); got == "img" {
			t.Errorf("random data %x... is taken for a disk", b[:64])
		}
	}
}

func TestSniffsNoDisksInTheCorpus(t *testing.T) {
	const corpus = "../../../shared/corpus"
	if _, err := os.Stat(corpus); err != nil {
		t.Skip("needs the third-party files in ../shared/corpus")
	}
	seen := 0
	err := filepath.WalkDir(corpus, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		if got := sniff(bytes.NewReader(b), int64(len(b))); len(Types[got]) == 2 && Types[got][1] == "image-of-disk" {
			t.Errorf("%s is taken for %s", path, got)
		}
		return nil
	})
	if err != nil || seen < 500 {
		t.Errorf("%d files, %v", seen, err)
	}
}
