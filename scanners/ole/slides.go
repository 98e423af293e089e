package ole

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
)

// Records of PowerPoint (MS-PPT 2.3.1) and of the pictures in Office documents (MS-ODRAW 2.2.23).
const (
	recordHeader = 8 // version and instance, type, length

	typeObject   = 0x1011 // ExOleObjStg: an object, or the macros, as a compound file
	typeFirstPic = 0xf01a
	typeLastPic  = 0xf02a

	// placeCost is how many bytes of the budget it costs to look closer at a place: honest files have few.
	placeCost = 64
	// maxWindow is how much of a stream is looked at at a time.
	maxWindow = 64 << 10
)

// slides yields the compound files in the stream of a presentation: embedded objects, controls and the
// project of its macros. PowerPoint finds them through a table of its own, so they are looked for
// everywhere: no record can hide another.
func (f *file) slides(n *node) error {
	s, whole := f.c.section(n)
	if !whole {
		f.damaged("the sectors of a presentation")
	}
	return f.objects(s)
}

// objects is slides for the content of the stream.
func (f *file) objects(s *io.SectionReader) error {
	sig := []byte{byte(typeObject & 0xff), typeObject >> 8}
	return f.search(s, sig, func(at int64) error {
		h := make([]byte, recordHeader+8)
		if at < 2 {
			return nil
		}
		if k, _ := s.ReadAt(h, at-2); k < len(h) || h[0] > 0x1f || h[1] != 0 {
			return nil
		}
		size := int64(binary.LittleEndian.Uint32(h[4:]))
		body := io.NewSectionReader(s, at-2+recordHeader, min(size, s.Size()-at+2-recordHeader))
		switch {
		case h[0] == 0x10 && isZlib(h[12:]):
			return f.compressed(io.NewSectionReader(body, 4, body.Size()-4), int64(binary.LittleEndian.Uint32(h[8:])))
		case bytes.Equal(h[8:16], []byte(magic)):
			return f.part(nil, body)
		}
		return nil
	})
}

// isZlib reports whether a zlib stream may begin with b (RFC 1950 section 2.2).
func isZlib(b []byte) bool { return b[0]&0xf == 8 && binary.BigEndian.Uint16(b)%31 == 0 }

// compressed yields what a zlib stream has, which is to be of that size. PowerPoint writes some without
// an end, and all that counts is there.
func (f *file) compressed(r io.Reader, size int64) error {
	bad, got, err := f.inflated(r)
	if bad != nil && got != size {
		f.damaged(fmt.Sprintf("a compressed object: %v", bad))
	}
	return err
}

// inflated yields what a zlib stream has, as far as it goes: bad is why no further, got how many bytes.
func (f *file) inflated(r io.Reader) (bad error, got int64, err error) {
	z, bad := zlib.NewReader(r)
	if bad != nil {
		return bad, 0, nil
	}
	defer z.Close()
	n := &counter{r: z}
	bad, err = f.output.member(nil, "", n)
	return bad, n.n, err
}

// A counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// search calls found with each offset of sig in s.
func (o *output) search(s *io.SectionReader, sig []byte, found func(at int64) error) error {
	if s.Size() < int64(len(sig)) {
		return nil
	}
	buf := make([]byte, min(maxWindow, s.Size()))
	r := o.read(io.NewSectionReader(s, 0, s.Size()))
	kept, start := 0, int64(0) // bytes in buf from the last window, and where in s buf begins
	for {
		n, err := io.ReadFull(r, buf[kept:])
		b := buf[:kept+n]
		for at := 0; ; at++ {
			i := bytes.Index(b[at:], sig)
			if i < 0 {
				break
			}
			at += i
			if err := o.b.Take(placeCost); err != nil {
				return err
			}
			if err := found(start + int64(at)); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return o.fatal(err)
		}
		kept = copy(buf, b[len(b)-len(sig)+1:])
		start += int64(len(b) - kept)
	}
}

// fatal is the error for which the expansion ends, where reading ended with err.
func (o *output) fatal(err error) error {
	if isFatal(o.ctx, err) {
		return err
	}
	o.report(damaged, fmt.Sprintf("a stream: %v", err))
	return nil
}

// pictures yields the pictures of a presentation. What is no picture passes for one there.
func (f *file) pictures(n *node) error {
	s, whole := f.c.section(n)
	if !whole {
		f.damaged("the sectors of the pictures")
	}
	next := int64(0) // the end of the last picture
	return f.search(s, []byte{0xf0}, func(at int64) error {
		if at -= 3; at < max(next, 0) {
			return nil
		}
		var h [recordHeader]byte
		if k, _ := s.ReadAt(h[:], at); k < len(h) {
			return nil
		}
		kind, size := binary.LittleEndian.Uint16(h[2:]), int64(binary.LittleEndian.Uint32(h[4:]))
		if kind < typeFirstPic || kind > typeLastPic || size > s.Size()-at-recordHeader {
			return nil
		}
		next = at + recordHeader + size
		return f.picture(io.NewSectionReader(s, at+recordHeader, size), kind, h[0]&0x10 != 0)
	})
}

// picture yields one picture, behind its one or two hashes and a tag, or the header of a metafile.
func (f *file) picture(s *io.SectionReader, kind uint16, twoHashes bool) error {
	at := int64(16)
	if twoHashes {
		at += 16
	}
	if kind > typeFirstPic+2 { // no metafile
		at++
		return f.part(nil, io.NewSectionReader(s, at, max(s.Size()-at, 0)))
	}
	var h [34]byte
	if k, _ := s.ReadAt(h[:], at); k < len(h) {
		return nil
	}
	at += int64(len(h))
	body := io.NewSectionReader(s, at, max(s.Size()-at, 0))
	var z [2]byte
	if k, _ := body.ReadAt(z[:], 0); h[32] == 0 && k == len(z) && isZlib(z[:]) {
		_, _, err := f.inflated(body) // nothing shows one that is damaged behind where it is
		return err
	}
	return f.part(nil, body)
}
