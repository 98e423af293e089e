package archive

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"rastel/scanners"
)

const (
	wimFileEntry   = 102
	wimStreamEntry = 38
	wimDirectory   = 0x10 // of the attributes
	// maxWIMPath is how many bytes of a path are kept, counted from its end: there may be as many paths
	// as members are allowed.
	maxWIMPath = 1 << 10
)

// A wimDir is a directory that is still to be read.
type wimDir struct {
	off  uint64
	path string
}

// tree reads the directories of an image: first what says who may do what, then the root.
func (w *wim) tree(b []byte) error {
	if len(b) < 8 {
		return errCorrupt
	}
	root := (uint64(max(binary.LittleEndian.Uint32(b), 8)) + 7) &^ 7
	seen := map[uint64]bool{}
	for todo := []wimDir{{root, ""}}; len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[d.off] {
			continue
		}
		seen[d.off] = true
		dirs, err := w.directory(b, d)
		if err != nil {
			return err
		}
		todo = append(todo, dirs...)
	}
	return nil
}

// directory reads the entries of one, and gives the directories in it.
func (w *wim) directory(b []byte, d wimDir) (dirs []wimDir, err error) {
	for off := d.off; ; {
		if off > uint64(len(b))-8 {
			return nil, errCorrupt
		}
		n := binary.LittleEndian.Uint64(b[off:])
		if n <= 8 {
			return dirs, nil
		}
		if n < wimFileEntry || n > uint64(len(b))-off {
			return nil, errCorrupt
		}
		entry := b[off : off+n]
		off += (n + 7) &^ 7
		sub, path, err := w.entry(d.path, entry)
		if err != nil {
			return nil, err
		}
		if sub != 0 {
			dirs = append(dirs, wimDir{sub, path})
		}
		for range binary.LittleEndian.Uint16(entry[96:]) {
			if off, err = w.extra(path, b, off); err != nil {
				return nil, err
			}
		}
	}
}

// entry reads one entry. A file gets its names; of a directory, where its entries are is given.
func (w *wim) entry(dir string, b []byte) (sub uint64, path string, err error) {
	short, long := int(binary.LittleEndian.Uint16(b[98:])), int(binary.LittleEndian.Uint16(b[100:]))
	rest := b[wimFileEntry:]
	if long > len(rest) {
		return 0, "", errCorrupt
	}
	name := utf16Name(rest[:long])
	path = wimClip(strings.TrimPrefix(dir+"/"+name, "/"))
	if binary.LittleEndian.Uint32(b[8:])&wimDirectory != 0 {
		return binary.LittleEndian.Uint64(b[16:]), path, w.o.passed()
	}
	hash := wimHash(b[64:])
	if err := w.name(hash, path); err != nil {
		return 0, path, err
	}
	if rest = rest[min(long+2, len(rest)):]; short > 0 && short <= len(rest) {
		err = w.name(hash, wimClip(strings.TrimPrefix(dir+"/"+utf16Name(rest[:short]), "/")))
	}
	return 0, path, err
}

// extra reads another stream of a file, which has a name of its own or is that without a name.
func (w *wim) extra(path string, b []byte, off uint64) (uint64, error) {
	if off > uint64(len(b)) || uint64(len(b))-off < wimStreamEntry {
		return 0, errCorrupt
	}
	n := binary.LittleEndian.Uint64(b[off:])
	if n < wimStreamEntry || n > uint64(len(b))-off {
		return 0, errCorrupt
	}
	entry := b[off : off+n]
	name := int(binary.LittleEndian.Uint16(entry[36:]))
	if name > len(entry)-wimStreamEntry {
		return 0, errCorrupt
	}
	if name > 0 {
		path = wimClip(path + ":" + utf16Name(entry[wimStreamEntry:wimStreamEntry+name]))
	}
	return off + (n+7)&^7, w.name(wimHash(entry[16:]), path)
}

// name keeps a name of a stream.
func (w *wim) name(hash wimHash, path string) error {
	n := w.names[hash]
	if n == nil || hash == (wimHash{}) {
		n = &wimNames{hash: hash, sets: []nameSet{nil}}
		w.names[hash] = n
		w.order = append(w.order, n)
	}
	last := &n.sets[len(n.sets)-1]
	if len(*last) == maxNames {
		n.sets = append(n.sets, nil)
		last = &n.sets[len(n.sets)-1]
	}
	last.add(path)
	if w.named++; w.named > 2*w.o.b.Members() {
		return fmt.Errorf("%w: image of more than %d files", scanners.ErrBudget, w.named/2)
	}
	return nil
}

func utf16Name(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}

func wimClip(path string) string { return path[max(len(path)-maxWIMPath, 0):] }
