// Package disk reads images of disks and discs: it finds the file systems in them and shows every
// file that some system shows. It knows nothing of mail.
//
// The content of an image is hostile. All that is read is bounded by what the image holds: every
// reader of tables and directories draws on one allowance (see walk.spend), no chain is followed
// twice, and nothing is allocated because a header says so. What was not read is told with Note.
package disk

import (
	"errors"
	"fmt"
	"io"
)

// What keeps files from being seen; all errors of this package wrap one of them.
var (
	ErrDamaged     = errors.New("damaged")
	ErrUnsupported = errors.New("not supported")
	ErrEncrypted   = errors.New("encrypted")
	ErrLimit       = errors.New("more than the limit")
	ErrAmbiguous   = errors.New("systems show different files") // the one after which nothing is missing
)

// A Visitor is told what is in an image.
type Visitor interface {
	// File takes a file, whose content can be read until it returns. An error ends the walk.
	File(f *File) error
	// Passed is called for each directory, and for what else has no content. An error ends the walk.
	Passed() error
	// Note takes what was not seen, or not by all systems.
	Note(err error)
}

// A File is what some system shows as one.
type File struct {
	// Names are all names that systems show, each with its directories, "/" between them.
	Names []string
	// Size is how many bytes can be read at most. It may be far more than the image has: holes
	// are zeros.
	Size int64
	// Err is why the content cannot be read at all; nil if it can.
	Err error
	// Link is set for what only points to another file, and has no content.
	Link bool

	r io.Reader
}

// Read gives the content. It ends with ErrDamaged if that is not all there.
func (f *File) Read(p []byte) (int, error) {
	if f.r == nil {
		return 0, io.EOF
	}
	return f.r.Read(p)
}

const (
	// workFree and workTimes bound how many bytes of tables and directories are read, and how
	// many are unpacked to get at them: so many, and so many times the size of the image.
	workFree  = 128 << 20
	workTimes = 8
)

// A walk is the reading of one image. One goroutine uses it.
type walk struct {
	v    Visitor
	work int64 // what may still be spent
	stop error // of the visitor
}

// Walk shows v all that is in the image of size bytes that r reads. The error is one of v: what
// is wrong with the image is told with Note.
func Walk(r io.ReaderAt, size int64, v Visitor) error {
	w := &walk{v: v, work: workFree + workTimes*size}
	if err := w.try(func() error { return w.image(volume{r, size, w}) }); err != nil {
		return err
	}
	if w.work < 0 {
		v.Note(w.spend(0)) // some readers take what they cannot read for what is not there
	}
	return nil
}

// image reads an image: what it is mapped to if it is a virtual disk, and what it is besides.
func (w *walk) image(raw volume) error {
	if err := encryptedDMG(raw); err != nil {
		return err
	}
	open, name := virtual(raw)
	if open == nil {
		return w.whole(raw)
	}
	mapped := false // to other places than it has in the file
	err := w.try(func() error {
		vol, err := open(raw)
		if err != nil {
			return err
		}
		_, fixed := vol.ReaderAt.(*io.SectionReader)
		mapped = !fixed
		return w.whole(vol)
	})
	if err != nil || !mapped || !isISO(raw) && !isUDF(raw) && systemOf(raw) == nil {
		return err
	}
	w.v.Note(fmt.Errorf("%w: a virtual disk (%s), and an image besides", ErrAmbiguous, name))
	return w.whole(raw)
}

// spend accounts for n bytes of work.
func (w *walk) spend(n int64) error {
	if w.work -= n; w.work < 0 {
		return fmt.Errorf("%w: too many tables and directories for its size", ErrLimit)
	}
	return nil
}

// try runs f, which reads a part of the image, and notes its error unless it is that of the
// visitor, which ends the walk.
func (w *walk) try(f func() error) error {
	err := f()
	if w.stop != nil {
		return w.stop
	}
	if err != nil {
		w.v.Note(err)
	}
	return nil
}

func (w *walk) file(f *File) error {
	if w.stop == nil {
		w.stop = w.v.File(f)
	}
	return w.stop
}

func (w *walk) passed() error {
	if w.stop == nil {
		w.stop = w.v.Passed()
	}
	return w.stop
}

// A volume is a run of bytes that a file system may be in.
type volume struct {
	io.ReaderAt
	size int64
	w    *walk
}

// read gives n bytes at off. All of them must be there. The caller bounds n.
func (v volume) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || n > v.size || off > v.size-n {
		return nil, fmt.Errorf("%w: something lies beyond the end", ErrDamaged)
	}
	if err := v.w.spend(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if got, err := v.ReadAt(b, off); int64(got) < n {
		return nil, readError(err)
	}
	return b, nil
}

// peek gives what is there of n bytes at off: fewer than n, or none, if the volume ends before.
func (v volume) peek(off, n int64) []byte {
	if off < 0 || off >= v.size {
		return nil
	}
	b, err := v.read(off, min(n, v.size-off))
	if err != nil {
		if v.w.work >= 0 {
			v.w.v.Note(err)
		}
		return nil
	}
	return b
}

// has reports whether s is at off.
func (v volume) has(off int64, s string) bool { return string(v.peek(off, int64(len(s)))) == s }

// part is the run of n bytes at off, or what is there of it.
func (v volume) part(off, n int64) volume {
	off = min(max(off, 0), v.size)
	n = min(max(n, 0), v.size-off)
	return volume{io.NewSectionReader(v.ReaderAt, off, n), n, v.w}
}

// readError is what an error of reading the image comes to: the end where it must not be is
// damage, and layers below say what else it is.
func readError(err error) error {
	if err == nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrDamaged)
	}
	return err
}

func damagedf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

func unsupportedf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}
