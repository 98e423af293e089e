package archive

import (
	"errors"

	"rastel/scanners/archive/disk"
)

// openDisk opens an image of a disk.
func openDisk(o *opening) error {
	err := guard(func() error { return disk.Walk(o.src, o.p.Size, diskVisitor{o}) })
	if fatal := o.fatal(); fatal != nil {
		return fatal
	}
	if errors.Is(err, errPanic) {
		o.report(o.p, damaged, err.Error())
		return nil
	}
	return err
}

// disguised opens the image of a disk in a part that is something else by its beginning: systems
// look for one further in, and at the end.
func (o *opening) disguised() error {
	if o.p.Is("image-of-disk") || !disk.Disguised(o.src, o.p.Size) {
		return o.fatal()
	}
	o.report(o.p, ambiguous, "an image of a disk inside of what is "+o.p.Type+" by its beginning")
	return openDisk(o)
}

// A diskVisitor yields the files of an image.
type diskVisitor struct{ o *opening }

// File yields a file. How large it may be is known before it is read: a file of terabytes is a few
// bytes on a disk.
func (v diskVisitor) File(f *disk.File) error {
	if err := v.o.fatal(); err != nil {
		return err
	}
	var names nameSet
	for _, name := range f.Names {
		names.addRaw(name, true)
	}
	if f.Err != nil {
		return v.o.closed(names, checkOf(f.Err), f.Err.Error())
	}
	if f.Link {
		return v.o.closed(names, "", "")
	}
	if err := v.o.b.Affords(v.o.p, f.Size); err != nil {
		return err
	}
	_, err := v.o.member(names, f)
	return err
}

// Passed accounts for a directory.
func (v diskVisitor) Passed() error { return v.o.passed() }

// Note reports what was not seen, or not by all systems.
func (v diskVisitor) Note(err error) {
	if v.o.fatal() == nil {
		v.o.report(v.o.p, checkOf(err), err.Error())
	}
}

var _ disk.Visitor = diskVisitor{}
