package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/mholt/archiver/v4"
)

const (
	tarBlock = 512
	// maxSparse is the largest sparse file whose holes are filled in. A header of one block can
	// claim terabytes of them (CVE-2025-58183, CVE-2026-32288).
	maxSparse = 1 << 20
)

// openTar opens a tar file (POSIX pax, GNU). Programs stop at two blocks of zeros, or at a
// damaged header, or go on behind them: what is behind is read too.
func openTar(o *opening) error {
	for off := int64(0); off < o.p.Size; {
		end, whole, err := o.tarAt(off)
		if err != nil || o.tooDamaged() {
			return err
		}
		if whole {
			end, err = o.skipZeros(end)
		}
		if err != nil || end >= o.p.Size {
			return err
		}
		off, err = o.nextTar(end)
		if off == end && !whole {
			off, err = o.nextTar(end + tarBlock) // that header is the one that failed
		}
		if err != nil {
			return err
		}
		if off >= o.p.Size && whole {
			return o.trailer(end)
		}
		if off < o.p.Size {
			o.report(o.p, ambiguous, "another tar behind the end or behind damage")
		}
	}
	return nil
}

// tarAt yields the members of the tar that begins at off, and reports whether its end was
// found, and where; if not, where the last member before the damage ended.
func (o *opening) tarAt(off int64) (end int64, whole bool, fatal error) {
	end = off
	in := o.input(off, o.p.Size-off)
	err := guard(func() error {
		return archiver.Tar{}.Extract(o.ctx, struct{ io.Reader }{in}, func(_ context.Context, f archiver.FileInfo) error {
			fatal = o.tarMember(f)
			end = off + (o.consumed()-off+tarBlock-1)/tarBlock*tarBlock
			return fatal
		})
	})
	if fatal != nil || err == nil {
		return o.consumed(), true, fatal
	}
	o.damage++
	return end, false, o.failed(o.p, err)
}

// tarMember yields one entry. Links and devices have no content, and are never made.
func (o *opening) tarMember(f archiver.FileInfo) error {
	h, ok := f.Header.(*tar.Header)
	if !ok {
		return o.failed(o.p, errCorrupt)
	}
	var names nameSet
	names.addRaw(h.Name, true)
	switch h.Typeflag {
	case tar.TypeDir:
		return o.passed()
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return o.closed(names, "", "")
	}
	if isSparse(h) && h.Size > maxSparse {
		return o.closed(names, unsupported, "sparse file")
	}
	r, err := f.Open()
	if err != nil {
		return o.closed(names, checkOf(err), err.Error())
	}
	_, err = o.member(names, r)
	return err
}

// isSparse reports whether a file has holes that the archive does not hold: in the old format
// of GNU or in one of those in pax records.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// nextTar is the offset of the first header at off or, in steps of a block, behind it; the
// size of the part if there is none.
func (o *opening) nextTar(off int64) (int64, error) {
	in := o.input(off, o.p.Size-off)
	var block [tarBlock]byte
	for ; ; off += tarBlock {
		if _, err := io.ReadFull(in, block[:]); err != nil {
			return o.p.Size, o.fatal()
		}
		if isTarHeader(block[:]) {
			return off, nil
		}
	}
}

// isTarHeader tells a header by its checksum, which some old programs have made of signed
// bytes (POSIX pax, ustar Interchange Format).
func isTarHeader(block []byte) bool {
	field := strings.Trim(string(block[148:156]), " \x00")
	if field == "" || block[0] == 0 {
		return false
	}
	var want, unsigned, signed int64
	for _, c := range field {
		if c < '0' || c > '7' {
			return false
		}
		want = want*8 + int64(c-'0')
	}
	sum := bytes.Join([][]byte{block[:148], []byte("        "), block[156:]}, nil)
	for _, c := range sum {
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}
