package archive

import (
	"slices"
	"testing"

	"rastel/scanners"
)

// Beginnings of files that are no archives.
var (
	program = append([]byte("MZ\x90\x00\x03\x00\x00\x00"), noise(5000)...)
	picture = append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), noise(5000)...)
	text    = []byte("GET WELL SOON\n")
)

func TestOpensArchivesBehindSomethingElse(t *testing.T) {
	unended := rawZip{}
	unended.both("letter.txt", letter)
	for name, a := range map[string][]byte{
		"zip": zipOf(t, file{"letter.txt", letter}), "7z": fixture(t, "lzma2.7z"), "rar": storedRAR("letter.txt", letter),
		"zip without a directory": unended.b,
		"zip and more":            join(zipOf(t, file{"letter.txt", letter}), noise(40_000)),
	} {
		for kind, prefix := range map[string][]byte{"program": program, "picture": picture, "text": text} {
			r := expand(t, join(prefix, a), scanners.BudgetLimits{})
			r.wantMember(t, "letter.txt", letter)
			if got := slices.Contains(r.checks(), ambiguous); got != (kind != "program") {
				t.Errorf("%s behind a %s: got checks %q", name, kind, r.checks())
			}
		}
	}
}

func TestFindsAZipBehindOtherArchives(t *testing.T) {
	zip := zipOf(t, file{"letter.txt", letter})
	for name, first := range map[string][]byte{
		"rar": storedRAR("a.txt", "hello"), "7z": fixture(t, "ppmd.7z"), "pdf": []byte("%PDF-1.4\nand so on\n"), "tar": tarOf(t, file{"a.txt", "hello"}),
		"ole": append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), noise(2000)...), "cab": []byte("MSCF\x00\x00\x00\x00 and so on"),
	} {
		r := expand(t, join(first, zip), scanners.BudgetLimits{})
		r.wantMember(t, "letter.txt", letter)
		if !slices.Contains(r.checks(), ambiguous) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), ambiguous)
		}
	}
}

func TestSignaturesAloneAreNoArchives(t *testing.T) {
	sigs := []byte("PK\x03\x04\x14\x00 PK\x05\x06 Rar!\x1a\x07\x00 Rar!\x1a\x07\x01\x00 7z\xbc\xaf\x27\x1c PK\x01\x02")
	for name, prefix := range map[string][]byte{"program": program, "picture": picture, "text": text} {
		r := expand(t, join(prefix, sigs, noise(1000)), scanners.BudgetLimits{})
		if len(r.members)+len(r.report.Findings) > 0 {
			t.Errorf("%s: want nothing, got%s", name, r)
		}
	}
}

func TestArchivesBeyondTheSearchAreNotFoundButAtTheEnd(t *testing.T) {
	far := join(program, noise(2<<20))
	e := New(Config{Search: 1 << 20})
	r := expandIn(t.Context(), t, e, "a.exe", join(far, storedRAR("letter.txt", letter)), scanners.BudgetLimits{})
	if len(r.members) > 0 {
		t.Errorf("want no members, got%s", r)
	}
	r = expandIn(t.Context(), t, e, "a.exe", join(far, zipOf(t, file{"letter.txt", letter})), scanners.BudgetLimits{})
	r.wantMember(t, "letter.txt", letter)
}
