package archive

import (
	"context"
	"fmt"
	"io"
)

// maxEmptyReads is how often a decoder may give nothing and no error before it counts as stuck.
const maxEmptyReads = 100

// A source reads the content of a container until the context ends. It remembers errors that
// are not those of the content, because decoders hide them behind their own.
type source struct {
	ctx context.Context //nolint:containedctx // lives as long as one call of Expand
	r   io.ReaderAt
	err error
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A window is part of a source that knows how far it was read.
type window struct {
	*io.SectionReader
	off int64 // of the next byte in the source
}

func (w *window) Read(p []byte) (int, error) {
	n, err := w.SectionReader.Read(p)
	w.off += int64(n)
	return n, err
}

// A decoder is the reader of a decoder as the rest of the program can bear it: a panic is an
// error, and so is giving nothing for ever. After an error it stays at that error.
type decoder struct {
	r     io.Reader
	err   error // other than io.EOF
	eof   bool
	empty int
}

func (d *decoder) Read(p []byte) (n int, err error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.eof {
		return 0, io.EOF
	}
	err = guard(func() (err error) {
		n, err = d.r.Read(p)
		return err
	})
	if n < 0 || n > len(p) {
		n, err = 0, fmt.Errorf("%w: impossible length", errPanic)
	}
	if d.empty++; n > 0 {
		d.empty = 0
	}
	if err == nil && d.empty > maxEmptyReads {
		err = io.ErrNoProgress
	}
	if d.eof = err == io.EOF; !d.eof {
		d.err = err
	}
	return n, err
}

// guard calls f, which runs a decoder. Damaged input makes decoders panic; that is their way of
// saying that it is damaged.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	return f()
}
