package ole

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// A dir is a storage to be written: strings are streams, dirs are storages.
type dir map[string]any

// A writer writes compound files, as plainly as can be: each chain is in one piece, and the children
// of a storage are a list.
type writer struct {
	entries []byte // of the directory
	mini    []byte // the mini stream
	large   []byte // the other streams, in whole sectors
	miniFAT []uint32
	fat     []uint32
}

const (
	endOfChain = 0xfffffffe
	fatSector  = 0xfffffffd
	freeSector = 0xffffffff
)

// compoundFile makes a compound file.
func compoundFile(d dir) []byte {
	w := &writer{}
	w.entry("Root Entry", 5, endOfChain, 0)
	w.children(0, d)
	root := len(w.fat)
	w.chain(padded(&w.mini, 512))
	mini := w.table(&w.large, w.miniFAT)
	w.large = append(w.large[:root*512], append(w.mini, w.large[root*512:]...)...)
	if len(w.mini) > 0 {
		binary.LittleEndian.PutUint32(w.entries[116:], uint32(root))
		binary.LittleEndian.PutUint64(w.entries[120:], uint64(len(w.mini)))
	}
	directory := len(w.fat)
	w.chain(padded(&w.entries, 512))
	w.large = append(w.large, w.entries...)
	first, n := len(w.fat), 1
	for (len(w.fat)+n)*4 > n*512 {
		n++
	}
	h := make([]byte, 512)
	copy(h, magic)
	for at, v := range map[int]uint16{24: 0x3e, 26: 3, 28: 0xfffe, 30: 9, 32: 6} {
		binary.LittleEndian.PutUint16(h[at:], v)
	}
	for at, v := range map[int]uint32{44: uint32(n), 48: uint32(directory), 56: miniCutoff, 60: uint32(mini), 64: uint32(len(w.miniFAT)+127) / 128, 68: endOfChain} {
		binary.LittleEndian.PutUint32(h[at:], v)
	}
	for i := range 109 {
		v := uint32(freeSector)
		if i < n {
			v = uint32(first + i)
			w.fat = append(w.fat, fatSector)
		}
		binary.LittleEndian.PutUint32(h[76+4*i:], v)
	}
	for len(w.fat)%128 != 0 {
		w.fat = append(w.fat, freeSector)
	}
	return slices.Concat(h, w.large, tableBytes(w.fat))
}

func padded(b *[]byte, to int) int {
	for len(*b)%to != 0 {
		*b = append(*b, 0)
	}
	return len(*b) / to
}

// chain adds n sectors in one piece.
func (w *writer) chain(n int) {
	for i := range n {
		w.fat = append(w.fat, uint32(len(w.fat)+1))
		if i == n-1 {
			w.fat[len(w.fat)-1] = endOfChain
		}
	}
}

func tableBytes(t []uint32) (b []byte) {
	for _, v := range t {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// table adds a table as a chain, and gives its first sector.
func (w *writer) table(to *[]byte, t []uint32) int {
	if len(t) == 0 {
		return endOfChain
	}
	for len(t)%128 != 0 {
		t = append(t, freeSector)
	}
	first := len(w.fat)
	w.chain(len(t) / 128)
	*to = append(*to, tableBytes(t)...)
	return first
}

func (w *writer) entry(name string, kind byte, start uint32, size int) int {
	e := make([]byte, entrySize)
	units := utf16.Encode([]rune(name))
	for i, u := range units {
		binary.LittleEndian.PutUint16(e[2*i:], u)
	}
	binary.LittleEndian.PutUint16(e[64:], uint16(2*len(units)+2))
	e[66], e[67] = kind, 1
	for _, at := range []int{68, 72, 76} {
		binary.LittleEndian.PutUint32(e[at:], noEntry)
	}
	binary.LittleEndian.PutUint32(e[116:], start)
	binary.LittleEndian.PutUint64(e[120:], uint64(size))
	w.entries = append(w.entries, e...)
	return len(w.entries)/entrySize - 1
}

// children writes what is in a storage, which is the entry with that number.
func (w *writer) children(parent int, d dir) {
	var names []string
	for name := range d {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // MS-CFB 2.6.4
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(strings.ToUpper(a), strings.ToUpper(b))
	})
	link := parent*entrySize + 76
	for _, name := range names {
		var id int
		switch v := d[name].(type) {
		case dir:
			id = w.entry(name, 1, 0, 0)
			w.children(id, v)
		case string:
			id = w.stream(name, v)
		default:
			panic(fmt.Sprintf("%T", v))
		}
		binary.LittleEndian.PutUint32(w.entries[link:], uint32(id))
		link = id*entrySize + 72
	}
}

func (w *writer) stream(name, content string) int {
	b := []byte(content)
	if len(b) >= miniCutoff {
		first := len(w.fat)
		w.chain(padded(&b, 512))
		w.large = append(w.large, b...)
		return w.entry(name, typeStream, uint32(first), len(content))
	}
	if len(b) == 0 {
		return w.entry(name, typeStream, endOfChain, 0)
	}
	first := len(w.miniFAT)
	n := padded(&b, 1<<miniShift)
	for i := range n {
		w.miniFAT = append(w.miniFAT, uint32(first+i+1))
	}
	w.miniFAT[first+n-1] = endOfChain
	w.mini = append(w.mini, b...)
	return w.entry(name, typeStream, uint32(first), len(content))
}

// utf16le is text as properties of type 0x001f have it.
func utf16le(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}
