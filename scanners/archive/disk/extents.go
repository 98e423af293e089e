package disk

import (
	"io"
	"slices"
)

// What counts as work: one extent, and one record of a directory.
const (
	extentCost = 32
	recordCost = 256
)

// An extent is a run of bytes of a volume; zeros if off is negative.
type extent struct{ off, n int64 }

// extents are where the content of a file is, in order.
type extents []extent

// add appends a run, and joins it to the last one where it continues that.
func (e *extents) add(off, n int64) {
	if n <= 0 {
		return
	}
	if k := len(*e) - 1; k >= 0 {
		last := &(*e)[k]
		if last.off < 0 && off < 0 || last.off >= 0 && last.off+last.n == off {
			last.n += n
			return
		}
	}
	*e = append(*e, extent{off, n})
}

// total is the number of bytes in all of them.
func (e extents) total() (n int64) {
	for _, x := range e {
		n += x.n
	}
	return n
}

// within is how many of the first size bytes can be read from a volume.
func (e extents) within(size int64, vol int64) (n int64) {
	for _, x := range e {
		left := min(x.n, size)
		size -= left
		if x.off >= 0 {
			left = min(left, max(vol-x.off, 0))
		}
		n += left
	}
	return n
}

func (e extents) equal(o extents) bool { return slices.Equal(e, o) }

// read gives n bytes at off of what the extents hold, or what is there of them.
func (e extents) read(vol volume, off, n int64) ([]byte, error) {
	if err := vol.w.spend(n + 4*int64(len(e))); err != nil {
		return nil, err
	}
	b := make([]byte, min(n, max(e.total()-off, 0)))
	got := 0
	for _, x := range e {
		if got == len(b) {
			break
		}
		if off >= x.n {
			off -= x.n
			continue
		}
		k := min(x.n-off, int64(len(b)-got))
		if x.off >= 0 {
			if r, err := vol.ReadAt(b[got:got+int(k)], x.off+off); int64(r) < k {
				return b[:got+max(r, 0)], readError(err)
			}
		}
		got, off = got+int(k), 0
	}
	return b, nil
}

// reader gives the first size bytes.
func (e extents) reader(vol volume, size int64) io.Reader {
	return &extentReader{vol: vol, ext: e, left: size}
}

// fileOf is a file whose content the extents hold.
func (e extents) fileOf(vol volume, names []string, size int64) *File {
	return &File{Names: names, Size: e.within(size, vol.size), r: e.reader(vol, size)}
}

type extentReader struct {
	vol  volume
	ext  extents
	at   int64 // in the first of ext
	left int64
}

func (r *extentReader) Read(p []byte) (int, error) {
	for len(r.ext) > 0 && r.at >= r.ext[0].n {
		r.ext, r.at = r.ext[1:], 0
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.ext) == 0 {
		return 0, damagedf("a file ends before its size")
	}
	x := r.ext[0]
	p = p[:min(int64(len(p)), r.left, x.n-r.at)]
	if x.off < 0 {
		clear(p)
		r.at, r.left = r.at+int64(len(p)), r.left-int64(len(p))
		return len(p), nil
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.vol.ReadAt(p, x.off+r.at)
	r.at, r.left = r.at+int64(n), r.left-int64(n)
	if n > 0 {
		return n, nil // an error comes again
	}
	return 0, readError(err)
}
