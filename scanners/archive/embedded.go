package archive

import (
	"encoding/binary"
	"hash/crc32"
)

// maxZipTail is how far before the end of a file programs look for the end record of a zip: its
// length and that of the longest comment.
const maxZipTail = zipEndLen + 1<<16 - 1

// embedded opens archives that programs find in a part which is something else by its
// beginning: behind the program of a self-extracting archive, or behind a picture that is
// there to hide them.
//
// In most containers, archives are found as members: see strict.
func (o *opening) embedded() error {
	if o.p.Type == "zip" || o.p.Size < zipEndLen {
		return nil
	}
	zip, err := o.zipTail()
	if err != nil || zip {
		return err
	}
	if o.strict() {
		return nil
	}
	for _, e := range o.embeddable() {
		at, err := o.first(e.sig, e.is)
		if err != nil {
			return err
		}
		if at > 0 {
			o.tellEmbedded(false)
			if err := e.open(at); err != nil {
				return err
			}
		}
	}
	return nil
}

// An embeddable is an archive that begins further in, by its signature.
type embeddable struct {
	sig  string
	is   func(off int64) bool
	open func(off int64) error
}

func (o *opening) embeddable() []embeddable {
	return []embeddable{
		{rarMagic, o.isRAR, func(off int64) error { _, err := o.rarAt(off); return err }},
		{sevenZipMagic, o.isSevenZip, func(off int64) error { _, err := o.sevenZipAt(off); return err }},
		{cabMagic, o.isCab, o.embeddedCabs},
		{"PK\x03\x04", o.isZipMember, func(off int64) error { return o.zip(off, false) }},
	}
}

// strict reports whether the part is a container in which archives are nothing special. Only a
// zip whose end is that of the part is looked for in it, because that is where programs that open
// zip files begin. PDF and RTF may hold archives too, but need little more than their first
// bytes to be taken for one, so that they would hide an archive from us.
func (o *opening) strict() bool {
	return o.p.Is("container") && !o.p.Is("executable") && o.p.Type != "pdf" && o.p.Type != "rtf"
}

// tellEmbedded reports what no honest sender makes. In a program an archive is nothing special,
// nor in the midst of a PDF, which may have any file attached as it is.
func (o *opening) tellEmbedded(atEnd bool) {
	if !o.p.Is("executable") && (atEnd || o.p.Type != "pdf") {
		o.report(o.p, ambiguous, "an archive inside of what is "+o.p.Type+" by its beginning")
	}
}

// first is the offset of the first place where sig is and is holds; 0 if there is none.
func (o *opening) first(sig string, is func(off int64) bool) (at int64, err error) {
	err = o.search(o.cfg.Search, sig, 0, func(off int64, _ []byte) bool {
		if is(off) {
			at = off
		}
		return at == 0
	})
	return at, err
}

// zipTail opens the zip whose end record is in the tail of the part, and reports whether there
// is one.
func (o *opening) zipTail() (bool, error) {
	start := max(o.p.Size-maxZipTail, 0)
	tail := make([]byte, o.p.Size-start)
	if n, err := o.src.ReadAt(tail, start); n < len(tail) {
		return false, o.searchEnd(err)
	}
	for i := len(tail) - zipEndLen; i >= 0; i-- {
		if string(tail[i:i+4]) != "PK\x05\x06" {
			continue
		}
		atEnd := i+zipEndLen+int(binary.LittleEndian.Uint16(tail[i+20:])) == len(tail)
		if !atEnd && o.strict() {
			continue
		}
		if o.isZipEnd(tail[i:], start+int64(i)) {
			o.tellEmbedded(atEnd)
			return true, o.zip(-1, false)
		}
	}
	return false, nil
}

// isZipEnd tells an end record from bytes that look like one: it leads to a directory.
func (o *opening) isZipEnd(record []byte, at int64) bool {
	size, offset := int64(binary.LittleEndian.Uint32(record[12:])), int64(binary.LittleEndian.Uint32(record[16:]))
	var b [4]byte
	for _, dir := range []int64{at - size, offset, at - zipLoc64Len} {
		if dir < 0 || dir >= at {
			continue
		}
		n, _ := o.src.ReadAt(b[:], dir)
		if sig := string(b[:n]); sig == "PK\x01\x02" || sig == "PK\x06\x07" {
			return true
		}
	}
	return false
}

// isZipMember tells a local header from the constant in the code of programs that open zip
// files: all of it makes sense, and its data is there.
func (o *opening) isZipMember(off int64) bool {
	var b [zipLocalLen]byte
	if n, _ := o.src.ReadAt(b[:], off); n < len(b) {
		return false
	}
	version, date := binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[12:])
	if version > 63 || date>>5&0xf > 12 || !o.looksLocal(off) {
		return false
	}
	e := o.zipEntryAt(off)
	if e.data < 0 || e.local.packed > o.p.Size-e.data {
		return false
	}
	for _, c := range []byte(e.local.name) {
		if c < ' ' {
			return false
		}
	}
	return true
}

// isSevenZip tells a 7z archive from the signature alone, by the checksum behind it.
func (o *opening) isSevenZip(off int64) bool {
	var b [32]byte
	n, _ := o.src.ReadAt(b[:], off)
	return n == len(b) && crc32.ChecksumIEEE(b[12:]) == binary.LittleEndian.Uint32(b[8:])
}
