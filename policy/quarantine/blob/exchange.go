package blob

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange is rename for a file that is to be replaced and not made anew: it fails with fs.ErrNotExist if it
// was removed. On file systems that cannot do so the message may come back; Sweep then finds it.
func exchange(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return os.Rename(from, to)
	case err != nil:
		return &os.LinkError{Op: "exchange", Old: from, New: to, Err: err}
	}
	return nil
}
