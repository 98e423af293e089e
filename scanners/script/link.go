package script

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Of a shortcut (MS-SHLLINK 2.1): which parts follow the header.
const (
	hasIDList = 1 << iota
	hasLinkInfo
	hasName
	hasRelativePath
	hasWorkingDir
	hasArguments
	hasIcon
	isUnicode
)

const (
	linkHeader = 0x4c
	// maxLink is how much of a shortcut is read. Windows writes a few KB.
	maxLink = 128 << 10
	// environmentBlock is the signature of the data block with a path that has variables in it
	// (MS-SHLLINK 2.5.4), and iconBlock that with the path of an icon (2.5.5).
	environmentBlock, iconBlock = 0xa0000001, 0xa0000007
)

// A link is what a shortcut says.
type link struct {
	target, environment, arguments, dir, icon string
	window                                    uint32 // how the window is shown
	end, behind                               int64  // where it ends, and how many bytes are behind that
	damaged                                   bool
}

// readLink takes a shortcut apart as far as it makes sense.
func readLink(r io.ReaderAt, size int64) *link {
	b := make([]byte, min(size, maxLink))
	n, _ := r.ReadAt(b, 0)
	l := &link{}
	rest, ok := l.parse(&cursor{b: b[:n]})
	l.damaged = !ok
	if ok {
		l.end = int64(n) - int64(rest)
		l.behind = size - l.end
	}
	return l
}

// A cursor reads little-endian numbers and counted bytes. After a failure it gives zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) uint16() int {
	if b := c.bytes(2); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) uint32() int64 {
	if b := c.bytes(4); b != nil {
		return int64(binary.LittleEndian.Uint32(b))
	}
	return 0
}

// parse gives how many bytes are behind the end; it reports false if the end was not found.
func (l *link) parse(c *cursor) (int, bool) {
	header := c.bytes(linkHeader)
	if header == nil {
		return 0, false
	}
	flags := binary.LittleEndian.Uint32(header[20:])
	l.window = binary.LittleEndian.Uint32(header[60:])
	if flags&hasIDList != 0 {
		l.idList(c.bytes(c.uint16()))
	}
	if flags&hasLinkInfo != 0 {
		l.linkInfo(c)
	}
	for _, s := range []struct {
		flag uint32
		to   *string
	}{{hasName, nil}, {hasRelativePath, &l.target}, {hasWorkingDir, &l.dir}, {hasArguments, &l.arguments}, {hasIcon, &l.icon}} {
		if flags&s.flag == 0 {
			continue
		}
		if v := counted(c, flags&isUnicode != 0); s.to != nil && (s.to != &l.target || l.target == "") {
			*s.to = v
		}
	}
	l.extra(c)
	return len(c.b), !c.bad
}

// idList takes the names of files out of a list of shell items, whose format is known in part only:
// the last that looks like a name of a file is what is opened.
func (l *link) idList(b []byte) {
	c := &cursor{b: b}
	var names []string
	for range 100 {
		n := c.uint16()
		if n < 2 || c.bad {
			break
		}
		item := c.bytes(n - 2)
		switch {
		case len(item) > 12 && item[0]&0x70 == 0x30: // an entry of a directory
			names = append(names, entryName(item))
		case len(item) > 1 && item[0] == 0x2f: // a drive
			names = append(names, strings.TrimSuffix(untilNUL(item[1:]), `\`))
		case len(item) > 3 && item[0]&0x70 == 0x40 && strings.HasPrefix(string(item[3:]), `\\`): // a server and a share
			names = append(names, untilNUL(item[3:]))
		}
	}
	if len(names) > 0 {
		l.target = strings.Join(names, `\`)
	}
}

// entryName is the long name of an entry of a directory, from the block that is behind its short one; or
// that. Where the long name begins depends on the version of the block, which Microsoft does not document.
func entryName(item []byte) string {
	at := bytes.Index(item, []byte("\x04\x00\xef\xbe")) - 4
	if at < 0 {
		return untilNUL(item[12:])
	}
	block := item[at:]
	start := 20
	switch version := binary.LittleEndian.Uint16(block[2:]); {
	case version >= 9:
		start = 46
	case version == 8:
		start = 42
	case version == 7:
		start = 38
	}
	if start >= len(block) {
		return untilNUL(item[12:])
	}
	name, _, _ := strings.Cut(fromUTF16(block[start:]), "\x00")
	if name == "" {
		return untilNUL(item[12:])
	}
	return name
}

func untilNUL(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// linkInfo is where the target is, on a disk or a server (MS-SHLLINK 2.3).
func (l *link) linkInfo(c *cursor) {
	size := c.uint32()
	if size < 4 || size-4 > int64(len(c.b)) {
		c.bad = true
		return
	}
	b := c.bytes(int(size - 4))
	if len(b) < 24 {
		return
	}
	at := func(field int) string { // an offset counts from the size, which is gone
		off := int64(binary.LittleEndian.Uint32(b[field:])) - 4
		if off < 24 || off >= int64(len(b)) {
			return ""
		}
		return untilNUL(b[off:])
	}
	flags := binary.LittleEndian.Uint32(b[4:])
	if path := at(12); flags&1 != 0 && path != "" {
		l.target = path + at(20)
	}
	off := int64(binary.LittleEndian.Uint32(b[16:])) - 4
	if flags&2 != 0 && off >= 24 && off+20 <= int64(len(b)) { // a network (MS-SHLLINK 2.3.2)
		net := b[off:]
		if name := int64(binary.LittleEndian.Uint32(net[8:])); name >= 20 && name < int64(len(net)) {
			l.target = untilNUL(net[name:]) + `\` + at(20)
		}
	}
}

// counted is a text with its length (MS-SHLLINK 2.4).
func counted(c *cursor, wide bool) string {
	n := c.uint16()
	if !wide {
		return string(c.bytes(n))
	}
	return fromUTF16(c.bytes(2 * n))
}

func fromUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// extra goes through the data blocks to the end of the shortcut.
func (l *link) extra(c *cursor) {
	for len(c.b) > 0 {
		size := c.uint32()
		if size < 4 {
			return // the terminal block
		}
		if size-4 > int64(len(c.b)) {
			c.bad = true
			return
		}
		b := c.bytes(int(size - 4))
		if len(b) < 4+260+520 {
			continue
		}
		path, _, _ := strings.Cut(fromUTF16(b[4+260:4+260+520]), "\x00")
		if path == "" {
			path = untilNUL(b[4 : 4+260])
		}
		switch binary.LittleEndian.Uint32(b) {
		case environmentBlock:
			l.environment = path
		case iconBlock:
			l.icon = path
		}
	}
}

// String says what the shortcut does.
func (l *link) String() string {
	var say []string
	target := l.opens()
	if target != "" {
		say = append(say, "starts "+short(target))
	}
	if args := strings.TrimSpace(l.arguments); args != "" {
		if l.isPadded() {
			say = append(say, fmt.Sprintf("with arguments of %d characters, more than Windows shows", len(l.arguments)))
		}
		say = append(say, "with the arguments "+short(strings.Join(strings.Fields(args), " ")))
	}
	if l.window == 7 {
		say = append(say, "in a window that is not seen")
	}
	if l.icon != "" && !strings.EqualFold(base(l.icon), base(target)) {
		say = append(say, "looks like "+short(l.icon))
	}
	if t := newText(); l.arguments != "" {
		_ = t.read(context.Background(), strings.NewReader(target+" "+l.arguments))
		say = append(say, t.deeds(batch)...)
	}
	if l.behind > 0 {
		say = append(say, fmt.Sprintf("has %d bytes behind its end", l.behind))
	}
	if l.damaged {
		say = append(say, "is damaged")
	}
	return "a shortcut: " + strings.Join(say, "; ")
}
