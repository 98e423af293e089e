package disk

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Attributes of a directory entry of FAT (Microsoft FAT specification, section 6).
const (
	fatLabel = 0x08
	fatDir   = 0x10
	fatLong  = 0x0f
)

// A fatVolume reads FAT12, FAT16 and FAT32. With exFAT it shares the chains of clusters.
type fatVolume struct {
	vol      volume
	bits     int   // of an entry in the table
	table    int64 // where the table is
	data     int64 // where cluster 2 is
	cluster  int64 // bytes
	clusters int64
	visited  map[int64]bool
	wide     bool   // exFAT
	page     []byte // of the table
	pageAt   int64
}

// isFAT goes by the fields that Linux goes by.
func isFAT(vol volume) bool {
	b := vol.peek(0, 64)
	if len(b) < 64 {
		return false
	}
	sector, cluster := binary.LittleEndian.Uint16(b[11:]), b[13]
	okSector := sector >= 512 && sector <= 4096 && sector&(sector-1) == 0
	okMedia := b[21] >= 0xf8 || b[21] == 0xf0
	total := binary.LittleEndian.Uint16(b[19:]) != 0 || binary.LittleEndian.Uint32(b[32:]) != 0
	size := binary.LittleEndian.Uint16(b[22:]) != 0 || binary.LittleEndian.Uint32(b[36:]) != 0
	return okSector && cluster != 0 && cluster&(cluster-1) == 0 && binary.LittleEndian.Uint16(b[14:]) != 0 && b[16] != 0 && b[16] <= 4 && okMedia && total && size
}

// fat reads a volume with a boot sector of DOS 2 or later (section 3).
func fat(vol volume) error {
	b, err := vol.read(0, 64)
	if err != nil {
		return err
	}
	sector := int64(binary.LittleEndian.Uint16(b[11:]))
	fatSize, total := int64(binary.LittleEndian.Uint16(b[22:])), int64(binary.LittleEndian.Uint16(b[19:]))
	wide := fatSize == 0
	if wide {
		fatSize = int64(binary.LittleEndian.Uint32(b[36:]))
	}
	if total == 0 {
		total = int64(binary.LittleEndian.Uint32(b[32:]))
	}
	reserved, rootSize := int64(binary.LittleEndian.Uint16(b[14:]))*sector, int64(binary.LittleEndian.Uint16(b[17:]))*32
	root := reserved + int64(b[16])*fatSize*sector
	f := &fatVolume{
		vol: vol, bits: 12, table: reserved, cluster: int64(b[13]) * sector, visited: map[int64]bool{}, pageAt: -1,
		data: root + (rootSize+sector-1)/sector*sector,
	}
	f.clusters = (total*sector - f.data) / f.cluster
	switch {
	case wide:
		f.bits = 32
	case f.clusters >= 4085:
		f.bits = 16
	}
	f.clusters = min(f.clusters, fatSize*sector*8/int64(f.bits)-2)
	if f.clusters <= 0 {
		return damagedf("FAT without clusters")
	}
	if f.data+f.clusters*f.cluster > vol.size {
		vol.w.v.Note(damagedf("FAT that is larger than its image"))
	}
	if flags := binary.LittleEndian.Uint16(b[40:]); wide && flags&0x80 != 0 && flags&0xf != 0 {
		vol.w.v.Note(fmt.Errorf("%w: Windows uses another table of FAT32 than others", ErrAmbiguous))
	}
	if wide {
		return f.walk(fatDirAt{cluster: int64(binary.LittleEndian.Uint32(b[44:]))})
	}
	return f.walk(fatDirAt{ext: extents{{root, rootSize}}})
}

// A fatDirAt is a directory: a chain of clusters, or the root of FAT12 and FAT16.
type fatDirAt struct {
	cluster int64
	ext     extents
	path    string
	depth   int
}

func (f *fatVolume) walk(root fatDirAt) error {
	queue := []fatDirAt{root}
	for len(queue) > 0 {
		d := queue[0]
		queue = queue[1:]
		if d.ext == nil {
			if f.visited[d.cluster] {
				f.vol.w.v.Note(fmt.Errorf("%w: a directory is in more than one place", ErrAmbiguous))
				continue
			}
			f.visited[d.cluster] = true
			var err error
			if d.ext, err = f.chain(d.cluster, -1); err != nil {
				f.vol.w.v.Note(err)
			}
		}
		dirs, err := f.directory(d)
		if err != nil {
			return err
		}
		if len(dirs) > 0 && d.depth >= maxDirDepth {
			return fmt.Errorf("%w: directories deeper than %d", ErrLimit, maxDirDepth)
		}
		queue = append(queue, dirs...)
	}
	return nil
}

// directory yields the files of one directory, and gives the directories in it.
//
// An entry that begins with zero is the last for DOS and Windows; Linux goes on behind it.
func (f *fatVolume) directory(d fatDirAt) (dirs []fatDirAt, err error) {
	var long fatName
	ended := false
	for at, total := int64(0), d.ext.total(); at < total; at += f.step() {
		b, err := d.ext.read(f.vol, at, f.step())
		if err != nil {
			f.vol.w.v.Note(err)
		}
		for ; len(b) >= 32; b = b[32:] {
			e := b[:32]
			switch {
			case e[0] == 0:
				ended = true
				long = fatName{}
			case e[0] == 0xe5:
				long = fatName{}
			case e[11]&0x3f == fatLong:
				long.add(e)
			case e[11]&fatLabel != 0 || string(e[:11]) == ".          " || string(e[:11]) == "..         ":
				long = fatName{}
			case ended && !f.plausible(e):
				long = fatName{}
			default:
				if ended {
					f.vol.w.v.Note(fmt.Errorf("%w: files behind the end of a directory", ErrAmbiguous))
				}
				if err := f.vol.w.spend(recordCost); err != nil {
					return nil, err
				}
				names := long.names(d.path, e)
				long = fatName{}
				if e[11]&fatDir != 0 {
					dirs = append(dirs, fatDirAt{cluster: f.first(e), path: names[0], depth: d.depth + 1})
					if err := f.vol.w.passed(); err != nil {
						return nil, err
					}
					continue
				}
				if err := f.file(names, e); err != nil {
					return nil, err
				}
			}
		}
	}
	return dirs, nil
}

// step is how much of a directory is read at a time.
func (f *fatVolume) step() int64 { return max(min(f.cluster, 32<<10), 512) }

// plausible reports whether an entry behind the end of a directory is one, and not garbage.
func (f *fatVolume) plausible(e []byte) bool {
	for _, c := range e[:11] {
		if c < ' ' && c != 5 || strings.ContainsRune(`"*+,./:;<=>?[\]|`, rune(c)) {
			return false
		}
	}
	size, first := int64(binary.LittleEndian.Uint32(e[28:])), f.first(e)
	return e[11]&0xc0 == 0 && size <= f.clusters*f.cluster && (first == 0 && size == 0 || first >= 2 && first < f.clusters+2)
}

// first is the first cluster of an entry.
func (f *fatVolume) first(e []byte) int64 {
	n := int64(binary.LittleEndian.Uint16(e[26:]))
	if f.bits == 32 {
		n |= int64(binary.LittleEndian.Uint16(e[20:])) << 16
	}
	return n
}

func (f *fatVolume) file(names []string, e []byte) error {
	size := int64(binary.LittleEndian.Uint32(e[28:]))
	var ext extents
	if size > 0 {
		var err error
		if ext, err = f.chain(f.first(e), size); err != nil && len(ext) == 0 {
			return f.vol.w.file(&File{Names: names, Err: err})
		}
	}
	return f.vol.w.file(ext.fileOf(f.vol, names, size))
}

// chain follows the clusters from one on, until size bytes are there, or to the end of the chain
// if size is negative.
func (f *fatVolume) chain(c, size int64) (ext extents, err error) {
	for n := int64(0); size < 0 || n*f.cluster < size; n++ {
		if c < 2 || c >= f.clusters+2 {
			if size < 0 && n > 0 && c >= f.clusters+2 {
				return ext, nil
			}
			return ext, damagedf("a chain of clusters that leads nowhere")
		}
		if n > f.clusters {
			return ext, damagedf("a chain of clusters without an end")
		}
		ext.add(f.data+(c-2)*f.cluster, f.cluster)
		if c, err = f.next(c); err != nil {
			return ext, err
		}
	}
	return ext, nil
}

// fatPage is how much of the table is kept; a multiple of 3, so that no entry of FAT12 is cut.
const fatPage = 3 << 12

// next is the entry of a cluster in the table.
func (f *fatVolume) next(c int64) (int64, error) {
	if err := f.vol.w.spend(extentCost); err != nil {
		return 0, err
	}
	at := c * int64(f.bits) / 8
	if page := at / fatPage * fatPage; page != f.pageAt {
		f.page, f.pageAt = f.vol.peek(f.table+page, fatPage), page
	}
	at -= f.pageAt
	if at+int64(f.bits+7)/8 > int64(len(f.page)) {
		return 0, damagedf("a table of FAT that is too short")
	}
	b := f.page[at:]
	switch f.bits {
	case 12:
		n := int64(binary.LittleEndian.Uint16(b))
		if c&1 != 0 {
			return n >> 4, nil
		}
		return n & 0xfff, nil
	case 16:
		return int64(binary.LittleEndian.Uint16(b)), nil
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if !f.wide {
		n &= 0x0fffffff // the rest is reserved in FAT32
	}
	return n, nil
}

// A fatName collects the entries of a long name (section 7), which come before the short one, last
// part first.
type fatName struct {
	parts [][]uint16
}

func (n *fatName) add(e []byte) {
	if e[0]&0x40 != 0 {
		n.parts = nil
	}
	if len(n.parts) >= 20 {
		return
	}
	var u []uint16
	for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := r[0]; i < r[1]; i += 2 {
			u = append(u, binary.LittleEndian.Uint16(e[i:]))
		}
	}
	n.parts = append(n.parts, u)
}

// names are the names of an entry: the long one first, if there is one. Its checksum is not compared,
// because some driver may not.
func (n *fatName) names(dir string, e []byte) (names []string) {
	var u []uint16
	for i := len(n.parts) - 1; i >= 0; i-- {
		u = append(u, n.parts[i]...)
	}
	for i, c := range u {
		if c == 0 {
			u = u[:i]
			break
		}
	}
	if len(u) > 0 {
		names = addName(names, under(dir, string(utf16.Decode(u))))
	}
	short := string(e[:8])
	if short[0] == 5 {
		short = "\xe5" + short[1:]
	}
	short, suffix := strings.TrimRight(short, " "), strings.TrimRight(string(e[8:11]), " ")
	if e[12]&0x08 != 0 { // Windows NT and Linux show it in lower case
		short = strings.ToLower(short)
	}
	if e[12]&0x10 != 0 {
		suffix = strings.ToLower(suffix)
	}
	if suffix != "" {
		short += "." + suffix
	}
	if names = addName(names, under(dir, short)); len(names) == 0 {
		names = []string{unnamed}
	}
	return names
}
