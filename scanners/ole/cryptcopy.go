package ole

import (
	"io"
	"slices"

	"rastel/sanitize/eml"
)

// maxExtents is how many pieces the streams that change may lie in.
const maxExtents = 1 << 18

// A change is what takes the place of a stream, of the same length.
type change struct {
	n    *node
	with io.ReaderAt
	size int64
}

// An extent is a piece of a stream in the file.
type extent struct {
	at, n int64 // in the file
	off   int64 // in the stream
	with  io.ReaderAt
}

// extents are the pieces in which a stream lies in the file.
func (c *compound) extents(ch change) (out []extent) {
	mini := ch.n.size < miniCutoff
	table, shift := c.fat, c.shift
	if mini {
		table, shift = c.miniFAT, miniShift
	}
	next := ch.n.start
	for off := int64(0); off < ch.size; off += 1 << shift {
		at, ok := c.place(next, mini)
		if !ok || int64(next) >= int64(len(table)) || off>>shift > int64(len(table)) {
			break
		}
		n := min(1<<shift, ch.size-off)
		if last := len(out) - 1; last >= 0 && out[last].at+out[last].n == at {
			out[last].n += n
		} else {
			out = append(out, extent{at, n, off, ch.with})
		}
		next = table[next]
	}
	return out
}

// copied yields the file with those streams changed.
func (f *file) copied(c *compound, changes []change) error {
	var all []extent
	for _, ch := range changes {
		all = append(all, c.extents(ch)...)
	}
	if len(all) > maxExtents {
		f.damaged("a stream in too many pieces")
		return nil
	}
	slices.SortFunc(all, func(a, b extent) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	return f.member(f.p.Names, "", &patchedReader{r: c.r, size: c.size, extents: all})
}

// A patchedReader reads a file of which pieces are replaced, in order.
type patchedReader struct {
	r        io.ReaderAt
	at, size int64
	extents  []extent
}

func (p *patchedReader) Read(b []byte) (int, error) {
	for len(p.extents) > 0 && p.extents[0].at+p.extents[0].n <= p.at {
		p.extents = p.extents[1:]
	}
	if p.at >= p.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.size-p.at)]
	from, at := p.r, p.at
	if len(p.extents) > 0 {
		e := &p.extents[0]
		if p.at < e.at {
			b = b[:min(int64(len(b)), e.at-p.at)]
		} else {
			b = b[:min(int64(len(b)), e.at+e.n-p.at)]
			from, at = e.with, e.off+p.at-e.at
		}
	}
	n, err := from.ReadAt(b, at)
	p.at += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}

// spooled keeps what make writes, within the budget. The caller closes it.
func (f *file) spooled(r io.Reader, makes func(w io.Writer, r io.Reader) error) (*eml.Spool, error) {
	s := f.b.Spool()
	err := makes(s, f.read(r))
	s.CloseWrite(nil)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
