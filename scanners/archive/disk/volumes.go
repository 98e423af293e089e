package disk

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A system is a file system, or something else that a volume may hold.
type system struct {
	name string
	is   func(vol volume) bool
	open func(vol volume) error // nil if it is not opened
	err  error                  // why not, if not ErrUnsupported
}

// systems are tried in order.
func systems() []system {
	at := func(off int64, magic string) func(volume) bool {
		return func(vol volume) bool { return vol.has(off, magic) }
	}
	return []system{
		{"BitLocker", isBitLocker, nil, ErrEncrypted},
		{"LUKS", at(0, "LUKS\xba\xbe"), nil, ErrEncrypted},
		{"NTFS", isNTFS, ntfs, nil},
		{"exFAT", at(3, "EXFAT   "), exfat, nil},
		{"ReFS", at(3, "ReFS\x00"), nil, nil},
		{"FAT", isFAT, fat, nil},
		{"HFS+", isHFSPlus, hfsPlus, nil},
		{"HFS", at(1024, "BD"), nil, nil},
		{"APFS", at(32, "NXSB"), nil, nil},
		{"ext2, ext3 or ext4", isExt, nil, nil},
		{"XFS", at(0, "XFSB"), nil, nil},
		{"Btrfs", at(0x10040, "_BHRfS_M"), nil, nil},
		{"F2FS", at(1024, "\x10\x20\xf5\xf2"), nil, nil},
		{"squashfs", at(0, "hsqs"), nil, nil},
		{"cramfs", at(0, "\x45\x3d\xcd\x28"), nil, nil},
		{"LVM", at(512, "LABELONE"), nil, nil},
		{"swap space", at(4086, "SWAPSPACE2"), nil, nil},
	}
}

// systemOf is the first that a volume holds; nil if it is none.
func systemOf(vol volume) *system {
	for _, s := range systems() {
		if s.is(vol) {
			return &s
		}
	}
	return nil
}

// whole reads a disk: the file system that fills it, and those of its partitions. What looks like
// both is read as both.
func (w *walk) whole(vol volume) error {
	known, err := w.volume(vol)
	if err != nil {
		return err
	}
	if cd, ok := rawCD(vol); ok && !known {
		if known, err = w.volume(cd); err != nil {
			return err
		}
	}
	parts, err := partitions(vol)
	if err != nil {
		w.v.Note(err)
	}
	inside := false
	for _, p := range parts {
		if known && (p.off == 0 || !isKnown(vol.part(p.off, p.n))) {
			continue // the table of a hybrid disc, or bytes that look like a table
		}
		inside = true
		if err := w.partition(vol.part(p.off, p.n), p); err != nil {
			return err
		}
		if p.off+p.n > vol.size {
			w.v.Note(damagedf("a partition lies beyond the end"))
		}
	}
	switch {
	case known && inside:
		w.v.Note(fmt.Errorf("%w: a file system, and a table of partitions besides", ErrAmbiguous))
	case !known && !inside:
		w.v.Note(unsupportedf("an image of a disk without a file system that is known"))
	}
	return nil
}

// isKnown reports whether a volume holds something that is known.
func isKnown(vol volume) bool { return systemOf(vol) != nil || isISO(vol) || isUDF(vol) }

// volume reads all that fills a volume, and reports whether anything does.
func (w *walk) volume(vol volume) (known bool, err error) {
	if isISO(vol) || isUDF(vol) || len(udfAnchors(vol)) > 0 {
		known = true
		if err := w.disc(vol); err != nil {
			return true, err
		}
	}
	s := systemOf(vol)
	if s == nil {
		return known, nil
	}
	if known {
		w.v.Note(fmt.Errorf("%w: a disc, and %s besides", ErrAmbiguous, s.name))
	}
	return true, w.try(func() error {
		switch {
		case s.open != nil:
			return s.open(vol)
		case s.err != nil:
			return fmt.Errorf("%w: %s", s.err, s.name)
		}
		return unsupportedf("%s", s.name)
	})
}

// disc reads ISO 9660 and UDF, of which many discs have both.
func (w *walk) disc(vol volume) error {
	u := newUnion(vol)
	if isISO(vol) {
		if err := w.try(func() error { return iso(vol, u) }); err != nil {
			return err
		}
	}
	if isUDF(vol) || len(udfAnchors(vol)) > 0 {
		if err := w.try(func() error { return udf(vol, u) }); err != nil {
			return err
		}
	}
	return u.yield()
}

// partition reads one partition. One that holds nothing but zeros at its beginning is empty.
func (w *walk) partition(vol volume, p partition) error {
	known, err := w.volume(vol)
	if err != nil || known {
		return err
	}
	head := vol.peek(0, 128<<10)
	if len(bytes.Trim(head, "\x00")) > 0 {
		w.v.Note(unsupportedf("a partition of unknown content%s", p.kind))
	}
	return w.passed()
}

// isBitLocker tells a volume of BitLocker, and one of BitLocker To Go, which has a FAT around it.
func isBitLocker(vol volume) bool {
	const id = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	return vol.has(3, "-FVE-FS-") || vol.has(424, id)
}

// isExt tells ext2 to ext4 by the magic of two bytes and by fields that have few values.
func isExt(vol volume) bool {
	b := vol.peek(1024, 104)
	return len(b) == 104 && b[56] == 0x53 && b[57] == 0xef &&
		binary.LittleEndian.Uint32(b[24:]) <= 6 && binary.LittleEndian.Uint32(b[76:]) <= 1
}

// rawCD shows the sectors of a copy of a CD with all 2352 bytes of each (ECMA-130 section 14) as those
// of an ordinary image.
func rawCD(vol volume) (volume, bool) {
	const sync = "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"
	if !vol.has(0, sync) || !vol.has(2352, sync) {
		return vol, false
	}
	skip := int64(16)
	if b := vol.peek(15, 1); len(b) == 1 && b[0] == 2 {
		skip = 24
	}
	n := vol.size / 2352 * isoSector
	return volume{chunked{isoSector, n, func(p []byte, chunk, at int64) error {
		if n, err := vol.ReadAt(p, chunk*2352+skip+at); n < len(p) {
			return readError(err)
		}
		return nil
	}}, n, vol.w}, true
}
