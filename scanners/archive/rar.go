package archive

import (
	"encoding/binary"
	"errors"
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
	w := &rarWalk{o: o, off: off}
	err := w.start()
	for err == nil {
		var h *rardecode.FileHeader
		h, err = w.next()
		if err == io.EOF {
			return w.end(), o.fatal()
		}
		if err == nil {
			if fatal := w.member(h); fatal != nil || o.tooDamaged() {
				return 0, fatal
			}
		}
	}
	return 0, o.failed(o.p, err)
}

// A rarWalk is the walk over the members of a RAR archive.
type rarWalk struct {
	o      *opening
	off    int64
	rr     *rardecode.Reader
	index  int  // of the member that rr has come to, from 1
	locked bool // the headers too
	rarKey
}

// start opens the archive, and looks for the password if its headers are encrypted.
func (w *rarWalk) start() error {
	err := w.open("")
	if !errors.Is(err, rardecode.ErrArchiveEncrypted) {
		return err
	}
	w.locked = true
	if fatal := w.guess(0); fatal != nil || w.password == "" {
		return err
	}
	return w.open(w.password)
}

// open opens the archive from its beginning.
func (w *rarWalk) open(password string) error {
	w.index = 0
	return guard(func() (err error) {
		in := io.NewSectionReader(w.o.src, w.off, w.o.p.Size-w.off)
		opts := []rardecode.Option{rardecode.MaxDictionarySize(w.o.cfg.Dictionary)}
		if password != "" {
			opts = append(opts, rardecode.Password(password))
		}
		w.rr, err = rardecode.NewReader(in, opts...)
		return noEOF(err)
	})
}

// next goes to the next member.
func (w *rarWalk) next() (h *rardecode.FileHeader, err error) {
	err = guard(func() error { h, err = w.rr.Next(); return err })
	w.index++
	return h, err
}

// end is the offset of the end of the archive; 0 if that is not known.
func (w *rarWalk) end() int64 {
	if w.locked {
		return 0
	}
	return w.o.rarEnd(w.off)
}

// member yields the file that the walk has come to.
func (w *rarWalk) member(h *rardecode.FileHeader) error {
	var names nameSet
	names.addRaw(h.Name, utf8.ValidString(h.Name))
	if h.Version > 0 {
		names.add(fmt.Sprintf("%s;%d", h.Name, h.Version)) // an older version of the file
	}
	if h.Encrypted && !h.IsDir && !w.tried {
		if err := w.unlock(h); err != nil {
			return err
		}
	}
	switch {
	case h.IsDir:
		return w.o.passed()
	case h.Encrypted && w.password == "":
		return w.o.closed(names, encrypted, w.o.lockedDetail())
	case h.LinkType != rardecode.LinkTypeNone && h.PackedSize == 0:
		return w.o.closed(names, "", "")
	}
	_, err := w.o.member(names, w.rr)
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
