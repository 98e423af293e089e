package disk

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The tags of descriptors (ECMA-167 3/7.2.1 and 4/7.2.1).
const (
	udfAnchor    = 2
	udfPartition = 5
	udfLogical   = 6
	udfEnd       = 8
	udfFileSet   = 256
	udfFileID    = 257
	udfAllocExt  = 258
	udfIndirect  = 248
	udfFile      = 261
	udfExtFile   = 266
)

const (
	// maxUDFDescriptors is how many descriptors of one sequence are read.
	maxUDFDescriptors = 256
	// maxUDFVolumes is how many logical volumes are read.
	maxUDFVolumes = 8
)

// isUDF reports whether the volume recognition sequence names UDF (ECMA-167 2/9.1).
func isUDF(vol volume) bool {
	for at := int64(isoFirst * isoSector); at < (isoFirst+64)*isoSector; at += isoSector {
		switch b := vol.peek(at, 7); {
		case len(b) < 7:
			return false
		case string(b[1:5]) == "NSR0":
			return true
		case !slices.Contains([]string{"BEA01", "CD001", "BOOT2", "TEA01", "CDW02"}, string(b[1:6])):
			return false
		}
	}
	return false
}

// udfAnchors are where the volume descriptor sequences are, which anchors at fixed places tell:
// sector 256, 512, the last one and 256 before it, for each size of sectors.
func udfAnchors(vol volume) (seqs []udfSequence) {
	for _, bs := range []int64{2048, 512, 4096, 1024} {
		last := vol.size / bs
		for _, lba := range []int64{256, last - 1, last - 257, 512} {
			b := vol.peek(lba*bs, 512)
			if udfTag(b, lba) != udfAnchor {
				continue
			}
			for _, at := range []int{16, 24} { // main and reserve
				n, lba := binary.LittleEndian.Uint32(b[at:]), binary.LittleEndian.Uint32(b[at+4:])
				s := udfSequence{int64(lba), int64(n) / bs, bs}
				if !slices.Contains(seqs, s) && n > 0 {
					seqs = append(seqs, s)
				}
			}
		}
	}
	return seqs
}

// A udfSequence is a run of n sectors with volume descriptors.
type udfSequence struct{ lba, n, bs int64 }

// udfTag is the tag of a descriptor (ECMA-167 3/7.2); 0 if there is none. A location of -1 is not
// compared.
func udfTag(b []byte, location int64) uint16 {
	if len(b) < 16 || location >= 0 && int64(binary.LittleEndian.Uint32(b[12:])) != location {
		return 0
	}
	sum := byte(0)
	for i, c := range b[:16] {
		if i != 4 {
			sum += c
		}
	}
	if sum != b[4] {
		return 0
	}
	return binary.LittleEndian.Uint16(b)
}

// udf collects the files of all UDF volumes of a disc.
func udf(vol volume, u *union) error {
	d := &udfDisc{vol: vol, u: u}
	for _, s := range udfAnchors(vol) {
		if err := d.sequence(s); err != nil {
			return err
		}
	}
	if len(d.volumes) == 0 {
		return damagedf("UDF without a volume that can be read")
	}
	return nil
}

// A udfDisc reads UDF 1.02 to 2.60 (ECMA-167, OSTA UDF).
type udfDisc struct {
	vol     volume
	u       *union
	volumes []udfRoot
}

// A udfRoot tells logical volumes apart: by where their file sets and partitions are.
type udfRoot struct {
	fileSet, partition int64
	number             uint16
}

// sequence reads the descriptors of one sequence. Of several with one purpose the one with the
// highest sequence number prevails (ECMA-167 3/8.4.3); all logical volumes are read here.
func (d *udfDisc) sequence(s udfSequence) error {
	parts, seq := map[uint16]udfRun{}, map[uint16]uint32{}
	var logical [][]byte
	for i := int64(0); i < min(s.n, maxUDFDescriptors); i++ {
		b := d.vol.peek((s.lba+i)*s.bs, max(s.bs, isoSector))
		tag := udfTag(b, s.lba+i)
		if tag == udfEnd || len(b) < 512 {
			break
		}
		switch number := binary.LittleEndian.Uint32(b[16:]); tag {
		case udfPartition:
			id := binary.LittleEndian.Uint16(b[22:])
			if _, ok := parts[id]; !ok || number >= seq[id] {
				parts[id] = udfRun{int64(binary.LittleEndian.Uint32(b[188:])) * s.bs, int64(binary.LittleEndian.Uint32(b[192:])) * s.bs}
				seq[id] = number
			}
		case udfLogical:
			logical = append(logical, b)
		}
	}
	for _, b := range logical {
		if err := d.vol.w.try(func() error { return d.logical(b, parts) }); err != nil {
			return err
		}
	}
	return nil
}

// logical reads a logical volume (ECMA-167 3/10.6).
func (d *udfDisc) logical(b []byte, parts map[uint16]udfRun) error {
	bs := int64(binary.LittleEndian.Uint32(b[212:]))
	if bs < 512 || bs > 32<<10 || bs&(bs-1) != 0 {
		return damagedf("UDF with blocks of %d bytes", bs)
	}
	v := &udfVolume{udfDisc: d, bs: bs, visited: map[int64]bool{}}
	if err := v.partitions(b, parts); err != nil {
		return err
	}
	where := udfLong(b[248:])
	fsd, off, err := v.block(where)
	if err != nil {
		return err
	}
	id := udfRoot{off, v.parts[where.part].start, where.part}
	if slices.Contains(d.volumes, id) {
		return nil
	}
	if d.volumes = append(d.volumes, id); len(d.volumes) > maxUDFVolumes {
		return fmt.Errorf("%w: more than %d volumes of UDF", ErrLimit, maxUDFVolumes)
	}
	if udfTag(fsd, -1) != udfFileSet || len(fsd) < 512 {
		return damagedf("UDF without a file set")
	}
	if err := d.u.view("UDF"); err != nil {
		return err
	}
	v.queue = []udfDirAt{{icb: udfLong(fsd[400:])}}
	if streams := udfLong(fsd[464:]); streams.n > 0 {
		v.queue = append(v.queue, udfDirAt{icb: streams, path: "streams"})
	}
	return v.walk()
}

// A udfAddr is a long_ad (ECMA-167 4/14.14.2), or another that was made one.
type udfAddr struct {
	n    int64 // bytes
	kind byte  // 0 recorded, 1 and 2 not, 3 more of them there
	lbn  int64
	part uint16
}

func udfLong(b []byte) udfAddr {
	n := binary.LittleEndian.Uint32(b)
	return udfAddr{int64(n &^ (3 << 30)), byte(n >> 30), int64(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint16(b[8:])}
}

// A udfDirAt is a directory that is still to be read.
type udfDirAt struct {
	icb   udfAddr
	path  string
	sep   string // before the names in it, if not "/"
	depth int
}

// walk reads all directories, each once.
func (v *udfVolume) walk() error {
	for len(v.queue) > 0 {
		d := v.queue[0]
		v.queue = v.queue[1:]
		f, err := v.fileEntry(d.icb)
		if err != nil {
			v.vol.w.v.Note(err)
			continue
		}
		if v.visited[f.off] {
			v.vol.w.v.Note(fmt.Errorf("%w: a directory is in more than one place", ErrAmbiguous))
			continue
		}
		v.visited[f.off] = true
		if err := v.directory(d, f); err != nil {
			return err
		}
	}
	return nil
}

// directory reads the identifiers of one directory (ECMA-167 4/14.4).
func (v *udfVolume) directory(d udfDirAt, f *udfEntry) error {
	size := f.ext.within(f.size, v.vol.size)
	if size > maxDirBytes {
		return fmt.Errorf("%w: a directory of %d bytes", ErrLimit, size)
	}
	b, err := f.ext.read(v.vol, 0, size)
	if err != nil {
		v.vol.w.v.Note(err)
	}
	if int64(len(b)) < f.size {
		v.vol.w.v.Note(damagedf("a directory of UDF ends before its size"))
	}
	for len(b) >= 38 {
		if err := v.vol.w.spend(recordCost); err != nil {
			return err
		}
		if udfTag(b, -1) != udfFileID {
			v.vol.w.v.Note(damagedf("a directory of UDF"))
			return nil
		}
		nameLen, useLen := int(b[19]), int(binary.LittleEndian.Uint16(b[36:]))
		end := 38 + useLen + nameLen
		if end > len(b) {
			v.vol.w.v.Note(damagedf("a directory of UDF"))
			return nil
		}
		flags, icb := b[18], udfLong(b[20:])
		name := udfName(b[38+useLen : end])
		b = b[min((end+3)&^3, len(b)):]
		if flags&(4|8) != 0 { // deleted, or the parent
			continue
		}
		if err := v.entry(d, name, icb, flags&2 != 0); err != nil {
			return err
		}
	}
	return nil
}

// entry adds what one identifier leads to.
func (v *udfVolume) entry(d udfDirAt, name string, icb udfAddr, dir bool) error {
	path := under(d.path, name)
	if d.sep != "" {
		path = d.path + d.sep + name
	}
	if d.depth >= maxDirDepth {
		return fmt.Errorf("%w: directories deeper than %d", ErrLimit, maxDirDepth)
	}
	if dir {
		v.queue = append(v.queue, udfDirAt{icb: icb, path: path, depth: d.depth + 1})
		return v.vol.w.passed()
	}
	f, err := v.fileEntry(icb)
	if err != nil {
		return v.u.add(unionFile{names: []string{path}, err: err})
	}
	if f.streams.n > 0 && d.sep == "" {
		v.queue = append(v.queue, udfDirAt{icb: f.streams, path: path, sep: ":", depth: d.depth + 1})
		if err := v.vol.w.passed(); err != nil {
			return err
		}
	}
	if f.kind == 4 { // a directory after all
		v.queue = append(v.queue, udfDirAt{icb: icb, path: path, depth: d.depth + 1})
		return v.vol.w.passed()
	}
	return v.u.add(unionFile{names: []string{path}, ext: f.ext, size: f.size, link: f.kind == 12})
}

// udfName decodes OSTA compressed Unicode (UDF 2.60 section 2.1.1).
func udfName(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	switch b[0] {
	case 8, 254:
		var s strings.Builder
		for _, c := range b[1:] {
			s.WriteRune(rune(c))
		}
		return s.String()
	case 16, 255:
		return utf16Of(b[1:], binary.BigEndian)
	}
	return string(b[1:])
}
