package archive

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"rastel/scanners"
)

func TestOrdinaryZipsHaveNoFindings(t *testing.T) {
	var streamed bytes.Buffer
	w := zip.NewWriter(&streamed)
	w.SetComment("a comment")
	for _, h := range []*zip.FileHeader{{Name: "d/"}, {Name: "d/a.txt", Method: zip.Store}, {Name: "grüße.txt", Method: zip.Deflate}} {
		m, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/") {
			m.Write([]byte("hello"))
		}
	}
	w.Close()
	inner := rawZip{}
	inner.both("a.txt", "hello")
	outer := rawZip{}
	outer.both("first.zip", string(inner.end("")))
	outer.both("second.zip", string(inner.end("comment")))
	for name, content := range map[string][]byte{
		"streamed": streamed.Bytes(), "zips stored in a zip": outer.end(""), "empty": (&rawZip{}).end(""),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if len(r.report.Findings) > 0 || name != "empty" && !r.has("d/a.txt", "hello") && !r.has("a.txt", "hello") {
			t.Errorf("%s: want a member and no finding, got%s", name, r)
		}
	}
}

// TestReadsAllZipsThatSomeProgramSees holds readers of other mail programs against ours: what
// any of them shows is a member here, and that they differ is a finding.
func TestReadsAllZipsThatSomeProgramSees(t *testing.T) {
	one, two := zipOf(t, file{"one.txt", "one"}), zipOf(t, file{"two.txt", "two"})
	withComment := rawZip{}
	withComment.both("one.txt", "one")
	unlisted := rawZip{}
	unlisted.local(stored("two.txt", "two"), "two")
	unlisted.both("one.txt", "one")
	nothingListed := rawZip{}
	nothingListed.local(stored("one.txt", "one"), "one")
	nothingListed.local(stored("two.txt", "two"), "two")
	streamed := stored("two.txt", "two")
	streamed.flags, streamed.crc, streamed.packed, streamed.size = zipDescriptor, 0, 0, 0
	unlistedStreamed := rawZip{}
	unlistedStreamed.local(streamed, "two")
	unlistedStreamed.both("one.txt", "one")
	for name, content := range map[string][]byte{
		"two, one after the other":           join(one, two),
		"the other way round":                join(two, one),
		"a zip in the comment":               withComment.end(string(two)),
		"in no directory":                    unlisted.end(""),
		"empty directory":                    nothingListed.end(""),
		"in no directory, of unknown length": unlistedStreamed.end(""),
		"behind the end":                     join(one, []byte("junk"), two),
		"far behind the end":                 join(one, noise(70_000), two),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if !slices.ContainsFunc(r.members, func(m seenMember) bool {
			return slices.Contains(m.names, "two.txt") && bytes.HasPrefix(m.content, []byte("two"))
		}) {
			t.Errorf("%s: no two.txt in%s", name, r)
		}
		r.wantMember(t, "one.txt", "one")
		if !slices.Contains(r.checks(), ambiguous) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), ambiguous)
		}
	}
}

func TestReadsBothHeadersOfAMember(t *testing.T) {
	content := letter[:60]
	deflated := string(deflateOf(t, "evil"))
	for _, tt := range []struct {
		name  string
		local func(*rawHeader)
		data  string
		want  []file
	}{
		{"names", func(h *rawHeader) { h.name = "e.exe" }, "hello", []file{{"a.txt", "hello"}, {"e.exe", "hello"}}},
		{"method", func(h *rawHeader) { *h = deflatedHeader("a.txt", "evil", deflated) }, deflated, []file{{"a.txt", deflated}, {"a.txt", "evil"}}},
		{"size", func(h *rawHeader) { *h = stored("a.txt", content) }, content, []file{{"a.txt", content[:5]}, {"a.txt", content}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			central := stored("a.txt", tt.data)
			if tt.name == "size" {
				central = stored("a.txt", content[:5])
			}
			local := central
			tt.local(&local)
			z := rawZip{}
			z.central(central, z.local(local, tt.data))
			r := expand(t, z.end(""), scanners.BudgetLimits{})
			for _, f := range tt.want {
				r.wantMember(t, f.name, f.content)
			}
			r.wantChecks(t, ambiguous)
		})
	}
}

func deflateOf(t *testing.T, content string) []byte {
	z := zipOf(t, file{"x", content}) // one member, with a descriptor of 16 bytes
	end := bytes.Index(z, []byte("PK\x07\x08"))
	return z[31:end]
}

func deflatedHeader(name, content, packed string) rawHeader {
	h := stored(name, content)
	h.method, h.packed = zipDeflate, uint32(len(packed))
	return h
}

func TestReportsDataBehindTheStreamOfAMember(t *testing.T) {
	data := string(deflateOf(t, "hello")) + "hidden"
	h := deflatedHeader("a.txt", "hello", data)
	z := rawZip{}
	z.central(h, z.local(h, data))
	r := expand(t, z.end(""), scanners.BudgetLimits{})
	r.wantMember(t, "a.txt", "hello")
	r.wantChecks(t, ambiguous)
}

func TestReadsWhatOnlyPretendsToBeEncrypted(t *testing.T) {
	h := stored("a.txt", "hello")
	h.flags = zipEncrypted
	z := rawZip{}
	z.central(h, z.local(h, "hello"))
	r := expand(t, z.end(""), scanners.BudgetLimits{})
	r.wantMember(t, "a.txt", "hello")
	r.wantChecks(t, ambiguous)
}

func TestMembersThatShareTheirDataAreReadOnce(t *testing.T) {
	z := rawZip{}
	at := z.local(stored("a.txt", "hello"), "hello")
	z.central(stored("a.txt", "hello"), at)
	z.central(stored("b.exe", "hello"), at)
	r := expand(t, z.end(""), scanners.BudgetLimits{})
	r.wantMember(t, "a.txt", "hello")
	r.wantMember(t, "b.exe", "hello")
	if len(r.members) != 1 {
		t.Errorf("want one member, got%s", r)
	}
	r.wantChecks(t, ambiguous)
}

func TestAllNamesOfAZipMemberAreCandidates(t *testing.T) {
	path := func(name string) []byte {
		b := binary.LittleEndian.AppendUint16(nil, zipExtraPath)
		b = binary.LittleEndian.AppendUint16(b, uint16(5+len(name)))
		b = binary.LittleEndian.AppendUint32(append(b, 1), crc32.ChecksumIEEE([]byte("a.txt")))
		return append(b, name...)
	}
	for _, tt := range []struct {
		name  string
		flags uint16
		extra []byte
		want  []string
	}{
		{"a.txt", 0, path("e.exe"), []string{"a.txt", "e.exe"}},
		{"gr\x81n.txt", 0, nil, []string{"grün.txt", "gr\x81n.txt"}},
		{"grün.txt", 0, nil, []string{"grün.txt", "gr├╝n.txt"}},
		{"grün.txt", zipUTF8, nil, []string{"grün.txt"}},
		{"a.exe\x00.txt", 0, nil, []string{"a.exe\x00.txt", "a.exe"}},
	} {
		h := stored(tt.name, "x")
		h.flags, h.extra = tt.flags, tt.extra
		z := rawZip{}
		z.central(h, z.local(h, "x"))
		r := expand(t, z.end(""), scanners.BudgetLimits{})
		for _, want := range tt.want {
			r.wantMember(t, want, "x")
		}
		r.wantChecks(t)
	}
}

func TestLongNamesKeepTheirEnd(t *testing.T) {
	name := strings.Repeat("x", 60_000) + ".exe"
	z := rawZip{}
	z.both(name, "x")
	r := expand(t, z.end(""), scanners.BudgetLimits{})
	r.wantMember(t, name[len(name)-maxName:], "x")
}

func TestReportsDamagedZips(t *testing.T) {
	badSum := stored("a.txt", "hello")
	badSum.crc++
	z := rawZip{}
	z.central(badSum, z.local(badSum, "hello"))
	nowhere := rawZip{}
	nowhere.both("a.txt", "hello")
	nowhere.central(stored("b.txt", "hello"), 3)
	whole := zipOf(t, file{"a.txt", "hello"})
	for name, content := range map[string][]byte{
		"checksum": z.end(""), "no local header": nowhere.end(""), "cut off": whole[:len(whole)-30],
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		r.wantMember(t, "a.txt", "hello")
		if !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), damaged)
		}
	}
}

func TestReportsSplitZips(t *testing.T) {
	z := rawZip{}
	z.both("a.txt", "hello")
	last := z.end("")
	last[len(last)-18] = 1 // the number of this volume
	for name, content := range map[string][]byte{"first": join([]byte("PK\x07\x08"), z.b), "last": last} {
		if r := expand(t, content, scanners.BudgetLimits{}); !slices.Contains(r.checks(), multivolume) {
			t.Errorf("%s: got checks %q, want %s", name, r.checks(), multivolume)
		}
	}
}

func TestZip64EndRecordsThatDisagreeAreBothRead(t *testing.T) {
	one, two := rawZip{}, rawZip{}
	one.both("one.txt", "one")
	first := one.end("")
	two.b = slices.Concat(one.b, one.dir)
	two.both("two.txt", "two")
	b := slices.Concat(two.b, two.dir)
	at := len(b)
	b = append(b, "PK\x06\x06\x2c\x00\x00\x00\x00\x00\x00\x00\x2d\x00\x2d\x00"...)
	b = append(b, make([]byte, 8)...)
	for _, v := range []int{1, 1, len(two.dir), len(two.b)} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	b = append(b, "PK\x06\x07\x00\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = append(binary.LittleEndian.AppendUint32(b, 1), first[len(first)-zipEndLen:]...)
	r := expand(t, b, scanners.BudgetLimits{})
	r.wantMember(t, "one.txt", "one")
	r.wantMember(t, "two.txt", "two")
	if !slices.Contains(r.checks(), ambiguous) {
		t.Errorf("got checks %q, want %s", r.checks(), ambiguous)
	}
}
