package archive

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"rastel/scanners"
	"rastel/scanners/archive/lzx"
	"rastel/scanners/archive/quantum"
)

// How the blocks of a folder are packed ([MS-CAB] 2.2), and how large one is unpacked.
const (
	cabStored  = 0
	cabMSZip   = 1
	cabQuantum = 2
	cabLZX     = 3

	cabBlock = 32 << 10
)

// A cabFolder is a run of blocks which unpack to its files, one behind the other. It reads what they
// unpack to.
type cabFolder struct {
	c        *cabinet
	data     int64 // where in the part its blocks begin
	blocks   int
	method   uint16
	reserve  int  // bytes in the header of each block
	previous bool // it begins in the cabinet before

	at    int64  // of the next block
	left  int    // blocks
	out   []byte // of the last block, what was not read yet
	pos   int64  // of the next byte, unpacked
	begun bool
	err   error
}

func newCabFolder(c *cabinet, entry []byte, reserve int) *cabFolder {
	return &cabFolder{
		c: c, data: c.off + int64(binary.LittleEndian.Uint32(entry)), blocks: int(binary.LittleEndian.Uint16(entry[4:])),
		method: binary.LittleEndian.Uint16(entry[6:]), reserve: reserve,
	}
}

// seek goes to a byte of what the folder unpacks to: back from the beginning, for files that lie over
// each other. What is passed over on the way counts.
func (f *cabFolder) seek(off int64) error {
	if !f.begun || f.c.current != f || off < f.pos {
		f.at, f.left, f.out, f.pos, f.begun, f.c.current = f.data, f.blocks, nil, 0, true, f
		f.err = f.c.start(f.method)
	}
	for f.pos < off && f.err == nil {
		if f.err = f.more(); f.err != nil {
			break
		}
		n := int(min(off-f.pos, int64(len(f.out))))
		f.out = f.out[n:]
		f.pos += int64(n)
		if err := f.c.o.b.Take(int64(n)); err != nil {
			return err
		}
	}
	return f.err
}

func (f *cabFolder) Read(p []byte) (int, error) {
	if err := f.more(); err != nil {
		return 0, err
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	f.pos += int64(n)
	return n, nil
}

// more sees to it that there is something to read.
func (f *cabFolder) more() error {
	for len(f.out) == 0 && f.err == nil {
		f.out, f.err = f.block()
	}
	return f.err
}

// block unpacks the next block.
func (f *cabFolder) block() ([]byte, error) {
	if f.left == 0 {
		if f.c.flags&cabHasNext != 0 && f == f.c.folders[len(f.c.folders)-1] {
			return nil, errVolume
		}
		return nil, io.ErrUnexpectedEOF
	}
	f.left--
	head, err := f.c.o.bytesAt(f.at, cabBlockHeader+f.reserve)
	if err != nil {
		return nil, err
	}
	packed, size := int(binary.LittleEndian.Uint16(head[4:])), int(binary.LittleEndian.Uint16(head[6:]))
	f.at += int64(len(head))
	in := f.c.in[:packed]
	if n, err := f.c.o.src.ReadAt(in, f.at); n < packed {
		return nil, noEOF(err)
	}
	f.at += int64(packed)
	if size == 0 {
		return nil, errVolume
	}
	if want := binary.LittleEndian.Uint32(head); want != 0 && want != cabSum(head[4:8], cabSum(in, 0)) && want != cabSum(head[4:], cabSum(in, 0)) {
		return nil, errChecksum
	}
	return f.c.unpack(f.method, in, f.c.room[:size])
}

// cabSum is the checksum of a block ([MS-CAB] 3.1).
func cabSum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	var rest uint32
	for _, c := range b {
		rest = rest<<8 | uint32(c)
	}
	return sum ^ rest
}

// cabDecoders are the decoders of a cabinet, one of each kind, and their buffers. Folders are read one
// after the other.
type cabDecoders struct {
	o       *opening
	current *cabFolder
	in      []byte
	room    []byte
	history []byte // what MSZIP refers to
	inflate io.ReadCloser
	lzx     *lzx.Decoder
	quantum *quantum.Decoder
	windows [2]int // of these, exponents
}

// start prepares for the first block of a folder.
func (d *cabDecoders) start(method uint16) error {
	if d.in == nil {
		d.in, d.room = make([]byte, 1<<16), make([]byte, 1<<16)
	}
	switch method & 0xf {
	case cabStored:
	case cabMSZip:
		d.history = d.history[:0]
	case cabQuantum:
		return d.startQuantum(int(method >> 8 & 0x1f))
	case cabLZX:
		return d.startLZX(int(method >> 8 & 0x1f))
	default:
		return fmt.Errorf("%w: method %d of a cabinet", errUnsupported, method&0xf)
	}
	return nil
}

func (d *cabDecoders) startLZX(window int) error {
	if window < lzx.MinWindow || window > lzx.MaxWindow {
		return errCorrupt
	}
	if d.windows[0] != window {
		if err := d.o.dictionary(1 << window); err != nil {
			return err
		}
		d.lzx, d.windows[0] = lzx.New(window), window
	}
	d.lzx.Reset()
	return nil
}

func (d *cabDecoders) startQuantum(window int) error {
	if window < quantum.MinWindow || window > quantum.MaxWindow {
		return errCorrupt
	}
	if d.windows[1] != window {
		if err := d.o.dictionary(1 << window); err != nil {
			return err
		}
		d.quantum, d.windows[1] = quantum.New(window), window
	}
	d.quantum.Reset()
	return nil
}

// unpack unpacks a block to out.
func (d *cabDecoders) unpack(method uint16, in, out []byte) ([]byte, error) {
	switch {
	case method&0xf == cabStored && len(in) == len(out):
		return out[:copy(out, in)], nil
	case method&0xf == cabMSZip && len(out) <= cabBlock:
		return out, d.msZip(in, out)
	case method&0xf == cabQuantum && len(out) <= cabBlock:
		return out, d.quantum.Decode(out, in)
	case method&0xf == cabLZX && len(out) <= cabBlock:
		return out, d.lzx.Decode(out, in)
	}
	return nil, errCorrupt
}

// msZip unpacks a block of MSZIP ([MS-MCI]): deflated, and able to refer to the blocks before.
func (d *cabDecoders) msZip(in, out []byte) error {
	if !bytes.HasPrefix(in, []byte("CK")) {
		return errCorrupt
	}
	r := bytes.NewReader(in[2:])
	if d.inflate == nil {
		d.inflate = flate.NewReaderDict(r, d.history)
	} else if err := d.inflate.(flate.Resetter).Reset(r, d.history); err != nil {
		return err
	}
	if _, err := io.ReadFull(d.inflate, out); err != nil {
		return noEOF(err)
	}
	var more [1]byte
	if n, _ := d.inflate.Read(more[:]); n > 0 {
		return errCorrupt
	}
	d.history = append(d.history, out...)
	d.history = d.history[:copy(d.history, d.history[max(len(d.history)-cabBlock, 0):])]
	return nil
}

// exactly reads n bytes, and no more; fewer are an error.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	e.n -= int64(n)
	return n, noEOF(err)
}

// isBudget reports whether an error is one of the budget.
func isBudget(err error) bool { return errors.Is(err, scanners.ErrBudget) }
