package archive

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mholt/archiver/v4"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// xarOf is an archive of xar.
func xarOf(t testing.TB, toc string, heap []byte) []byte {
	t.Helper()
	packed := compress(t, archiver.Zlib{}, []byte(toc))
	b := append([]byte("xar!"), 0, xarHeader, 0, 1)
	b = binary.BigEndian.AppendUint64(b, uint64(len(packed)))
	b = binary.BigEndian.AppendUint64(b, uint64(len(toc)))
	return join(append(b, 0, 0, 0, 0), packed, heap)
}

// xarTOC is a table of one file in a directory.
func xarTOC(name, style string, offset, length, size int) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><xar><toc><checksum style="sha1"><offset>0</offset><size>20</size></checksum>
<file id="1"><name>dir</name><type>directory</type><file id="2"><name>%s</name><type>file</type><data><length>%d</length><offset>%d</offset>
<size>%d</size><encoding style="application/%s"/></data></file></file></toc></xar>`, name, length, offset, size, style)
}

func TestOpensXAR(t *testing.T) {
	for style, c := range map[string]archiver.Compressor{"x-gzip": archiver.Zlib{}, "x-bzip2": archiver.Bz2{}, "x-xz": archiver.Xz{}, "x-lzma": nil, "octet-stream": nil} {
		data := []byte(letter)
		if style == "x-lzma" {
			data = lzmaOf(t, letter)
		}
		if c != nil {
			data = compress(t, c, data)
		}
		whole := xarOf(t, xarTOC("letter.txt", style, 20, len(data), len(letter)), append(make([]byte, 20), data...))
		r := expandIn(t.Context(), t, New(Config{}), "a.pkg", whole, scanners.BudgetLimits{})
		r.wantMember(t, "dir/letter.txt", letter)
		r.wantChecks(t)
		if r := expand(t, whole[:len(whole)-9], scanners.BudgetLimits{}); !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s, cut: got checks %q, want %s", style, r.checks(), damaged)
		}
	}
	named := strings.Replace(xarTOC(base64.StdEncoding.EncodeToString([]byte("ü.exe")), "octet-stream", 0, 2, 2), "<name>w7", `<name enctype="base64">w7`, 1)
	named = strings.Replace(named, "</data>", `</data><ea id="0"><name>x</name><offset>2</offset><length>3</length><size>3</size><encoding style="application/octet-stream"/></ea>`, 1)
	r := expand(t, xarOf(t, named, []byte("MZrsrc")), scanners.BudgetLimits{})
	r.wantMember(t, "dir/ü.exe", "MZ")
	r.wantMember(t, "dir/ü.exe", "rsr")
	r.wantChecks(t)
}

func TestDamagedXAR(t *testing.T) {
	toc := xarTOC("letter.txt", "octet-stream", 0, len(letter), len(letter))
	whole := xarOf(t, toc, []byte(letter))
	for name, content := range map[string][]byte{
		"cut in the header": whole[:20],
		"cut in the table":  whole[:100],
		"table of any size": bytes.Replace(whole, []byte{0, 1, 0, 0}, []byte{0, 1, 0x7f, 0}, 1),
		"no table":          bytes.Replace(whole, whole[xarHeader:xarHeader+4], []byte("xxxx"), 1),
		"no XML":            xarOf(t, "hello <", nil),
		"end of no element": xarOf(t, "</file>", nil),
		"table that is cut": xarOf(t, toc[:300], []byte(letter)),
		"behind the end":    xarOf(t, xarTOC("letter.txt", "octet-stream", 99999, 5, 5), nil),
		"no number":         xarOf(t, strings.Replace(toc, "<offset>0</offset>\n", "<offset>-1</offset>", 1), []byte(letter)),
		"of another size":   xarOf(t, xarTOC("letter.txt", "octet-stream", 0, 5, 6), []byte(letter)),
		"not what it says":  xarOf(t, xarTOC("letter.txt", "x-gzip", 0, 50, 50), []byte(letter)),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got checks %q, want %s%s", name, r.checks(), damaged, r)
		}
	}
	r := expand(t, xarOf(t, xarTOC("letter.txt", "x-other", 0, 5, 5), []byte(letter)), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
	expand(t, xarOf(t, strings.Repeat("<file>", maxXARDepth+9), nil), scanners.BudgetLimits{}).wantChecks(t, limit)
	expand(t, xarOf(t, "<xar>"+string(noise(maxXARTable)), nil), scanners.BudgetLimits{}).wantChecks(t, damaged)
}

// What a table costs is bounded, whatever it holds.
func TestTablesOfXARAreBounded(t *testing.T) {
	for name, toc := range map[string]string{
		"a name in pieces":  "<file><name>" + strings.Repeat("a<!---->", maxXARTable/10),
		"one long name":     "<file><name>" + strings.Repeat("a", 2*maxXARTable),
		"long names around": strings.Repeat("<file><name>"+strings.Repeat("a", maxName)+"</name>", 200) + strings.Repeat("<file><name>x</name></file>", 200_000),
		"many elements":     strings.Repeat("<a/>", maxXARTable/5),
	} {
		start := time.Now()
		b := scanners.NewBudget(scanners.BudgetLimits{Ratio: 1 << 20}, eml.SpoolOptions{})
		f, err := New(Config{}).Expand(t.Context(), part(t, "a.xar", xarOf(t, toc, nil)), b, func(m *eml.Part) error { m.Release(); return nil })
		if took := time.Since(start); took > time.Minute || err != nil && !errors.Is(err, scanners.ErrBudget) {
			t.Errorf("%s: got %v, %v in %v", name, f, err, took)
		}
		t.Logf("%s: %v, %v in %v", name, f, err, time.Since(start))
	}
}
