package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/bodgit/sevenzip"
	"github.com/mholt/archiver/v4"

	"rastel/scanners"
)

// errStop ends a walk over an archive without being an error of the archive.
var errStop = errors.New("stop")

func open7z(o *opening) error {
	end, err := o.sevenZipAt(0)
	if err != nil || end == 0 {
		return err
	}
	return o.trailer(end)
}

// sevenZipAt opens the 7z archive that begins at off, and returns the offset of its end; 0 if
// that is not known. Its header is read twice: first here, because the decoder believes every
// number in it.
func (o *opening) sevenZipAt(off int64) (int64, error) {
	h, password, err := o.szUnlocked(off)
	if fatal := o.fatal(); fatal != nil {
		return 0, fatal
	}
	if errors.Is(err, errEncrypted) {
		o.report(o.p, encrypted, o.lockedDetail())
		return 0, nil
	}
	if err != nil {
		return 0, o.failed(o.p, err)
	}
	if h.files > o.b.Members() {
		return 0, fmt.Errorf("%w: 7z archive of %d members", scanners.ErrBudget, h.files)
	}
	if h.files == 0 {
		return h.end, nil
	}
	w := szWalk{o: o, h: h, bad: map[int]bool{}}
	err = guard(func() error {
		return archiver.SevenZip{Password: password}.Extract(o.ctx, io.NewSectionReader(o.src, off, o.p.Size-off), w.member)
	})
	if w.fatal != nil || err == nil || errors.Is(err, errStop) {
		return h.end, w.fatal
	}
	return h.end, o.failed(o.p, err)
}

// A szWalk is the walk over the members of a 7z archive.
type szWalk struct {
	o     *opening
	h     *szHeader
	bad   map[int]bool // folders in which damage was met
	fatal error
}

func (w *szWalk) member(_ context.Context, f archiver.FileInfo) error {
	if w.fatal = w.yield(f); w.fatal != nil {
		return w.fatal
	}
	if w.o.tooDamaged() {
		return errStop
	}
	return nil
}

func (w *szWalk) yield(f archiver.FileInfo) error {
	h, ok := f.Header.(sevenzip.FileHeader)
	if !ok {
		return w.o.failed(w.o.p, errCorrupt)
	}
	var names nameSet
	names.addRaw(h.Name, true)
	switch {
	case h.UncompressedSize == 0 && f.IsDir():
		return w.o.passed()
	case h.UncompressedSize == 0:
		return w.o.closed(names, "", "")
	case h.UncompressedSize > math.MaxInt64:
		return w.o.closed(names, damaged, "impossible size")
	case h.Stream >= len(w.h.folders):
		return w.o.closed(names, damaged, "in a stream that is not there")
	case w.h.folders[h.Stream].err != nil:
		err := w.h.folders[h.Stream].err
		if errors.Is(err, errEncrypted) {
			return w.o.closed(names, encrypted, w.o.lockedDetail())
		}
		return w.o.closed(names, checkOf(err), err.Error())
	case w.bad[h.Stream]:
		return w.o.closed(names, damaged, "behind damage in the same stream")
	}
	return w.read(names, &h, f)
}

// read yields a member that has content.
func (w *szWalk) read(names []string, h *sevenzip.FileHeader, f archiver.FileInfo) error {
	var want *uint32
	if h.CRC32 != 0 {
		want = &h.CRC32
	}
	late := &lateReader{open: func() (io.Reader, error) { return f.Open() }}
	defer late.close()
	ok, err := w.o.member(names, newChecked(late, int64(h.UncompressedSize), want))
	w.bad[h.Stream] = !ok
	return err
}
