package scanners

import (
	"bufio"
	"encoding/binary"
	"io"
)

// rtfWindow is how far back compressed RTF may refer, and rtfStart is what is there at first
// (MS-OXRTFCP 2.1.2.1).
const (
	rtfWindow = 4096
	rtfStart  = `{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor ` +
		"MS Sans SerifSymbolArialTimes New RomanCourier" + `{\colortbl\red0\green0\blue0` + "\r\n" +
		`\par \pard\plain\f0\fs20\b\i\u\tab\tx`
	rtfHeader       = 16
	rtfCompressed   = 0x75465a4c // "LZFu"
	rtfUncompressed = 0x414c454d // "MELA"
)

// An rtfReader reads compressed RTF (MS-OXRTFCP), as much as there is; its checksum and the size
// that it says are not looked at. One byte of it gives at most nine, so it is no bomb.
type rtfReader struct {
	r   io.Reader
	bad bool // it is of no known kind, or has no end

	in     *bufio.Reader
	plain  bool
	over   bool
	window [rtfWindow]byte
	pos    int // in window, of what is written next
	out    [17 * 8]byte
	ready  []byte
}

// DecompressRTF reads compressed RTF. Once it was read, damaged tells whether it has no end.
func DecompressRTF(r io.Reader) (rtf io.Reader, damaged func() bool) {
	f := &rtfReader{r: r}
	return f, func() bool { return f.bad }
}

// start reads the header.
func (f *rtfReader) start() {
	f.in = bufio.NewReaderSize(f.r, 4<<10)
	var b [rtfHeader]byte
	if _, err := io.ReadFull(f.in, b[:]); err != nil {
		f.over, f.bad = true, true
		return
	}
	switch binary.LittleEndian.Uint32(b[8:]) {
	case rtfUncompressed:
		f.plain = true
	case rtfCompressed:
		f.pos = copy(f.window[:], rtfStart)
	default:
		f.over, f.bad = true, true
	}
}

func (f *rtfReader) Read(p []byte) (int, error) {
	if f.in == nil {
		f.start()
	}
	if f.plain {
		return f.in.Read(p)
	}
	for len(f.ready) == 0 {
		if f.over {
			return 0, io.EOF
		}
		if err := f.run(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.ready)
	f.ready = f.ready[n:]
	return n, nil
}

// next reads one byte of the input; without one the RTF is over, and bad.
func (f *rtfReader) next() (byte, error) {
	if f.over {
		return 0, nil
	}
	c, err := f.in.ReadByte()
	if err == io.EOF {
		f.over, f.bad = true, true
		return 0, nil
	}
	return c, err
}

// run decodes one control byte and the eight tokens behind it.
func (f *rtfReader) run() error {
	f.ready = f.out[:0]
	flags, err := f.next()
	for i := 0; i < 8 && err == nil && !f.over; i++ {
		var a, b byte
		if a, err = f.next(); err != nil || f.over {
			break
		}
		if flags>>i&1 == 0 {
			f.put(a)
			continue
		}
		if b, err = f.next(); err != nil || f.over {
			break
		}
		f.refer(int(a)<<4|int(b)>>4, int(b&0xf)+2)
	}
	return err
}

// refer repeats n bytes of the window; a reference to where the next byte goes is the end.
func (f *rtfReader) refer(from, n int) {
	if from == f.pos {
		f.over = true
		return
	}
	for range n {
		f.put(f.window[from])
		from = (from + 1) % rtfWindow
	}
}

func (f *rtfReader) put(c byte) {
	f.window[f.pos] = c
	f.pos = (f.pos + 1) % rtfWindow
	f.ready = append(f.ready, c)
}
