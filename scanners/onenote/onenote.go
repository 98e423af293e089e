// Package onenote opens notebooks of OneNote (MS-ONESTORE): the files and pictures that lie on their
// pages, which a reader opens with a double click.
package onenote

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// Scanner opens notebooks.
//
// It does not follow the tables of a notebook, which lead through several revisions of everything:
// files are found by what marks them, so those that no page shows any more are found too.
type Scanner struct{}

const damaged = "onenote/damaged"

// Checks are all checks that Expand may report.
func (Scanner) Checks() []eml.Check {
	return []eml.Check{{ID: damaged, Doc: "A file in a notebook of OneNote is cut off, and was examined as far as it goes."}}
}

// Scan finds nothing: all that is to be said about a notebook is said by Expand.
func (Scanner) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Opens reports whether p is a notebook.
func (Scanner) Opens(p *eml.Part) bool { return p.Type == "onenote" }

const (
	// fileMark begins a FileDataStoreObject (MS-ONESTORE 2.6.13): {BDE316E7-2665-4511-A4C4-8D4D0B7A9EAC}.
	fileMark = "\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac"
	// fileHeader is how many bytes there are before the content: the mark, its length, and zeros.
	fileHeader = 36

	// packaged is what tells a notebook that was synchronised (MS-ONESTORE 2.8.1), at formatOffset:
	// {638DE92F-A6D4-4BC1-9A36-B3FC2511A5B7}.
	packaged     = "\x2f\xe9\x8d\x63\xd4\xa6\xc1\x4b\x9a\x36\xb3\xfc\x25\x11\xa5\xb7"
	formatOffset = 48

	// blobMark begins an Object Data BLOB (MS-FSSHTTPB 2.2.1.12.8): the header of a stream object in 32
	// bits, of which the upper half is its length.
	blobMark = "\x12\x00"
	longBlob = 0x7fff // the length comes behind the header

	// nameMarks are the properties EmbeddedFileName, SourceFilepath and ImageFilename (MS-ONE 2.1.12).
	embeddedName = "\x9c\x1d\x00\x1c"
	sourcePath   = "\x9d\x1d\x00\x1c"
	imageName    = "\xd7\x1d\x00\x1c"

	// window is how much is looked at at a time.
	window = 64 << 10
	// maxFindings is how many findings about one notebook are kept.
	maxFindings = 20
)

// Expand yields the files in the notebook p. Which name belongs to which of them is told by tables, so
// each has all names of the notebook; names beyond maxNames are members without content.
func (Scanner) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if p.Type != "onenote" {
		return nil, nil
	}
	n := &notebook{ctx: ctx, p: p, b: b, yield: yield, src: p.Content()}
	err := n.search([]string{embeddedName, sourcePath, imageName}, n.name)
	if err == nil {
		err = n.otherNames()
	}
	if err == nil {
		err = n.files()
	}
	return n.findings, err
}

// A notebook is one call of Expand.
type notebook struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call of Expand
	p     *eml.Part
	b     *scanners.Budget
	yield func(*eml.Part) error
	src   *io.SectionReader

	names    []string
	index    int   // of the last member
	next     int64 // the end of the last file
	findings []eml.Finding
}

// files yields the files in the way that the format keeps them.
func (n *notebook) files() error {
	if err := n.search([]string{fileMark}, n.file); err != nil {
		return err
	}
	format := make([]byte, len(packaged))
	if k, _ := n.src.ReadAt(format, formatOffset); string(format[:k]) != packaged {
		return nil
	}
	n.next = 0
	return n.search([]string{blobMark}, n.blob)
}

// search calls found with each offset of one of the marks, in the order in which they come.
func (n *notebook) search(marks []string, found func(at int64) error) error {
	buf := make([]byte, min(window, n.src.Size()))
	r := io.NewSectionReader(n.src, 0, n.src.Size())
	kept, start := 0, int64(0) // bytes in buf from the last window, and where buf begins
	for len(buf) > len(marks[0]) {
		if err := n.ctx.Err(); err != nil {
			return err
		}
		k, err := io.ReadFull(r, buf[kept:])
		b := buf[:kept+k]
		for at := first(b, marks); at < len(b); at += 1 + first(b[at+1:], marks) {
			if err := found(start + int64(at)); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		} else if err != nil {
			return err
		}
		kept = copy(buf, b[len(b)-len(marks[0])+1:])
		start += int64(len(b) - kept)
	}
	return nil
}

// first is where the first of the marks is in b; its length if none is.
func first(b []byte, marks []string) int {
	at := len(b)
	for _, m := range marks {
		if i := bytes.Index(b[:min(at+len(m), len(b))], []byte(m)); i >= 0 {
			at = min(at, i)
		}
	}
	return at
}

// file yields the file whose mark is there. One that begins in another is one too: the length is but
// what it says.
func (n *notebook) file(at int64) error {
	var h [fileHeader]byte
	if k, _ := n.src.ReadAt(h[:], at); k < len(h) {
		n.report("a file without a beginning")
		return nil
	}
	size, left := binary.LittleEndian.Uint64(h[16:]), n.src.Size()-at-fileHeader
	if size > uint64(left) {
		n.report("a file is cut off")
		size = uint64(left)
	}
	return n.member(n.names, io.NewSectionReader(n.src, at+fileHeader, int64(size)))
}

// blob yields the file in the blob that may begin there: two lengths that agree tell it from other
// bytes.
func (n *notebook) blob(at int64) error {
	var b [4 + 2*maxCompact]byte
	k, _ := n.src.ReadAt(b[:], at)
	if k < 6 || b[2]&1 != 0 || at < n.next {
		return nil
	}
	outer, rest := uint64(binary.LittleEndian.Uint16(b[2:]))>>1, b[4:k]
	if outer == longBlob {
		v, used := compact(rest)
		if used == 0 {
			return nil
		}
		outer, rest = v, rest[used:]
	}
	size, used := compact(rest)
	start := at + int64(k-len(rest)) + int64(used)
	if used == 0 || outer != size+uint64(used) || size == 0 || size > uint64(n.src.Size()-start) {
		return nil
	}
	n.next = start + int64(size)
	return n.member(n.names, io.NewSectionReader(n.src, start, int64(size)))
}

// maxCompact is the most bytes of a compact integer.
const maxCompact = 9

// compact reads a compact unsigned integer (MS-FSSHTTPB 2.2.1.1), whose first bits tell its length, and
// tells how many bytes it takes; 0 if it is not all there.
func compact(b []byte) (v uint64, used int) {
	if len(b) == 0 {
		return 0, 0
	}
	if b[0] == 0 {
		return 0, 1
	}
	for used = 1; b[0]>>(used-1)&1 == 0; used++ { //nolint:revive // some bit is set
	}
	if used == 8 {
		if len(b) < maxCompact {
			return 0, 0
		}
		return binary.LittleEndian.Uint64(b[1:]), maxCompact
	}
	if len(b) < used {
		return 0, 0
	}
	var full [8]byte
	copy(full[:], b[:used])
	return binary.LittleEndian.Uint64(full[:]) >> used, used
}

// member yields what r gives.
func (n *notebook) member(names []string, r io.Reader) error {
	n.index++
	part, err := n.b.Member(n.ctx, n.p, n.index, names, r)
	if part == nil {
		return err
	}
	if err != nil {
		part.Release() // the spool failed, not the content
		return err
	}
	return n.yield(part)
}

// otherNames yields names that are too many to give to each file.
func (n *notebook) otherNames() error {
	if len(n.names) <= maxNames {
		return nil
	}
	for _, name := range n.names[maxNames:] {
		if err := n.member([]string{name}, strings.NewReader("")); err != nil {
			return err
		}
	}
	n.names = n.names[:maxNames]
	return nil
}

// report adds a finding that something was not seen, once.
func (n *notebook) report(detail string) {
	for _, f := range n.findings {
		if f.Detail == detail {
			return
		}
	}
	if len(n.findings) < maxFindings {
		n.findings = append(n.findings, eml.Finding{Check: damaged, Part: n.p, Detail: fmt.Sprint(detail), Unexamined: true})
	}
}
