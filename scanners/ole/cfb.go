// Package ole opens documents that keep files and programs in objects (OLE): compound files (MS-CFB),
// which Outlook keeps messages in, Office kept documents in, and Windows keeps installers in; and RTF.
package ole

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

// What is in a compound file (MS-CFB 2).
const (
	magic          = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
	headerSize     = 512
	entrySize      = 128
	miniShift      = 6
	miniCutoff     = 4096       // smaller streams are in the mini stream
	lastSector     = 0xfffffffa // higher numbers have meanings of their own
	noEntry        = 0xffffffff
	typeStream     = 2
	maxNameSize    = 64
	maxEntries     = 100_000
	defaultShift   = 9
	largeShift     = 12
	versionOfLarge = 4
)

// errFormat is what is wrong with a compound file, whatever it is.
var errFormat = errors.New("no valid compound file")

// A compound is a compound file. All it keeps is its table of sectors, which is not larger than the
// file says and has, and its directory.
type compound struct {
	r       io.ReaderAt
	size    int64
	shift   uint // of the size of a sector
	version uint16
	fat     []uint32 // the sector that comes after each
	miniFAT []uint32
	mini    []uint32 // the sectors of the mini stream
	root    *node
}

// A node is a storage or a stream.
type node struct {
	name     string
	storage  bool
	children []*node
	start    uint32
	size     int64
	class    [16]byte // of what is in a storage (MS-DTYP 2.3.4); zeros if it does not say
}

// open reads the tables and the directory. With errFormat it gives what can be followed, or nil.
func open(r io.ReaderAt, size int64) (*compound, error) {
	var h [headerSize]byte
	if _, err := r.ReadAt(h[:], 0); err != nil && err != io.EOF {
		return nil, err
	}
	c := &compound{r: r, size: size, shift: uint(binary.LittleEndian.Uint16(h[30:])), version: binary.LittleEndian.Uint16(h[26:])}
	if string(h[:8]) != magic || c.shift != defaultShift && c.shift != largeShift || size < headerSize {
		return nil, errFormat
	}
	err := c.readAll(&h)
	if c.root == nil || err != nil && !errors.Is(err, errFormat) {
		return nil, err
	}
	return c, err
}

// readAll reads what it can; the first error counts, but for one of reading.
func (c *compound) readAll(h *[headerSize]byte) error {
	bad := c.readFAT(h)
	dir, err := c.chain(binary.LittleEndian.Uint32(h[48:]))
	for _, read := range []func() error{
		func() error { return err },
		func() error { return c.readDirectory(dir) },
		func() error { return c.readMini(binary.LittleEndian.Uint32(h[60:])) },
	} {
		if err := read(); err != nil && !errors.Is(err, errFormat) {
			return err
		} else if bad == nil {
			bad = err
		}
		if bad != nil && !errors.Is(bad, errFormat) {
			return bad
		}
	}
	return bad
}

// sectors is how many sectors the file has, the last of which may be short.
func (c *compound) sectors() int {
	n := (c.size - 1) >> c.shift // the header takes one
	return int(max(n, 0))
}

// sector reads one sector; what lies behind the end of the file is 0.
func (c *compound) sector(n uint32, buf []byte) error {
	clear(buf)
	if int64(n) >= int64(c.sectors()) {
		return errFormat
	}
	if _, err := c.r.ReadAt(buf, (int64(n)+1)<<c.shift); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// readFAT reads the table of sectors (MS-CFB 2.3 and 2.5).
func (c *compound) readFAT(h *[headerSize]byte) error {
	buf := make([]byte, 1<<c.shift)
	var places []uint32
	add := func(list []byte) {
		for ; len(list) >= 4; list = list[4:] {
			if n := binary.LittleEndian.Uint32(list); n < lastSector && len(places) <= c.sectors() {
				places = append(places, n)
			}
		}
	}
	add(h[76:headerSize])
	var bad error
	next := binary.LittleEndian.Uint32(h[68:])
	for range c.sectors() {
		if next >= lastSector {
			break
		}
		if bad = c.sector(next, buf); bad != nil {
			break
		}
		add(buf[:len(buf)-4])
		next = binary.LittleEndian.Uint32(buf[len(buf)-4:])
	}
	for _, n := range places {
		if len(c.fat) > c.sectors() {
			break // further ones tell of no sectors
		}
		if err := c.sector(n, buf); err != nil {
			bad = err
			for i := range buf { // what it told is lost, but it has its place
				buf[i] = 0xff
			}
		}
		c.fat = appendTable(c.fat, buf)
	}
	return bad
}

func appendTable(t []uint32, buf []byte) []uint32 {
	for ; len(buf) >= 4; buf = buf[4:] {
		t = append(t, binary.LittleEndian.Uint32(buf))
	}
	return t
}

// chain gives the sectors of a chain; with errFormat those that can be followed.
func (c *compound) chain(n uint32) ([]uint32, error) {
	var out []uint32
	for n < lastSector {
		if int64(n) >= int64(len(c.fat)) || len(out) >= c.sectors() {
			return out, errFormat // leads nowhere, or in a circle
		}
		out = append(out, n)
		n = c.fat[n]
	}
	return out, nil
}

// readMini reads the table of the mini stream (MS-CFB 2.4).
func (c *compound) readMini(start uint32) (err error) {
	if c.root == nil || c.root.size == 0 {
		return nil // some writers say 0 for no sector
	}
	var bad error
	if c.mini, bad = c.chain(c.root.start); bad != nil {
		err = bad
	}
	table, bad := c.chain(start)
	if bad != nil {
		err = bad
	}
	buf := make([]byte, 1<<c.shift)
	for _, n := range table {
		if bad := c.sector(n, buf); bad != nil {
			return bad
		}
		c.miniFAT = appendTable(c.miniFAT, buf)
	}
	return err
}

// A dirEntry is an entry of the directory (MS-CFB 2.6.1).
type dirEntry struct {
	*node
	left, right, child uint32
}

// readDirectory makes the tree of nodes.
func (c *compound) readDirectory(dir []uint32) error {
	var entries []dirEntry
	var bad error
	buf := make([]byte, 1<<c.shift)
	for _, n := range dir {
		if bad = c.sector(n, buf); bad != nil {
			break
		}
		for b := buf; len(b) >= entrySize; b = b[entrySize:] {
			entries = append(entries, c.entry(b))
		}
		if len(entries) > maxEntries {
			bad = errFormat
			break
		}
	}
	if len(entries) == 0 {
		return errFormat
	}
	c.root = entries[0].node
	if err := link(entries); err != nil {
		return err
	}
	return bad
}

func (c *compound) entry(b []byte) dirEntry {
	e := dirEntry{
		node: &node{start: binary.LittleEndian.Uint32(b[116:]), size: int64(binary.LittleEndian.Uint64(b[120:]) & (1<<63 - 1))},
		left: binary.LittleEndian.Uint32(b[68:]), right: binary.LittleEndian.Uint32(b[72:]), child: binary.LittleEndian.Uint32(b[76:]),
	}
	if c.version < versionOfLarge {
		e.size &= 0xffffffff // the rest may be anything (MS-CFB 2.6.1)
	}
	e.storage = b[66] != typeStream
	copy(e.class[:], b[80:96])
	units := make([]uint16, 0, maxNameSize/2)
	for i := 0; i < min(int(binary.LittleEndian.Uint16(b[64:])), maxNameSize)-1; i += 2 {
		units = append(units, binary.LittleEndian.Uint16(b[i:]))
	}
	e.name = strings.TrimRight(string(utf16.Decode(units)), "\x00")
	return e
}

// link gives each storage its children, which are in a tree of their own. An entry has one place,
// whatever others say; that they do is an error, and so is a place that is none.
func link(entries []dirEntry) (bad error) {
	type place struct {
		id     uint32
		parent *node
	}
	seen := make([]bool, len(entries))
	seen[0] = true
	todo := []place{{entries[0].child, entries[0].node}}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p.id == noEntry {
			continue
		}
		if int64(p.id) >= int64(len(entries)) || seen[p.id] {
			bad = errFormat
			continue
		}
		seen[p.id] = true
		e := entries[p.id]
		p.parent.children = append(p.parent.children, e.node)
		todo = append(todo, place{e.right, p.parent}, place{e.left, p.parent})
		if e.storage {
			todo = append(todo, place{e.child, e.node})
		}
	}
	return bad
}

// find gives the child of that name; nil if there is none. Case does not count (MS-CFB 2.6.4).
func (n *node) find(name string) *node {
	i := slices.IndexFunc(n.children, func(c *node) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return nil
	}
	return n.children[i]
}

// content reads a stream.
func (c *compound) content(n *node) io.Reader {
	return &streamReader{c: c, next: n.start, left: n.size, mini: n.size < miniCutoff}
}

// A streamReader reads a stream. That its sectors are missing is an error.
type streamReader struct {
	c     *compound
	mini  bool
	next  uint32 // the sector that comes next
	steps int    // sectors behind us
	left  int64  // bytes of the stream
	at    int64  // in the file, of what is left of the present sector
	room  int64  // bytes of that
}

func (s *streamReader) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if s.room == 0 {
		if err := s.step(); err != nil {
			return 0, err
		}
	}
	n, err := s.c.r.ReadAt(p[:min(int64(len(p)), s.room, s.left)], s.at)
	s.at += int64(n)
	s.room -= int64(n)
	s.left -= int64(n)
	if n > 0 || err == nil {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// step goes to the next sector, and to those that lie right behind it.
func (s *streamReader) step() error {
	table, shift := s.c.fat, s.c.shift
	if s.mini {
		table, shift = s.c.miniFAT, miniShift
	}
	first := true
	for s.room < s.left {
		at, ok := s.c.place(s.next, s.mini)
		if !first && (!ok || at != s.at+s.room) {
			return nil
		}
		if s.steps++; !ok || int64(s.next) >= int64(len(table)) || s.steps > len(table) {
			return io.ErrUnexpectedEOF
		}
		if first {
			s.at, first = at, false
		}
		s.room += 1 << shift
		s.next = table[s.next]
	}
	return nil
}

// place is where a sector is in the file.
func (c *compound) place(n uint32, mini bool) (int64, bool) {
	if !mini {
		return (int64(n) + 1) << c.shift, int64(n) < int64(c.sectors())
	}
	at := int64(n) << miniShift
	i := at >> c.shift
	if i >= int64(len(c.mini)) {
		return 0, false
	}
	return (int64(c.mini[i])+1)<<c.shift + at&(1<<c.shift-1), true
}

// A stream is what a stream holds, for reading anywhere in it.
type stream struct {
	c       *compound
	mini    bool
	sectors []uint32
	size    int64 // of what is there, which may be less than the directory says
}

// section gives a stream to read anywhere in, and reports whether all of it is there.
func (c *compound) section(n *node) (*io.SectionReader, bool) {
	s := &stream{c: c, mini: n.size < miniCutoff}
	table, shift := c.fat, c.shift
	if s.mini {
		table, shift = c.miniFAT, miniShift
	}
	whole := true
	for next := n.start; int64(len(s.sectors))<<shift < n.size; next = table[next] {
		_, ok := c.place(next, s.mini)
		if !ok || int64(next) >= int64(len(table)) || len(s.sectors) >= len(table) {
			whole = false
			break
		}
		s.sectors = append(s.sectors, next)
	}
	s.size = min(n.size, int64(len(s.sectors))<<shift)
	return io.NewSectionReader(s, 0, s.size), whole
}

// ReadAt reads as io.ReaderAt does.
func (s *stream) ReadAt(p []byte, off int64) (n int, err error) {
	shift := s.c.shift
	if s.mini {
		shift = miniShift
	}
	for n < len(p) {
		if off >= s.size {
			return n, io.EOF
		}
		at, _ := s.c.place(s.sectors[off>>shift], s.mini)
		within := off & (1<<shift - 1)
		k, err := s.c.r.ReadAt(p[n:n+int(min(int64(len(p)-n), 1<<shift-within, s.size-off))], at+within)
		n, off = n+k, off+int64(k)
		if err == io.EOF && k == 0 {
			return n, io.ErrUnexpectedEOF // the last sector is cut off
		} else if err != nil && err != io.EOF {
			return n, err
		}
	}
	return n, nil
}
