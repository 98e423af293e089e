package disk

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Identifiers of regions and of metadata (MS-VHDX 2.2.3.2 and 2.6.2), as they stand in the file.
var (
	vhdxBAT      = guid("2dc27766f62342009d64115e9bfd4a08")
	vhdxMetadata = guid("8b7ca20647904b9ab8fe575f050f886e")
	vhdxFile     = guid("caa16737fa364d43b3b633f0aa44e76b")
	vhdxSize     = guid("2fa54224cd1b4876b2115dbed83bf4b8")
	vhdxSector   = guid("8141bf1da96f4709ba47f233a8faab5f")
)

// guid is an identifier as it is stored: its first three fields are little-endian.
func guid(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		panic("not a GUID: " + s) // they are constants
	}
	for _, f := range [][2]int{{0, 3}, {1, 2}, {4, 5}, {6, 7}} {
		b[f[0]], b[f[1]] = b[f[1]], b[f[0]]
	}
	return string(b)
}

// vhdx maps a VHDX (MS-VHDX).
func vhdx(vol volume) (volume, error) {
	if err := vhdxHeader(vol); err != nil {
		return vol, err
	}
	regions := vhdxRegions(vol)
	bat, okBAT := regions[vhdxBAT]
	meta, okMeta := regions[vhdxMetadata]
	if !okBAT || !okMeta {
		return vol, damagedf("a VHDX without its tables")
	}
	items := vhdxItems(vol, meta)
	file, size, sector := items[vhdxFile], items[vhdxSize], items[vhdxSector]
	if len(file) < 8 || len(size) < 8 || len(sector) < 4 {
		return vol, damagedf("a VHDX without its metadata")
	}
	if file[4]&2 != 0 {
		return vol, unsupportedf("a VHDX that needs another one")
	}
	block, total := int64(binary.LittleEndian.Uint32(file)), int64(binary.LittleEndian.Uint64(size)&(1<<62-1))
	logical := int64(binary.LittleEndian.Uint32(sector))
	if block < 1<<20 || block > 256<<20 || block&(block-1) != 0 || logical != 512 && logical != 4096 {
		return vol, damagedf("the metadata of a VHDX")
	}
	ratio := (1 << 23) * logical / block
	return volume{chunked{block, total, func(p []byte, chunk, at int64) error {
		i := chunk + chunk/ratio // an entry for a bitmap follows each so many
		var e [8]byte
		if 8*i+8 > bat.n {
			return damagedf("a VHDX with a table that is too short")
		}
		if err := readChunk(vol, e[:], bat.start+8*i); err != nil {
			return err
		}
		entry := binary.LittleEndian.Uint64(e[:])
		if state := entry & 7; state != 6 { // all others read as zeros in a disk that needs no other
			clear(p)
			return nil
		}
		return readChunk(vol, p, int64(entry>>20)<<20+at)
	}}, total, vol.w}, nil
}

// vhdxHeader reads the header that counts (MS-VHDX 2.2.2): the one with the higher sequence number.
// One with a log has changes that are not in the disk yet, and which Windows would make first.
func vhdxHeader(vol volume) error {
	var best []byte
	for _, at := range []int64{64 << 10, 128 << 10} {
		b := vol.peek(at, 80)
		if len(b) == 80 && string(b[:4]) == "head" &&
			(best == nil || binary.LittleEndian.Uint64(b[8:]) > binary.LittleEndian.Uint64(best[8:])) {
			best = b
		}
	}
	if best == nil {
		return damagedf("a VHDX without a header")
	}
	if strings.Trim(string(best[48:64]), "\x00") != "" {
		return unsupportedf("a VHDX with a log that is not carried out")
	}
	return nil
}

// vhdxRegions reads the region table (MS-VHDX 2.2.3), or its copy.
func vhdxRegions(vol volume) map[string]udfRun {
	regions := map[string]udfRun{}
	for _, at := range []int64{192 << 10, 256 << 10} {
		b := vol.peek(at, 64<<10)
		if len(b) < 16 || string(b[:4]) != "regi" {
			continue
		}
		for i := range min(int(binary.LittleEndian.Uint32(b[8:])), (len(b)-16)/32) {
			e := b[16+32*i:]
			regions[string(e[:16])] = udfRun{int64(binary.LittleEndian.Uint64(e[16:]) & (1<<62 - 1)), int64(binary.LittleEndian.Uint32(e[24:]))}
		}
		return regions
	}
	return regions
}

// vhdxItems reads the metadata (MS-VHDX 2.6).
func vhdxItems(vol volume, meta udfRun) map[string][]byte {
	items := map[string][]byte{}
	b := vol.peek(meta.start, 64<<10)
	if len(b) < 32 || string(b[:8]) != "metadata" {
		return items
	}
	for i := range min(int(binary.LittleEndian.Uint16(b[10:])), (len(b)-32)/32) {
		e := b[32+32*i:]
		items[string(e[:16])] = vol.peek(meta.start+int64(binary.LittleEndian.Uint32(e[16:])), int64(min(binary.LittleEndian.Uint32(e[20:]), 4096)))
	}
	return items
}
