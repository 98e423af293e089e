package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

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
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if info, err := f.Info(); err == nil && links(info) == 1 && info.Mode().IsRegular() {
			errs = append(errs, removeAll(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}
