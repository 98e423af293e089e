package archive

import (
	"hash"
	"hash/crc32"
	"io"
)

// A checkedReader compares what was read with what a header says, once it has come to its end.
type checkedReader struct {
	r    io.Reader
	crc  hash.Hash32
	n    int64
	want *uint32 // nil if unknown
	size int64   // negative if unknown
}

func newChecked(r io.Reader, size int64, want *uint32) *checkedReader {
	return &checkedReader{r: r, crc: crc32.NewIEEE(), size: size, want: want}
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.n += int64(n)
		c.crc.Write(p[:n])
	}
	if err == io.EOF && (c.size >= 0 && c.n != c.size || c.want != nil && c.crc.Sum32() != *c.want) {
		err = errChecksum
	}
	return n, err
}
