package archive

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"rastel/scanners"
)

const (
	cabMagic       = "MSCF"
	cabHeader      = 36
	cabFolderEntry = 8
	cabFileEntry   = 16
	cabBlockHeader = 8
	// cabSigned is how many reserved bytes a cabinet has that is signed; they say where behind it the
	// signature is.
	cabSigned = 20
	// maxCabName is how long a name may be; that of the format is 256 with its NUL.
	maxCabName = 1 << 10
	// maxCabs is how many cabinets are opened within something else.
	maxCabs = 64
)

// Of the flags of a cabinet, the attributes of a file, and the numbers of folders ([MS-CAB] 2.1, 2.3).
const (
	cabHasPrevious = 1
	cabHasNext     = 2
	cabHasReserve  = 4

	cabNameUTF8 = 0x80

	cabFromPrevious = 0xfffd
	cabToNext       = 0xfffe
	cabThrough      = 0xffff
)

// A cabinet is one file of the format ([MS-CAB]), which may be one of a set.
type cabinet struct {
	off, end int64 // where in the part it is
	flags    uint16
	folders  []*cabFolder
	files    []cabFile
	signed   bool
	sign     [2]int64 // offset and length of the signature
	err      error    // why not all of it was read
	cabDecoders
}

// A cabFile is an entry of the list of files.
type cabFile struct {
	names     nameSet
	folder    int
	off, size int64 // in the folder, unpacked
	previous  bool  // begins in the cabinet before
}

// openCab opens a cabinet.
func openCab(o *opening) error {
	if string(o.p.Head(4)) != cabMagic {
		o.report(o.p, unsupported, "a cabinet of InstallShield is not opened")
		return nil
	}
	c, err := o.cabAt(0)
	if err != nil || c == nil {
		return err
	}
	if c.signed && c.sign[0] >= c.end && c.sign[1] > 0 && c.sign[0]+c.sign[1] <= o.p.Size {
		if err := o.cabSignature(c.sign[0], c.sign[1]); err != nil {
			return err
		}
		if c.sign[0] == c.end || c.sign[0]-c.end < 8 { // aligned
			c.end = c.sign[0] + c.sign[1]
		}
	}
	return o.trailer(c.end)
}

// cabSignature yields the signature behind a cabinet.
func (o *opening) cabSignature(off, n int64) error {
	_, err := o.member(nil, o.input(off, n))
	return err
}

// embeddedCabs opens the cabinets within something else, such as the program of a self-extracting one.
// Their own sizes are not believed: one may hide the next.
func (o *opening) embeddedCabs(int64) error {
	var at []int64
	err := o.search(o.cfg.Search, cabMagic, 0, func(off int64, _ []byte) bool {
		if o.isCab(off) {
			at = append(at, off)
		}
		return len(at) <= maxCabs
	})
	if err != nil {
		return err
	}
	if len(at) > maxCabs {
		o.report(o.p, limit, fmt.Sprintf("more than %d cabinets", maxCabs))
	}
	for _, off := range at[:min(len(at), maxCabs)] {
		if _, err := o.cabAt(off); err != nil || o.tooDamaged() {
			return err
		}
	}
	return nil
}

// isCab tells a cabinet from the signature alone: what its header says makes sense, and is there.
func (o *opening) isCab(off int64) bool {
	var b [cabHeader + cabFolderEntry]byte
	if n, _ := o.src.ReadAt(b[:], off); n < len(b) {
		return false
	}
	size, files := int64(binary.LittleEndian.Uint32(b[8:])), int64(binary.LittleEndian.Uint32(b[16:]))
	plain := binary.LittleEndian.Uint32(b[4:])|binary.LittleEndian.Uint32(b[12:])|binary.LittleEndian.Uint32(b[20:]) == 0
	return (plain || b[25] == 1) && binary.LittleEndian.Uint16(b[26:]) > 0 && binary.LittleEndian.Uint16(b[28:]) > 0 &&
		files >= int64(len(b)) && files < size && off+files < o.p.Size
}

// cabAt opens the cabinet that begins at off; nil if nothing can be read of it.
func (o *opening) cabAt(off int64) (*cabinet, error) {
	c := &cabinet{off: off, cabDecoders: cabDecoders{o: o}}
	if err := c.header(); err != nil {
		return nil, o.failed(o.p, err)
	}
	if len(c.files) > o.b.Members() {
		return nil, fmt.Errorf("%w: cabinet of %d files", scanners.ErrBudget, len(c.files))
	}
	if c.err != nil {
		if err := o.failed(o.p, c.err); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(c.files, func(a, b cabFile) int {
		return cmp.Or(cmp.Compare(a.folder, b.folder), cmp.Compare(a.off, b.off))
	})
	for i := range c.files {
		if err := c.member(&c.files[i]); err != nil || o.tooDamaged() {
			return c, err
		}
	}
	return c, nil
}

// header reads the lists of folders and files.
func (c *cabinet) header() error {
	b, err := c.o.bytesAt(c.off, cabHeader)
	if err != nil {
		return err
	}
	c.end = c.off + int64(binary.LittleEndian.Uint32(b[8:]))
	files := c.off + int64(binary.LittleEndian.Uint32(b[16:]))
	c.flags = binary.LittleEndian.Uint16(b[30:])
	in := c.o.input(c.off+cabHeader, c.o.p.Size-c.off-cabHeader)
	reserve, err := c.reserve(in)
	if err != nil {
		return noEOF(err)
	}
	for range binary.LittleEndian.Uint16(b[26:]) {
		entry := make([]byte, cabFolderEntry+reserve.folder)
		if _, err := io.ReadFull(in, entry); err != nil {
			return noEOF(err)
		}
		c.folders = append(c.folders, newCabFolder(c, entry, reserve.block))
	}
	in = c.o.input(files, c.o.p.Size-files)
	for range binary.LittleEndian.Uint16(b[28:]) {
		if c.err = c.file(in); c.err != nil {
			break
		}
	}
	if len(c.folders) == 0 || len(c.files) == 0 && c.err == nil {
		c.err = errCorrupt
	}
	return nil
}

// reserves is how many bytes programs have for their own in each folder and in each block.
type reserves struct{ folder, block int }

// reserve reads the optional part of the header.
func (c *cabinet) reserve(in *bufio.Reader) (r reserves, err error) {
	if c.flags&cabHasReserve != 0 {
		var b [4]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return r, err
		}
		r = reserves{int(b[2]), int(b[3])}
		own := make([]byte, binary.LittleEndian.Uint16(b[:]))
		if _, err := io.ReadFull(in, own); err != nil {
			return r, err
		}
		if c.signed = len(own) == cabSigned && binary.LittleEndian.Uint32(own) == 0x100000; c.signed {
			c.sign = [2]int64{c.off + int64(binary.LittleEndian.Uint32(own[4:])), int64(binary.LittleEndian.Uint32(own[8:]))}
		}
	}
	for _, flag := range []uint16{cabHasPrevious, cabHasNext} {
		for range 2 { // the name of the cabinet, and that of the disk
			if c.flags&flag != 0 {
				if _, err := readName(in); err != nil {
					return r, err
				}
			}
		}
	}
	return r, nil
}

// readName reads up to a NUL.
func readName(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice(0)
	if err != nil || len(b) > maxCabName {
		if err == nil || err == bufio.ErrBufferFull {
			err = errCorrupt
		}
		return "", noEOF(err)
	}
	return string(b[:len(b)-1]), nil
}

// file reads an entry of the list of files.
func (c *cabinet) file(in *bufio.Reader) error {
	var b [cabFileEntry]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return noEOF(err)
	}
	name, err := readName(in)
	if err != nil {
		return err
	}
	f := cabFile{size: int64(binary.LittleEndian.Uint32(b[:])), off: int64(binary.LittleEndian.Uint32(b[4:])), folder: int(binary.LittleEndian.Uint16(b[8:]))}
	f.names.addRaw(name, binary.LittleEndian.Uint16(b[14:])&cabNameUTF8 != 0)
	switch number := f.folder; number {
	case cabFromPrevious, cabThrough:
		f.folder, f.previous = 0, true
	case cabToNext:
		f.folder = len(c.folders) - 1
	}
	if f.folder >= 0 && f.folder < len(c.folders) && f.previous {
		c.folders[f.folder].previous = true
	}
	c.files = append(c.files, f)
	return nil
}

// member yields one file.
func (c *cabinet) member(f *cabFile) error {
	if f.folder < 0 || f.folder >= len(c.folders) {
		c.o.damage++
		return c.o.closed(f.names, damaged, "in a folder that is not there")
	}
	folder := c.folders[f.folder]
	if f.previous || folder.previous {
		return c.o.closed(f.names, multivolume, "begins in another volume")
	}
	if err := folder.seek(f.off); err != nil {
		if fatal := c.o.fatal(); fatal != nil {
			return fatal
		}
		if isBudget(err) {
			return err
		}
		return c.o.closed(f.names, checkOf(err), err.Error())
	}
	_, err := c.o.member(f.names, &exactly{r: folder, n: f.size})
	return err
}
