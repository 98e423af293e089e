package disk

import (
	"bufio"
	"io"
)

func newByteReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 4<<10) }

// An adc unpacks Apple Data Compression: plain runs, and copies of what is up to 64 KiB back.
type adc struct {
	in   *bufio.Reader
	hist []byte // what was given, and the rest of it that was not
	at   int
}

func (a *adc) Read(p []byte) (int, error) {
	for a.at == len(a.hist) {
		if err := a.step(); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.hist[a.at:])
	if a.at += n; a.at > 1<<20 && a.at == len(a.hist) {
		a.hist = append(a.hist[:0], a.hist[a.at-1<<16:]...)
		a.at = len(a.hist)
	}
	return n, nil
}

// step unpacks one run or copy.
func (a *adc) step() error {
	c, err := a.in.ReadByte()
	if err != nil {
		return err
	}
	if c&0x80 != 0 {
		b := make([]byte, int(c&0x7f)+1)
		if _, err := io.ReadFull(a.in, b); err != nil {
			return io.ErrUnexpectedEOF
		}
		a.hist = append(a.hist, b...)
		return nil
	}
	n, far := int(c&0x3f)+4, 0
	if c&0x40 == 0 {
		n, far = int(c>>2)+3, int(c&3)
	}
	for range 1 + int(c>>6) {
		b, err := a.in.ReadByte()
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		far = far<<8 | int(b)
	}
	from := len(a.hist) - far - 1
	if from < 0 {
		return damagedf("a copy from before the beginning")
	}
	for i := range n {
		a.hist = append(a.hist, a.hist[from+i])
	}
	return nil
}
