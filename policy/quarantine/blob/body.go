package blob

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
)

// bodyMemory is how much of a stored message is kept in memory on its way to a server.
const bodyMemory = 1 << 20

// A body is a stored message on its way to a server, which wants size and hash before the first byte, and
// perhaps all of it again. It is in memory while it is small, and then in a file that has no name.
type body struct {
	mem  bytes.Buffer
	file *os.File // nil: all is in mem
	size int64
	sum  hash.Hash
}

func newBody() *body { return &body{sum: sha256.New()} }

// Write adds to it.
func (b *body) Write(p []byte) (int, error) {
	b.sum.Write(p)
	b.size += int64(len(p))
	if b.file == nil && b.size <= bodyMemory {
		return b.mem.Write(p)
	}
	if b.file == nil {
		if err := b.spill(); err != nil {
			return 0, err
		}
	}
	return b.file.Write(p)
}

func (b *body) spill() (err error) {
	if b.file, err = os.CreateTemp("", "rastel-blob-"); err != nil {
		return err
	}
	if err := os.Remove(b.file.Name()); err != nil {
		return err
	}
	_, err = b.mem.WriteTo(b.file)
	return err
}

// reader reads it from its beginning.
func (b *body) reader() io.ReadSeeker {
	if b.file != nil {
		return io.NewSectionReader(b.file, 0, b.size)
	}
	return bytes.NewReader(b.mem.Bytes())
}

// Close gives the file up.
func (b *body) Close() error {
	if b.file == nil {
		return nil
	}
	return errors.Join(b.file.Close())
}
