package ole

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"io"
	"slices"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// ActiveMime opens what Word puts macros and objects into when it saves a document as a page or as XML
// (editdata.mso, oledata.mso): a compound file, compressed behind a header that Microsoft has not
// documented. Real ones have it at 0x32; Word goes by an offset in the header.
type ActiveMime struct{}

// Checks are all checks that Expand may report.
func (ActiveMime) Checks() []eml.Check { return []eml.Check{damagedCheck} }

// Scan finds nothing.
func (ActiveMime) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Opens reports whether p is such a file.
func (ActiveMime) Opens(p *eml.Part) bool { return p.Type == "activemime" }

const (
	// activeHead is how much of the file is searched for the compressed stream.
	activeHead = 4 << 10
	// activeOffset is where the offset of the stream is, less activeBase.
	activeOffset = 0x1e
	activeBase   = 46
	// activeTrial is how much must expand for a stream to be one.
	activeTrial = 64
	// maxStreams is how many streams in one file are opened.
	maxStreams = 4
)

// Expand yields the compound file: all that could be one, as the places are a guess.
func (ActiveMime) Expand(ctx context.Context, p *eml.Part, b *scanners.Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if p.Type != "activemime" {
		return nil, nil
	}
	f := &file{output: output{ctx: ctx, p: p, b: b, yield: yield}}
	streams := 0
	for _, at := range activePlaces(p.Head(activeHead)) {
		r := io.NewSectionReader(p.Content(), at, p.Size-at)
		if streams == maxStreams || !expands(r) {
			continue
		}
		streams++
		if err := f.compressed(io.NewSectionReader(p.Content(), at, p.Size-at), -1); err != nil {
			return f.findings, err
		}
	}
	if streams == 0 {
		f.damaged("no compressed stream in what should have one")
	}
	return f.findings, nil
}

// activePlaces are where a zlib stream may begin.
func activePlaces(head []byte) []int64 {
	var places []int64
	if len(head) > activeOffset+2 {
		places = append(places, int64(binary.LittleEndian.Uint16(head[activeOffset:]))+activeBase)
	}
	for at := range max(len(head)-1, 0) {
		if head[at] == 0x78 && isZlib(head[at:]) && !slices.Contains(places, int64(at)) {
			places = append(places, int64(at))
		}
	}
	return places
}

// expands reports whether a zlib stream begins with r that has something in it.
func expands(r io.Reader) bool {
	z, err := zlib.NewReader(r)
	if err != nil {
		return false
	}
	defer z.Close()
	var buf bytes.Buffer
	n, err := io.CopyN(&buf, z, activeTrial)
	return n == activeTrial || n > 0 && err == io.EOF
}
