package disk

import "io"

// Disguised reports whether some system takes for the image of a disk what may be something else
// by its beginning: a disc, which leaves the first 32 KiB to others, a virtual disk, which is told by
// its end, or a disk with a table of partitions that lead to file systems.
func Disguised(r io.ReaderAt, size int64) bool {
	vol := volume{r, size, &walk{v: quiet{}, work: 1 << 20}}
	if isISO(vol) && hasISORoot(vol) || isUDF(vol) && len(udfAnchors(vol)) > 0 || vhdFooter(vol) != nil || isDMG(vol) {
		return true
	}
	for _, e := range mbrTable(vol, 0) {
		if e.off > 0 && isKnown(vol.part(e.off, e.n)) {
			return true
		}
	}
	return bootable(vol)
}

// hasISORoot asks more of a volume descriptor than its signature: its version, and a root that is a
// directory.
func hasISORoot(vol volume) bool {
	for i := int64(isoFirst); i < isoFirst+isoDescriptors; i++ {
		b := vol.peek(i*isoSector, isoSector)
		if len(b) == isoSector && (string(b[1:7]) == "CD001\x01" && (b[0] == 0 || b[156] >= 34) || string(b[9:14]) == "CDROM") {
			return true
		}
	}
	return false
}

// isDMG goes by the length that the trailer gives for itself.
func isDMG(vol volume) bool { return vol.has(vol.size-512, "koly\x00\x00\x00\x04\x00\x00\x02\x00") }

// bootable reports whether a boot sector with a jump and a signature begins a file system of DOS or
// Windows.
func bootable(vol volume) bool {
	b := vol.peek(0, 512)
	if len(b) < 512 || b[510] != 0x55 || b[511] != 0xaa || b[0] != 0xeb && b[0] != 0xe9 {
		return false
	}
	return isFAT(vol) || isNTFS(vol) || vol.has(3, "EXFAT   ") || isBitLocker(vol)
}

// A quiet visitor is told nothing.
type quiet struct{}

func (quiet) File(*File) error { return nil }
func (quiet) Passed() error    { return nil }
func (quiet) Note(error)       {}
