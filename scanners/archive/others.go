package archive

import (
	"encoding/binary"
	"strings"
)

// others are archives that no word of eml.Types stands for, and which some program opens, by
// their first bytes.
var others = []struct{ magic, name string }{
	{"\x89LZO\x00\r\n\x1a\n", "lzop"}, {"ALZ\x01", "alz"}, {"EGGA", "egg"}, {"SIT!", "StuffIt"}, {"StuffIt (c)1997", "StuffIt"},
	{"WLPWM\x00\x00\x00", "pipable WIM"}, {"7kSt", "zpaq"}, {"RZIP", "rzip"}, {"LRZI", "lrzip"},
	{"UHA\x06", "uha"}, {"\x1f\x1e", "pack"}, {"\x1f\xa0", "compress -H"}, {"hsqs", "squashfs"},
}

// unopened names the archive that begins so; empty if it is none of the others.
func unopened(head []byte) string {
	for _, f := range others {
		if strings.HasPrefix(string(head), f.magic) {
			return f.name
		}
	}
	return ""
}

// behindSkippable is the type of what follows frames that programs skip: those of zstd (RFC 8878
// section 3.1.2), which lz4 has too. It is "data" if nothing of these two does.
func (o *opening) behindSkippable() string {
	for at := int64(0); ; {
		var b [8]byte
		n, _ := o.src.ReadAt(b[:], at)
		switch magic := binary.LittleEndian.Uint32(b[:]); {
		case n < len(b):
			return "data"
		case magic&^0xf == 0x184d2a50:
			at += 8 + int64(binary.LittleEndian.Uint32(b[4:]))
		case at > 0 && magic == 0xfd2fb528:
			return "zstd"
		case at > 0 && (magic == 0x184d2204 || magic == 0x184c2102):
			return "lz4"
		default:
			return "data"
		}
	}
}
