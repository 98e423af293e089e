package archive

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

const (
	// maxGzipMembers is how many members one gzip file may have (RFC 1952 section 2.2), for
	// each costs a new start of the decoder. The block-wise gzip of genetics has the most.
	maxGzipMembers = 100_000
	// maxLzipMembers is the same for lzip, where each start costs a dictionary.
	maxLzipMembers = 256
)

// stream yields what the whole part unpacks to as one member, and reports whether it came to
// an end. The decoder may read beyond the end of its data.
func (o *opening) stream(names []string, open func(*bufio.Reader) (io.Reader, error)) (bool, error) {
	in := o.input(0, o.p.Size)
	late := &lateReader{open: func() (io.Reader, error) { return open(in) }}
	defer late.close()
	return o.member(names, late)
}

// A lateReader opens its reader at the first Read, where an error or a panic is dealt with.
type lateReader struct {
	open func() (io.Reader, error)
	r    io.Reader
}

func (l *lateReader) Read(p []byte) (n int, err error) {
	if l.r == nil {
		r, err := l.open()
		if err != nil {
			return 0, noEOF(err)
		}
		l.r = r
	}
	return l.r.Read(p)
}

func (l *lateReader) close() {
	if c, ok := l.r.(io.Closer); ok {
		guard(c.Close) //nolint:errcheck // nothing is written, and what was read is known
	}
}

// noEOF turns the end of the input where it must not be into an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func openXZ(o *opening) error {
	_, err := o.stream(innerNames(o.p.Names), func(in *bufio.Reader) (io.Reader, error) { return o.xz(in) })
	return err
}

func openLZ4(o *opening) error {
	_, err := o.stream(innerNames(o.p.Names), func(in *bufio.Reader) (io.Reader, error) { return archiver.Lz4{}.OpenReader(in) })
	return err
}

func openZstd(o *opening) error {
	_, err := o.stream(innerNames(o.p.Names), func(in *bufio.Reader) (io.Reader, error) { return o.zstd(in) })
	return err
}

// someDictionary is what a stream of xz or zstd is taken to allocate. Decoders tell when it is
// more than the limit, but not how much it is.
func (o *opening) someDictionary() error { return o.dictionary(o.cfg.Dictionary / 4) }

// xz decodes with a dictionary of at most 64 MiB.
func (o *opening) xz(r io.Reader) (io.ReadCloser, error) {
	if err := o.someDictionary(); err != nil {
		return nil, err
	}
	return archiver.Xz{}.OpenReader(r)
}

// zstd decodes in this goroutine, with a bounded window.
func (o *opening) zstd(r io.Reader) (io.ReadCloser, error) {
	if err := o.someDictionary(); err != nil {
		return nil, err
	}
	return archiver.Zstd{DecoderOptions: []zstd.DOption{
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(o.cfg.Dictionary)),
	}}.OpenReader(r)
}

// errBzip2Next is what compress/bzip2 says when no further stream follows the last.
const errBzip2Next = bzip2.StructuralError("bad magic value in continuation file")

// openBzip2 uses the reader of the standard library: that of archiver reads ahead, so that
// nobody knows where it ended.
func openBzip2(o *opening) error {
	r := &bzip2Reader{o: o}
	ok, err := o.stream(innerNames(o.p.Names), func(in *bufio.Reader) (io.Reader, error) {
		r.Reader = bzip2.NewReader(in)
		return r, nil
	})
	if err != nil || !ok {
		return err
	}
	return o.trailer(r.end)
}

// A bzip2Reader reads all streams in a file and ends where something else follows.
type bzip2Reader struct {
	io.Reader
	o   *opening
	end int64
}

func (r *bzip2Reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.end = r.o.consumed()
	if errors.Is(err, errBzip2Next) {
		r.end -= 2 // it has read what should have been "BZ"
		err = io.EOF
	}
	return n, err
}

// A series reads streams of one format that follow each other in a file. Programs take them
// for one.
type series struct {
	o     *opening
	in    *bufio.Reader
	magic string
	max   int
	open  func(*bufio.Reader) (io.Reader, error) // one stream; it must not read beyond its end

	cur io.Reader
	n   int
	end int64 // of the last whole stream
}

func (s *series) Read(p []byte) (int, error) {
	for {
		if err := s.next(); err != nil {
			return 0, err
		}
		n, err := s.cur.Read(p)
		if err == io.EOF {
			s.cur, s.end, err = nil, s.o.consumed(), nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next sees to it that there is a stream to read from; io.EOF says that there is no more.
func (s *series) next() error {
	if s.cur != nil {
		return nil
	}
	if head, _ := s.in.Peek(len(s.magic)); string(head) != s.magic && s.n > 0 {
		return io.EOF
	}
	if s.n++; s.n > s.max {
		return errTooMany
	}
	cur, err := s.open(s.in)
	s.cur = cur
	return noEOF(err)
}

// seriesMember yields what a series unpacks to, and what follows it.
func (o *opening) seriesMember(names []string, s *series) error {
	s.o = o
	ok, err := o.stream(names, func(in *bufio.Reader) (io.Reader, error) {
		s.in = in
		return s, nil
	})
	if err != nil || !ok {
		return err
	}
	return o.trailer(s.end)
}
