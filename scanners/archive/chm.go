package archive

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rastel/scanners"
)

// Of the format of compiled help (CHM), which Microsoft has not published; described by M. Wise, J. Wing
// and P. Loewy ("Unofficial CHM specification").
const (
	chmMagic     = "ITSF"
	chmHeader    = 0x58
	chmDirHeader = 0x54
	chmPageHead  = 20 // of a page of files
	chmIndexHead = 8  // of a page of the index
	// Limits of a page; those that are written have 4096 bytes.
	minChmPage = 32
	maxChmPage = 1 << 20
)

// A chmFile is an entry of the directory.
type chmFile struct {
	name         string
	section      uint64
	offset, size int64 // in the section
}

// A chm is the directory of a help file.
type chm struct {
	o       *opening
	content int64 // where section 0 begins
	pages   int64 // where the pages of the directory begin
	size    int64 // of a page
	count   int64 // pages, as the header says
	seen    map[int64]bool
	files   []chmFile
	damage  error // met on the way
}

// openCHM yields all files of a help file: pages, what they need, and those of the system ("::").
func openCHM(o *opening) error {
	c := &chm{o: o, seen: map[int64]bool{}}
	if err := c.header(); err != nil {
		return o.failed(o.p, err)
	}
	if err := c.directory(); err != nil {
		return err
	}
	if len(c.files) == 0 && c.damage == nil {
		c.damage = errCorrupt
	}
	if c.damage != nil {
		if err := o.failed(o.p, c.damage); err != nil {
			return err
		}
	}
	packed := newCHMSection(c)
	slices.SortStableFunc(c.files, func(a, b chmFile) int {
		return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.offset, b.offset))
	})
	for i := range c.files {
		if err := c.member(&c.files[i], packed); err != nil || o.tooDamaged() {
			return err
		}
	}
	return nil
}

// header reads where everything is.
func (c *chm) header() error {
	b, err := c.o.bytesAt(0, chmHeader+8)
	if err != nil {
		return err
	}
	dir, n := int64(binary.LittleEndian.Uint64(b[0x48:])), int64(binary.LittleEndian.Uint64(b[0x50:]))
	if dir < 0 || n < 0 || dir > c.o.p.Size || n > c.o.p.Size {
		return errCorrupt
	}
	c.content = dir + n
	if binary.LittleEndian.Uint32(b[4:]) >= 3 {
		c.content = int64(binary.LittleEndian.Uint64(b[0x58:]))
	}
	d, err := c.o.bytesAt(dir, chmDirHeader)
	if err != nil {
		return err
	}
	head := int64(binary.LittleEndian.Uint32(d[8:]))
	c.size = int64(binary.LittleEndian.Uint32(d[16:]))
	if string(d[:4]) != "ITSP" || c.size < minChmPage || c.size > maxChmPage || c.content < 0 || c.content > c.o.p.Size {
		return errCorrupt
	}
	c.pages = dir + head
	c.count = max(int64(binary.LittleEndian.Uint32(d[0x2c:])), (n-head)/c.size)
	c.count = min(c.count, (c.o.p.Size-c.pages)/c.size+1)
	return nil
}

// directory reads all pages that some program reads: one after the other, and where they lead to.
func (c *chm) directory() error {
	for i := range c.count {
		for next := []int64{i}; len(next) > 0; {
			page := next[0]
			more, err := c.page(page)
			if err != nil {
				return err
			}
			next = append(next[1:], more...)
		}
	}
	return nil
}

// page reads one page, and gives those it leads to.
func (c *chm) page(i int64) ([]int64, error) {
	at := c.pages + i*c.size
	if c.seen[i] || at >= c.o.p.Size {
		return nil, nil
	}
	c.seen[i] = true
	if len(c.files) > c.o.b.Members() {
		return nil, fmt.Errorf("%w: help of %d files", scanners.ErrBudget, len(c.files))
	}
	b, err := c.o.bytesAt(at, int(c.size))
	if err != nil {
		c.damage = err
		return nil, c.o.fatal()
	}
	free := int64(binary.LittleEndian.Uint32(b[4:]))
	switch {
	case free > c.size-chmPageHead:
		if magic := string(b[:4]); magic == "PMGL" || magic == "PMGI" {
			c.damage = errCorrupt
		}
		return nil, nil
	case bytes.HasPrefix(b, []byte("PMGL")):
		c.entries(&chmBytes{b: b[chmPageHead : c.size-free]})
		return []int64{int64(binary.LittleEndian.Uint32(b[12:])), int64(binary.LittleEndian.Uint32(b[16:]))}, nil
	case bytes.HasPrefix(b, []byte("PMGI")):
		return c.index(&chmBytes{b: b[chmIndexHead : c.size-free]}), nil
	}
	return nil, nil
}

// entries reads the files of a page.
func (c *chm) entries(b *chmBytes) {
	for len(b.b) > 0 {
		f := chmFile{name: b.name(), section: uint64(b.number()), offset: b.number(), size: b.number()}
		if b.bad {
			c.damage = errCorrupt
			return
		}
		c.files = append(c.files, f)
	}
}

// index reads which pages a page of the index leads to.
func (c *chm) index(b *chmBytes) (pages []int64) {
	for len(b.b) > 0 {
		b.name()
		page := b.number()
		if b.bad {
			break
		}
		if !c.seen[page] {
			pages = append(pages, page)
		}
	}
	return pages
}

// chmBytes reads the entries of a page; bad ones are remembered.
type chmBytes struct {
	b   []byte
	bad bool
}

// number reads bits in sevens, the most significant first.
func (b *chmBytes) number() (v int64) {
	for i, c := range b.b {
		if v = v<<7 | int64(c&0x7f); v > 1<<55 {
			break
		}
		if c < 0x80 {
			b.b = b.b[i+1:]
			return v
		}
	}
	b.b, b.bad = nil, true
	return 0
}

func (b *chmBytes) name() string {
	n := b.number()
	if n > int64(len(b.b)) {
		b.b, b.bad = nil, true
		return ""
	}
	name := string(b.b[:n])
	b.b = b.b[n:]
	return name
}

// find gives the file of the system of that name, in section 0 and within the part: the first, if there
// are several, of which programs take one or another.
func (c *chm) find(name string) (found chmFile, err error) {
	n := 0
	for _, f := range c.files {
		if !strings.EqualFold(f.name, name) || f.section != 0 || f.offset > c.o.p.Size || f.size > c.o.p.Size || c.content+f.offset+f.size > c.o.p.Size {
			continue
		}
		if n++; n > 1 {
			c.o.report(c.o.p, ambiguous, "more than one "+name)
			break
		}
		found = f
		found.offset += c.content
	}
	if n == 0 {
		return found, fmt.Errorf("%w: no %s", errCorrupt, name)
	}
	return found, nil
}

// member yields one file.
func (c *chm) member(f *chmFile, packed *chmSection) error {
	if strings.HasSuffix(f.name, "/") && f.size == 0 {
		return c.o.passed()
	}
	if f.section == 0 && f.name == chmContent && packed.err == nil && c.content+f.offset == packed.content.offset {
		return nil // its files are yielded
	}
	var names nameSet
	names.addRaw(strings.TrimPrefix(f.name, "/"), true)
	switch f.section {
	case 0:
		at := c.content + min(f.offset, c.o.p.Size)
		_, err := c.o.member(names, &exactly{r: c.o.input(at, min(f.size, max(c.o.p.Size-at, 0))), n: f.size})
		return err
	case 1:
		if err := packed.seek(f); err != nil {
			return c.unreadable(names, err)
		}
		_, err := c.o.member(names, &exactly{r: packed, n: f.size})
		return err
	}
	return c.o.closed(names, unsupported, fmt.Sprintf("section %d of help is not opened", f.section))
}

// unreadable yields a file that cannot be read, unless the reason is not in the content.
func (c *chm) unreadable(names nameSet, err error) error {
	if fatal := c.o.fatal(); fatal != nil {
		return fatal
	}
	if errors.Is(err, scanners.ErrBudget) {
		return err
	}
	return c.o.closed(names, checkOf(err), err.Error())
}
