package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/mholt/archiver/v4"
	"github.com/ulikunitz/xz/lzma"
)

// letter is what the fixtures hold under the name letter.txt.
var letter = strings.Repeat("Dear reader, this is a letter.\n", 40)

// A file is a name and a content.
type file struct{ name, content string }

// zipOf is an ordinary zip of deflated files.
func zipOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		m, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(m, f.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, f.content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compress packs content with one of archiver's formats.
func compress(t testing.TB, c archiver.Compressor, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.OpenWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(t testing.TB, content string) []byte { return compress(t, archiver.Gz{}, []byte(content)) }

// lzmaOf is a .lzma file; its stream has an end marker.
func lzmaOf(t testing.TB, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := lzma.WriterConfig{DictCap: 1 << 16, EOSMarker: true}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lzipOf is a .lz file of one member.
func lzipOf(t testing.TB, content string) []byte {
	t.Helper()
	stream := lzmaOf(t, content)[lzma.HeaderLen:]
	b := append([]byte("LZIP\x01\x10"), stream...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(content)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(content)))
	return binary.LittleEndian.AppendUint64(b, uint64(len(b)+8))
}

// A rawHeader is what one header of a zip says; its fields are as in the file.
type rawHeader struct {
	name          string
	flags, method uint16
	crc           uint32
	packed, size  uint32
	extra         []byte
}

// stored is the header of a file that is not packed.
func stored(name, content string) rawHeader {
	return rawHeader{name: name, crc: crc32.ChecksumIEEE([]byte(content)), packed: uint32(len(content)), size: uint32(len(content))}
}

// A rawZip is a zip file in the making, whose headers may say anything.
type rawZip struct {
	b, dir []byte
	n      int
}

// local appends a local header and data, and returns where.
func (z *rawZip) local(h rawHeader, data string) int {
	at := len(z.b)
	z.b = append(z.b, "PK\x03\x04\x14\x00"...)
	z.b = h.common(z.b)
	z.b = append(append(append(z.b, h.name...), h.extra...), data...)
	return at
}

// central lists a member in the directory.
func (z *rawZip) central(h rawHeader, at int) {
	z.dir = append(z.dir, "PK\x01\x02\x14\x00\x14\x00"...)
	z.dir = h.common(z.dir)
	z.dir = append(z.dir, make([]byte, 10)...)
	z.dir = binary.LittleEndian.AppendUint32(z.dir, uint32(at))
	z.dir = append(append(z.dir, h.name...), h.extra...)
	z.n++
}

func (h rawHeader) common(b []byte) []byte {
	for _, v := range []uint16{h.flags, h.method, 0, 0x21} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	for _, v := range []uint32{h.crc, h.packed, h.size} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.name)))
	return binary.LittleEndian.AppendUint16(b, uint16(len(h.extra)))
}

// both adds a stored file as any program would.
func (z *rawZip) both(name, content string) {
	h := stored(name, content)
	z.central(h, z.local(h, content))
}

// end appends directory and end record.
func (z *rawZip) end(comment string) []byte {
	b := append(bytes.Clone(z.b), z.dir...)
	b = append(b, "PK\x05\x06\x00\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint16(b, uint16(z.n))
	b = binary.LittleEndian.AppendUint16(b, uint16(z.n))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(z.dir)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(z.b)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(comment)))
	return append(b, comment...)
}

// rarBlock is a block of RAR 5.
func rarBlock(kind, flags uint64, fields, data []byte) []byte {
	head := binary.AppendUvarint(binary.AppendUvarint(nil, kind), flags)
	if flags&2 != 0 {
		head = binary.AppendUvarint(head, uint64(len(data)))
	}
	head = append(head, fields...)
	head = append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	return join(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(head)), head, data)
}

// rarOf is a RAR 5 archive of one file; compression is the field of that name in the header.
func rarOf(name string, data string, size, compression uint64) []byte {
	var f []byte
	for _, v := range []uint64{4, size, 0} { // the checksum follows; size; attributes
		f = binary.AppendUvarint(f, v)
	}
	f = binary.LittleEndian.AppendUint32(f, crc32.ChecksumIEEE([]byte(data)))
	for _, v := range []uint64{compression, 1, uint64(len(name))} {
		f = binary.AppendUvarint(f, v)
	}
	f = append(f, name...)
	return join([]byte("Rar!\x1a\x07\x01\x00"), rarBlock(1, 0, []byte{0}, nil), rarBlock(2, 2, f, []byte(data)), rarBlock(5, 0, []byte{0}, nil))
}

// storedRAR is a RAR 5 archive of one file that is not packed.
func storedRAR(name, content string) []byte {
	return rarOf(name, content, uint64(len(content)), 0)
}
