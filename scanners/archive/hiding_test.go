package archive

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/mholt/archiver/v4"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// rar4Of is an archive in the format before RAR 5 that holds one service of that name.
func rar4Of(service string) []byte {
	block := func(kind byte, flags uint16, fields []byte) []byte {
		b := binary.LittleEndian.AppendUint16([]byte{kind}, flags)
		b = append(binary.LittleEndian.AppendUint16(b, uint16(7+len(fields))), fields...)
		return append(binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(b))), b...)
	}
	fields := make([]byte, 25)
	fields[17], fields[18], fields[19] = 29, 0x30, byte(len(service)) // version, method, length of the name
	return join([]byte("Rar!\x1a\x07\x00"), block(0x73, 0, make([]byte, 6)), block(0x7a, 0x8000, join(fields, []byte(service))), block(0x7b, 0x4000, nil))
}

// rar5Of is an archive of RAR 5 that holds one service of that name.
func rar5Of(service string) []byte {
	fields := append([]byte{0, 0, 0, 0, 0, byte(len(service))}, service...)
	return join([]byte("Rar!\x1a\x07\x01\x00"), rarBlock(1, 0, []byte{0}, nil), rarBlock(3, 2, fields, []byte("data")), rarBlock(5, 0, []byte{0}, nil))
}

func TestStreamsBesideFilesAreNotSilent(t *testing.T) {
	for name, of := range map[string]func(string) []byte{"rar 4": rar4Of, "rar 5": rar5Of} {
		if r := expand(t, of("CMT"), scanners.BudgetLimits{}); len(r.report.Findings) > 0 {
			t.Errorf("%s with a comment: want nothing, got%s", name, r)
		}
		if r := expand(t, of("STM"), scanners.BudgetLimits{}); !slices.Contains(r.checks(), unsupported) {
			t.Errorf("%s with a stream: want %s, got%s", name, unsupported, r)
		}
	}
}

func TestWhatIsBehindARarIsAMember(t *testing.T) {
	zip := zipOf(t, file{"letter.txt", letter})
	for name, first := range map[string][]byte{"rar 4": rar4Of("CMT"), "rar 5": storedRAR("a.txt", "hello")} {
		r := expand(t, join(first, zip, []byte("more")), scanners.BudgetLimits{})
		r.wantMember(t, "letter.txt", letter)
		if !slices.Contains(r.checks(), ambiguous) {
			t.Errorf("%s: want %s, got%s", name, ambiguous, r)
		}
	}
}

func TestArchivesBehindTheFirstBytesOfADocument(t *testing.T) {
	for _, head := range []string{"%PDF-1.4\n", "{\\rtf1 "} {
		for _, a := range [][]byte{storedRAR("letter.txt", letter), fixture(t, "lzma2.7z"), join(zipOf(t, file{"letter.txt", letter}), []byte("more"))} {
			r := expand(t, join([]byte(head), a), scanners.BudgetLimits{})
			r.wantMember(t, "letter.txt", letter)
		}
	}
}

func TestFramesThatAreSkippedHideNothing(t *testing.T) {
	skip := []byte("\x5f\x2a\x4d\x18\x03\x00\x00\x00abc")
	for name, content := range map[string][]byte{"zstd": compress(t, archiver.Zstd{}, []byte(letter)), "lz4": compress(t, archiver.Lz4{}, []byte(letter))} {
		r := expandIn(t.Context(), t, New(Config{}), "letter.txt", join(skip, skip, content), scanners.BudgetLimits{})
		r.wantMember(t, "letter.txt", letter)
		r.wantChecks(t)
		if r := expand(t, join(skip, []byte("something else")), scanners.BudgetLimits{}); len(r.members)+len(r.report.Findings) > 0 {
			t.Errorf("%s: want nothing, got%s", name, r)
		}
	}
}

func TestArchivesThatNobodyOpensAreReported(t *testing.T) {
	for _, f := range others {
		r := expand(t, append([]byte(f.magic), noise(100)...), scanners.BudgetLimits{})
		if !slices.Contains(r.checks(), unsupported) {
			t.Errorf("%s: want %s, got%s", f.name, unsupported, r)
		}
	}
	if r := expand(t, []byte("EGGANDSPOON is a text"), scanners.BudgetLimits{}); len(r.report.Findings) > 0 {
		t.Errorf("text: want nothing, got%s", r)
	}
}

func TestStoredMembersEndWhereTheirDescriptorIs(t *testing.T) {
	for data, want := range map[string]string{"the content": ambiguous, "PK\x07\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": "", strings.Repeat("\x00", 12): ""} {
		h := rawHeader{name: "a.txt", flags: zipDescriptor} // the directory says that it is empty
		z := rawZip{}
		z.central(h, z.local(h, data))
		z.both("b.txt", "hello")
		if r := expand(t, z.end(""), scanners.BudgetLimits{}); slices.Contains(r.checks(), ambiguous) != (want != "") {
			t.Errorf("%q: want %q, got%s", data, want, r)
		}
	}
}

func TestEndRecordsOfZip64ThatDifferAreAmbiguous(t *testing.T) {
	end64 := func(size, offset uint64) []byte {
		b := append([]byte("PK\x06\x06\x2c"), make([]byte, 19)...)
		for _, v := range []uint64{1, 1, size, offset} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	}
	z := rawZip{}
	at := z.local(stored("a.txt", "hello"), "hello")
	z.central(stored("a.txt", "hello"), at)
	one, first := z.dir, len(z.b)
	z.dir = nil
	z.central(stored("a.exe", "hello"), at)
	two, second := z.dir, first+len(one)
	records := len(z.b) + len(one) + len(two)
	for _, same := range []bool{true, false} {
		b := join(z.b, one, two, end64(uint64(len(one)), uint64(first)))
		loc := uint64(records)
		if !same {
			b = join(b, end64(uint64(len(two)), uint64(second)))
		}
		b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
		b = append(binary.LittleEndian.AppendUint64(b, loc), 1, 0, 0, 0)
		b = append(b, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
		r := expand(t, b, scanners.BudgetLimits{})
		told := slices.ContainsFunc(r.report.Findings, func(f eml.Finding) bool { return f.Detail == "the end records of a zip archive disagree" })
		if told == same {
			t.Errorf("same %t: got%s", same, r)
		}
	}
}

func TestDataOfA7zWithoutMembersIsReported(t *testing.T) {
	head := []byte{1, 4, 6, 0, 1, 9, 5, 0, 7, 0xb, 1, 0, 1, 1, 0, 0xc, 5, 0, 0, 5, 0, 0, 0}
	start := binary.LittleEndian.AppendUint64(nil, 5)
	start = binary.LittleEndian.AppendUint64(start, uint64(len(head)))
	start = binary.LittleEndian.AppendUint32(start, crc32.ChecksumIEEE(head))
	b := binary.LittleEndian.AppendUint32([]byte(sevenZipMagic+"\x00\x04"), crc32.ChecksumIEEE(start))
	r := expand(t, join(b, start, []byte("hello"), head), scanners.BudgetLimits{})
	r.wantChecks(t, damaged)
}
