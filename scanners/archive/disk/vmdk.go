package disk

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
)

// vmdk maps a sparse extent of VMware (Virtual Disk Format 5.0, "Hosted Sparse Extents").
func vmdk(vol volume) (volume, error) {
	h := vol.peek(0, 512)
	if len(h) == 512 && binary.LittleEndian.Uint64(h[56:]) == 1<<64-1 { // written as a stream: the real one is at the end
		h = vol.peek(vol.size-1024, 512)
	}
	if len(h) < 512 || string(h[:4]) != "KDMV" {
		return vol, damagedf("a VMDK without its footer")
	}
	flags := binary.LittleEndian.Uint32(h[8:])
	u64 := func(at int) int64 { return int64(binary.LittleEndian.Uint64(h[at:]) & (1<<40 - 1)) }
	capacity, grain, perTable, dir := u64(12)*diskSector, u64(20)*diskSector, int64(binary.LittleEndian.Uint32(h[44:])), u64(56)*diskSector
	if grain < 512 || grain > 1<<20 || grain&(grain-1) != 0 || perTable == 0 || perTable > 4096 {
		return vol, damagedf("the header of a VMDK")
	}
	if d := vol.peek(u64(28)*diskSector, min(u64(36)*diskSector, 64<<10)); bytes.Contains(d, []byte("parentFileNameHint")) {
		return vol, unsupportedf("a VMDK that needs another one")
	}
	m := &vmdkMap{vol: vol, grain: grain, perTable: perTable, dir: dir, packed: flags&(1<<16) != 0}
	return volume{chunked{grain, capacity, m.read}, capacity, vol.w}, nil
}

type vmdkMap struct {
	vol                  volume
	grain, perTable, dir int64
	packed               bool
	kept                 cache
}

func (m *vmdkMap) read(p []byte, chunk, at int64) error {
	table, err := m.entry(m.dir + 4*(chunk/m.perTable))
	if err != nil {
		return err
	}
	sector := int64(0)
	if table > 1 {
		if sector, err = m.entry(table*diskSector + 4*(chunk%m.perTable)); err != nil {
			return err
		}
	}
	if sector <= 1 { // nothing there, or zeros
		clear(p)
		return nil
	}
	if !m.packed {
		return readChunk(m.vol, p, sector*diskSector+at)
	}
	b, err := m.kept.get(sector, func() ([]byte, error) { return m.unpack(sector * diskSector) })
	if err != nil {
		return err
	}
	copyFrom(p, b, at)
	return nil
}

func (m *vmdkMap) entry(off int64) (int64, error) {
	var e [4]byte
	err := readChunk(m.vol, e[:], off)
	return int64(binary.LittleEndian.Uint32(e[:])), err
}

// unpack reads a packed grain: its place in the disk, its packed size, and a zlib stream.
func (m *vmdkMap) unpack(off int64) ([]byte, error) {
	h, err := m.vol.read(off, 12)
	if err != nil {
		return nil, err
	}
	z, err := zlib.NewReader(io.NewSectionReader(m.vol, off+12, int64(binary.LittleEndian.Uint32(h[8:]))))
	if err != nil {
		return nil, damagedf("a packed grain of a VMDK: %v", err)
	}
	return unpack(m.vol.w, z, m.grain)
}

// qcow maps an image of QEMU, versions 2 and 3 (docs/interop/qcow2).
func qcow(vol volume) (volume, error) {
	h := vol.peek(0, 112)
	if len(h) < 112 {
		return vol, damagedf("a QCOW without its header")
	}
	version := binary.BigEndian.Uint32(h[4:])
	u64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(h[at:]) & (1<<62 - 1)) }
	bits := binary.BigEndian.Uint32(h[20:])
	incompatible := uint64(0)
	if version == 3 {
		incompatible = binary.BigEndian.Uint64(h[72:])
	}
	switch {
	case version != 2 && version != 3:
		return vol, unsupportedf("QCOW of version %d", version)
	case binary.BigEndian.Uint32(h[32:]) != 0:
		return vol, fmt.Errorf("%w: QCOW", ErrEncrypted)
	case u64(8) != 0:
		return vol, unsupportedf("a QCOW that needs another one")
	case incompatible&^3 != 0: // the last two say that it was not closed, or is damaged
		return vol, unsupportedf("a QCOW with an external file, its own packing or parts of clusters")
	case bits < 9 || bits > 21:
		return vol, damagedf("the header of a QCOW")
	}
	m := &qcowMap{vol: vol, bits: bits, l1: u64(40), n1: int64(binary.BigEndian.Uint32(h[36:]))}
	return volume{chunked{1 << bits, u64(24), m.read}, u64(24), vol.w}, nil
}

type qcowMap struct {
	vol    volume
	bits   uint32
	l1, n1 int64
	kept   cache
}

const qcowOffset = 0x00fffffffffffe00

func (m *qcowMap) read(p []byte, chunk, at int64) error {
	per := int64(1) << (m.bits - 3)
	if chunk/per >= m.n1 {
		return damagedf("a QCOW with a table that is too short")
	}
	l2, err := m.entry(m.l1 + 8*(chunk/per))
	if err != nil {
		return err
	}
	e := uint64(0)
	if l2&qcowOffset != 0 {
		if e, err = m.entry(int64(l2&qcowOffset) + 8*(chunk%per)); err != nil {
			return err
		}
	}
	switch {
	case e&(1<<62) != 0:
		b, err := m.kept.get(int64(e), func() ([]byte, error) { return m.unpack(e) })
		if err != nil {
			return err
		}
		copyFrom(p, b, at)
		return nil
	case e&qcowOffset == 0 || e&1 != 0:
		clear(p)
		return nil
	}
	return readChunk(m.vol, p, int64(e&qcowOffset)+at)
}

func (m *qcowMap) entry(off int64) (uint64, error) {
	var e [8]byte
	err := readChunk(m.vol, e[:], off)
	return binary.BigEndian.Uint64(e[:]), err
}

// unpack reads a packed cluster, whose entry has its place and the number of its sectors.
func (m *qcowMap) unpack(e uint64) ([]byte, error) {
	shift := 62 - (m.bits - 8)
	off := int64(e & (1<<shift - 1))
	sectors := int64(e>>shift&(1<<(m.bits-8)-1)) + 1
	return unpack(m.vol.w, flate.NewReader(io.NewSectionReader(m.vol, off, sectors*512-off&511)), 1<<m.bits)
}
