package disk

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

const (
	// maxDMGList is how large the property list of a DMG may be.
	maxDMGList = 8 << 20
	// maxDMGBlock is how large a packed block of a DMG may be, unpacked.
	maxDMGBlock = 8 << 20
)

// encryptedDMG tells an encrypted image of Apple.
func encryptedDMG(vol volume) error {
	if vol.has(0, "encrcdsa") || vol.has(vol.size-8, "cdsaencr") {
		return fmt.Errorf("%w: DMG", ErrEncrypted)
	}
	return nil
}

// A dmgBlock is a run of sectors of a DMG.
type dmgBlock struct {
	kind           uint32
	off, n         int64 // in the disk
	packed, length int64 // in the file
}

// dmg maps an image of Apple (UDIF, of which there is no specification; the fields are those that
// hdiutil writes).
func dmg(vol volume) (volume, error) {
	koly, err := vol.read(vol.size-512, 512)
	if err != nil {
		return vol, err
	}
	u64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(koly[at:]) & (1<<50 - 1)) }
	fork, off, n := u64(24), u64(216), u64(224)
	if n == 0 {
		return vol, unsupportedf("a DMG without a property list")
	}
	if n > maxDMGList {
		return vol, fmt.Errorf("%w: a property list of %d bytes", ErrLimit, n)
	}
	list, err := vol.read(off, n)
	if err != nil {
		return vol, err
	}
	m := &dmgMap{vol: vol}
	tables, err := dmgTables(list)
	if err != nil {
		return vol, err
	}
	for _, t := range tables {
		if err := m.add(t, fork); err != nil {
			return vol, err
		}
	}
	slices.SortFunc(m.blocks, func(a, b dmgBlock) int { return int(min(max(a.off-b.off, -1), 1)) })
	size := int64(0)
	for _, b := range m.blocks {
		size = max(size, b.off+b.n)
	}
	return volume{m, size, vol.w}, nil
}

// dmgTables are the tables of blocks in a property list: the data under the key blkx.
func dmgTables(list []byte) (tables [][]byte, err error) {
	d := xml.NewDecoder(bytes.NewReader(list))
	var text strings.Builder
	inside := false
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return tables, nil
		}
		if err != nil {
			return nil, damagedf("the property list of a DMG")
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			text.Reset()
		case xml.CharData:
			text.Write(tok)
		case xml.EndElement:
			switch tok.Name.Local {
			case "key":
				if key := text.String(); key == "blkx" {
					inside = true
				}
			case "array":
				inside = false
			case "data":
				b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text.String()), ""))
				if err != nil && inside {
					return nil, damagedf("the property list of a DMG")
				}
				if inside {
					tables = append(tables, b)
				}
			}
		}
	}
}

type dmgMap struct {
	vol    volume
	blocks []dmgBlock // by where they are in the disk
	kept   cache
}

// The kinds of blocks.
const (
	dmgZero    = 0
	dmgRaw     = 1
	dmgIgnore  = 2
	dmgADC     = 0x80000004
	dmgZlib    = 0x80000005
	dmgBzip2   = 0x80000006
	dmgComment = 0x7ffffffe
	dmgEnd     = 0xffffffff
)

// add reads one table of blocks.
func (m *dmgMap) add(t []byte, fork int64) error {
	if len(t) < 204 || string(t[:4]) != "mish" {
		return damagedf("a table of blocks of a DMG")
	}
	u64 := func(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) & (1<<50 - 1)) }
	first, data := u64(t[8:]), u64(t[24:])
	for b := t[204:]; len(b) >= 40; b = b[40:] {
		e := dmgBlock{binary.BigEndian.Uint32(b), (first + u64(b[8:])) * diskSector, u64(b[16:]) * diskSector, fork + data + u64(b[24:]), u64(b[32:])}
		if e.kind == dmgComment || e.kind == dmgEnd || e.n == 0 {
			continue
		}
		if e.kind > dmgIgnore && e.n > maxDMGBlock {
			return fmt.Errorf("%w: a block of a DMG of %d bytes", ErrLimit, e.n)
		}
		if err := m.vol.w.spend(64); err != nil {
			return err
		}
		m.blocks = append(m.blocks, e)
	}
	return nil
}

func (m *dmgMap) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		i := sort.Search(len(m.blocks), func(i int) bool { return m.blocks[i].off > off }) - 1
		next := int64(1) << 62
		if i+1 < len(m.blocks) {
			next = m.blocks[i+1].off
		} else if i < 0 || off >= m.blocks[i].off+m.blocks[i].n {
			return n, io.EOF
		}
		q := p[n:]
		if i < 0 || off >= m.blocks[i].off+m.blocks[i].n {
			q = q[:min(int64(len(q)), next-off)]
			clear(q)
		} else {
			b := &m.blocks[i]
			q = q[:min(int64(len(q)), b.off+b.n-off, max(next-off, 1))]
			if err := m.read(q, b, off-b.off); err != nil {
				return n, err
			}
		}
		n, off = n+len(q), off+int64(len(q))
	}
	return n, nil
}

// read fills p with what is in a block from at on.
func (m *dmgMap) read(p []byte, b *dmgBlock, at int64) error {
	switch b.kind {
	case dmgZero, dmgIgnore:
		clear(p)
		return nil
	case dmgRaw:
		return readChunk(m.vol, p, b.packed+at)
	}
	c, err := m.kept.get(b.off, func() ([]byte, error) { return m.unpack(b) })
	if err != nil {
		return err
	}
	copyFrom(p, c, at)
	return nil
}

func (m *dmgMap) unpack(b *dmgBlock) ([]byte, error) {
	in := io.NewSectionReader(m.vol, b.packed, b.length)
	switch b.kind {
	case dmgZlib:
		z, err := zlib.NewReader(in)
		if err != nil {
			return nil, damagedf("a block of a DMG: %v", err)
		}
		return unpack(m.vol.w, z, b.n)
	case dmgBzip2:
		return unpack(m.vol.w, bzip2.NewReader(in), b.n)
	case dmgADC:
		return unpack(m.vol.w, &adc{in: newByteReader(in)}, b.n)
	}
	return nil, unsupportedf("a block of a DMG packed with method %#x (LZFSE, LZMA)", b.kind)
}
