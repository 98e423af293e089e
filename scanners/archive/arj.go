package archive

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"rastel/scanners/archive/lzh"
)

const (
	arjMagic = "\x60\xea"
	// maxARJHeader is the longest header (ARJ technical information).
	maxARJHeader = 2600
	minARJHeader = 30

	arjGarbled, arjVolume, arjContinued = 1, 4, 8 // flags
	arjDirectory, arjLabel              = 3, 4    // types of files
)

// An arjHeader is what stands before a file.
type arjHeader struct {
	flags, method, kind byte
	modifier            byte // of the password
	packed, size        int64
	crc                 uint32
	name                string
	data                int64
}

// openARJ opens an archive of ARJ.
func openARJ(o *opening) error {
	main, err := o.arjHeader(0)
	if err != nil || main == nil {
		return o.failed(o.p, orCorrupt(err))
	}
	if main.flags&(arjVolume|arjContinued) != 0 {
		o.report(o.p, multivolume, errVolume.Error())
	}
	for off := main.data; ; {
		h, err := o.arjHeader(off)
		if err != nil {
			return o.failed(o.p, err)
		}
		if h == nil {
			return o.trailer(off + 4)
		}
		if err := o.arjMember(h); err != nil || o.tooDamaged() {
			return err
		}
		off = h.data + h.packed
	}
}

func orCorrupt(err error) error {
	if err == nil {
		return errCorrupt
	}
	return err
}

// arjHeader reads the header at off; nil if it is the mark of the end.
func (o *opening) arjHeader(off int64) (*arjHeader, error) {
	b, err := o.bytesAt(off, 4)
	if err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(b[2:]))
	switch {
	case string(b[:2]) != arjMagic:
		return nil, errCorrupt
	case n == 0:
		return nil, nil
	case n < minARJHeader || n > maxARJHeader:
		return nil, errCorrupt
	}
	if b, err = o.bytesAt(off+4, n); err != nil {
		return nil, err
	}
	first := int(b[0])
	if first < minARJHeader || first > n {
		return nil, errCorrupt
	}
	h := &arjHeader{
		flags: b[4], method: b[5], kind: b[6], modifier: b[7], crc: binary.LittleEndian.Uint32(b[20:]),
		packed: int64(binary.LittleEndian.Uint32(b[12:])), size: int64(binary.LittleEndian.Uint32(b[16:])),
	}
	h.name, _, _ = strings.Cut(string(b[first:]), "\x00")
	h.data = off + 4 + int64(n) + 4
	for range 16 { // headers that nobody has defined
		b, err := o.bytesAt(h.data, 2)
		if err != nil {
			return nil, err
		}
		h.data += 2
		n := int64(binary.LittleEndian.Uint16(b))
		if n == 0 {
			return h, nil
		}
		h.data += n + 4
	}
	return nil, errCorrupt
}

func (o *opening) arjMember(h *arjHeader) error {
	var names nameSet
	names.addRaw(h.name, false)
	switch {
	case h.kind == arjDirectory || h.kind == arjLabel:
		return o.passed()
	case h.flags&(arjVolume|arjContinued) != 0:
		return o.closed(names, multivolume, errVolume.Error())
	}
	var password []byte
	if h.flags&arjGarbled != 0 {
		var err error
		if password, err = o.arjPassword(h); err != nil {
			return err
		}
		if password == nil {
			return o.closed(names, encrypted, o.lockedDetail())
		}
	}
	r := o.arjReader(h, password)
	if r == nil {
		return o.closed(names, unsupported, fmt.Sprintf("method %d", h.method))
	}
	_, err := o.member(names, newChecked(r, h.size, &h.crc))
	return err
}

// arjReader unpacks a file, which is garbled if there is a password; nil if that is not supported.
func (o *opening) arjReader(h *arjHeader, password []byte) io.Reader {
	in := o.input(h.data, min(h.packed, max(o.p.Size-h.data, 0)))
	if len(password) > 0 {
		in = bufio.NewReader(&arjGarble{r: in, password: password, modifier: h.modifier})
	}
	switch h.method {
	case 0:
		return in
	case 1, 2, 3:
		return lzh.New(in, lzh.ARJ, h.size)
	case 4:
		return lzh.New(in, lzh.ARJ4, h.size)
	}
	return nil
}
