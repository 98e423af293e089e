package disk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strconv"
)

// Types of attributes of NTFS.
const (
	ntfsList    = 0x20
	ntfsName    = 0x30
	ntfsData    = 0x80
	ntfsRootOf  = 0x90 // the beginning of an index
	ntfsIndex   = 0xa0 // the rest of it
	ntfsReparse = 0xc0
	ntfsEnd     = 0xffffffff
)

// Records of the master file table that are part of the file system itself.
const (
	ntfsRoot   = 5
	ntfsSystem = 12 // below
	ntfsExtend = 11
)

const (
	// maxNTFSNames is how many names of one record are kept: as many as a file may have links.
	maxNTFSNames = 64
	// maxNTFSList is how large an attribute list may be, which is as large as Windows makes it.
	maxNTFSList = 256 << 10
	// maxNTFSUnit is how large a unit of compression may be.
	maxNTFSUnit = 1 << 20
)

func isNTFS(vol volume) bool { return vol.has(3, "NTFS    ") }

// An ntfsVolume reads NTFS. There is no public specification; the fields are those that the
// documentation of the Linux driver describes.
type ntfsVolume struct {
	vol     volume
	cluster int64
	record  int64
	mft     extents
	size    int64 // of the table
	dirs    map[uint64]string
	listed  map[uint64][]ntfsEntry // the names that directories have for a record
	entries int
}

// An ntfsEntry is the name of a file in a directory.
type ntfsEntry struct {
	parent uint64
	name   string
}

// ntfs yields the files of a volume: of every record in use of the master file table, so also of
// those that no directory leads to.
func ntfs(vol volume) error {
	b, err := vol.read(0, 512)
	if err != nil {
		return err
	}
	sector := int64(binary.LittleEndian.Uint16(b[11:]))
	v := &ntfsVolume{vol: vol, dirs: map[uint64]string{ntfsRoot: ""}, listed: map[uint64][]ntfsEntry{}}
	v.cluster = ntfsUnits(b[13], sector)
	v.record = ntfsUnits(b[64], v.cluster)
	if int8(b[64]) < 0 {
		v.record = 1 << min(-int8(b[64]), 62)
	}
	if sector < 256 || sector > 4096 || v.cluster < 256 || v.cluster > 2<<20 || v.record < 512 || v.record > 64<<10 {
		return damagedf("NTFS with an impossible boot sector")
	}
	start := int64(binary.LittleEndian.Uint64(b[48:])&(1<<40-1)) * v.cluster
	if err := v.table(start); err != nil {
		// The copy of its first records, for when they are damaged.
		mirror := int64(binary.LittleEndian.Uint64(b[56:])&(1<<40-1)) * v.cluster
		if v.table(mirror) != nil {
			return err
		}
	}
	for n := uint64(0); int64(n)*v.record < v.size; n++ {
		if err := v.list(n); err != nil {
			return err
		}
	}
	for n := uint64(0); int64(n)*v.record < v.size; n++ {
		if err := v.entry(n); err != nil {
			return err
		}
	}
	return nil
}

// ntfsUnits is a number of units, or a power of two if the byte is negative.
func ntfsUnits(b byte, unit int64) int64 {
	if b > 0x80 {
		return unit << (256 - int(b)&0xff) // sectors of large clusters
	}
	return int64(b) * unit
}

// table reads where the master file table is, which its own first record tells.
func (v *ntfsVolume) table(start int64) error {
	v.mft, v.size = extents{{start, v.record}}, v.record
	r, err := v.at(0)
	if err != nil {
		return err
	}
	if r == nil {
		return damagedf("NTFS without a master file table")
	}
	s := v.streams(r)[""]
	if s == nil || s.err != nil || len(s.ext) == 0 {
		return damagedf("NTFS without a master file table")
	}
	v.mft, v.size = s.ext, s.size
	// If the table is in many pieces, further records tell the others.
	if err := v.extend(r); err != nil {
		return err
	}
	v.size = min(v.size, v.mft.within(v.size, v.vol.size))
	return nil
}

// An ntfsRecord is a record of the master file table.
type ntfsRecord struct {
	n     uint64
	dir   bool
	base  uint64 // the record that this one extends, or 0
	attrs []ntfsAttr
}

type ntfsAttr struct {
	kind     uint32
	name     string
	flags    uint16
	resident bool
	value    []byte // if resident
	runs     []byte // if not
	first    int64  // cluster of the runs, counted in the attribute
	unit     uint16 // of compression, a power of two of clusters; 0 if there is none
	size     int64
	init     int64 // what is behind are zeros
}

// at reads a record.
func (v *ntfsVolume) at(n uint64) (*ntfsRecord, error) {
	if n >= uint64(max(v.size/v.record, 1)) {
		return nil, damagedf("NTFS leads to a record that is not there")
	}
	b, err := v.mft.read(v.vol, int64(n)*v.record, v.record)
	if err != nil || int64(len(b)) < v.record {
		return nil, damagedf("NTFS with a record that is not there")
	}
	if string(b[:4]) != "FILE" || b[22]&1 == 0 {
		return nil, nil // not in use
	}
	if !ntfsFixup(b) {
		return nil, damagedf("NTFS with a damaged record")
	}
	r := &ntfsRecord{n: n, dir: b[22]&2 != 0, base: binary.LittleEndian.Uint64(b[32:]) & (1<<48 - 1)}
	for at := int(binary.LittleEndian.Uint16(b[20:])); at+24 <= len(b); {
		a, size, ok := ntfsAttrAt(b[at:])
		if size == 0 {
			break
		}
		if !ok {
			return r, damagedf("NTFS with a damaged attribute")
		}
		r.attrs = append(r.attrs, a)
		at += size
	}
	return r, nil
}

// ntfsFixup puts back the last two bytes of each sector of a record, which were replaced to tell
// whether all of it was written.
func ntfsFixup(b []byte) bool {
	at, n := int(binary.LittleEndian.Uint16(b[4:])), int(binary.LittleEndian.Uint16(b[6:]))
	if n == 0 || at+2*n > len(b) || (n-1)*512 > len(b) {
		return false
	}
	for i := 1; i < n; i++ {
		end := i*512 - 2
		if b[end] != b[at] || b[end+1] != b[at+1] {
			return false
		}
		b[end], b[end+1] = b[at+2*i], b[at+2*i+1]
	}
	return true
}

// ntfsAttrAt reads the attribute at the beginning of b. A size of zero says that there is none.
func ntfsAttrAt(b []byte) (a ntfsAttr, size int, ok bool) {
	a.kind = binary.LittleEndian.Uint32(b)
	if a.kind == ntfsEnd {
		return a, 0, true
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n < 24 || n > int64(len(b)) {
		return a, 1, false
	}
	size, b = int(n), b[:n]
	nameAt, nameLen := int(binary.LittleEndian.Uint16(b[10:])), int(b[9])*2
	if nameAt+nameLen > len(b) {
		return a, size, false
	}
	a.name = utf16Of(b[nameAt:nameAt+nameLen], binary.LittleEndian)
	a.flags = binary.LittleEndian.Uint16(b[12:])
	if b[8] == 0 {
		a.resident = true
		from, n := int64(binary.LittleEndian.Uint16(b[20:])), int64(binary.LittleEndian.Uint32(b[16:]))
		if from+n > int64(len(b)) {
			return a, size, false
		}
		a.value, a.size = b[from:from+n], n
		return a, size, true
	}
	if len(b) < 64 {
		return a, size, false
	}
	runs := int(binary.LittleEndian.Uint16(b[32:]))
	if runs > len(b) {
		return a, size, false
	}
	a.runs, a.first, a.unit = b[runs:], exSize(b[16:]), binary.LittleEndian.Uint16(b[34:])
	a.size, a.init = exSize(b[48:]), exSize(b[56:])
	return a, size, true
}

// runs decodes where clusters are, and appends it.
func (v *ntfsVolume) runs(ext extents, b []byte) (extents, error) {
	lcn := int64(0)
	for len(b) > 0 && b[0] != 0 {
		nLen, nOff := int(b[0]&15), int(b[0]>>4)
		if nLen == 0 || nLen > 8 || nOff > 8 || 1+nLen+nOff > len(b) {
			return ext, damagedf("NTFS with a damaged list of runs")
		}
		n := ntfsInt(b[1 : 1+nLen])
		if n <= 0 || n > 1<<40 {
			return ext, damagedf("NTFS with a run of %d clusters", n)
		}
		if err := v.vol.w.spend(extentCost); err != nil {
			return ext, err
		}
		if nOff == 0 {
			ext.add(-1, n*v.cluster)
		} else {
			lcn += ntfsInt(b[1+nLen : 1+nLen+nOff])
			if lcn < 0 || lcn > 1<<40 {
				return ext, damagedf("NTFS with a run that is nowhere")
			}
			ext.add(lcn*v.cluster, n*v.cluster)
		}
		b = b[1+nLen+nOff:]
	}
	return ext, nil
}

// ntfsInt is a signed little-endian number.
func ntfsInt(b []byte) (n int64) {
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | int64(b[i])
	}
	if k := 64 - 8*len(b); k > 0 {
		n = n << k >> k
	}
	return n
}

// extend adds to a record the attributes that other records hold for it.
func (v *ntfsVolume) extend(r *ntfsRecord) error {
	i := slices.IndexFunc(r.attrs, func(a ntfsAttr) bool { return a.kind == ntfsList })
	if i < 0 {
		return nil
	}
	list := r.attrs[i].value
	if a := r.attrs[i]; !a.resident {
		ext, err := v.runs(nil, a.runs)
		if err != nil {
			return err
		}
		if a.size > maxNTFSList {
			return fmt.Errorf("%w: an attribute list of %d bytes", ErrLimit, a.size)
		}
		if list, err = ext.read(v.vol, 0, a.size); err != nil {
			return err
		}
	}
	seen := map[uint64]bool{r.n: true}
	for len(list) >= 26 {
		n := int(binary.LittleEndian.Uint16(list[4:]))
		if n < 26 || n > len(list) {
			return damagedf("NTFS with a damaged attribute list")
		}
		ref := binary.LittleEndian.Uint64(list[16:]) & (1<<48 - 1)
		list = list[n:]
		if seen[ref] {
			continue
		}
		seen[ref] = true
		more, err := v.at(ref)
		if err != nil {
			return err
		}
		if more != nil && more.base == r.n {
			r.attrs = append(r.attrs, more.attrs...)
			if r.n == 0 { // of the table itself, in which the next record may be
				if s := v.streams(r)[""]; s != nil && s.err == nil {
					v.mft, v.size = s.ext, s.size
				}
			}
		}
	}
	return nil
}

// An ntfsStream is the content of a file, or of a named stream of one.
type ntfsStream struct {
	name  string
	ext   extents
	value []byte
	size  int64
	init  int64
	unit  int64 // bytes
	err   error
}

// streams joins the attributes of each stream.
func (v *ntfsVolume) streams(r *ntfsRecord) map[string]*ntfsStream {
	streams := map[string]*ntfsStream{}
	data := slices.DeleteFunc(slices.Clone(r.attrs), func(a ntfsAttr) bool { return a.kind != ntfsData })
	sort.SliceStable(data, func(i, k int) bool { return data[i].first < data[k].first })
	for _, a := range data {
		s := streams[a.name]
		if s == nil {
			s = &ntfsStream{name: a.name, size: a.size, init: a.init, value: a.value}
			streams[a.name] = s
			if a.resident {
				s.init = a.size
			}
			switch {
			case a.flags&0x4000 != 0:
				s.err = fmt.Errorf("%w: a file of NTFS", ErrEncrypted)
			case a.flags&0xff > 1:
				s.err = unsupportedf("a file of NTFS packed with method %d", a.flags&0xff)
			case a.flags&1 != 0 && a.unit > 0 && !a.resident:
				if s.unit = v.cluster << min(a.unit, 40); s.unit > maxNTFSUnit || s.unit <= 0 {
					s.err = unsupportedf("a file of NTFS packed in units of %d bytes", s.unit)
				}
			}
		}
		if a.resident || s.err != nil {
			continue
		}
		if a.first*v.cluster != s.ext.total() {
			s.err = damagedf("NTFS with a file of which a part is missing")
			continue
		}
		var err error
		if s.ext, err = v.runs(s.ext, a.runs); err != nil {
			s.err = err
		}
	}
	return streams
}

// entry yields the streams of a record that is a file.
func (v *ntfsVolume) entry(n uint64) error {
	r, err := v.at(n)
	if err != nil {
		v.vol.w.v.Note(err)
	}
	if r == nil || r.base != 0 || n < ntfsSystem {
		return nil
	}
	if err := v.extend(r); err != nil {
		v.vol.w.v.Note(err)
	}
	names, system := v.names(r)
	if len(names) == 0 && n < 24 || system {
		return nil
	}
	if len(names) == 0 {
		names = []string{"record " + strconv.FormatUint(n, 10)}
	}
	reparse := slices.ContainsFunc(r.attrs, func(a ntfsAttr) bool { return a.kind == ntfsReparse })
	streams := v.streams(r)
	if r.dir || reparse && len(streams) == 0 {
		if err := v.vol.w.passed(); err != nil {
			return err
		}
	}
	keys := make([]string, 0, len(streams))
	for key := range streams {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		s := streams[key]
		if err := v.ntfsFile(names, s, reparse); err != nil {
			return err
		}
	}
	return nil
}

// ntfsFile yields one stream. Behind a reparse point, Windows shows what a filter makes of it: a link
// to elsewhere, or a file that it unpacks.
func (v *ntfsVolume) ntfsFile(names []string, s *ntfsStream, reparse bool) error {
	if s.name != "" {
		of := make([]string, len(names))
		for i, name := range names {
			of[i] = name + ":" + s.name
		}
		names = of
	}
	switch {
	case s.err != nil:
		return v.vol.w.file(&File{Names: names, Err: s.err})
	case reparse && s.name == "WofCompressedData":
		return v.vol.w.file(&File{Names: names, Err: unsupportedf("a file of NTFS that Windows unpacks")})
	case s.ext == nil && s.value != nil:
		return v.vol.w.file(memory(names, s.value))
	case s.unit > 0:
		return v.vol.w.file(&File{Names: names, Size: s.size, r: &lznt1Reader{vol: v.vol, ext: s.ext, unit: s.unit, left: s.size}})
	}
	if s.init < s.size {
		s.ext = s.ext.zerosFrom(s.init, s.size)
	}
	return v.vol.w.file(s.ext.fileOf(v.vol, names, s.size))
}

// names are all names of a record with their directories, and whether it is one of the file system's
// own, in $Extend.
func (v *ntfsVolume) names(r *ntfsRecord) (names []string, system bool) {
	for _, a := range r.attrs {
		if a.kind != ntfsName || len(a.value) < 66 || len(names) >= maxNTFSNames {
			continue
		}
		end := 66 + 2*int(a.value[64])
		if end > len(a.value) {
			continue
		}
		name := utf16Of(a.value[66:end], binary.LittleEndian)
		parent := binary.LittleEndian.Uint64(a.value) & (1<<48 - 1)
		if parent == ntfsExtend && len(name) > 0 && name[0] == '$' {
			system = true
		}
		names = addName(names, under(v.dir(parent, 0), name))
	}
	own := len(names)
	for _, e := range v.listed[r.n] {
		if names = addName(names, under(v.dir(e.parent, 0), e.name)); len(names) >= maxNTFSNames {
			break
		}
	}
	if len(names) > own && !system {
		v.vol.w.v.Note(fmt.Errorf("%w: a directory of NTFS has another name for a file", ErrAmbiguous))
	}
	return names, system
}

// dir is the path of a directory.
func (v *ntfsVolume) dir(n uint64, depth int) string {
	path, ok := v.dirs[n]
	if ok || depth >= maxDirDepth || len(v.dirs) > maxUnion {
		return path
	}
	v.dirs[n] = "" // until it is known: directories may lie in a circle
	r, err := v.at(n)
	if err != nil || r == nil {
		return ""
	}
	for _, a := range r.attrs {
		if a.kind != ntfsName || len(a.value) < 66 || 66+2*int(a.value[64]) > len(a.value) {
			continue
		}
		name := utf16Of(a.value[66:66+2*int(a.value[64])], binary.LittleEndian)
		path = under(v.dir(binary.LittleEndian.Uint64(a.value)&(1<<48-1), depth+1), name)
		if a.value[65] != 2 { // not the short name for DOS
			break
		}
	}
	v.dirs[n] = path
	return path
}
