package archive

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf8"

	"github.com/nwaples/rardecode/v2"
)

const rarMagic = "Rar!\x1a\x07"

func openRAR(o *opening) error {
	if string(o.p.Head(4)) == "RE~^" {
		o.report(o.p, unsupported, "rar before version 1.5")
		return nil
	}
	end, err := o.rarAt(0)
	if err != nil || end == 0 {
		return err
	}
	return o.trailer(end)
}

// rarAt opens the RAR archive that begins at off, and returns the offset of its end; 0 if that is
// not known. It uses rardecode itself because archiver
// cannot bound the dictionary, for which a file of 254 bytes can ask 4 GiB (CVE-2025-11579).
func (o *opening) rarAt(off int64) (int64, error) {
	var rr *rardecode.Reader
	err := guard(func() (err error) {
		in := io.NewSectionReader(o.src, off, o.p.Size-off)
		rr, err = rardecode.NewReader(in, rardecode.MaxDictionarySize(o.cfg.Dictionary))
		return noEOF(err)
	})
	for err == nil {
		var h *rardecode.FileHeader
		err = guard(func() (err error) { h, err = rr.Next(); return err })
		if err == io.EOF {
			return o.rarEnd(off), o.fatal()
		}
		if err == nil {
			if fatal := o.rarMember(h, rr); fatal != nil || o.tooDamaged() {
				return 0, fatal
			}
		}
	}
	return 0, o.failed(o.p, err)
}

// rarMember yields the file that rr has come to.
func (o *opening) rarMember(h *rardecode.FileHeader, rr io.Reader) error {
	var names nameSet
	names.addRaw(h.Name, utf8.ValidString(h.Name))
	if h.Version > 0 {
		names.add(fmt.Sprintf("%s;%d", h.Name, h.Version)) // an older version of the file
	}
	switch {
	case h.IsDir:
		return o.passed()
	case h.Encrypted:
		return o.closed(names, encrypted, "encrypted")
	case h.LinkType != rardecode.LinkTypeNone && h.PackedSize == 0:
		return o.closed(names, "", "")
	}
	_, err := o.member(names, rr)
	return err
}

// isRAR tells an archive from the signature alone, which the programs that open archives have
// in them too: by the checksum of the header that follows it (RAR 5.0 archive format; for the
// older format the technote of RAR 3).
func (o *opening) isRAR(off int64) bool {
	var b [128]byte
	n, _ := o.src.ReadAt(b[:], off)
	head := b[:n]
	if n < 20 {
		return false
	}
	if head[6] == 0 {
		size := int(binary.LittleEndian.Uint16(head[12:]))
		return size >= 7 && 7+size <= n && uint16(crc32.ChecksumIEEE(head[9:7+size])) == binary.LittleEndian.Uint16(head[7:])
	}
	size, k := binary.Uvarint(head[12:])
	end := 12 + k + int(min(size, 1<<10))
	return head[6] == 1 && head[7] == 0 && k > 0 && end <= n && crc32.ChecksumIEEE(head[12:end]) == binary.LittleEndian.Uint32(head[8:])
}
