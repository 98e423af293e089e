package archive

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"rastel/scanners"
)

// openZip opens a part that is a zip file from its first byte on.
func openZip(o *opening) error {
	if string(o.p.Head(4)) == "PK\x07\x08" {
		o.report(o.p, multivolume, "first volume of a split zip archive")
	}
	return o.zip(0, true)
}

// A zipFile is a zip archive (APPNOTE.TXT) as all programs together see it.
//
// A program may follow the central directory, any of several, or the local headers, and each
// may say something else about the same bytes. archiver follows the last directory alone, so
// the headers are read here, and archiver's decoders are used for the data.
type zipFile struct {
	o       *opening
	entries map[int64]*zipEntry // by the offset of the local header
	listed  int                 // entries of all directories
	covered []extent            // bytes that belong to entries, in order
	end     int64               // of the last end record and its comment
	comment string              // of the archive
}

// A zipEntry is one place in the archive where a member begins, and all that headers say
// about it.
type zipEntry struct {
	at      int64 // of the local header
	data    int64 // of what follows the local header; negative if there is none
	local   *zipHeader
	central []*zipHeader
}

// An extent is the bytes from start up to and not including end.
type extent struct{ start, end int64 }

// zip opens the archive in the part. Local headers that no directory lists count from byte
// first on; negative means from the first that a directory lists. With whole set there should
// be nothing before and behind the archive.
func (o *opening) zip(first int64, whole bool) error {
	marks, err := o.zipMarks()
	if err != nil {
		return err
	}
	z := &zipFile{o: o, entries: map[int64]*zipEntry{}}
	if err := z.directories(marks.ends); err != nil {
		return err
	}
	z.cover()
	if first < 0 && len(z.covered) > 0 {
		first = z.covered[0].start
	}
	if err := z.hidden(marks.locals, max(first, 0)); err != nil {
		return err
	}
	if err := z.yield(); err != nil || !whole || z.end == 0 {
		return err
	}
	return o.trailer(z.end)
}

// directories reads the directories that the end records lead to, the last first: it is the
// one that most programs follow. End records within the data of a member belong to an archive
// that is stored in this one.
func (z *zipFile) directories(ends []int64) error {
	found := 0
	for i, end := range slices.Backward(ends) {
		if z.isCovered(end) {
			continue
		}
		if found++; found > maxZipEnds {
			z.o.report(z.o.p, limit, "more than the limit of end records in a zip archive")
			return nil
		}
		ok, err := z.directory(end)
		if err != nil {
			return err
		}
		if ok && found > 1 {
			z.o.report(z.o.p, ambiguous, "several central directories in a zip archive")
		}
		if !ok && i == len(ends)-1 {
			z.o.report(z.o.p, damaged, "the central directory is not where the end record says")
		}
		z.cover()
	}
	if len(ends) == 0 {
		z.o.report(z.o.p, damaged, "zip archive without a central directory")
	}
	return nil
}

// add notes what a directory says about a member.
func (z *zipFile) add(h *zipHeader) error {
	if z.listed++; z.listed > z.o.b.Members() {
		return fmt.Errorf("%w: zip archive of more members", scanners.ErrBudget)
	}
	e := z.entries[h.at]
	if e == nil {
		e = z.o.zipEntryAt(h.at)
		z.entries[h.at] = e
	}
	if len(e.central) > 0 {
		z.o.report(z.o.p, ambiguous, "members of a zip archive share their data")
	}
	if len(e.central) < maxZipReadings {
		e.central = append(e.central, h)
	} else {
		z.o.report(z.o.p, limit, "too many directory entries for the same data")
	}
	return nil
}

// cover works out which bytes belong to the entries known so far, and whether they overlap
// (CVE-2019-13232, zip bombs that are not nested).
func (z *zipFile) cover() {
	z.covered = z.covered[:0]
	for _, e := range z.entries {
		if e.data >= 0 {
			z.covered = append(z.covered, extent{e.at, e.end(z.o.p.Size)})
		}
	}
	slices.SortFunc(z.covered, func(a, b extent) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	for i := 1; i < len(z.covered); i++ {
		if z.covered[i].start < z.covered[i-1].end {
			z.o.report(z.o.p, ambiguous, "members of a zip archive overlap")
			z.covered[i].end = max(z.covered[i].end, z.covered[i-1].end)
		}
	}
}

// isCovered reports whether the byte at off belongs to a known entry.
func (z *zipFile) isCovered(off int64) bool {
	i, found := slices.BinarySearchFunc(z.covered, off, func(x extent, off int64) int {
		switch {
		case x.start < off:
			return -1
		case x.start > off:
			return 1
		}
		return 0
	})
	if found {
		return true
	}
	return i > 0 && off < z.covered[i-1].end
}

// hidden adds the members whose local headers no directory lists: programs that repair or
// stream see them.
func (z *zipFile) hidden(locals []int64, first int64) error {
	known := int64(math.MinInt64) // up to where found members reach
	for _, at := range locals {
		if at < max(known, first) || z.isCovered(at) || !z.o.looksLocal(at) {
			continue
		}
		e := z.o.zipEntryAt(at)
		if e.data < 0 {
			continue
		}
		if z.listed++; z.listed > z.o.b.Members() {
			return fmt.Errorf("%w: zip archive of more members", scanners.ErrBudget)
		}
		if z.end > 0 {
			z.o.report(z.o.p, ambiguous, "a member of a zip archive is in no central directory")
		}
		z.entries[at] = e
		if e.local.packed >= 0 {
			known = e.data + e.local.packed
		} else {
			e.local.next = nextMark(locals, at, z.o.p.Size) - e.data
		}
	}
	return nil
}

// nextMark is the first of the marks behind at, or the size.
func nextMark(marks []int64, at, size int64) int64 {
	if i, _ := slices.BinarySearch(marks, at+1); i < len(marks) {
		return marks[i]
	}
	return size
}

// yield yields all members in the order of their places.
func (z *zipFile) yield() error {
	offsets := make([]int64, 0, len(z.entries))
	for at := range z.entries {
		offsets = append(offsets, at)
	}
	slices.Sort(offsets)
	if err := z.unlock(); err != nil {
		return err
	}
	for _, at := range offsets {
		if err := z.entry(z.entries[at]); err != nil || z.o.tooDamaged() {
			return err
		}
	}
	return nil
}

// entry yields each reading of one entry, all under all of its names.
func (z *zipFile) entry(e *zipEntry) error {
	var names nameSet
	isDir := true
	readings := e.readings()
	for _, h := range e.headers() {
		h.addNames(&names)
		isDir = isDir && strings.HasSuffix(h.name, "/") && h.size <= 0 && h.packed <= 0
	}
	if e.namesDiffer() {
		z.o.report(z.o.p, ambiguous, "headers of a zip archive give a member different names")
	}
	if len(readings) > 1 {
		z.o.report(z.o.p, ambiguous, "headers of a zip archive disagree about a member's data")
	}
	if isDir {
		return z.o.passed()
	}
	if e.data < 0 {
		return z.o.closed(names, damaged, "no local header where the directory says")
	}
	if z.streamsMore(e) {
		z.o.report(z.o.p, ambiguous, "no descriptor behind a stored member of a zip archive")
		readings = append(readings, e.local)
	}
	for _, h := range readings {
		if err := z.o.zipMember(names, e.data, h); err != nil {
			return err
		}
	}
	return nil
}

// streamsMore reports whether a member is stored, and its length by the directory is not that by
// the descriptor (APPNOTE.TXT 4.3.9) at which programs stop that read a zip as a stream.
func (z *zipFile) streamsMore(e *zipEntry) bool {
	if e.local == nil || e.local.method != zipStore || e.local.packed >= 0 {
		return false
	}
	for _, h := range e.central {
		var b [4]byte
		z.o.src.ReadAt(b[:], e.data+h.extent(z.o.p.Size-e.data)) //nolint:errcheck // zeros are no descriptor
		if string(b[:]) != "PK\x07\x08" && binary.LittleEndian.Uint32(b[:]) != h.crc {
			return true
		}
	}
	return false
}
