package eml

import (
	"bytes"
	"encoding/binary"
	"io"
)

// isDisk tells an image of a disk that nothing but its content tells: a file system, or a table of
// partitions. All take more than the two bytes 55 AA, which are anywhere.
func isDisk(r io.ReaderAt, head []byte, size int64) bool {
	if size < 1536 || len(head) < 1024 {
		return false
	}
	for _, m := range []magic{
		{0, "LUKS\xba\xbe", ""}, {32, "NXSB", ""}, {3, "NTFS    ", ""}, {3, "EXFAT   ", ""}, {3, "-FVE-FS-", ""}, {3, "ReFS\x00\x00", ""},
		{512, "EFI PART", ""}, {0, "XFSB\x00\x00", ""},
	} {
		if string(head[m.at:m.at+len(m.sig)]) == m.sig {
			return true
		}
	}
	if string(head[:2]) == "ER" && string(head[512:514]) == "PM" { // Apple
		return true
	}
	var b [128]byte
	if n, _ := r.ReadAt(b[:], 1024); n == len(b) {
		le := binary.LittleEndian
		isExt := b[56] == 0x53 && b[57] == 0xef && le.Uint32(b[24:]) <= 6 && le.Uint32(b[76:]) <= 1 && le.Uint32(b[0:]) > 0 && le.Uint32(b[4:]) > 0
		if isExt || string(b[:4]) == "H+\x00\x04" || string(b[:4]) == "HX\x00\x05" {
			return true
		}
	}
	return isFAT(r, head) || isPartitionTable(head, size)
}

// isFAT tells a boot sector of FAT by its jump, by fields that have few values and by the beginning of
// the table, which repeats one of them (Microsoft FAT specification, sections 3 and 4).
func isFAT(r io.ReaderAt, head []byte) bool {
	le := binary.LittleEndian
	sector, cluster, reserved, media := int64(le.Uint16(head[11:])), head[13], int64(le.Uint16(head[14:])), head[21]
	okJump := head[0] == 0xeb && head[2] == 0x90 || head[0] == 0xe9
	okSize := sector >= 512 && sector <= 4096 && sector&(sector-1) == 0 && cluster != 0 && cluster&(cluster-1) == 0
	if !okJump || !okSize || reserved == 0 || head[16] == 0 || head[16] > 4 || media != 0xf0 && media < 0xf8 {
		return false
	}
	var b [3]byte
	n, _ := r.ReadAt(b[:], reserved*sector)
	return n == len(b) && b[0] == media && b[1] == 0xff && b[2] == 0xff
}

// isPartitionTable tells a master boot record by its signature and by entries that make sense: in
// use and within the disk, or all zeros, and none over another.
func isPartitionTable(head []byte, size int64) bool {
	if head[510] != 0x55 || head[511] != 0xaa {
		return false
	}
	var used [][2]int64
	for i := 446; i < 510; i += 16 {
		e := head[i : i+16]
		if e[4] == 0 && len(bytes.Trim(e, "\x00")) == 0 {
			continue
		}
		start := int64(binary.LittleEndian.Uint32(e[8:])) * 512
		end := start + int64(binary.LittleEndian.Uint32(e[12:]))*512
		if e[0]&0x7f != 0 || e[4] == 0 || start == 0 || start >= size || end == start {
			return false
		}
		for _, u := range used {
			if start < u[1] && u[0] < end {
				return false
			}
		}
		used = append(used, [2]int64{start, end})
	}
	return len(used) > 0
}
