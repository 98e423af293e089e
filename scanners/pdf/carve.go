package pdf

import (
	"bytes"
	"encoding/binary"
)

// carveHead is how many bytes of a stream are looked at.
const carveHead = 4 << 10

// carved are beginnings of programs, archives and documents. Streams hold pictures too, as plain bytes,
// so nothing of less than four bytes is among them.
var carved = []struct {
	at  int
	sig string
}{
	{0, "\x7fELF"}, {0, "\xfe\xed\xfa\xce"}, {0, "\xfe\xed\xfa\xcf"}, {0, "\xce\xfa\xed\xfe"}, {0, "\xcf\xfa\xed\xfe"},
	{0, "\xca\xfe\xba\xbe\x00"}, {0, "dex\n03"}, {0, "\x00asm\x01\x00\x00\x00"}, {0, "L\x00\x00\x00\x01\x14\x02\x00"},
	{0, "ITSF\x03\x00\x00\x00"}, {0, "#!/"}, {0, "@echo off"}, {0, "Windows Registry Editor"},
	{0, "PK\x03\x04"}, {0, "PK\x05\x06\x00"}, {0, "\xfd7zXZ\x00"}, {0, "7z\xbc\xaf\x27\x1c"}, {0, "Rar!\x1a\x07"},
	{0, "\x28\xb5\x2f\xfd"}, {0, "\x04\x22\x4d\x18"}, {0, "LZIP\x01"}, {257, "ustar"}, {0, "070701"}, {0, "!<arch>\n"},
	{0, "\xed\xab\xee\xdb"}, {0, "MSCF\x00\x00\x00\x00"}, {7, "**ACE**"}, {0, "xar!\x00"}, {0, "MSWIM\x00\x00\x00"},
	{0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}, {0, "{\\rtf"}, {0, "%PDF-1."}, {0, "%PDF-2."}, {0, "\x78\x9f\x3e\x22"},
	{0, "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3"},
}

// isCarved reports whether a stream begins like a program, an archive or a document.
func isCarved(head []byte) bool {
	for _, c := range carved {
		if len(head) >= c.at+len(c.sig) && string(head[c.at:c.at+len(c.sig)]) == c.sig {
			return true
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("MZ")) && len(head) > 0x40:
		at := int64(binary.LittleEndian.Uint32(head[0x3c:]))
		return at+4 <= int64(len(head)) && string(head[at:at+4]) == "PE\x00\x00"
	case bytes.HasPrefix(head, []byte("\x1f\x8b\x08")) && len(head) > 9: // RFC 1952
		return head[3]&0xe0 == 0 && (head[8] == 0 || head[8] == 2 || head[8] == 4) && (head[9] <= 13 || head[9] == 255)
	case bytes.HasPrefix(head, []byte("BZh")) && len(head) > 9:
		return string(head[4:10]) == "1AY&SY"
	}
	return len(head) > 6 && string(head[2:5]) == "-lh" && head[6] == '-'
}
