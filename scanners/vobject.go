package scanners

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"runtime/debug"
	"strings"

	"rastel/sanitize/eml"
	"rastel/sanitize/vobject"
)

// VObjects opens the files that are in calendars (ATTACH) and address cards (PHOTO, KEY and the
// like), in base64 (RFC 5545 section 3.1.3, RFC 2426 section 2.4.1) or as data: URLs.
type VObjects struct{}

// Checks are all checks that Expand may report.
func (VObjects) Checks() []eml.Check { return []eml.Check{damagedCheck} }

// Scan finds nothing: all that is to be said is said by Expand.
func (VObjects) Scan(context.Context, *eml.Part) ([]eml.Finding, error) { return nil, nil }

// Expand yields the files.
func (VObjects) Expand(ctx context.Context, p *eml.Part, b *Budget, yield func(*eml.Part) error) ([]eml.Finding, error) {
	if !p.Leaf() || vobject.KindOf(p.MediaType, p.Names, p.Head(vobject.HeadSize)) == vobject.None {
		return nil, nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a disk that fails is a failure of this scan
	content, release, err := p.View()
	if err != nil {
		return nil, err
	}
	defer release()
	h := &hidden{ctx: ctx, p: p, b: b, yield: yield}
	r := vobject.NewReader(withoutZeros(content))
	var l vobject.Line
	for n := 0; r.Next(&l); n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return h.findings, ctx.Err()
		}
		if err := h.inline(&l); err != nil {
			return h.findings, err
		}
	}
	return h.findings, nil
}

// withoutZeros is UTF-16 as what it stands for where that is ASCII; other text as it is.
func withoutZeros(b []byte) []byte {
	if !bytes.HasPrefix(b, []byte("\xff\xfe")) && !bytes.HasPrefix(b, []byte("\xfe\xff")) && !bytes.Contains(b[:min(len(b), 8)], []byte{0}) || len(b) > maxWideObject {
		return b
	}
	return bytes.TrimLeft(bytes.ReplaceAll(b, []byte{0}, nil), "\xff\xfe")
}

const (
	// maxWideObject is how large a calendar in UTF-16 may be that is read; sanitize.VObjects reports
	// larger ones.
	maxWideObject = 8 << 20
	// minInline is how many bytes of base64 make a file. Anything shorter holds nothing.
	minInline = 8
	// maxDataHead is how long the beginning of a data: URL may be (RFC 2397).
	maxDataHead = 1 << 10
)

// inline yields the file in a property, if there is one.
func (h *hidden) inline(l *vobject.Line) error {
	skip := 0
	if !l.Base64() {
		head := l.Value.Bytes(maxDataHead)
		trimmed := bytes.TrimLeft(head, " \t\"'")
		kind, _, ok := bytes.Cut(trimmed, []byte(","))
		if !ok || len(kind) < 5 || !strings.EqualFold(string(kind[:5]), "data:") || !strings.Contains(strings.ToLower(string(kind)), "base64") {
			return nil
		}
		skip = len(head) - len(trimmed) + len(kind) + 1
	}
	if l.Value.Len()-skip < minInline {
		return nil
	}
	var names nameList
	for _, p := range l.Params {
		switch p.Name {
		case "FILENAME", "X-FILENAME", "X-APPLE-FILENAME", "X-LABEL", "LABEL", "NAME", "X-NAME", "X-ORACLE-FILENAME", "X-EVOLUTION-FILENAME":
			names.add(p.Value)
		}
	}
	d := &inlineReader{skip: skip}
	l.Value.Pieces(func(b []byte) bool {
		d.pieces = append(d.pieces, b)
		return true
	})
	err := h.member(names, &inlineFile{d, base64.NewDecoder(base64.RawStdEncoding, d)})
	if err == nil && d.odd {
		h.report(hiddenDamaged, l.Name+": base64 is damaged")
	}
	return err
}

// An inlineReader gives the letters of base64 in a value, and only those: in whole groups of four,
// the last one without what is too little of it.
type inlineReader struct {
	pieces [][]byte
	skip   int
	end    bool // padding was seen
	odd    bool // there is something that programs may decode otherwise
}

// standardLetter is a letter of the URL alphabet (RFC 4648 section 5) as that of the usual one.
func standardLetter(c byte) byte {
	switch c {
	case '-':
		return '+'
	case '_':
		return '/'
	}
	return c
}

// An inlineFile decodes what an inlineReader gives. Damage ends it, and is noted.
type inlineFile struct {
	d *inlineReader
	r io.Reader
}

// Read implements io.Reader.
func (f *inlineFile) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.d.odd = true
		err = io.EOF
	}
	return n, err
}

// Read implements io.Reader.
func (r *inlineReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(r.pieces) == 0 {
			if n == 0 {
				return 0, io.EOF
			}
			return n, nil
		}
		piece := r.pieces[0]
		if r.skip >= len(piece) {
			r.skip -= len(piece)
			r.pieces = r.pieces[1:]
			continue
		}
		c := piece[r.skip]
		r.skip++
		switch {
		case c == '=':
			r.end = true
		case c == '-', c == '_', c == '+', c == '/', c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z':
			if r.end {
				r.odd = true // some programs go on, some stop
				continue
			}
			p[n] = standardLetter(c)
			n++
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			r.odd = true
		}
	}
	return n, nil
}
