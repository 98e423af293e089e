package office

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"

	"rastel/sanitize/eml"
)

// What is in a zip archive (APPNOTE.TXT 4.3).
const (
	localSize     = 30
	centralSize   = 46
	endSize       = 22
	methodStored  = 0
	methodDeflate = 8
	flagLocked    = 0x2061 // encrypted, patched, or masked
	flagLater     = 8      // sizes are behind the data
	flagUTF8      = 0x800

	// maxDirectory is how many bytes the directory of a document that is disarmed may have, and maxEntries
	// how many entries.
	maxDirectory = 4 << 20
	maxEntries   = 20_000
	// maxPart is how many bytes a part may have that is changed.
	maxPart = 16 << 20
	// maxRead is how many bytes all parts may have that are read for it.
	maxRead = 64 << 20
)

// errPackage says that a document is no zip archive that all programs read alike.
var errPackage = errors.New("the document is not packed as office programs pack it")

// A pack is a document that is a zip archive, as strictly read as can be: each byte belongs to one
// entry, to the directory, or to its end; each name is there once.
type pack struct {
	r       io.ReaderAt
	size    int64
	entries []*entry // in the order of the directory
	byName  map[string]*entry
	dir     int64 // where the directory begins
	taken   int64 // bytes of parts that were read
}

// An entry is one of the archive.
type entry struct {
	name    string
	central []byte // as it stands in the directory
	flags   uint16
	method  uint16
	crc     uint32
	packed  int64
	full    int64
	start   int64 // of its header
	data    int64
	end     int64 // of all of it

	dropped bool
	content []byte // its new content; nil: it stays as it is
}

// key is what a name is found by: case does not count (ECMA-376 part 2, 7.2.3).
func key(name string) string { return strings.ToLower(strings.TrimPrefix(name, "/")) }

func (p *pack) find(name string) *entry { return p.byName[key(name)] }

func wrong(what string) error { return fmt.Errorf("%w: %s", errPackage, what) }

// openPack reads the directory and the headers.
func openPack(r io.ReaderAt, size int64) (*pack, error) {
	p := &pack{r: r, size: size, byName: map[string]*entry{}}
	dir, err := p.readEnd()
	if err != nil {
		return nil, err
	}
	for len(dir) > 0 {
		if dir, err = p.readEntry(dir); err != nil {
			return nil, err
		}
	}
	return p, p.tile()
}

// read reads n bytes.
func (p *pack) read(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || n > p.size-at {
		return nil, wrong("it is cut off")
	}
	b := make([]byte, n)
	if k, err := p.r.ReadAt(b, at); k < len(b) {
		return nil, fmt.Errorf("read document: %w", err)
	}
	return b, nil
}

// readEnd reads the end record, behind which there may be a line end, and the directory.
func (p *pack) readEnd() ([]byte, error) {
	for _, behind := range []int64{0, 1, 2} {
		b, err := p.read(p.size-endSize-behind, endSize+behind)
		if err != nil {
			return nil, err
		}
		tail := string(b[endSize:])
		if string(b[:4]) != "PK\x05\x06" || tail != "" && tail != "\n" && tail != "\r\n" {
			continue
		}
		count, length, offset := binary.LittleEndian.Uint16(b[10:]), int64(binary.LittleEndian.Uint32(b[12:])), int64(binary.LittleEndian.Uint32(b[16:]))
		switch {
		case string(b[4:8]) != "\x00\x00\x00\x00", binary.LittleEndian.Uint16(b[8:]) != count, b[20] != 0, b[21] != 0:
			return nil, wrong("it is in parts, or has a comment")
		case count > maxEntries, length > maxDirectory:
			return nil, wrong("it has too many parts")
		case offset+length != p.size-endSize-behind:
			return nil, wrong("its directory is not at its end")
		}
		p.dir = offset
		dir, err := p.read(offset, length)
		if err == nil && !countsEntries(dir, int(count)) {
			err = wrong("its directory has another length")
		}
		return dir, err
	}
	return nil, wrong("it has no end")
}

// countsEntries reports whether a directory has so many entries.
func countsEntries(dir []byte, count int) bool {
	for ; len(dir) >= centralSize; count-- {
		dir = dir[min(len(dir), centralSize+variable(dir)):]
	}
	return len(dir) == 0 && count == 0
}

// variable is how long name, extra field and comment of a directory entry are.
func variable(b []byte) int {
	return int(binary.LittleEndian.Uint16(b[28:])) + int(binary.LittleEndian.Uint16(b[30:])) + int(binary.LittleEndian.Uint16(b[32:]))
}

// readEntry reads an entry of the directory and its header, and gives what is behind it.
func (p *pack) readEntry(dir []byte) ([]byte, error) {
	if len(dir) < centralSize || string(dir[:4]) != "PK\x01\x02" || len(dir) < centralSize+variable(dir) {
		return nil, wrong("its directory is damaged")
	}
	b := dir[:centralSize+variable(dir)]
	e := &entry{
		central: b, name: string(b[centralSize : centralSize+int(binary.LittleEndian.Uint16(b[28:]))]),
		flags: binary.LittleEndian.Uint16(b[8:]), method: binary.LittleEndian.Uint16(b[10:]), crc: binary.LittleEndian.Uint32(b[16:]),
		packed: int64(binary.LittleEndian.Uint32(b[20:])), full: int64(binary.LittleEndian.Uint32(b[24:])), start: int64(binary.LittleEndian.Uint32(b[42:])),
	}
	if e.packed == math.MaxUint32 || e.full == math.MaxUint32 || e.start == math.MaxUint32 || e.flags&flagLocked != 0 || e.method != methodStored && e.method != methodDeflate {
		return nil, wrong("a part is encrypted, or packed in an unusual way")
	}
	if hasOddExtra(b[centralSize+len(e.name):][:binary.LittleEndian.Uint16(b[30:])]) {
		return nil, wrong("a part has another name or size besides")
	}
	if p.find(e.name) != nil || strings.ContainsAny(e.name, "\\\x00") || strings.Contains("/"+e.name, "//") || strings.Contains("/"+e.name+"/", "/../") {
		return nil, wrong("a part is there twice, or has an odd name")
	}
	if err := p.readLocal(e); err != nil {
		return nil, err
	}
	p.entries = append(p.entries, e)
	p.byName[key(e.name)] = e
	return dir[len(b):], nil
}

// hasOddExtra reports whether an extra field has sizes, a way to be encrypted, or another name (APPNOTE.TXT
// 4.5.2): some programs go by it, and some do not.
func hasOddExtra(b []byte) bool {
	for len(b) >= 4 {
		switch binary.LittleEndian.Uint16(b) {
		case 0x0001, 0x0017, 0x6375, 0x7075, 0x9901:
			return true
		}
		b = b[min(4+int(binary.LittleEndian.Uint16(b[2:])), len(b)):]
	}
	return len(b) > 0 && !isZero(b)
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// readLocal reads the header of an entry, which must say the same as the directory.
func (p *pack) readLocal(e *entry) error {
	h, err := p.read(e.start, localSize)
	if err != nil {
		return err
	}
	nameLen, extraLen := int64(binary.LittleEndian.Uint16(h[26:])), int64(binary.LittleEndian.Uint16(h[28:]))
	name, err := p.read(e.start+localSize, nameLen+extraLen)
	if err != nil {
		return err
	}
	if hasOddExtra(name[nameLen:]) {
		return wrong("a part has another name or size besides")
	}
	name = name[:nameLen]
	same := func(at int, want int64) bool {
		v := int64(binary.LittleEndian.Uint32(h[at:]))
		return v == want || e.flags&flagLater != 0 && v == 0
	}
	if string(h[:4]) != "PK\x03\x04" || string(name) != e.name || binary.LittleEndian.Uint16(h[6:]) != e.flags || binary.LittleEndian.Uint16(h[8:]) != e.method ||
		!same(14, int64(e.crc)) || !same(18, e.packed) || !same(22, e.full) {
		return wrong("a part is not what the directory says")
	}
	e.data = e.start + localSize + nameLen + extraLen
	e.end = e.data + e.packed
	return nil
}

// tile checks that the entries lie one behind the other, and nothing is between them but the sizes that
// come behind the data of some.
func (p *pack) tile() error {
	order := slices.Clone(p.entries)
	slices.SortFunc(order, func(a, b *entry) int { return int(min(max(a.start-b.start, -1), 1)) })
	at := int64(0)
	for i, e := range order {
		if e.start != at {
			return wrong("there is something between its parts")
		}
		next := p.dir
		if i+1 < len(order) {
			next = order[i+1].start
		}
		if more := next - e.end; more != 0 {
			if e.flags&flagLater == 0 || more != 12 && more != 16 || !p.isDescriptor(e, more) {
				return wrong("there is something between its parts")
			}
			e.end = next
		} else if e.flags&flagLater != 0 && e.packed > 0 && !p.saysSizes(e) {
			return wrong("the sizes of a part are nowhere")
		}
		at = e.end
	}
	if at != p.dir {
		return wrong("there is something between its parts")
	}
	return nil
}

// isDescriptor reports whether the n bytes behind the data of an entry are its checksum and sizes.
func (p *pack) isDescriptor(e *entry, n int64) bool {
	b, err := p.read(e.end, n)
	if err != nil || n == 16 && string(b[:4]) != "PK\x07\x08" {
		return false
	}
	b = b[n-12:]
	return binary.LittleEndian.Uint32(b) == e.crc && int64(binary.LittleEndian.Uint32(b[4:])) == e.packed && int64(binary.LittleEndian.Uint32(b[8:])) == e.full
}

// saysSizes reports whether the header of an entry has the sizes itself.
func (p *pack) saysSizes(e *entry) bool {
	h, err := p.read(e.start, localSize)
	return err == nil && int64(binary.LittleEndian.Uint32(h[18:])) == e.packed
}

// part reads the content of an entry.
func (p *pack) part(e *entry) ([]byte, error) {
	if e.content != nil {
		return e.content, nil
	}
	if p.taken += e.full; e.full > maxPart || p.taken > maxRead {
		return nil, fmt.Errorf("the part %s is too large to be changed", quoted(e.name))
	}
	var r io.Reader = io.NewSectionReader(p.r, e.data, e.packed)
	if e.method == methodDeflate {
		r = flate.NewReader(r)
	}
	b, err := io.ReadAll(io.LimitReader(r, e.full+1))
	if err != nil || int64(len(b)) != e.full || crc32.ChecksumIEEE(b) != e.crc {
		return nil, wrong("the part " + quoted(e.name) + " is damaged")
	}
	return b, nil
}

// edits are those that make the document what it is to be. All entries that are not changed stay as they
// are, byte for byte; new content is not compressed.
func (p *pack) edits(of *eml.Part) []eml.Edit {
	var out []eml.Edit
	moved := map[*entry]int64{}
	order := slices.Clone(p.entries)
	slices.SortFunc(order, func(a, b *entry) int { return int(min(max(a.start-b.start, -1), 1)) })
	shift := int64(0)
	for _, e := range order {
		moved[e] = e.start + shift
		switch {
		case e.dropped:
			out = append(out, eml.Edit{Part: of, Region: eml.InContent, Start: e.start, End: e.end})
			shift -= e.end - e.start
		case e.content != nil:
			text := append(e.local(), e.content...)
			out = append(out, eml.Edit{Part: of, Region: eml.InContent, Start: e.start, End: e.end, Text: text})
			shift += int64(len(text)) - (e.end - e.start)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return append(out, eml.Edit{Part: of, Region: eml.InContent, Start: p.dir, End: p.size, Text: p.directory(moved, p.dir+shift)})
}

// local is a new header of an entry.
func (e *entry) local() []byte {
	b := append([]byte("PK\x03\x04\x14\x00"), make([]byte, localSize-6)...)
	binary.LittleEndian.PutUint16(b[6:], e.flags&flagUTF8)
	copy(b[10:14], e.central[12:16]) // time and date
	binary.LittleEndian.PutUint32(b[14:], crc32.ChecksumIEEE(e.content))
	binary.LittleEndian.PutUint32(b[18:], uint32(len(e.content)))
	binary.LittleEndian.PutUint32(b[22:], uint32(len(e.content)))
	binary.LittleEndian.PutUint16(b[26:], uint16(len(e.name)))
	return append(b, e.name...)
}

// directory is the new directory, with its end.
func (p *pack) directory(moved map[*entry]int64, at int64) []byte {
	var b bytes.Buffer
	n := 0
	for _, e := range p.entries {
		if e.dropped {
			continue
		}
		n++
		c := slices.Clone(e.central)
		if e.content != nil {
			c = c[:centralSize+len(e.name)]
			binary.LittleEndian.PutUint16(c[6:], 20)
			copy(c[8:14], e.local()[6:12])
			copy(c[12:28], e.local()[10:26])
			copy(c[30:34], "\x00\x00\x00\x00") // extra field and comment
		}
		binary.LittleEndian.PutUint32(c[42:], uint32(moved[e]))
		b.Write(c)
	}
	end := append([]byte("PK\x05\x06"), make([]byte, endSize-4)...)
	binary.LittleEndian.PutUint16(end[8:], uint16(n))
	binary.LittleEndian.PutUint16(end[10:], uint16(n))
	binary.LittleEndian.PutUint32(end[12:], uint32(b.Len()))
	binary.LittleEndian.PutUint32(end[16:], uint32(at))
	b.Write(end)
	return b.Bytes()
}

// resolve is the name of the part that a relationship of another leads to (ECMA-376 part 2, 6.5).
func resolve(source, target string) string {
	if strings.HasPrefix(target, "/") {
		return key(path.Clean(target))
	}
	return key(path.Join("/", path.Dir(source), target))
}
