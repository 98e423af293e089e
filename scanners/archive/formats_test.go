package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/mholt/archiver/v4"
	"github.com/ulikunitz/xz/lzma"

	"rastel/scanners"
)

func TestOpensEveryFormat(t *testing.T) {
	for _, tt := range []struct {
		name    string
		content []byte
		member  string
	}{
		{"a.zip", zipOf(t, file{"letter.txt", letter}), "letter.txt"},
		{"lzma.zip", fixture(t, "method-lzma.zip"), "letter.txt"},
		{"bzip2.zip", fixture(t, "method-bzip2.zip"), "letter.txt"},
		{"xz.zip", fixture(t, "method-xz.zip"), "letter.txt"},
		{"zstd.zip", zstdZip(t), "letter.txt"},
		{"a.tar", tarOf(t, file{"letter.txt", letter}), "letter.txt"},
		{"letter.txt.gz", gz(t, letter), "letter.txt"},
		{"letter.txt.BZ2", compress(t, archiver.Bz2{}, []byte(letter)), "letter.txt"},
		{"letter.txt.xz", compress(t, archiver.Xz{}, []byte(letter)), "letter.txt"},
		{"letter.txt.zst", compress(t, archiver.Zstd{}, []byte(letter)), "letter.txt"},
		{"letter.txt.lz4", compress(t, archiver.Lz4{}, []byte(letter)), "letter.txt"},
		{"letter.txt.lz", lzipOf(t, letter), "letter.txt"},
		{"letter.txt.lzma", lzmaOf(t, letter), "letter.txt"},
		{"lzma2.7z", fixture(t, "lzma2.7z"), "letter.txt"},
		{"plain.7z", fixture(t, "plain-header.7z"), "letter.txt"},
		{"ppmd.7z", fixture(t, "ppmd.7z"), "letter.txt"},
		{"bcj.7z", fixture(t, "bcj-lzma.7z"), "letter.txt"},
		{"a.rar", storedRAR("letter.txt", letter), "letter.txt"},
		{"letter.txt.zz", compress(t, archiver.Zlib{}, []byte(letter)), "letter.txt"},
		{"letter.txt.sz", compress(t, archiver.Sz{}, []byte(letter)), "letter.txt"},
		{"letter.txt.br", compress(t, archiver.Brotli{}, []byte(letter)), "letter.txt"},
		{"letter.txt.Z", compressOf([]byte(letter), 16), "letter.txt"},
		{"a.deb", arOf(file{"debian-binary", "2.0\n"}, file{"letter.txt", letter}), "letter.txt"},
		{"gnu.a", join([]byte(arMagic), arEntry("//", "a-name-that-is-longer-than-sixteen/\nletter.txt/\n"), arEntry("/36", letter)), "letter.txt"},
		{"bsd.a", join([]byte(arMagic), arEntry("#1/10", "letter.txt"+letter)), "letter.txt"},
		{"new.cpio", cpioOf(cpioNew, file{"letter.txt", letter}), "letter.txt"},
		{"octal.cpio", cpioOf(cpioOctal, file{"letter.txt", letter}), "letter.txt"},
		{"little.cpio", cpioOf(cpioBinary(binary.LittleEndian), file{"letter.txt", letter}), "letter.txt"},
		{"big.cpio", cpioOf(cpioBinary(binary.BigEndian), file{"letter.txt", letter}), "letter.txt"},
		{"a.rpm", rpmOf("echo hello", gz(t, string(cpioOf(cpioNew, file{"letter.txt", letter})))), "letter.txt"},
		{"script.rpm", rpmOf(letter, gz(t, string(cpioOf(cpioNew)))), "postin.sh"},
		{"0.lzh", lhaOf(0, "letter.txt", letter), "letter.txt"},
		{"1.lzh", lhaOf(1, "letter.txt", letter), "letter.txt"},
		{"2.lzh", lhaOf(2, "letter.txt", letter), "letter.txt"},
		{"3.lzh", lhaOf(3, "letter.txt", letter), "letter.txt"},
		{"a.arj", arjOf("letter.txt", letter, 0), "letter.txt"},
		{"a.cab", cabMaker{method: cabMSZip}.of(t, file{"letter.txt", letter}), "letter.txt"},
		{"lzx.cab", cabMaker{method: lzxMethod}.of(t, file{"letter.txt", letter}), "letter.txt"},
		{"a.chm", help(file{"letter.txt", letter}).of(), "letter.txt"},
		{"letter.tx_", szddOf('t', letter), "letter.txt"},
		{"a.kwj", kwajOf(kwajStored, len(letter), []byte(letter)), "letter.txt"},
		{"lzx.wim", fixture(t, "lzx.wim"), "letter.txt"},
		{"a.pkg", xarOf(t, xarTOC("letter.txt", "octet-stream", 0, len(letter), len(letter)), []byte(letter)), "dir/letter.txt"},
		{"a.swf", swfOf(t, letter), "a.swf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := expandIn(t.Context(), t, New(Config{}), tt.name, tt.content, scanners.BudgetLimits{})
			want := letter
			if tt.member == "a.swf" {
				want = "FWS\x09" + string(binary.LittleEndian.AppendUint32(nil, uint32(8+len(letter)))) + letter
			}
			r.wantMember(t, tt.member, want)
			r.wantChecks(t)
		})
	}
}

// zstdZip is a zip whose member is packed with method 93.
func zstdZip(t *testing.T) []byte {
	h := stored("letter.txt", letter)
	data := string(compress(t, archiver.Zstd{}, []byte(letter)))
	h.method, h.packed = zipZstd, uint32(len(data))
	z := rawZip{}
	z.central(h, z.local(h, data))
	return z.end("")
}

func TestGoesByContentAndNotByName(t *testing.T) {
	r := expandIn(t.Context(), t, New(Config{}), "a.7z", zipOf(t, file{"letter.txt", letter}), scanners.BudgetLimits{})
	r.wantMember(t, "letter.txt", letter)
	r.wantChecks(t)
}

func TestOpensNestedArchives(t *testing.T) {
	inner := zipOf(t, file{"letter.txt", letter})
	content := storedRAR("b.tar.gz", string(gz(t, string(tarOf(t, file{"inner.zip", string(inner)})))))
	r := expand(t, content, scanners.BudgetLimits{})
	r.wantMember(t, "letter.txt", letter)
	r.wantMember(t, "b.tar", string(tarOf(t, file{"inner.zip", string(inner)})))
	r.wantChecks(t)
}

func TestReportsWhatIsEncrypted(t *testing.T) {
	for _, tt := range []struct {
		fixture string
		member  string // empty if its name is encrypted too
	}{
		{"zipcrypto.zip", "letter.txt"}, {"aes.zip", "letter.txt"}, {"encrypted.7z", "letter.txt"}, {"encrypted-header.7z", ""},
	} {
		r := expand(t, fixture(t, tt.fixture), scanners.BudgetLimits{})
		r.wantChecks(t, encrypted)
		if len(r.report.Unexamined) == 0 {
			t.Errorf("%s: counts as examined:%s", tt.fixture, r)
		}
		if tt.member == "" {
			continue
		}
		r.wantMember(t, tt.member, "")
		if f := r.report.Findings[0]; !slices.Contains(f.Part.Names, tt.member) {
			t.Errorf("%s: the finding is about %q, want %s", tt.fixture, f.Part.Names, tt.member)
		}
	}
}

func TestReportsWhatIsNotSupported(t *testing.T) {
	for name, content := range map[string][]byte{
		"deflate64": fixture(t, "method-deflate64.zip"),
		"ppmd":      fixture(t, "method-ppmd.zip"),
		"cab":       []byte("ISc(\x00\x00\x00\x00 and so on"),
		"wim":       []byte("WLPWM\x00\x00\x00 and so on"),
		"old rar":   []byte("RE~^ and so on, and so on, and so on"),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		r.wantChecks(t, unsupported)
		if len(r.report.Unexamined) == 0 {
			t.Errorf("%s: counts as examined:%s", name, r)
		}
	}
}

func TestYieldsWhatCanBeReadOfDamagedFiles(t *testing.T) {
	random := noise(300_000)
	for name, content := range map[string][]byte{
		"gzip":  compress(t, archiver.Gz{}, random),
		"bzip2": compress(t, archiver.Bz2{}, append(random, random...)),
		"xz":    compress(t, archiver.Xz{}, random),
		"zstd":  compress(t, archiver.Zstd{}, random),
		"lz4":   compress(t, archiver.Lz4{}, append(random, random...)),
		"tar":   tarOf(t, file{"a", string(random)}),
		"zip":   zipOf(t, file{"a", string(random)}),
		"rar":   storedRAR("a", string(random)),
	} {
		r := expand(t, content[:len(content)*9/10], scanners.BudgetLimits{})
		if !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), damaged)
		}
		if name == "bzip2" || name == "lz4" {
			continue // one block, of which nothing comes out before all of it has been read
		}
		if len(r.members) == 0 || r.members[0].size == 0 || !bytes.HasPrefix(random, r.members[0].content[:min(1000, len(r.members[0].content))]) {
			t.Errorf("%s: nothing came out before the damage:%s", name, r)
		}
	}
}

// noise is n bytes that do not compress.
func noise(n int) []byte {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestReadsAllStreamsOfAFile(t *testing.T) {
	for name, pack := range map[string]func(string) []byte{
		"gzip":  func(s string) []byte { return gz(t, s) },
		"bzip2": func(s string) []byte { return compress(t, archiver.Bz2{}, []byte(s)) },
		"xz":    func(s string) []byte { return compress(t, archiver.Xz{}, []byte(s)) },
		"zstd":  func(s string) []byte { return compress(t, archiver.Zstd{}, []byte(s)) },
		"lz4":   func(s string) []byte { return compress(t, archiver.Lz4{}, []byte(s)) },
		"lzip":  func(s string) []byte { return lzipOf(t, s) },
	} {
		r := expand(t, join(pack("hello "), pack(""), pack("world")), scanners.BudgetLimits{})
		if !r.has("attachment", "hello world") || len(r.report.Findings) > 0 {
			t.Errorf("%s: want hello world, got%s", name, r)
		}
	}
}

func TestYieldsWhatFollowsAStream(t *testing.T) {
	hidden := zipOf(t, file{"letter.txt", letter})
	for name, stream := range map[string][]byte{
		"gzip": gz(t, "hello"), "bzip2": compress(t, archiver.Bz2{}, []byte("hello")), "lzip": lzipOf(t, "hello"), "lzma": lzmaOf(t, "hello"),
		"tar": tarOf(t, file{"attachment", "hello"}),
	} {
		for _, gap := range []int{0, 7, 1024} {
			r := expand(t, join(stream, make([]byte, gap), hidden), scanners.BudgetLimits{})
			r.wantMember(t, "attachment", "hello")
			r.wantMember(t, "letter.txt", letter)
			if !slices.Contains(r.checks(), ambiguous) {
				t.Errorf("%s: got checks %q, want %s", name, r.checks(), ambiguous)
			}
		}
		if r := expand(t, join(stream, make([]byte, 2048)), scanners.BudgetLimits{}); len(r.report.Findings) > 0 {
			t.Errorf("%s: zeros at the end are no finding, got%s", name, r)
		}
	}
}

func TestNamesOfCompressedFiles(t *testing.T) {
	withName := append([]byte("\x1f\x8b\x08\x0c\x00\x00\x00\x00\x00\x03\x02\x00??x.exe\x00"), gz(t, "hello")[10:]...)
	r := expandIn(t.Context(), t, New(Config{}), "report.tgz", withName, scanners.BudgetLimits{})
	r.wantMember(t, "x.exe", "hello")
	r.wantMember(t, "report.tar", "hello")
	r.wantChecks(t)
}

func TestTellsLZMAWithoutASignature(t *testing.T) {
	var b bytes.Buffer
	w, err := lzma.WriterConfig{DictCap: 1 << 16, Properties: &lzma.Properties{LC: 1, LP: 2, PB: 0}, EOSMarker: true}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(letter))
	w.Close()
	r := expand(t, b.Bytes(), scanners.BudgetLimits{})
	r.wantMember(t, "attachment", letter)
	r.wantChecks(t)
	// Small numbers, most significant byte first, make a header that is valid.
	r = expand(t, join([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x07\x00\x00\x00\x00"), noise(1000)), scanners.BudgetLimits{})
	if len(r.members)+len(r.report.Findings) > 0 {
		t.Errorf("want nothing, got%s", r)
	}
}

func TestMultivolumeByName(t *testing.T) {
	for _, tt := range []struct {
		name string
		want bool
	}{{"a.7z.002", true}, {"A.ZIP.010", true}, {"a.z01", true}, {"a.dat", false}, {"a.002", false}, {"7z.txt", false}} {
		r := expandIn(t.Context(), t, New(Config{}), tt.name, append([]byte{0}, noise(100)...), scanners.BudgetLimits{})
		if got := slices.Contains(r.checks(), multivolume); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNeverMakesLinksAndDevices(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "passwd.exe", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "hard.exe", Typeflag: tar.TypeLink, Linkname: "../x"},
		{Name: "dev.exe", Typeflag: tar.TypeBlock, Devmajor: 8},
		{Name: "dir.exe/", Typeflag: tar.TypeDir},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	r := expand(t, b.Bytes(), scanners.BudgetLimits{})
	r.wantMember(t, "passwd.exe", "")
	r.wantMember(t, "hard.exe", "")
	r.wantMember(t, "dev.exe", "")
	if len(r.members) != 3 {
		t.Errorf("want 3 members, got%s", r)
	}
	r.wantChecks(t)
}

func TestReadsTarsBehindTheEndAndBehindDamage(t *testing.T) {
	first, second := tarOf(t, file{"a.txt", "one"}), tarOf(t, file{"b.txt", "two"})
	broken := bytes.Clone(first[:1024])
	copy(broken[140:], "garbage!garbage!") // over the checksum
	for name, content := range map[string][]byte{
		"concatenated":        join(first, second),
		"after a gap":         join(first, bytes.Repeat([]byte("junk"), 128), second),
		"after broken header": join(first[:1024], broken, second),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		r.wantMember(t, "a.txt", "one")
		r.wantMember(t, "b.txt", "two")
		if !slices.Contains(r.checks(), ambiguous) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), ambiguous)
		}
	}
}

func TestNamesAreYieldedAsTheyAre(t *testing.T) {
	for _, name := range []string{"../../etc/passwd", "/abs", `a\b.exe`, "x.exe ", "a\nb", "x.exe/../y"} {
		expand(t, tarOf(t, file{name, "x"}), scanners.BudgetLimits{}).wantMember(t, name, "x")
		expand(t, zipOf(t, file{name, "x"}), scanners.BudgetLimits{}).wantMember(t, name, "x")
		expand(t, storedRAR(name, "x"), scanners.BudgetLimits{}).wantMember(t, name, "x")
	}
}
