package blob

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// sweepAtATime is how many names are in memory.
const sweepAtATime = 1000

// sweepObjects removes files in objects/ that have no other name. One that is being stored has another, in
// tmp/; one that is linked to at this moment then is shared no more, and that is all.
func (d *Dir) sweepObjects(ctx context.Context) error {
	dirs, err := os.ReadDir(d.objects())
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := sweepUnlinked(filepath.Join(d.objects(), dir.Name())); err != nil {
			return err
		}
	}
	return nil
}

func sweepUnlinked(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	var errs []error
	for {
		files, err := d.ReadDir(sweepAtATime)
		for _, f := range files {
			if info, err := f.Info(); err == nil && links(info) == 1 && info.Mode().IsRegular() {
				errs = append(errs, removeAll(filepath.Join(dir, f.Name())))
			}
		}
		if err == io.EOF {
			return errors.Join(errs...)
		}
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
}
