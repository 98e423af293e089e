package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/mholt/archiver/v4"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// FuzzExpand holds every input to the contract of Expand: no panic, no more than the budget, an
// end soon after that of the context, nothing from what Opens says no to, every member within the limits of names, and no error
// other than of budget and context.
func FuzzExpand(f *testing.F) {
	for _, content := range samples(f) {
		f.Add(content)
	}
	for _, c := range []archiver.Compressor{archiver.Bz2{}, archiver.Xz{}, archiver.Zstd{}, archiver.Lz4{}} {
		f.Add(compress(f, c, []byte(letter)))
	}
	f.Add(lzmaOf(f, letter))
	for _, format := range []cpioFormat{cpioNew, cpioOctal, cpioBinary(binary.LittleEndian), cpioBinary(binary.BigEndian)} {
		f.Add(cpioOf(format, file{"a", letter}, file{"b", "x"}))
	}
	f.Add(arOf(file{"a", letter}))
	f.Add(join([]byte(arMagic), arEntry("//", "letter.txt/\n"), arEntry("/0", letter), arEntry("#1/3", "abcx")))
	f.Add(rpmOf("echo", cpioOf(cpioNew, file{"a", letter})))
	f.Add(compressOf([]byte(letter), 12))
	f.Add(compress(f, archiver.Zlib{}, []byte(letter)))
	f.Add(compress(f, archiver.Sz{}, []byte(letter)))
	f.Add(swfOf(f, letter))
	f.Add(help(file{"a", letter}, file{"b", "x"}).of())
	f.Add(xarOf(f, xarTOC("letter.txt", "x-gzip", 0, 10, 10), []byte(letter)))
	f.Add(xarOf(f, xarTOC("letter.txt", "octet-stream", 0, len(letter), len(letter)), []byte(letter)))
	f.Add(szddOf('t', letter))
	for method := range uint16(4) {
		f.Add(kwajOf(method, len(letter), lzssOf(letter, basicStart)))
	}
	for _, m := range []cabMaker{{}, {method: cabMSZip, reserve: 4}, {method: lzxMethod}, {method: cabMSZip, flags: cabHasNext, first: cabToNext, last: true}} {
		f.Add(m.of(f, file{"a", letter}, file{"b", "x"}))
	}
	for level := range byte(4) {
		f.Add(lhaOf(level, "a", letter))
	}
	f.Add(arjOf("a", letter, 0))
	files, _ := filepath.Glob("testdata/archives/*")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	e := New(Config{Dictionary: minDictionary})
	lim := scanners.BudgetLimits{Bytes: 1 << 20, Members: 100, Depth: 2}
	f.Fuzz(func(t *testing.T, content []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start, members, size := time.Now(), 0, int64(0)
		p := part(t, "a", content)
		findings, err := e.Expand(ctx, p, scanners.NewBudget(lim, eml.SpoolOptions{}), func(m *eml.Part) error {
			defer m.Release()
			members++
			size += m.Size
			if len(m.Names) > maxNames {
				t.Errorf("member %s has %d names", m.ID, len(m.Names))
			}
			return nil
		})
		if took := time.Since(start); members > lim.Members || size > lim.Bytes || took > hang {
			t.Errorf("%d members, %d bytes, %v; limits %+v", members, size, took, lim)
		}
		if err != nil && !errors.Is(err, scanners.ErrBudget) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an error of budget or context", err)
		}
		if !e.Opens(p) && members+len(findings) > 0 {
			t.Errorf("is not opened by its word, and has %d members, %v", members, findings)
		}
		known := e.Checks()
		for _, found := range findings {
			if found.Part == nil || !knows(known, found.Check) {
				t.Errorf("finding %+v", found)
			}
		}
	})
}

func knows(checks []eml.Check, id string) bool {
	for _, c := range checks {
		if c.ID == id {
			return true
		}
	}
	return false
}

// FuzzSevenZipHeader holds the header of 7z archives, whose checksums keep FuzzExpand out, to
// the same: whatever it says, the decoder allocates no more than the content is worth.
func FuzzSevenZipHeader(f *testing.F) {
	whole := fixture(f, "plain-header.7z")
	data := whole[32 : 32+0x3a]
	f.Add(whole[32+len(data):])
	f.Add([]byte{1, 5, 1, 0, 0})
	e := New(Config{Dictionary: minDictionary})
	f.Fuzz(func(t *testing.T, header []byte) {
		b := append([]byte(sevenZipMagic+"\x00\x04"), make([]byte, 24)...)
		b = append(b, data...)
		content := signed7z(append(b, header...), len(b))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		budget := scanners.NewBudget(scanners.BudgetLimits{Bytes: 1 << 20, Members: 100}, eml.SpoolOptions{})
		_, err := e.Expand(t.Context(), part(t, "a.7z", content), budget, func(m *eml.Part) error { m.Release(); return nil })
		if err != nil && !errors.Is(err, scanners.ErrBudget) {
			t.Errorf("got %v, want an error of the budget", err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 200<<20 {
			t.Errorf("allocated %d bytes", n)
		}
	})
}
