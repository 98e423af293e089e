package archive

import (
	"bufio"
	"encoding/binary"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/mholt/archiver/v4"
	"github.com/ulikunitz/xz/lzma"
)

func openSnappy(o *opening) error {
	_, err := o.stream(innerNames(o.p.Names), func(in *bufio.Reader) (io.Reader, error) { return archiver.Sz{}.OpenReader(in) })
	return err
}

// wrapperProbe is how much of a stream without a signature must unpack well before it is taken for one.
const wrapperProbe = 512

// isZlib reports whether the part is a zlib stream (RFC 1950), whose two bytes at the beginning a file
// in sixteen times thirty-one has by chance: so it must unpack well too.
func (o *opening) isZlib() bool {
	head := o.p.Head(2)
	if len(head) < 2 || head[0]&0xf != 8 || head[0]>>4 > 7 || binary.BigEndian.Uint16(head)%31 != 0 || head[1]&0x20 != 0 {
		return false
	}
	return o.unpacks(zlib)
}

func zlib(in *bufio.Reader) (io.Reader, error) { return archiver.Zlib{}.OpenReader(in) }

func brotli(in *bufio.Reader) (io.Reader, error) { return archiver.Brotli{}.OpenReader(in) }

// unpacks reports whether some bytes come out of what open makes of the part, or all of it.
func (o *opening) unpacks(open func(*bufio.Reader) (io.Reader, error)) bool {
	in := o.input(0, o.p.Size)
	late := &lateReader{open: func() (io.Reader, error) { return open(in) }}
	defer late.close()
	n, err := io.CopyN(io.Discard, &decoder{r: late}, wrapperProbe)
	return err == nil || err == io.EOF && n > 0
}

func openZlib(o *opening) error {
	_, err := o.stream(innerNames(o.p.Names), zlib)
	return err
}

// saysBrotli reports whether the part is called a brotli stream (RFC 7932). Nothing in the content tells
// one: a tenth of all random bytes begins well.
func saysBrotli(names []string, mediaType string) bool {
	return mediaType == "application/brotli" || mediaType == "application/x-brotli" ||
		slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(path.Ext(strings.TrimRight(n, " .")), ".br") })
}

// openBrotli opens what is called brotli. If it is none, nothing is lost: it was examined as it stands.
func openBrotli(o *opening) error {
	if !o.unpacks(brotli) {
		return nil
	}
	_, err := o.stream(innerNames(o.p.Names), brotli)
	return err
}

// Of Flash files (SWF File Format Specification, "The SWF header"): the signature, the version and the
// unpacked size come first and are never packed; those packed by LZMA have the packed size besides.
const (
	swfHeader     = 8
	swfLZMAHeader = swfHeader + 4 + 5
)

// openFlash yields a Flash file that is packed as one that is not.
func openFlash(o *opening) error {
	head := o.p.Head(swfLZMAHeader)
	if len(head) < swfHeader || head[0] == 'F' {
		return nil
	}
	plain := append([]byte("FWS"), head[3:swfHeader]...)
	_, err := o.stream(o.p.Names, func(in *bufio.Reader) (io.Reader, error) {
		if _, err := in.Discard(swfHeader); err != nil {
			return nil, err
		}
		body, err := o.flashBody(in, head)
		if err != nil {
			return nil, err
		}
		return io.MultiReader(strings.NewReader(string(plain)), body), nil
	})
	return err
}

func (o *opening) flashBody(in *bufio.Reader, head []byte) (io.Reader, error) {
	if head[0] == 'C' {
		return zlib(in)
	}
	if len(head) < swfLZMAHeader {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := in.Discard(swfLZMAHeader - swfHeader); err != nil {
		return nil, err
	}
	size := int64(binary.LittleEndian.Uint32(head[4:])) - swfHeader
	s := lzmaStream{props: head[12], dict: binary.LittleEndian.Uint32(head[13:]), size: size, packed: o.p.Size}
	if size < 0 || s.dict < lzma.MinDictCap {
		return nil, errCorrupt
	}
	return o.lzma(in, s)
}
