package disk

import (
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	// maxPath is how many bytes of a name with its directories are kept, from its end.
	maxPath = 4 << 10
	// maxDirDepth is how deep directories may be in one another.
	maxDirDepth = 256
	// maxDirBytes is how many bytes of one directory are read.
	maxDirBytes = 16 << 20
)

// utf16Of decodes UTF-16, to the first NUL.
func utf16Of(b []byte, order binary.ByteOrder) string {
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		c := order.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

// under is a name with its directory.
func under(dir, name string) string {
	if dir == "" {
		return name
	}
	name = dir + "/" + name
	return name[max(len(name)-maxPath, 0):]
}

// addName appends a name that is not there yet.
func addName(names []string, name string) []string {
	if name == "" || slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}

// unnamed stands for a name that is empty.
const unnamed = "unnamed"

// base is the last part of a name.
func base(name string) string { return path.Base(strings.ReplaceAll(name, "\\", "/")) }
