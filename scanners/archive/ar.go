package archive

import (
	"strconv"
	"strings"
)

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
	// maxArNames is how much of the table of long names is read.
	maxArNames = 1 << 20
)

// openAr opens an archive of ar, which packages of Debian are: with short names, with those of the
// table "//" (System V, GNU), and with those before the content (BSD).
func openAr(o *opening) error {
	var table string
	for off := int64(len(arMagic)); off < o.p.Size; {
		b, err := o.bytesAt(off, arHeader)
		if err != nil {
			return o.failed(o.p, err)
		}
		size, sizeErr := strconv.ParseUint(strings.TrimRight(string(b[48:58]), " "), 10, 40)
		if sizeErr != nil || string(b[58:]) != "`\n" {
			return o.failed(o.p, errCorrupt)
		}
		raw, data, n := strings.TrimRight(string(b[:16]), " "), off+arHeader, int64(size)
		if raw == "//" {
			if t, err := o.bytesAt(data, int(min(n, maxArNames, o.p.Size-data))); err == nil {
				table = string(t)
			}
		}
		if err := o.arMember(raw, table, data, n); err != nil || o.tooDamaged() {
			return err
		}
		off = data + n + n&1
	}
	return nil
}

// arMember yields one member: what the linker has there, too.
func (o *opening) arMember(raw, table string, data, size int64) error {
	var names nameSet
	names.addRaw(strings.TrimSuffix(raw, "/"), true)
	if i, err := strconv.Atoi(strings.TrimPrefix(raw, "/")); err == nil && raw[0] == '/' && i >= 0 && i < len(table) {
		long, _, _ := strings.Cut(table[i:], "\n")
		names.addRaw(strings.TrimSuffix(long, "/"), true)
	}
	if n, err := strconv.ParseInt(strings.TrimPrefix(raw, "#1/"), 10, 32); err == nil && strings.HasPrefix(raw, "#1/") && n > 0 && n <= min(size, maxName) {
		if b, err := o.bytesAt(data, int(n)); err == nil {
			names.addRaw(strings.TrimRight(string(b), "\x00"), true)
			data, size = data+n, size-n
		}
	}
	_, err := o.member(names, newChecked(o.input(data, min(size, max(o.p.Size-data, 0))), size, nil))
	return err
}
