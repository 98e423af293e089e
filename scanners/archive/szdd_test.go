package archive

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"rastel/scanners"
)

// lzssOf packs content as literals, and blanks as a match with those that are in the window before.
func lzssOf(content string, start int) (b []byte) {
	for at := 0; at < len(content); {
		flags := len(b)
		b = append(b, 0)
		for bit := 0; bit < 8 && at < len(content); bit++ {
			if strings.HasPrefix(content[at:], "   ") && at < 1000 {
				from := (start - 500) % lzssWindow
				b = append(b, byte(from), byte(from>>4)&0xf0)
				at += 3
				continue
			}
			b[flags] |= 1 << bit
			b = append(b, content[at])
			at++
		}
	}
	return b
}

func szddOf(letter byte, content string) []byte {
	b := binary.LittleEndian.AppendUint32(append([]byte(szddMagic), 'A', letter), uint32(len(content)))
	return append(b, lzssOf(content, szddStart)...)
}

// kwajOf is a file with all that may be behind the header.
func kwajOf(method uint16, size int, data []byte) []byte {
	le := binary.LittleEndian
	optional := le.AppendUint32(nil, uint32(size))
	optional = append(optional, "??\x03\x00???letter\x00txt\x00\x04\x00text"...)
	b := le.AppendUint16([]byte(kwajMagic), method)
	b = le.AppendUint16(b, uint16(kwajHeader+len(optional)))
	return join(le.AppendUint16(b, 0x3f), optional, data)
}

func TestOpensFilesOfCompressEXE(t *testing.T) {
	content := "   blanks   " + letter
	for _, names := range [][2]string{{"SETUP.EX_", "SETUP.EXE"}, {"setup.exe", "setup.exe"}, {"_", "E"}} {
		r := expandIn(t.Context(), t, New(Config{}), names[0], szddOf('E', content), scanners.BudgetLimits{})
		r.wantMember(t, names[1], content)
		r.wantMember(t, names[0], content)
		r.wantChecks(t)
	}
	old := append(binary.LittleEndian.AppendUint32([]byte(basicMagic), uint32(len(content))), lzssOf(content, basicStart)...)
	expandIn(t.Context(), t, New(Config{}), "a.bas", old, scanners.BudgetLimits{}).wantMember(t, "a.bas", content)
	for name, content := range map[string][]byte{"cut": szddOf('E', content)[:200], "cut in the header": szddOf('E', content)[:12], "of an old one": old[:50], "more than it says": append(old, 1, 'x')} {
		if r := expand(t, content, scanners.BudgetLimits{}); !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got %q, want %s%s", name, r.checks(), damaged, r)
		}
	}
}

func TestOpensKWAJ(t *testing.T) {
	content := "   blanks   " + letter
	xored := []byte(content)
	for i := range xored {
		xored[i] ^= 0xff
	}
	var blocks []byte
	for _, b := range (cabMaker{method: cabMSZip}).blocks(t, content+content+strings.Repeat(content, 40)) {
		blocks = append(binary.LittleEndian.AppendUint16(blocks, uint16(len(b))), b...)
	}
	long := content + content + strings.Repeat(content, 40)
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"stored": {kwajOf(kwajStored, len(content), []byte(content)), content}, "XOR": {kwajOf(kwajXOR, len(content), xored), content},
		"LZSS": {kwajOf(kwajLZSS, len(content), lzssOf(content, basicStart)), content}, "MSZIP": {kwajOf(kwajMSZip, len(long), append(blocks, 0, 0)), long},
	} {
		r := expandIn(t.Context(), t, New(Config{}), "LETTER.TX_", tt.file, scanners.BudgetLimits{})
		r.wantMember(t, "letter.txt", tt.want)
		r.wantMember(t, "LETTER.txt", tt.want)
		r.wantChecks(t)
		for _, n := range []int{12, 17, 20, 30, len(tt.file) - 9} {
			if r := expand(t, tt.file[:n], scanners.BudgetLimits{}); !slices.Contains(r.checks(), damaged) {
				t.Errorf("%s, cut after %d: got %q, want %s%s", name, n, r.checks(), damaged, r)
			}
		}
	}
	r := expand(t, kwajOf(3, 5, []byte("xxxxx")), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
	r.wantMember(t, "letter.txt", "")
	expand(t, kwajOf(kwajMSZip, 5, []byte("\x05\x00xxxxx\x00\x00")), scanners.BudgetLimits{}).wantChecks(t, damaged)
}
