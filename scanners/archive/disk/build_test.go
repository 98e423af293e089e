package disk

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

var le, be = binary.LittleEndian, binary.BigEndian

// An isoItem is a directory record.
type isoItem struct {
	name  string // of one tree
	lba   uint32
	size  uint32
	flags byte
	use   string // system use
}

func (r isoItem) bytes(joliet bool) []byte {
	name := []byte(r.name)
	if joliet && len(r.name) > 1 {
		name = nil
		for _, c := range utf16.Encode([]rune(r.name)) {
			name = be.AppendUint16(name, c)
		}
	}
	b := make([]byte, 33, 255)
	le.PutUint32(b[2:], r.lba)
	be.PutUint32(b[6:], r.lba)
	le.PutUint32(b[10:], r.size)
	be.PutUint32(b[14:], r.size)
	b[25], b[28], b[32] = r.flags, 1, byte(len(name))
	b = append(b, name...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	b = append(b, r.use...)
	b[0] = byte(len(b))
	return b
}

// isoDirOf is a directory: itself, its parent, and what is in it, in whole sectors.
func isoDirOf(lba uint32, joliet bool, items ...isoItem) []byte {
	items = append([]isoItem{{"\x00", lba, isoSector, isoDir, ""}, {"\x01", lba, isoSector, isoDir, ""}}, items...)
	var b []byte
	for _, r := range items {
		rec := r.bytes(joliet)
		if room := isoSector - len(b)%isoSector; len(rec) > room {
			b = append(b, make([]byte, room)...)
		}
		b = append(b, rec...)
	}
	return append(b, make([]byte, (isoSector-len(b)%isoSector)%isoSector)...)
}

// An isoBuilder makes an image: two trees at sectors 20 and 22, files from 24 on.
type isoBuilder struct{ b []byte }

func newISO() *isoBuilder {
	i := &isoBuilder{make([]byte, 24*isoSector)}
	for n, kind := range []byte{1, 2, 255} {
		d := i.b[(16+n)*isoSector:]
		d[0] = kind
		copy(d[1:], "CD001\x01")
		le.PutUint16(d[128:], isoSector)
		copy(d[156:], isoItem{"\x00", uint32(20 + 2*n), isoSector, isoDir, ""}.bytes(false))
		if kind == 2 {
			copy(d[88:], "%/E")
		}
	}
	i.dir(20, false)
	i.dir(22, true)
	return i
}

// put appends content, and gives its sector.
func (i *isoBuilder) put(content string) uint32 {
	lba := uint32(len(i.b) / isoSector)
	i.b = append(i.b, content...)
	i.b = append(i.b, make([]byte, (isoSector-len(i.b)%isoSector)%isoSector)...)
	return lba
}

// dir writes a directory of up to two sectors.
func (i *isoBuilder) dir(lba uint32, joliet bool, items ...isoItem) {
	d := isoDirOf(lba, joliet, items...)
	copy(i.b[lba*isoSector:], d)
	if lba == 20 || lba == 22 {
		root := i.b[(16+(lba-20)/2)*isoSector+156:]
		le.PutUint32(root[10:], uint32(len(d)))
	}
}

// udfOf is a UDF volume of 512-byte blocks with one partition from block 300 on, and files at the root.
// With metadata, all but the content of files is in a metadata partition (UDF 2.50).
type udfBuilder struct {
	b    []byte
	next uint32 // block of the partition
	meta bool
	fids []byte
}

const udfStart = 300

func newUDF(meta bool) *udfBuilder {
	u := &udfBuilder{b: make([]byte, 600*512), next: 100, meta: meta}
	for i, id := range []string{"BEA01", "NSR03", "TEA01"} {
		copy(u.b[(16+i)*isoSector+1:], id+"\x01")
	}
	anchor := make([]byte, 512)
	le.PutUint32(anchor[16:], 16*512)
	le.PutUint32(anchor[20:], 257)
	u.at(256, udfAnchor, anchor)
	part := make([]byte, 512)
	le.PutUint32(part[16:], 1)
	copy(part[25:], "+NSR03")
	le.PutUint32(part[188:], udfStart)
	le.PutUint32(part[192:], 1<<20)
	u.at(257, udfPartition, part)
	lvd := make([]byte, 512)
	le.PutUint32(lvd[212:], 512)
	copy(lvd[217:], "*OSTA UDF Compliant")
	lvd[240], lvd[241] = 0x50, 2
	le.PutUint32(lvd[248:], 512)
	le.PutUint32(lvd[268:], 1)
	lvd[440], lvd[441] = 1, 6
	le.PutUint32(lvd[264:], 6)
	if meta {
		le.PutUint16(lvd[256:], 1)
		le.PutUint32(lvd[264:], 70)
		m := lvd[446:]
		m[0], m[1] = 2, 64
		copy(m[5:], "*UDF Metadata Partition")
		le.PutUint32(m[40:], 2) // the file is at block 2, and its content at block 10
	}
	u.at(258, udfLogical, lvd)
	u.at(259, udfEnd, make([]byte, 512))
	if meta {
		u.entry(udfStart+2, udfExtFile, 250, 50*512, udfShort(50*512, 10), 0)
	}
	fsd := make([]byte, 512)
	le.PutUint32(fsd[400:], 512)
	le.PutUint32(fsd[404:], 1)
	le.PutUint16(fsd[408:], u.ref())
	u.at(u.block(0), udfFileSet, fsd)
	return u
}

func (u *udfBuilder) ref() uint16 {
	if u.meta {
		return 1
	}
	return 0
}

// block is where a block of the partition of structures is.
func (u *udfBuilder) block(n uint32) uint32 {
	if u.meta {
		n += 10
	}
	return udfStart + n
}

// at writes a descriptor with its tag.
func (u *udfBuilder) at(block uint32, tag uint16, b []byte) {
	le.PutUint16(b, tag)
	b[2] = 3 // version
	le.PutUint32(b[12:], block)
	if block >= udfStart {
		le.PutUint32(b[12:], block-udfStart)
	}
	b[4] = 0
	for i, c := range b[:16] {
		if i != 4 {
			b[4] += c
		}
	}
	copy(u.b[block*512:], b)
}

// entry writes a file entry with allocation descriptors.
func (u *udfBuilder) entry(block uint32, tag uint16, kind byte, size uint64, ads string, flags uint16) {
	b := make([]byte, 512)
	b[20], b[24], b[27] = 4, 1, kind
	le.PutUint16(b[34:], flags)
	le.PutUint64(b[56:], size)
	data := 176
	if tag == udfExtFile {
		data = 216
	}
	le.PutUint32(b[data-4:], uint32(len(ads)))
	copy(b[data:], ads)
	u.at(block, tag, b)
}

func udfShort(n, lbn uint32) string { return string(le.AppendUint32(le.AppendUint32(nil, n), lbn)) }

func udfLongOf(n, lbn uint32, part uint16) string {
	b := le.AppendUint16(le.AppendUint32(le.AppendUint32(nil, n), lbn), part)
	return string(append(b, make([]byte, 6)...))
}

// add adds to the root what has its file entry at a block.
func (u *udfBuilder) add(name string, flags byte, block uint32) {
	b := make([]byte, 38)
	b[16], b[18], b[19] = 1, flags, byte(len(name)+1)
	copy(b[20:], udfLongOf(512, block, u.ref()))
	b = slices.Concat(b, []byte{8}, []byte(name))
	b = slices.Concat(b, make([]byte, (4-len(b)%4)%4))
	le.PutUint16(b, udfFileID)
	b[2] = 3
	for i, c := range b[:16] {
		if i != 4 {
			b[4] += c
		}
	}
	u.fids = append(u.fids, b...)
}

// file adds a file with content in the physical partition.
func (u *udfBuilder) file(name, content string, block uint32) {
	copy(u.b[(udfStart+u.next)*512:], content)
	u.entry(u.block(block), udfFile, 5, uint64(len(content)), udfLongOf(uint32(len(content)), u.next, 0), 1)
	u.next += uint32(len(content)+511) / 512
	u.add(name, 0, block)
}

// bytes writes the root, at block 1, with its content at 20.
func (u *udfBuilder) bytes() []byte {
	u.entry(u.block(1), udfFile, 4, uint64(len(u.fids)), udfLongOf(uint32(len(u.fids)), 20, u.ref()), 1)
	copy(u.b[u.block(20)*512:], u.fids)
	return u.b
}

// exfatWith puts files into the root of an empty exFAT.
func exfatWith(t testing.TB, files ...seenFile) []byte {
	b := fixture(t, "exfat.img")
	sector, cluster := int64(1)<<b[108], int64(1)<<(b[108]+b[109])
	heap, table := int64(le.Uint32(b[88:]))*sector, int64(le.Uint32(b[80:]))*sector
	root := heap + (int64(le.Uint32(b[96:]))-2)*cluster
	at := root
	used := int64(0) // the map of what is
	for ; b[at] != 0; at += 32 {
		if b[at] == 0x81 {
			used = heap + (int64(le.Uint32(b[at+20:]))-2)*cluster
		}
	}
	next := int64(20)
	for _, f := range files {
		name := utf16.Encode([]rune(f.names[0]))
		e := b[at:]
		e[0], e[1], e[4] = 0x85, byte(1+(len(name)+14)/15), 0x20
		e[32], e[33], e[35] = 0xc0, 1, byte(len(name))
		if !f.link { // its clusters follow each other
			e[33] = 3
		}
		le.PutUint64(e[40:], uint64(len(f.head)))
		le.PutUint32(e[52:], uint32(next))
		le.PutUint64(e[56:], uint64(f.size))
		for i, c := range name {
			n := e[64+32*(i/15):]
			n[0] = 0xc1
			le.PutUint16(n[2+2*(i%15):], c)
		}
		set := e[:64+32*((len(name)+14)/15)]
		le.PutUint16(set[36:], exHash(name))
		sum := uint16(0)
		for i, c := range set {
			if i != 2 && i != 3 {
				sum = (sum<<15 | sum>>1) + uint16(c)
			}
		}
		le.PutUint16(set[2:], sum)
		at += int64(len(set))
		for left := f.head; len(left) > 0; next += 2 {
			n := copy(b[heap+(next-2)*cluster:heap+(next-1)*cluster], left)
			left = left[n:]
			b[used+(next-2)/8] |= 1 << ((next - 2) % 8)
			le.PutUint32(b[table+4*next:], uint32(next+2))
			if len(left) == 0 {
				le.PutUint32(b[table+4*next:], 0xffffffff)
			}
		}
	}
	return b
}

// exHash is the hash of a name in upper case (exFAT specification, section 7.6.4).
func exHash(name []uint16) (sum uint16) {
	for _, c := range utf16.Encode([]rune(strings.ToUpper(string(utf16.Decode(name))))) {
		for _, b := range []byte{byte(c), byte(c >> 8)} {
			sum = (sum<<15 | sum>>1) + uint16(b)
		}
	}
	return sum
}

// dmgOf packs a disk as hdiutil does, in blocks of 64 sectors of several kinds.
func dmgOf(img []byte) []byte {
	var data, table []byte
	chunks := uint32(0)
	add := func(kind uint32, sector, count int, content []byte) {
		table = be.AppendUint32(be.AppendUint32(table, kind), 0)
		table = be.AppendUint64(be.AppendUint64(table, uint64(sector)), uint64(count))
		table = be.AppendUint64(be.AppendUint64(table, uint64(len(data))), uint64(len(content)))
		data = append(data, content...)
		chunks++
	}
	for at := 0; at < len(img); at += 64 * diskSector {
		b := img[at:min(at+64*diskSector, len(img))]
		switch {
		case len(bytes.Trim(b, "\x00")) == 0:
			add(dmgIgnore, at/diskSector, len(b)/diskSector, nil)
		case at%(128*diskSector) == 0:
			var z bytes.Buffer
			w := zlib.NewWriter(&z)
			w.Write(b)
			w.Close()
			add(dmgZlib, at/diskSector, len(b)/diskSector, z.Bytes())
		default:
			add(dmgRaw, at/diskSector, len(b)/diskSector, b)
		}
	}
	add(dmgEnd, len(img)/diskSector, 0, nil)
	mish := make([]byte, 204)
	copy(mish, "mish")
	be.PutUint32(mish[4:], 1)
	be.PutUint64(mish[16:], uint64(len(img)/diskSector))
	be.PutUint32(mish[200:], chunks)
	list := fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict><key>resource-fork</key><dict><key>blkx</key><array><dict>"+
		"<key>Attributes</key><string>0x0050</string><key>CFName</key><string>whole disk</string><key>Data</key><data>\n%s\n</data>"+
		"<key>ID</key><string>0</string><key>Name</key><string>whole disk</string></dict></array></dict></dict></plist>",
		base64.StdEncoding.EncodeToString(slices.Concat(mish, table)))
	koly := make([]byte, 512)
	copy(koly, "koly\x00\x00\x00\x04\x00\x00\x02\x00\x00\x00\x00\x01")
	be.PutUint64(koly[32:], uint64(len(data)))
	be.PutUint32(koly[56:], 1)
	be.PutUint32(koly[60:], 1)
	be.PutUint64(koly[216:], uint64(len(data)))
	be.PutUint64(koly[224:], uint64(len(list)))
	be.PutUint32(koly[488:], 1)
	be.PutUint64(koly[492:], uint64(len(img)/diskSector))
	return append(append(data, list...), koly...)
}

// rawCDOf has the sectors of an image with all that a CD has in each.
func rawCDOf(img []byte) (b []byte) {
	for at := 0; at < len(img); at += isoSector {
		b = append(b, "\x00"+strings.Repeat("\xff", 10)+"\x00\x00\x02\x00\x01"...)
		b = append(b, img[at:at+isoSector]...)
		b = append(b, make([]byte, 288)...)
	}
	return b
}
