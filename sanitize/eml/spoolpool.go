package eml

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// slotSize is what one place of a SpoolPool's file takes, and therefore how much a spool may have there.
// What is not written takes no disk.
const slotSize = SpoolMemory

// DefaultPoolMemory is what the spools of a SpoolPool keep in memory, in bytes, unless it is told more.
const DefaultPoolMemory = 32 << 20

// A SpoolPool bounds what spools keep in memory, all together: thousands of small members of an archive
// may wait to be examined. Where it is used up, a spool that is small enough for memory has a place in one
// file that they share, for a file each would be as many descriptors. It is safe for concurrent use.
type SpoolPool struct {
	dir string
	max int64

	mu     sync.Mutex
	memory int64    // bytes that spools have in memory
	file   *os.File // opened when it is needed, and kept
	slots  int64    // how many places were ever given
	free   []int64  // offsets of those that were given back
}

// NewSpoolPool makes a pool whose spools keep max bytes in memory, or DefaultPoolMemory if that is 0. Its
// file has no name and is in dir, which is os.TempDir() if it is empty.
func NewSpoolPool(dir string, max int64) *SpoolPool {
	if max == 0 {
		max = DefaultPoolMemory
	}
	return &SpoolPool{dir: dir, max: max}
}

// reserve allows a spool n bytes of memory, or not. Without a pool all is allowed.
func (l *SpoolPool) reserve(n int64) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.memory+n > l.max {
		return false
	}
	l.memory += n
	return true
}

// release takes back n bytes of memory.
func (l *SpoolPool) release(n int64) {
	if l == nil || n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memory -= n
}

// take gives a place of slotSize bytes: the file, and where in it.
func (l *SpoolPool) take() (*os.File, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		f, err := UnnamedFile(l.dir)
		if err != nil {
			return nil, 0, err
		}
		l.file = f
	}
	if n := len(l.free); n > 0 {
		off := l.free[n-1]
		l.free = l.free[:n-1]
		return l.file, off, nil
	}
	l.slots++
	return l.file, (l.slots - 1) * slotSize, nil
}

// give takes back the place at off, and its disk if the file system can: else it keeps what the most spools
// at a time had.
func (l *SpoolPool) give(off int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = unix.Fallocate(int(l.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, slotSize)
	l.free = append(l.free, off)
}

// memfd gives a file in memory that holds b.
func memfd(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("rastel", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteAt(b, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("write memfd: %w", err)
	}
	return f, nil
}
