package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mholt/archiver/v4"

	"rastel/scanners"
)

// hang is how long something may take before it is held for one that never ends. It bounds no
// speed: other programs may have the processor, and benchmarks measure.
const hang = time.Minute

// maxAllocated is more than a bomb may make the process allocate, one after the other.
const maxAllocated = 1 << 30

// small are limits that bombs reach soon.
var small = scanners.BudgetLimits{Bytes: 8_000_000, Members: 1000}

// bounded fails unless content comes to nothing more than the limits, soon, and is not clean.
func bounded(t *testing.T, name string, content []byte, lim scanners.BudgetLimits, want ...string) result {
	t.Helper()
	return boundedTo(t, maxAllocated, name, content, lim, want...)
}

func boundedTo(t *testing.T, most uint64, name string, content []byte, lim scanners.BudgetLimits, want ...string) result {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	r := expand(t, content, lim)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("%s: allocated %d bytes in all, want at most %d", name, n, most)
	}
	var size int64
	for _, m := range r.members {
		size += m.size
	}
	if took > hang || lim.Bytes > 0 && size > lim.Bytes || lim.Members > 0 && len(r.members) > lim.Members {
		t.Errorf("%s: %d members, %d bytes, %v; limits %+v", name, len(r.members), size, took, lim)
	}
	if len(r.report.Unexamined) == 0 || !slices.ContainsFunc(r.checks(), func(c string) bool { return slices.Contains(want, c) }) {
		t.Errorf("%s: got checks %q, want one of %q", name, r.checks(), want)
	}
	return r
}

func TestBombsEndInTheBudget(t *testing.T) {
	zeros := string(make([]byte, 11_000_000)) // more than the ratio lets pass unseen
	zip := zipOf(t, file{"zeros", zeros})
	bounded(t, "zip", zip, small, "scan/limit")
	bounded(t, "ratio", zip, scanners.BudgetLimits{}, "scan/limit")
	bounded(t, "gzip", gz(t, zeros), small, "scan/limit")
	bounded(t, "gzip of gzip", gz(t, string(gz(t, zeros))), small, "scan/limit")
	bounded(t, "bzip2", compress(t, archiver.Bz2{}, []byte(zeros)), small, "scan/limit")
	bounded(t, "xz", compress(t, archiver.Xz{}, []byte(zeros)), small, "scan/limit")
	bounded(t, "zstd", compress(t, archiver.Zstd{}, []byte(zeros)), small, "scan/limit")
	bounded(t, "lz4", compress(t, archiver.Lz4{}, []byte(zeros)), small, "scan/limit")
	bounded(t, "lzip", lzipOf(t, zeros), small, "scan/limit")
	deep := []byte("x")
	for range 30 {
		deep = gz(t, string(deep))
	}
	bounded(t, "depth", deep, small, "scan/limit")
}

func TestZipsWithTooManyMembersAreNotOpened(t *testing.T) {
	z := rawZip{}
	for i := range 100_000 {
		z.both(fmt.Sprint(i), "")
	}
	r := bounded(t, "counted", z.end(""), scanners.BudgetLimits{}, "scan/limit")
	if len(r.members) > 0 {
		t.Errorf("%d members came out", len(r.members))
	}
	z.n = 1 // the end record lies
	r = bounded(t, "not counted", z.end(""), scanners.BudgetLimits{}, "scan/limit")
	z.dir, z.n = nil, 0
	s := bounded(t, "in no directory", z.end(""), scanners.BudgetLimits{}, "scan/limit")
	if len(r.members)+len(s.members) > 0 {
		t.Errorf("%d and %d members came out", len(r.members), len(s.members))
	}
}

// TestOverlappingZipsEndInTheBudget has members that all unpack the same bytes (D. Fifield, A
// better zip bomb, WOOT 2019).
func TestOverlappingZipsEndInTheBudget(t *testing.T) {
	zeros := string(make([]byte, 1_000_000))
	packed := string(deflateOf(t, zeros))
	z := rawZip{}
	for i := range 900 {
		h := deflatedHeader(fmt.Sprintf("%03d", i), zeros, packed)
		at := z.local(h, "")
		z.central(h, at)
		// An extra field as long as all headers that follow.
		binary.LittleEndian.PutUint16(z.b[at+28:], uint16((900-1-i)*(zipLocalLen+len(h.name))))
	}
	z.b = append(z.b, packed...)
	r := bounded(t, "overlap", z.end(""), small, "scan/limit")
	if len(r.members) < 5 {
		t.Errorf("the bomb is none: %d members", len(r.members))
	}
	if !slices.Contains(r.checks(), ambiguous) {
		t.Errorf("got checks %q, want %s", r.checks(), ambiguous)
	}
}

func TestArchivesThatHoldThemselvesEndInTheBudget(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(corpus, "archives", "bombs", "quine-r.zip"))
	if err != nil {
		t.Skipf("the corpus of archives is not there: %v", err)
	}
	bounded(t, "quine", content, scanners.BudgetLimits{}, "scan/limit")
}

func TestHugeDictionariesAreNotAllocated(t *testing.T) {
	const gib = 4 << 30
	lzma := append([]byte{0x5d, 0, 0, 0, 0xff}, bytes.Repeat([]byte{0xff}, 8)...)
	copy(lzma[1:], "\xff\xff\xff\xff")
	for name, content := range map[string][]byte{
		"rar":  rarOf("a", string(noise(100)), gib, 3<<7|15<<10), // CVE-2025-11579
		"7z":   patched7z(t, []byte{0x21, 0x21, 0x01, 0x00}, []byte{0x21, 0x21, 0x01, 40}),
		"zstd": append([]byte("\x28\xb5\x2f\xfd\x00\xa8"), noise(100)...),
		"xz":   xzWithDictionary(t, 40),
	} {
		r := bounded(t, name, content, scanners.BudgetLimits{}, limit)
		if name != "rar" && len(r.members) == 0 {
			t.Errorf("%s: the name was not judged:%s", name, r)
		}
	}
	bounded(t, "lzma", append(lzma, noise(100)...), scanners.BudgetLimits{}, damaged, limit) // CVE-2025-58058
}

// patched7z is a 7z archive with other bytes in its header, and the right checksums.
func patched7z(t *testing.T, old, new []byte) []byte {
	b := fixture(t, "plain-header.7z")
	start := 32 + int(binary.LittleEndian.Uint64(b[12:]))
	head := bytes.Replace(b[start:], old, new, 1)
	if bytes.Equal(head, b[start:]) {
		t.Fatalf("%x is not in the header", old)
	}
	return signed7z(append(b[:start:start], head...), start)
}

// signed7z sets size and checksums of the header that begins at start.
func signed7z(b []byte, start int) []byte {
	binary.LittleEndian.PutUint64(b[12:], uint64(start-32))
	binary.LittleEndian.PutUint64(b[20:], uint64(len(b)-start))
	binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(b[start:]))
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return b
}

// xzWithDictionary is a .xz file whose block says that it needs a dictionary of that code.
func xzWithDictionary(t *testing.T, code byte) []byte {
	b := compress(t, archiver.Xz{}, []byte(letter))
	size := (int(b[12]) + 1) * 4 // of the block header
	head := b[12 : 12+size-4]
	i := bytes.Index(head, []byte{0x21, 0x01})
	head[i+2] = code
	binary.LittleEndian.PutUint32(b[12+size-4:], crc32.ChecksumIEEE(head))
	return b
}

// TestNumbersIn7zHeadersAreNotBelieved has headers of a few bytes for which the decoder would
// allocate gigabytes.
func TestNumbersIn7zHeadersAreNotBelieved(t *testing.T) {
	many := []byte{0xf0, 0xff, 0xff, 0xff, 0x7f} // a number of 4 bytes
	for name, header := range map[string][]byte{
		"files":       slices.Concat([]byte{1, 5}, many, []byte{0, 0}),
		"streams":     slices.Concat([]byte{1, 4, 6, 0}, many, []byte{9, 0, 0, 0}),
		"folders":     slices.Concat([]byte{1, 4, 7, 11}, many, []byte{0, 0, 0}),
		"coders":      slices.Concat([]byte{1, 4, 7, 11, 1, 0}, many, []byte{0, 0}),
		"outputs":     slices.Concat([]byte{1, 4, 7, 11, 1, 0, 1, 0x11, 0, 1}, many, []byte{0, 0}),
		"inputs":      slices.Concat([]byte{1, 4, 7, 11, 1, 0, 1, 0x11, 0}, many, []byte{1, 0, 0}),
		"substreams":  slices.Concat([]byte{1, 4, 7, 11, 1, 0, 1, 1, 0, 12, 0, 0, 8, 13}, many, []byte{0, 0}),
		"checksums":   slices.Concat([]byte{1, 4, 6, 0}, many, []byte{10, 1, 0, 0}),
		"packed":      {23, 6, 0, 1, 9, 1, 0, 7, 11, 1, 0, 1, 1, 0x21, 12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0},
		"no folders":  {1, 4, 8, 0, 0, 0},
		"nothing":     {1},
		"other bytes": {99, 1, 2, 3},
	} {
		b := append([]byte(sevenZipMagic+"\x00\x04"), make([]byte, 24)...)
		bounded(t, name, signed7z(append(b, header...), 32), scanners.BudgetLimits{}, damaged, limit, unsupported)
	}
}

func TestMore7zMembersThanTheBudgetAreNotOpened(t *testing.T) {
	r := bounded(t, "7z", fixture(t, "lzma2.7z"), scanners.BudgetLimits{Members: 1}, "scan/limit")
	if len(r.members) > 0 {
		t.Errorf("%d members came out", len(r.members))
	}
}

// TestHolesOfSparseFilesAreNotFilled has an entry that claims a terabyte (CVE-2026-32288).
func TestHolesOfSparseFilesAreNotFilled(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "a.db", Size: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	bounded(t, "no data", b.Bytes(), small, damaged)

	sparse, err := os.ReadFile(filepath.Join(corpus, "archives", "go-tar", "pax-sparse-big.tar"))
	if err != nil {
		t.Skipf("the corpus of archives is not there: %v", err)
	}
	r := bounded(t, "pax", sparse, small, unsupported)
	r.wantMember(t, "pax-sparse", "")
}

func TestManyEmptyStreamsEnd(t *testing.T) {
	bounded(t, "gzip", bytes.Repeat(gz(t, ""), maxGzipMembers+1), small, limit)
	bounded(t, "lzip", bytes.Repeat(lzipOf(t, ""), maxLzipMembers+1), small, limit)
	big := lzipOf(t, "")
	big[5] = 26 // a dictionary of 64 MiB
	boundedTo(t, maxAllocated+maxDictionaries*defaultDictionary, "lzip, dictionaries", bytes.Repeat(big, maxLzipMembers), small, limit)
}

func TestManyEndRecordsAndDirectoriesEnd(t *testing.T) {
	z := rawZip{}
	for i := range 500 {
		z.both(fmt.Sprint(i), "hello")
	}
	content := z.end("")
	end := content[len(content)-zipEndLen:]
	bounded(t, "end records", join(content, bytes.Repeat(end, 1000)), small, "scan/limit", limit)
	bounded(t, "signatures", join(content, bytes.Repeat([]byte("PK\x03\x04"), maxZipMarks)), small, limit)
}
