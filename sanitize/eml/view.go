package eml

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// View gives the decoded content of a leaf at once, without a copy of it in memory: what is in a
// file is mapped, so the kernel reads what is looked at and may forget it again. The bytes must not be
// changed, and not be used after release, which must be called, nor after the message is done with.
//
// A file that can no longer be read makes the goroutine fault; see debug.SetPanicOnFault.
func (p *Part) View() (b []byte, release func(), err error) {
	switch {
	case !p.leaf:
		return nil, func() {}, nil
	case p.content != nil:
		return p.content.view(0, p.Size)
	}
	return p.src.view(p.body, p.end)
}

// View gives all bytes of the spool, as Part.View does. It must not be called before CloseWrite.
func (s *Spool) View() (b []byte, release func(), err error) { return s.view(0, s.Size()) }

// view gives the bytes [start, end), which must have been written.
func (s *Spool) view(start, end int64) ([]byte, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if start < 0 || end < start || end > s.size {
		return nil, nil, fmt.Errorf("view of bytes %d to %d of a spool of %d bytes", start, end, s.size)
	}
	if s.file == nil {
		return s.buf[start:end:end], func() {}, nil
	}
	if start == end {
		return nil, func() {}, nil
	}
	start, end = start+s.base, end+s.base
	within := start % int64(os.Getpagesize()) // a mapping begins at a page
	b, err := unix.Mmap(int(s.file.Fd()), start-within, int(end-start+within), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map spool: %w", err)
	}
	_ = unix.Madvise(b, unix.MADV_SEQUENTIAL) // only advice
	return b[within:], func() { _ = unix.Munmap(b) }, nil
}
