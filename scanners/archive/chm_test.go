package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
	"rastel/scanners/archive/lzx"
	"rastel/scanners/archive/lzx/lzxtest"
)

// A chmMaker makes help files.
type chmMaker struct {
	files   []file // in section 1
	plain   []file // in section 0
	version uint32 // of the header
	anew    int    // frames between two beginnings of the stream
	page    int    // size of a page of the directory
	filled  bool   // the last frame goes on behind its end
	change  func(control, reset []byte)
	entries []chmFile // besides
}

// encint is a number in sevens.
func encint(b []byte, v uint64) []byte {
	for shift := 56; shift > 0; shift -= 7 {
		if v>>shift > 0 {
			b = append(b, byte(v>>shift)|0x80)
		}
	}
	return append(b, byte(v&0x7f))
}

func (m chmMaker) of() []byte {
	le := binary.LittleEndian
	var all strings.Builder
	entries := slices.Clone(m.entries)
	for _, f := range m.files {
		entries = append(entries, chmFile{"/" + f.name, 1, int64(all.Len()), int64(len(f.content))})
		all.WriteString(f.content)
	}
	content, reset := m.packed(all.String())
	control := le.AppendUint32(nil, 6)
	control = append(control, "LZXC"...)
	for _, v := range []uint32{2, uint32(m.anew), 2, 1, 0} {
		control = le.AppendUint32(control, v)
	}
	if m.change != nil {
		m.change(control, reset)
	}
	var zero []byte
	for _, f := range append(slices.Clone(m.plain), file{chmContent, string(content)}, file{chmControl, string(control)}, file{chmReset, string(reset)}) {
		name := f.name
		if !strings.HasPrefix(name, "::") {
			name = "/" + name
		}
		entries = append(entries, chmFile{name, 0, int64(len(zero)), int64(len(f.content))})
		zero = append(zero, f.content...)
	}
	return m.around(m.directory(entries), zero)
}

// packed is the content of section 1 and its table.
func (m chmMaker) packed(content string) (packed, reset []byte) {
	le := binary.LittleEndian
	e := lzxtest.Encoder{Window: 16, Kind: lzxtest.Verbatim}
	size := len(content)
	if m.filled {
		content += strings.Repeat(content[len(content)-1:], lzx.Frame-len(content)%lzx.Frame)
	}
	var table []byte
	for i := 0; i*lzx.Frame < len(content); i++ {
		if i%max(m.anew, 1) == 0 {
			e.Reset()
		}
		table = le.AppendUint64(table, uint64(len(packed)))
		packed = append(packed, e.Frame([]byte(content[i*lzx.Frame:min((i+1)*lzx.Frame, len(content))]))...)
	}
	for _, v := range []uint32{2, uint32(len(table) / 8), 8, 0x28} {
		reset = le.AppendUint32(reset, v)
	}
	for _, v := range []int{size, len(packed), lzx.Frame} {
		reset = le.AppendUint64(reset, uint64(v))
	}
	return packed, append(reset, table...)
}

// directory is the pages of the directory.
func (m chmMaker) directory(entries []chmFile) (pages []byte) {
	le := binary.LittleEndian
	var page []byte
	end := func() {
		head := append([]byte("PMGL"), le.AppendUint32(nil, uint32(m.page-chmPageHead-len(page)))...)
		n := len(pages) / m.page
		for _, v := range []int{0, n - 1, n + 1} {
			head = le.AppendUint32(head, uint32(v))
		}
		pages = append(append(pages, head...), page...)
		pages = append(pages, make([]byte, m.page-chmPageHead-len(page))...)
		page = nil
	}
	for _, f := range entries {
		e := append(encint(nil, uint64(len(f.name))), f.name...)
		for _, v := range []int64{int64(f.section), f.offset, f.size} {
			e = encint(e, uint64(v))
		}
		if len(page)+len(e) > m.page-chmPageHead {
			end()
		}
		page = append(page, e...)
	}
	end()
	le.PutUint32(pages[len(pages)-m.page+16:], 0xffffffff)
	return pages
}

// around puts the headers before the directory and section 0.
func (m chmMaker) around(pages, zero []byte) []byte {
	le := binary.LittleEndian
	header := 0x60
	if m.version < 3 {
		header = chmHeader
	}
	b := le.AppendUint32([]byte(chmMagic), m.version)
	b = append(le.AppendUint32(b, uint32(header)), make([]byte, 0x38-12)...)
	for _, v := range []int{0, 0, header, chmDirHeader + len(pages), header + chmDirHeader + len(pages)} {
		if len(b) < header {
			b = le.AppendUint64(b, uint64(v))
		}
	}
	b = append(b, "ITSP"...)
	for _, v := range []uint32{1, chmDirHeader, 10, uint32(m.page), 2, 1, 0xffffffff, 0, uint32(len(pages)/m.page - 1), 0xffffffff, uint32(len(pages) / m.page)} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, make([]byte, header+chmDirHeader-len(b))...)
	return join(b, pages, zero)
}

// help makes a help file as others do.
func help(files ...file) chmMaker { return chmMaker{files: files, version: 3, anew: 2, page: 4096} }

func TestOpensHelp(t *testing.T) {
	big := string(noise(150_000))
	for name, change := range map[string]func(*chmMaker){
		"as it is":                    func(*chmMaker) {},
		"version 2":                   func(m *chmMaker) { m.version = 2 },
		"many pages":                  func(m *chmMaker) { m.page = 256 },
		"anew for every frame":        func(m *chmMaker) { m.anew = 1 },
		"anew hardly ever":            func(m *chmMaker) { m.anew = 100 },
		"the last frame is filled up": func(m *chmMaker) { m.filled = true },
		"numbers of the first version": func(m *chmMaker) {
			m.change = func(c, _ []byte) { c[8], c[13], c[12], c[17], c[16] = 1, 0, 0, 0, 0; c[14], c[18] = 1, 1 }
		},
	} {
		m := help(file{"letter.htm", letter}, file{"dir/big.bin", big}, file{"evil.exe", "MZ" + letter})
		m.plain = []file{{"#SYSTEM", "system"}, {"::DataSpace/NameList", "names"}}
		m.entries = []chmFile{{name: "/dir/"}}
		change(&m)
		r := expandIn(t.Context(), t, New(Config{}), "a.chm", m.of(), scanners.BudgetLimits{})
		r.wantMember(t, "letter.htm", letter)
		r.wantMember(t, "evil.exe", "MZ"+letter)
		r.wantMember(t, "#SYSTEM", "system")
		r.wantMember(t, "::DataSpace/NameList", "names")
		r.wantChecks(t)
		if i := slices.IndexFunc(r.members, func(s seenMember) bool { return slices.Contains(s.names, "dir/big.bin") }); i < 0 || r.members[i].size != int64(len(big)) {
			t.Errorf("%s: want all of dir/big.bin, got%s", name, r)
		}
	}
}

func TestDamagedHelp(t *testing.T) {
	whole := help(file{"a.htm", letter}, file{"b.exe", "MZ"}).of()
	reset := func(f func(control, reset []byte)) []byte {
		m := help(file{"a.htm", letter})
		m.change = f
		return m.of()
	}
	change := func(at int, v ...byte) []byte { b := bytes.Clone(whole); copy(b[at:], v); return b }
	for name, content := range map[string][]byte{
		"cut in the header":      whole[:50],
		"cut in the directory":   whole[:0x60+chmDirHeader+1000],
		"cut in the content":     whole[:len(whole)-500],
		"no directory":           change(0x60, 'X'),
		"pages of no size":       change(0x60+16, 0, 0),
		"pages of great size":    change(0x60+16, 0, 0, 0, 0x40),
		"directory far away":     change(0x48, 0, 0, 0, 0, 0, 0, 0, 0x7f),
		"content far away":       change(0x58, 0, 0, 0, 0, 0, 0, 0, 0x7f),
		"no files":               change(0x60+chmDirHeader, 'X'),
		"a name that is longer":  change(0x60+chmDirHeader+chmPageHead, 0xff, 0x7f),
		"never anew":             reset(func(c, _ []byte) { c[12] = 0 }),
		"no window":              reset(func(c, _ []byte) { c[16] = 0 }),
		"window of no power":     reset(func(c, _ []byte) { c[16] = 3 }),
		"more frames":            reset(func(_, r []byte) { r[4] = 2 }),
		"frames of another size": reset(func(_, r []byte) { r[33] = 1 }),
		"less than there is":     reset(func(_, r []byte) { r[16], r[17] = 1, 0 }),
		"a frame behind the end": reset(func(_, r []byte) { r[chmResetHead+2] = 1 }),
		"no frame":               reset(func(_, r []byte) { r[chmResetHead+7] = 0x80 }),
	} {
		r := expand(t, content, scanners.BudgetLimits{})
		if !slices.Contains(r.checks(), damaged) {
			t.Errorf("%s: got checks %q, want %s%s", name, r.checks(), damaged, r)
		}
	}
	r := expand(t, reset(func(c, _ []byte) { c[4] = 'X' }), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
	r.wantMember(t, "a.htm", "")
	m := help(file{"a.htm", letter})
	m.entries = []chmFile{{"/b.exe", 2, 0, 10}}
	r = expand(t, m.of(), scanners.BudgetLimits{})
	r.wantChecks(t, unsupported)
	r.wantMember(t, "a.htm", letter)
	r.wantMember(t, "b.exe", "")
	m = help(file{"a.htm", letter})
	m.plain = []file{{chmControl, "other"}}
	expand(t, m.of(), scanners.BudgetLimits{}).wantChecks(t, ambiguous, damaged)
}

// Programs follow the pages of the directory in several ways: wherever one lies, it is read.
func TestPagesOfHelpThatAreHidden(t *testing.T) {
	m := help(file{"a.htm", letter})
	whole := m.of()
	page := m.directory([]chmFile{{"/letter.txt", 0, 0, 5}})
	for (len(whole)-0x60-chmDirHeader)%m.page != 0 {
		whole = append(whole, 0)
	}
	number := (len(whole) - 0x60 - chmDirHeader) / m.page
	first := 0x60 + chmDirHeader
	next := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(next[first+16:], uint32(number))
	r := expand(t, append(next, page...), scanners.BudgetLimits{})
	if !slices.ContainsFunc(r.members, func(s seenMember) bool { return slices.Contains(s.names, "letter.txt") }) {
		t.Errorf("want letter.txt, got%s", r)
	}
}

// Files may lie over one another, and the stream may hardly ever begin anew: what that costs is bounded.
func TestOverlapsInHelpAreBounded(t *testing.T) {
	m := help(file{"a.bin", string(noise(1 << 20))})
	m.anew = 1000
	for i := range 2000 {
		m.entries = append(m.entries, chmFile{fmt.Sprintf("/%d", i), 1, int64(1<<20 - 3000 + i/2), 1000})
	}
	b := scanners.NewBudget(scanners.BudgetLimits{Bytes: 100 << 20}, eml.SpoolOptions{})
	_, err := New(Config{}).Expand(t.Context(), part(t, "a.chm", m.of()), b, func(m *eml.Part) error { m.Release(); return nil })
	if !errors.Is(err, scanners.ErrBudget) {
		t.Errorf("got %v, want the budget used up", err)
	}
}
