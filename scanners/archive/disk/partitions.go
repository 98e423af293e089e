package disk

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	// maxPartitions is how many partitions of one disk are read.
	maxPartitions = 256
	diskSector    = 512
)

// A partition is a run of bytes of a disk.
type partition struct {
	off, n int64
	kind   string // for people: " (type 0x27)"
}

// partitions are those of all tables of a disk: MBR, GPT and that of Apple.
func partitions(vol volume) ([]partition, error) {
	parts, err := mbr(vol)
	for _, more := range [][]partition{gpt(vol), apm(vol)} {
		for _, p := range more {
			if !slices.ContainsFunc(parts, func(q partition) bool { return q.off == p.off && q.n == p.n }) {
				parts = append(parts, p)
			}
		}
	}
	if len(parts) > maxPartitions {
		return parts[:maxPartitions], fmt.Errorf("%w: more than %d partitions", ErrLimit, maxPartitions)
	}
	return parts, err
}

// mbr reads the table of a PC, and the chain of further ones in extended partitions.
func mbr(vol volume) (parts []partition, err error) {
	extended := int64(0)
	for _, e := range mbrTable(vol, 0) {
		switch e.kind {
		case 0x05, 0x0f, 0x85:
			extended = e.off
		case 0xee: // a GPT is behind it
		default:
			parts = append(parts, partition{e.off, e.n, fmt.Sprintf(" (type %#02x)", e.kind)})
		}
	}
	for at, n := extended, 0; at > 0; n++ {
		if n > maxPartitions {
			return parts, damagedf("extended partitions without an end")
		}
		next := int64(0)
		for _, e := range mbrTable(vol, at) {
			if e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 {
				next = extended + e.off
			} else {
				parts = append(parts, partition{at + e.off, e.n, fmt.Sprintf(" (type %#02x)", e.kind)})
			}
		}
		at = next
	}
	return parts, nil
}

type mbrEntry struct {
	off, n int64
	kind   byte
}

// mbrTable reads the entries of one table that are in use.
func mbrTable(vol volume, at int64) (entries []mbrEntry) {
	b := vol.peek(at, diskSector)
	if len(b) < diskSector || b[510] != 0x55 || b[511] != 0xaa {
		return nil
	}
	for i := 446; i < 510; i += 16 {
		e := mbrEntry{
			int64(binary.LittleEndian.Uint32(b[i+8:])) * diskSector, int64(binary.LittleEndian.Uint32(b[i+12:])) * diskSector, b[i+4],
		}
		if b[i]&0x7f == 0 && e.kind != 0 && e.n > 0 && e.off+at < vol.size {
			entries = append(entries, e)
		}
	}
	return entries
}

// diskEnd is where the last partition of a disk ends; 0 if it has none.
func diskEnd(vol volume) (end int64) {
	for _, e := range mbrTable(vol, 0) {
		end = max(end, min(e.off+e.n, vol.size))
	}
	return end
}

// gpt reads the table of UEFI (UEFI specification 5.3), or its copy at the end of the disk.
func gpt(vol volume) (parts []partition) {
	for _, sector := range []int64{diskSector, 4096} {
		for _, at := range []int64{sector, (vol.size/sector - 1) * sector} {
			h := vol.peek(at, 92)
			if len(h) < 92 || string(h[:8]) != "EFI PART" {
				continue
			}
			off := int64(binary.LittleEndian.Uint64(h[72:])&(1<<40-1)) * sector
			n, width := int64(binary.LittleEndian.Uint32(h[80:])), int64(binary.LittleEndian.Uint32(h[84:]))
			if width < 128 || width > 4096 {
				continue
			}
			for i := range min(n, 2*maxPartitions) {
				e := vol.peek(off+i*width, 128)
				if len(e) < 128 || string(e[:16]) == string(make([]byte, 16)) {
					continue
				}
				first, last := binary.LittleEndian.Uint64(e[32:])&(1<<40-1), binary.LittleEndian.Uint64(e[40:])&(1<<40-1)
				if p := (partition{int64(first) * sector, int64(last-first+1) * sector, " (GPT)"}); last >= first && p.off < vol.size {
					parts = append(parts, p)
				}
			}
			if len(parts) > 0 {
				return parts
			}
		}
	}
	return nil
}

// apm reads the table of Apple (Inside Macintosh: Devices, 3-25).
func apm(vol volume) (parts []partition) {
	for _, sector := range []int64{diskSector, isoSector} {
		for i := range int64(maxPartitions) {
			e := vol.peek((i+1)*sector, 80)
			if len(e) < 80 || string(e[:2]) != "PM" {
				break
			}
			kind := string(e[48:80])
			p := partition{int64(binary.BigEndian.Uint32(e[8:])) * sector, int64(binary.BigEndian.Uint32(e[12:])) * sector, ""}
			if p.n > 0 && p.off < vol.size && kind[:14] != "Apple_partitio" && kind[:10] != "Apple_Free" && kind[:10] != "Apple_Void" {
				parts = append(parts, p)
			}
		}
	}
	return parts
}
