package disk

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// exfat reads an exFAT volume (Microsoft exFAT specification).
func exfat(vol volume) error {
	b, err := vol.read(0, 112)
	if err != nil {
		return err
	}
	sectorShift, clusterShift := b[108], b[109]
	if sectorShift < 9 || sectorShift > 12 || clusterShift > 25-sectorShift {
		return damagedf("exFAT with sectors or clusters of an impossible size")
	}
	sector := int64(1) << sectorShift
	f := &fatVolume{
		vol: vol, bits: 32, wide: true, cluster: sector << clusterShift, visited: map[int64]bool{}, pageAt: -1,
		table: int64(binary.LittleEndian.Uint32(b[80:])) * sector, data: int64(binary.LittleEndian.Uint32(b[88:])) * sector,
		clusters: min(int64(binary.LittleEndian.Uint32(b[92:])), int64(binary.LittleEndian.Uint32(b[84:]))*sector/4),
	}
	if f.data+f.clusters*f.cluster > vol.size {
		vol.w.v.Note(damagedf("exFAT that is larger than its image"))
	}
	return f.exWalk(exEntry{cluster: int64(binary.LittleEndian.Uint32(b[96:])), size: -1})
}

// An exEntry is a file or a directory of exFAT.
type exEntry struct {
	dir     bool
	run     bool // its clusters follow each other, and the table is not used
	cluster int64
	size    int64 // negative: to the end of the chain
	valid   int64 // what is behind are zeros
	name    []uint16
	nameLen int
	path    string
	depth   int
}

func (f *fatVolume) exWalk(root exEntry) error {
	queue := []exEntry{root}
	for len(queue) > 0 {
		d := queue[0]
		queue = queue[1:]
		if f.visited[d.cluster] {
			f.vol.w.v.Note(fmt.Errorf("%w: a directory is in more than one place", ErrAmbiguous))
			continue
		}
		f.visited[d.cluster] = true
		ext, err := f.exExtents(d)
		if err != nil {
			f.vol.w.v.Note(err)
		}
		dirs, err := f.exDirectory(d, ext)
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

// exExtents are where the content of an entry is.
func (f *fatVolume) exExtents(e exEntry) (extents, error) {
	if e.size == 0 {
		return nil, nil
	}
	if !e.run {
		return f.chain(e.cluster, e.size)
	}
	if e.cluster < 2 || e.cluster >= f.clusters+2 {
		return nil, damagedf("exFAT with a file that is nowhere")
	}
	return extents{{f.data + (e.cluster-2)*f.cluster, min(e.size, (f.clusters+2-e.cluster)*f.cluster)}}, nil
}

// exDirectory yields the files of a directory (section 7.4 and on), and gives the directories in it.
func (f *fatVolume) exDirectory(d exEntry, ext extents) (dirs []exEntry, err error) {
	var cur exEntry
	left := 0 // secondary entries of cur
	end := ext.total()
	if d.size >= 0 {
		end = min(end, d.size)
	}
	for at := int64(0); at < end; at += f.step() {
		b, err := ext.read(f.vol, at, min(f.step(), end-at))
		if err != nil {
			f.vol.w.v.Note(err)
		}
		for ; len(b) >= 32; b = b[32:] {
			switch e := b[:32]; e[0] {
			case 0:
				return dirs, nil
			case 0x85:
				cur = exEntry{dir: binary.LittleEndian.Uint16(e[4:])&fatDir != 0, depth: d.depth + 1, path: d.path}
				left = int(e[1])
				continue
			case 0xc0:
				cur.run, cur.nameLen = e[1]&2 != 0, int(e[3])
				cur.valid, cur.size = exSize(e[8:]), exSize(e[24:])
				cur.cluster = int64(binary.LittleEndian.Uint32(e[20:]))
			case 0xc1:
				for i := 2; i < 32 && len(cur.name) < cur.nameLen; i += 2 {
					cur.name = append(cur.name, binary.LittleEndian.Uint16(e[i:]))
				}
			}
			if left == 0 {
				continue
			}
			if left--; left > 0 || cur.nameLen == 0 {
				continue
			}
			if err := f.vol.w.spend(recordCost); err != nil {
				return nil, err
			}
			cur.path = under(d.path, string(utf16.Decode(cur.name)))
			if cur.dir {
				dirs = append(dirs, cur)
				err = f.vol.w.passed()
			} else {
				err = f.exFile(cur)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return dirs, nil
}

// exSize is a length that is not negative.
func exSize(b []byte) int64 { return int64(min(binary.LittleEndian.Uint64(b), 1<<62)) }

// exFile yields a file; what of it was never written reads as zeros.
func (f *fatVolume) exFile(e exEntry) error {
	ext, err := f.exExtents(e)
	if err != nil && len(ext) == 0 {
		return f.vol.w.file(&File{Names: []string{e.path}, Err: err})
	}
	if e.valid < e.size {
		ext = ext.zerosFrom(e.valid, e.size)
	}
	return f.vol.w.file(ext.fileOf(f.vol, []string{e.path}, e.size))
}
