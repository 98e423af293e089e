package disk

import (
	"encoding/binary"
	"fmt"
	"io"
)

// virtual tells the format of a virtual disk, and how it is opened; nil if it is none.
func virtual(vol volume) (open func(volume) (volume, error), name string) {
	switch {
	case vol.has(0, "vhdxfile"):
		return vhdx, "VHDX"
	case vol.has(0, "KDMV"):
		return vmdk, "VMDK"
	case vol.has(0, "QFI\xfb"):
		return qcow, "QCOW"
	case vol.has(vol.size-512, "koly"):
		return dmg, "DMG"
	case vhdFooter(vol) != nil:
		return vhd, "VHD"
	}
	return nil, ""
}

// A chunked gives bytes that are kept in chunks of one size.
type chunked struct {
	chunk, size int64
	// read fills p with what is in a chunk from at on.
	read func(p []byte, chunk, at int64) error
}

func (c chunked) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= c.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > c.size-off
	p = p[:min(int64(len(p)), c.size-off)]
	for n < len(p) {
		chunk, at := off/c.chunk, off%c.chunk
		k := int(min(c.chunk-at, int64(len(p)-n)))
		if err := c.read(p[n:n+k], chunk, at); err != nil {
			return n, err
		}
		n, off = n+k, off+int64(k)
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// maxCached is how many unpacked chunks are kept.
const maxCached = 4

// A cache keeps the chunks that were unpacked last.
type cache struct{ list []cached }

type cached struct {
	key int64
	b   []byte
}

// get gives the chunk of a key, and calls load if it is not kept.
func (c *cache) get(key int64, load func() ([]byte, error)) ([]byte, error) {
	for _, e := range c.list {
		if e.key == key {
			return e.b, nil
		}
	}
	b, err := load()
	if err != nil {
		return nil, err
	}
	if len(c.list) >= maxCached {
		c.list = c.list[1:]
	}
	c.list = append(c.list, cached{key, b})
	return b, nil
}

// copyFrom gives what a chunk has from at on; zeros follow.
func copyFrom(p, chunk []byte, at int64) {
	n := copy(p, chunk[min(at, int64(len(chunk))):])
	clear(p[n:])
}

// readChunk reads len(p) bytes at off.
func readChunk(vol volume, p []byte, off int64) error {
	if n, err := vol.ReadAt(p, off); n < len(p) {
		return readError(err)
	}
	return nil
}

// unpack reads what a decoder gives, at most n bytes.
func unpack(w *walk, r io.Reader, n int64) ([]byte, error) {
	if err := w.spend(n); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, n)) // a decoder whose input ends too early says so
	if err != nil {
		return nil, damagedf("a packed block of a virtual disk: %v", err)
	}
	return b, nil
}

// Types of a VHD (Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format").
const (
	vhdFixed   = 2
	vhdDynamic = 3
)

// vhdFooter is the footer of a VHD, or the copy of it at the beginning; nil if there is none that
// is whole.
func vhdFooter(vol volume) []byte {
	for _, at := range []int64{vol.size - 512, 0} {
		b := vol.peek(at, 512)
		if len(b) < 512 || string(b[:8]) != "conectix" {
			continue
		}
		sum := uint32(0)
		for i, c := range b {
			if i < 64 || i >= 68 {
				sum += uint32(c)
			}
		}
		if ^sum == binary.BigEndian.Uint32(b[64:]) {
			return b
		}
	}
	return nil
}

// vhd maps a VHD.
func vhd(vol volume) (volume, error) {
	footer := vhdFooter(vol)
	if other := vhdFooter(vol.part(0, 512)); other != nil && string(other[16:64]) != string(footer[16:64]) {
		vol.w.v.Note(fmt.Errorf("%w: the two footers of a VHD differ", ErrAmbiguous))
	}
	size := int64(binary.BigEndian.Uint64(footer[48:]) & (1<<62 - 1))
	switch binary.BigEndian.Uint32(footer[60:]) {
	case vhdFixed:
		return vol.part(0, vol.size-512), nil
	case vhdDynamic:
	default:
		return vol, unsupportedf("a VHD that needs another one")
	}
	at := int64(binary.BigEndian.Uint64(footer[16:]) & (1<<62 - 1))
	h, err := vol.read(at, 1024)
	if err != nil {
		return vol, err
	}
	table, blocks, block := int64(binary.BigEndian.Uint64(h[16:])&(1<<62-1)), int64(binary.BigEndian.Uint32(h[28:])), int64(binary.BigEndian.Uint32(h[32:]))
	if string(h[:8]) != "cxsparse" || block < 512 || block&(block-1) != 0 {
		return vol, damagedf("the header of a VHD")
	}
	bitmap := (block/512/8 + 511) &^ 511
	size = min(size, blocks*block)
	return volume{chunked{block, size, func(p []byte, chunk, at int64) error {
		var e [4]byte
		if err := readChunk(vol, e[:], table+4*chunk); err != nil {
			return err
		}
		sector := int64(binary.BigEndian.Uint32(e[:]))
		if sector == 0xffffffff {
			clear(p)
			return nil
		}
		return readChunk(vol, p, sector*512+bitmap+at)
	}}, size, vol.w}, nil
}
