package archive

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// lzmaMaxRatio is more than LZMA can pack: a match of 273 bytes takes some 0.3 bits. It bounds
// the dictionary that so many packed bytes can use.
const lzmaMaxRatio = 8000

// unknownSize is how the header of .lzma says that the size is not known.
const unknownSize = -1

// An lzmaStream is one LZMA stream without a header of its own.
type lzmaStream struct {
	props  byte
	dict   uint32
	size   int64 // unpacked, or unknownSize
	packed int64 // at most
}

// lzma decodes the stream at the start of in. It does not read beyond its end. The dictionary
// is no larger than what the packed bytes can come to, whatever the header says
// (CVE-2025-58058).
func (o *opening) lzma(in *bufio.Reader, s lzmaStream) (io.Reader, error) {
	if s.packed < (1<<32)/lzmaMaxRatio {
		s.dict = min(s.dict, uint32(max(s.packed*lzmaMaxRatio, lzma.MinDictCap)))
	}
	need := int64(s.dict)
	if s.size >= 0 {
		need = min(need, s.size)
	}
	if err := o.dictionary(need); err != nil {
		return nil, err
	}
	head := make([]byte, 0, lzma.HeaderLen)
	head = append(head, s.props)
	head = binary.LittleEndian.AppendUint32(head, s.dict)
	head = binary.LittleEndian.AppendUint64(head, uint64(s.size))
	return lzma.ReaderConfig{DictCap: lzma.MaxDictCap}.NewReader(&prefixed{head: head, Reader: in})
}

// prefixed reads bytes of our own before those of a reader, one at a time where asked to, so
// that a decoder has no reason to read ahead.
type prefixed struct {
	head []byte
	*bufio.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) == 0 {
		return p.Reader.Read(b)
	}
	n := copy(b, p.head)
	p.head = p.head[n:]
	return n, nil
}

func (p *prefixed) ReadByte() (byte, error) {
	if len(p.head) == 0 {
		return p.Reader.ReadByte()
	}
	c := p.head[0]
	p.head = p.head[1:]
	return c, nil
}

// lzmaProps are the properties that all programs use unless told otherwise, and the only ones
// of lzip: lc 3, lp 0, pb 2.
const lzmaProps = 0x5d

// lzmaProbe is how much of a file is unpacked to see whether it is LZMA.
const lzmaProbe = 4 << 10

// isLZMA reports whether the part is a .lzma file, which has no signature: the header is one
// that a program writes and, unless it is the usual one, the stream begins well.
func (o *opening) isLZMA() bool {
	head := o.p.Head(lzma.HeaderLen)
	if !lzma.ValidHeader(head) {
		return false
	}
	if head[0] == lzmaProps {
		return true
	}
	in := o.input(0, o.p.Size)
	late := &lateReader{open: func() (io.Reader, error) { return o.lzmaAlone(in) }}
	_, err := io.CopyN(io.Discard, &decoder{r: late}, lzmaProbe)
	return err == nil || err == io.EOF
}

// openLZMA opens a .lzma file.
func openLZMA(o *opening) error {
	ok, err := o.stream(innerNames(o.p.Names), o.lzmaAlone)
	if err != nil || !ok {
		return err
	}
	return o.trailer(o.consumed())
}

// lzmaAlone decodes a header of 13 bytes and the stream behind it.
func (o *opening) lzmaAlone(in *bufio.Reader) (io.Reader, error) {
	var head [lzma.HeaderLen]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	return o.lzma(in, lzmaStream{
		props: head[0], dict: binary.LittleEndian.Uint32(head[1:]),
		size: int64(binary.LittleEndian.Uint64(head[5:])), packed: o.p.Size,
	})
}

// openLzip opens a .lz file (draft-diaz-lzip): members that follow each other.
func openLzip(o *opening) error {
	return o.seriesMember(innerNames(o.p.Names), &series{magic: "LZIP", max: maxLzipMembers, open: o.lzip})
}

func (o *opening) lzip(in *bufio.Reader) (io.Reader, error) {
	start := o.consumed()
	var head [6]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	if head[4] > 1 {
		return nil, fmt.Errorf("%w: lzip version %d", errUnsupported, head[4])
	}
	dict := uint32(1) << (head[5] & 0x1f)
	dict -= dict / 16 * uint32(head[5]>>5)
	if dict < lzma.MinDictCap || dict > 512<<20 {
		return nil, fmt.Errorf("%w: dictionary of %d bytes", errCorrupt, dict)
	}
	r, err := o.lzma(in, lzmaStream{props: lzmaProps, dict: dict, size: unknownSize, packed: o.p.Size - start})
	return &lzipReader{o: o, in: in, r: r, crc: crc32.NewIEEE(), start: start, version: head[4]}, err
}

// An lzipReader reads one member of a .lz file and checks it against its trailer.
type lzipReader struct {
	o       *opening
	in      *bufio.Reader
	r       io.Reader
	crc     hash.Hash32
	size    uint64
	start   int64
	version byte
}

func (l *lzipReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.crc.Write(p[:n])
	l.size += uint64(n)
	if err == io.EOF {
		err = l.check()
	}
	return n, err
}

// check reads the trailer; io.EOF says that all is well.
func (l *lzipReader) check() error {
	var tail [20]byte
	n := len(tail)
	if l.version == 0 {
		n -= 8 // version 0 does not tell the size of the member
	}
	if _, err := io.ReadFull(l.in, tail[:n]); err != nil {
		return noEOF(err)
	}
	if binary.LittleEndian.Uint32(tail[:]) != l.crc.Sum32() || binary.LittleEndian.Uint64(tail[4:]) != l.size {
		return errChecksum
	}
	if l.version > 0 && int64(binary.LittleEndian.Uint64(tail[12:])) != l.o.consumed()-l.start {
		return errChecksum
	}
	return io.EOF
}
