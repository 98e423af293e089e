package archive

import (
	"bufio"
	"io"

	"github.com/mholt/archiver/v4"
)

// Flags of a gzip member (RFC 1952 section 2.3.1).
const (
	gzipExtra = 1 << 2
	gzipName  = 1 << 3
)

// gzipReuse is what the reader of archiver can do besides: begin again without a new window.
type gzipReuse interface {
	Reset(io.Reader) error
	Multistream(bool)
}

// openGzip reads all members of a gzip file (RFC 1952): some programs stop after the first.
func openGzip(o *opening) error {
	var zr io.Reader
	open := func(in *bufio.Reader) (io.Reader, error) {
		if again, ok := zr.(gzipReuse); ok {
			err := again.Reset(in)
			again.Multistream(false)
			return zr, err
		}
		r, err := archiver.Gz{DisableMultistream: true}.OpenReader(in)
		zr = r
		return r, err
	}
	names := innerNames(o.p.Names)
	names.addRaw(gzipFileName(o.input(0, o.p.Size)), false)
	return o.seriesMember(names, &series{magic: "\x1f\x8b", max: maxGzipMembers, open: open})
}

// gzipFileName is the original name in the first header, as it stands there; empty if it has
// none. RFC 1952 says that it is Latin-1, and programs that it is anything.
func gzipFileName(in *bufio.Reader) string {
	var head [10]byte
	if _, err := io.ReadFull(in, head[:]); err != nil || head[3]&gzipName == 0 {
		return ""
	}
	if head[3]&gzipExtra != 0 {
		var size [2]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return ""
		}
		if _, err := in.Discard(int(size[0]) | int(size[1])<<8); err != nil {
			return ""
		}
	}
	name, err := in.ReadSlice(0)
	if err != nil {
		return "" // no end within the buffer: no program takes that for a name
	}
	return string(name[:len(name)-1])
}
