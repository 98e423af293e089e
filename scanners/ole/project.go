package ole

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"rastel/scanners/office"
)

// A project of Visual Basic is a storage with a stream "dir", which lists its modules, and a stream for
// each of them, with its source behind what the program made of it (MS-OVBA 2.3.4). What the source
// says is not judged here: it is yielded as text.

const (
	chunkSize = 4096 // of what a chunk of compressed source expands to, at most

	// maxDir is how many bytes of the list of modules are read.
	maxDir = 4 << 20
	// maxModules is how many modules are listed.
	maxModules = 4096
)

// moduleExtension is the extension of the name that a module gets. It is none that a desktop runs, as
// .bas is: to have macros in it does not make a document a program.
const moduleExtension = ".vba"

// isProject reports whether a storage is the one of a project that has its modules.
func isProject(n *node) bool {
	dir := n.find("dir")
	return dir != nil && !dir.storage && (strings.EqualFold(n.name, "VBA") || n.find("_VBA_PROJECT") != nil)
}

// project yields the list of modules and the source of each.
func (f *file) project(n *node) error {
	dir := n.find("dir")
	if err := f.member([]string{"dir"}, "", expandSource(f.c.content(dir))); err != nil {
		return err
	}
	modules, err := readModules(f.read(expandSource(f.c.content(dir))))
	if err != nil && isFatal(f.ctx, err) {
		return err
	}
	if err != io.EOF {
		f.projects.not = true
	}
	f.basic = &office.Basic{}
	defer func() { f.basic.Report(f.report) }()
	for _, child := range n.children {
		name := strings.ToLower(child.name)
		if child.storage || name == "dir" || name == "_vba_project" || strings.HasPrefix(name, "__srp_") {
			continue
		}
		if err := f.module(child, modules[name]); err != nil {
			return err
		}
	}
	return f.hash(n)
}

// A module is what is known of one from the list: what it is called, and where in its stream its
// source begins.
type module struct {
	name   string
	offset int64
}

// hidden tells of a module that was listed and compiled, and whose source is gone: programs run what was
// compiled, and show what they make of that.
func (f *file) hidden(n *node, m *module) {
	if m.offset > 0 && n.size > 0 && !f.basic.Source() {
		f.report(office.MacroHidden, "the module "+office.Quoted(n.name)+" has no source")
	}
}

// module yields the source that is in a stream. If the list does not say where it is, it is looked for.
func (f *file) module(n *node, m *module) error {
	s, whole := f.c.section(n)
	if !whole {
		f.damaged("the sectors of a macro")
	}
	f.basic.Module(n.name)
	if m == nil {
		f.projects.not = true
		m = &module{offset: -1}
	}
	names := []string{n.name + moduleExtension}
	if m.name != "" && !strings.EqualFold(m.name, n.name) {
		names = append(names, m.name+moduleExtension)
	}
	listed := beginsSource(s, m.offset)
	if listed {
		if err := f.source(names, s, m.offset); err != nil {
			return err
		}
	} else {
		f.projects.not = true
	}
	err := f.search(s, []byte("\x00Attribut"), func(at int64) error { // as the source of each module begins
		if at -= 3; listed && at == m.offset || !beginsSource(s, at) {
			return nil
		}
		return f.source(names, s, at)
	})
	f.hidden(n, m)
	return err
}

// beginsSource reports whether compressed source can begin there.
func beginsSource(s *io.SectionReader, at int64) bool {
	var b [3]byte
	if at < 0 {
		return false
	}
	n, _ := s.ReadAt(b[:], at)
	return n == len(b) && b[0] == 1 && b[2]>>4&7 == 3
}

func (f *file) source(names []string, s *io.SectionReader, at int64) error {
	bad, err := f.output.member(names, "", io.TeeReader(expandSource(io.NewSectionReader(s, at, s.Size()-at)), f.basic))
	if bad != nil {
		f.damaged(fmt.Sprintf("the source of a macro: %v", bad))
	}
	return err
}

// readModules reads the list of modules (MS-OVBA 2.3.4.2), by the names of their streams in lower case.
// With an error it gives those that come before.
func readModules(r io.Reader) (map[string]*module, error) {
	const (
		version, name, nameUnicode, stream, streamUnicode, offset = 0x09, 0x19, 0x47, 0x1a, 0x32, 0x31

		maxField = 64 << 10
	)
	modules := map[string]*module{}
	in := bufio.NewReader(io.LimitReader(r, maxDir))
	m := &module{}
	for len(modules) < maxModules {
		var h [6]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return modules, err
		}
		id, size := binary.LittleEndian.Uint16(h[:]), int(binary.LittleEndian.Uint32(h[2:])&0x7fffffff)
		if id == version {
			size = 6 // it says 4
		}
		var field []byte
		switch id {
		case name, nameUnicode, stream, streamUnicode, offset:
			if size > maxField {
				return modules, errors.New("a field without an end")
			}
			field = make([]byte, size)
			if _, err := io.ReadFull(in, field); err != nil {
				return modules, err
			}
		default:
			if _, err := in.Discard(size); err != nil {
				return modules, err
			}
		}
		switch id {
		case name:
			m = &module{name: string(bytes.ToValidUTF8(field, []byte("_"))), offset: -1}
		case nameUnicode:
			m.name = utf16String(field)
		case stream:
			modules[strings.ToLower(string(field))] = m
		case streamUnicode:
			modules[strings.ToLower(utf16String(field))] = m
		case offset:
			if len(field) == 4 {
				m.offset = int64(binary.LittleEndian.Uint32(field))
			}
		}
	}
	return modules, nil
}

// expandSource expands what Visual Basic has compressed (MS-OVBA 2.4.1).
func expandSource(r io.Reader) io.Reader { return &sourceReader{in: bufio.NewReader(r)} }

// A sourceReader expands one chunk after the other; each refers to nothing before it.
type sourceReader struct {
	in    *bufio.Reader
	begun bool
	last  int // bytes that the last chunk came to
	out   [chunkSize]byte
	ready []byte
	err   error
}

var errSource = errors.New("compressed source that is damaged")

func (s *sourceReader) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.ready, s.err = s.chunk()
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// chunk expands the next chunk; with an error what it has before that.
func (s *sourceReader) chunk() ([]byte, error) {
	if !s.begun {
		if c, err := s.in.ReadByte(); err != nil {
			return nil, err
		} else if c != 1 {
			return nil, errSource
		}
		s.begun = true
	}
	var h [2]byte
	if _, err := io.ReadFull(s.in, h[:]); err == io.ErrUnexpectedEOF {
		return nil, io.EOF // a byte that fills up
	} else if err != nil {
		return nil, err
	}
	header := binary.LittleEndian.Uint16(h[:])
	if header>>12&7 != 3 {
		if s.last > 0 && s.last < chunkSize {
			return nil, io.EOF // what is behind the last chunk, which alone is short
		}
		return nil, errSource
	}
	if header>>15 == 0 { // as it is
		n, err := io.ReadFull(s.in, s.out[:])
		s.last = n
		return s.out[:n], err
	}
	out, err := s.tokens(&io.LimitedReader{R: s.in, N: int64(header&0xfff) + 1})
	s.last = len(out)
	return out, err
}

// tokens expands what is behind the header of a chunk: eight tokens at a time, behind a byte that says
// which of them are copies.
func (s *sourceReader) tokens(r *io.LimitedReader) ([]byte, error) {
	n := 0
	for r.N > 0 {
		var flags, literal [1]byte
		if _, err := io.ReadFull(r, flags[:]); err != nil {
			return s.out[:n], io.ErrUnexpectedEOF
		}
		for bit := 0; bit < 8 && r.N > 0; bit++ {
			if flags[0]>>bit&1 == 0 {
				if _, err := io.ReadFull(r, literal[:]); err != nil {
					return s.out[:n], io.ErrUnexpectedEOF
				}
				if n == chunkSize {
					return s.out[:n], errSource
				}
				s.out[n] = literal[0]
				n++
				continue
			}
			var err error
			if n, err = s.copy(r, n); err != nil {
				return s.out[:n], err
			}
		}
	}
	return s.out[:n], nil
}

// copy expands a copy of what came before: the bits of its offset are as many as n needs.
func (s *sourceReader) copy(r io.Reader, n int) (int, error) {
	var b [2]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return n, io.ErrUnexpectedEOF
	}
	bits := 4
	for 1<<bits < n {
		bits++
	}
	token := int(binary.LittleEndian.Uint16(b[:]))
	length, back := token&(0xffff>>bits)+3, token>>(16-bits)+1
	if back > n || length > chunkSize-n {
		return n, errSource
	}
	for range length {
		s.out[n] = s.out[n-back]
		n++
	}
	return n, nil
}
