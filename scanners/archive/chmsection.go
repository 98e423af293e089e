package archive

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"rastel/scanners/archive/lzx"
)

// Names under which a help file has what is packed, and how.
const (
	chmContent = "::DataSpace/Storage/MSCompressed/Content"
	chmControl = "::DataSpace/Storage/MSCompressed/ControlData"
	chmReset   = "::DataSpace/Storage/MSCompressed/Transform/{7FC28940-9D31-11D0-9B27-00A0C91E9C7C}/InstanceData/ResetTable"

	chmControlSize = 0x18
	chmResetHead   = 0x28
	// maxCHMFrame is how many bytes a frame has at most when it is packed.
	maxCHMFrame = 2 * lzx.Frame
)

// A chmSection is section 1 of a help file: LZX that begins anew every few frames, with a table of
// where in it each frame is. It reads what that unpacks to.
type chmSection struct {
	o              *opening
	content        chmFile // the packed bytes
	table          int64   // where in the part the table is
	frames, anew   int64   // how many there are, and how many between two beginnings
	size           int64   // unpacked
	decoder        *lzx.Decoder
	packed, room   []byte
	next, pos      int64  // the next frame, and the next byte, unpacked
	out            []byte // of the last frame, what was not read yet
	err, decodeErr error  // why nothing can be read, and why nothing more
}

// newCHMSection finds section 1; its err says why there is none.
func newCHMSection(c *chm) *chmSection {
	s := &chmSection{o: c.o}
	s.err = s.find(c)
	return s
}

func (s *chmSection) find(c *chm) (err error) {
	if s.content, err = c.find(chmContent); err != nil {
		return err
	}
	control, err := c.find(chmControl)
	if err != nil || control.size < chmControlSize {
		return errCorrupt
	}
	reset, err := c.find(chmReset)
	if err != nil || reset.size < chmResetHead {
		return errCorrupt
	}
	window, err := s.control(control.offset)
	if err != nil {
		return err
	}
	if err := s.resets(reset); err != nil {
		return err
	}
	if err := s.o.dictionary(1 << window); err != nil {
		return err
	}
	s.decoder = lzx.New(window)
	s.packed, s.room = make([]byte, maxCHMFrame), make([]byte, lzx.Frame)
	s.next = -1
	return nil
}

// control reads how it is packed, and gives the exponent of the size of the window.
func (s *chmSection) control(off int64) (int, error) {
	b, err := s.o.bytesAt(off, chmControlSize)
	if err != nil {
		return 0, err
	}
	if string(b[4:8]) != "LZXC" {
		return 0, fmt.Errorf("%w: help that is not packed by LZX", errUnsupported)
	}
	anew, window := int64(binary.LittleEndian.Uint32(b[12:])), int64(binary.LittleEndian.Uint32(b[16:]))
	if version := binary.LittleEndian.Uint32(b[8:]); version >= 2 {
		anew, window = anew*lzx.Frame, window*lzx.Frame
	}
	s.anew = anew / lzx.Frame
	exponent := bits.Len64(uint64(window)) - 1
	if s.anew == 0 || anew%lzx.Frame != 0 || exponent < lzx.MinWindow || exponent > lzx.MaxWindow || window != 1<<exponent {
		return 0, errCorrupt
	}
	return exponent, nil
}

// resets reads the header of the table.
func (s *chmSection) resets(f chmFile) error {
	b, err := s.o.bytesAt(f.offset, chmResetHead)
	if err != nil {
		return err
	}
	s.frames = int64(binary.LittleEndian.Uint32(b[4:]))
	at := int64(binary.LittleEndian.Uint32(b[12:]))
	s.size = int64(binary.LittleEndian.Uint64(b[16:]))
	if binary.LittleEndian.Uint32(b[8:]) != 8 || binary.LittleEndian.Uint64(b[32:]) != lzx.Frame || at+8*s.frames > f.size ||
		s.size < 0 || s.size > s.frames*lzx.Frame {
		return errCorrupt
	}
	s.table = f.offset + at
	return nil
}

// seek goes to the beginning of a file, from the last place before it where the stream begins anew.
// What is passed over on the way counts.
func (s *chmSection) seek(f *chmFile) error {
	if s.err != nil {
		return s.err
	}
	if f.offset > s.size || f.size > s.size-f.offset {
		return errCorrupt
	}
	from := f.offset / lzx.Frame / s.anew * s.anew
	if s.next < 0 || f.offset < s.pos || from >= s.next {
		s.next, s.pos, s.out, s.decodeErr = from, from*lzx.Frame, nil, nil
	}
	for s.pos < f.offset {
		if err := s.more(); err != nil {
			return err
		}
		n := min(f.offset-s.pos, int64(len(s.out)))
		s.out = s.out[n:]
		s.pos += n
		if err := s.o.b.Take(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *chmSection) Read(p []byte) (int, error) {
	if err := s.more(); err != nil {
		return 0, err
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	s.pos += int64(n)
	return n, nil
}

// more sees to it that there is something to read.
func (s *chmSection) more() error {
	for len(s.out) == 0 && s.decodeErr == nil {
		s.out, s.decodeErr = s.frame()
	}
	return s.decodeErr
}

// frame unpacks the next frame.
func (s *chmSection) frame() ([]byte, error) {
	n := min(s.size-s.next*lzx.Frame, lzx.Frame)
	if n <= 0 {
		return nil, errCorrupt
	}
	from, to, err := s.extent(s.next)
	if err != nil {
		return nil, err
	}
	if from < 0 || to > s.content.size || to-from > maxCHMFrame || to < from {
		return nil, errCorrupt
	}
	in := s.packed[:to-from]
	if k, err := s.o.src.ReadAt(in, s.content.offset+from); k < len(in) {
		return nil, noEOF(err)
	}
	if s.next%s.anew == 0 {
		s.decoder.Reset()
	}
	if s.next++; n < lzx.Frame {
		return s.room[:n], s.decoder.DecodeLast(s.room[:n], in)
	}
	return s.room, s.decoder.Decode(s.room, in)
}

// extent gives where in the packed bytes a frame is.
func (s *chmSection) extent(i int64) (from, to int64, err error) {
	n := min(s.frames-i, 2)
	b, err := s.o.bytesAt(s.table+8*i, int(8*n))
	if err != nil {
		return 0, 0, err
	}
	from, to = int64(binary.LittleEndian.Uint64(b)), s.content.size
	if n == 2 {
		to = int64(binary.LittleEndian.Uint64(b[8:]))
	}
	return from, to, nil
}
