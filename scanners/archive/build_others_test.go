package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/mholt/archiver/v4"

	"rastel/scanners"
)

// arEntry is one entry of an ar archive.
func arEntry(name, content string) []byte {
	b := fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", name, 0, 0, 0, 0o100644, len(content), content)
	if len(content)%2 == 1 {
		b = append(b, '\n')
	}
	return b
}

func arOf(files ...file) []byte {
	b := []byte(arMagic)
	for _, f := range files {
		b = append(b, arEntry(f.name+"/", f.content)...)
	}
	return b
}

// A cpioFormat writes the header of an entry, and says to what its parts are aligned.
type cpioFormat func(name string, mode, size int) (header []byte, align int)

func cpioNew(name string, mode, size int) ([]byte, int) {
	b := []byte("070701")
	for _, v := range []int{1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name) + 1, 0} {
		b = fmt.Appendf(b, "%08X", v)
	}
	return b, 4
}

func cpioOctal(name string, mode, size int) ([]byte, int) {
	b := []byte("070707")
	for _, v := range []int{0, 1, mode, 0, 0, 1, 0} {
		b = fmt.Appendf(b, "%06o", v)
	}
	return fmt.Appendf(b, "%011o%06o%011o", 0, len(name)+1, size), 1
}

func cpioBinary(order binary.AppendByteOrder) cpioFormat {
	return func(name string, mode, size int) ([]byte, int) {
		var b []byte
		for _, v := range []int{0o70707, 0, 1, mode, 0, 0, 1, 0, 0, 0, len(name) + 1, size >> 16, size & 0xffff} {
			b = order.AppendUint16(b, uint16(v))
		}
		return b, 2
	}
}

// cpioOf is a cpio archive of regular files.
func cpioOf(format cpioFormat, files ...file) []byte {
	var b []byte
	for _, f := range append(slices.Clone(files), file{cpioEnd, ""}) {
		mode := cpioRegular | 0o644
		if f.name == cpioEnd {
			mode = 0
		}
		header, align := format(f.name, mode, len(f.content))
		b = append(append(append(b, header...), f.name...), 0)
		for len(b)%align != 0 {
			b = append(b, 0)
		}
		b = append(b, f.content...)
		for len(b)%align != 0 {
			b = append(b, 0)
		}
	}
	return b
}

// rpmOf is a package with a script that is run after its installation.
func rpmOf(script string, payload []byte) []byte {
	header := func(script string) []byte {
		b := []byte(rpmHeaderMagic + "\x00\x00\x00\x00")
		if script == "" {
			return append(b, make([]byte, 8)...)
		}
		for _, v := range []uint32{1, uint32(len(script) + 1), 1024, 6, 0, 1} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return append(append(b, script...), 0)
	}
	b := append([]byte("\xed\xab\xee\xdb\x03\x00"), make([]byte, rpmLead-6)...)
	return join(b, header(""), header(script), payload)
}

// swfOf is a packed Flash file.
func swfOf(t testing.TB, body string) []byte {
	head := binary.LittleEndian.AppendUint32([]byte("CWS\x09"), uint32(8+len(body)))
	return append(head, compress(t, archiver.Zlib{}, []byte(body))...)
}

// compressOf packs as the program compress does, which empties the table only when it must; this never
// does.
func compressOf(content []byte, maxBits uint) []byte {
	b := []byte{0x1f, 0x9d, byte(maxBits) | 0x80}
	bits, free := uint(compressMinBits), 257
	table := map[string]int{}
	for i := range 256 {
		table[string([]byte{byte(i)})] = i
	}
	var acc uint64
	var n uint
	group := 0 // codes in the group
	put := func(code int) {
		acc |= uint64(code) << n
		for n += bits; n >= 8; n -= 8 {
			b = append(b, byte(acc))
			acc >>= 8
		}
		group = (group + 1) % 8
	}
	word := ""
	for _, c := range content {
		next := word + string([]byte{c})
		if _, ok := table[next]; ok {
			word = next
			continue
		}
		put(table[word])
		if free < 1<<maxBits {
			table[next] = free
			free++
			if free > 1<<bits && bits < maxBits {
				for group != 0 { // fill up the group
					put(0)
				}
				bits++
			}
		}
		word = string([]byte{c})
	}
	put(table[word])
	if n > 0 {
		b = append(b, byte(acc))
	}
	return b
}

func TestCompressIsReadWithCodesOfEveryLength(t *testing.T) {
	content := bytes.Join([][]byte{noise(400_000), []byte(letter), bytes.Repeat([]byte("ab"), 100_000)}, nil)
	for bits := uint(compressMinBits); bits <= compressMaxBits; bits++ {
		r := expandIn(t.Context(), t, New(Config{}), "a.Z", compressOf(content, bits), scanners.BudgetLimits{})
		r.wantChecks(t)
		if sum := fmt.Sprintf("%x", sha256.Sum256(content)); len(r.members) != 1 || r.members[0].sha256 != sum {
			t.Errorf("%d bits: want one member of %d bytes with sha256 %s, got%s", bits, len(content), sum, r)
		}
	}
}

// lhaOf is an archive of LHA with headers of that level and one file that is not packed.
func lhaOf(level byte, name, content string) []byte {
	le := binary.LittleEndian
	var crc uint16
	for i := range len(content) {
		crc = crc>>8 ^ crc16Table[byte(crc)^content[i]]
	}
	size := uint32(len(content))
	extension := append([]byte{lhaFileName}, name...)
	fixed := func(packed uint32) []byte {
		b := append([]byte{0, 0}, "-lh0-"...)
		b = le.AppendUint32(le.AppendUint32(b, packed), size)
		return append(b, 0, 0, 0, 0, 0x20, level)
	}
	var b []byte
	switch level {
	case 0:
		b = append(append(fixed(size), byte(len(name))), name...)
		b = le.AppendUint16(b, crc)
		b[0] = byte(len(b) - 2)
	case 1: // with the name in a header behind
		b = le.AppendUint16(append(fixed(size+uint32(len(extension)+2)), 0), crc)
		b = le.AppendUint16(append(b, 'U'), uint16(len(extension)+2))
		b[0] = byte(len(b) - 2)
		b = append(append(b, extension...), 0, 0)
	case 2:
		b = append(le.AppendUint16(fixed(size), crc), 'U')
		b = append(append(le.AppendUint16(b, uint16(len(extension)+2)), extension...), 0, 0)
		le.PutUint16(b, uint16(len(b)))
	case 3:
		b = append(le.AppendUint16(fixed(size), crc), 'U')
		b = append(b, 0, 0, 0, 0)
		b = append(append(le.AppendUint32(b, uint32(len(extension)+4)), extension...), 0, 0, 0, 0)
		b[0] = 4
		le.PutUint32(b[24:], uint32(len(b)))
	}
	return append(append(b, content...), 0)
}

// arjOf is an archive of ARJ with one file that is not packed.
func arjOf(name, content string, flags byte) []byte {
	le := binary.LittleEndian
	header := func(kind byte, name, content string, flags byte) []byte {
		h := []byte{minARJHeader, 11, 1, 0, flags, 0, kind, 0, 0, 0, 0, 0}
		h = le.AppendUint32(le.AppendUint32(h, uint32(len(content))), uint32(len(content)))
		h = le.AppendUint32(h, crc32.ChecksumIEEE([]byte(content)))
		h = append(append(append(h, make([]byte, 6)...), name...), 0, 0)
		b := append([]byte(arjMagic), le.AppendUint16(nil, uint16(len(h)))...)
		b = le.AppendUint32(append(b, h...), crc32.ChecksumIEEE(h))
		return append(b, 0, 0)
	}
	return join(header(2, "a.arj", "", 0), header(0, name, content, flags), []byte(content), []byte(arjMagic+"\x00\x00"))
}
