package eml

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrSpoolFull is returned by Write for bytes beyond SpoolOptions.Max.
var ErrSpoolFull = errors.New("message is larger than the spool may hold")

// SpoolMemory is how many bytes a Spool keeps in memory before it uses a file, unless its
// options say otherwise.
const SpoolMemory = 1 << 20

// SpoolOptions say where a Spool keeps its bytes. The zero value is usable.
type SpoolOptions struct {
	Dir    string // for the unnamed file; os.TempDir() if empty
	Memory int64  // bytes kept in memory before the file is used; 0 means SpoolMemory
	Max    int64  // bytes it takes at most; 0 means no limit

	// Pool bounds the memory of many spools together. Nil means no bound but Memory, for each.
	Pool *SpoolPool

	// File opens an empty file, for a process that may not; the spool closes it. Nil means one
	// without a name in Dir.
	File func() (*os.File, error)
}

// A Spool holds the bytes of one message or one decoded part: in memory while they are few,
// in a file without a name after that, so nothing is left behind by a crash.
//
// One goroutine writes, any number read. A reader that catches up with the writer waits for
// more, until CloseWrite. Whoever makes a Spool closes it, after its readers are done.
type Spool struct {
	opt SpoolOptions

	mu   sync.Mutex
	more sync.Cond // signals that size, done or err changed
	buf  []byte    // all bytes while file is nil; append only, so a view of it stays valid
	file *os.File  // all bytes once they are more than opt.Memory, or than the pool has
	base int64     // where in the file they begin
	own  bool      // the file is of this spool alone
	slot int64     // where its place in the pool's file is, kept until Close for those who read there; -1 if it has none
	size int64
	done bool  // CloseWrite was called
	err  error // what readers get at the end instead of io.EOF
}

// NewSpool makes an empty Spool. It takes no resources before the first Write.
func NewSpool(opt SpoolOptions) *Spool {
	if opt.Memory == 0 {
		opt.Memory = SpoolMemory
	}
	s := &Spool{opt: opt, slot: -1}
	s.more.L = &s.mu
	return s
}

// expect prepares for n bytes, before the first of them is written. They may be more or less.
func (s *Spool) expect(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grow(n)
}

// Options are those the spool was made with, for another that is to be kept likewise.
func (s *Spool) Options() SpoolOptions { return s.opt }

// Write appends p. It returns ErrSpoolFull, with nothing written, if the spool would exceed
// its Max, and any error of the file, such as a full disk.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opt.Max > 0 && s.size+int64(len(p)) > s.opt.Max {
		return 0, ErrSpoolFull
	}
	if err := s.grow(s.size + int64(len(p))); err != nil {
		return 0, err
	}
	if s.file == nil {
		s.buf = append(s.buf, p...)
	} else if n, err := s.file.WriteAt(p, s.base+s.size); err != nil {
		return n, fmt.Errorf("write spool: %w", err)
	}
	s.size += int64(len(p))
	s.more.Broadcast()
	return len(p), nil
}

// grow makes room for n bytes in all: in memory as long as they are few and the pool has some.
func (s *Spool) grow(n int64) error {
	switch {
	case s.file != nil && (s.own || n <= slotSize), n <= int64(cap(s.buf)):
		return nil
	case s.file != nil || n > s.opt.Memory:
		return s.spill()
	}
	room := max(n, min(2*int64(cap(s.buf)), s.opt.Memory))
	if s.opt.Pool.reserve(room - int64(cap(s.buf))) {
		s.buf = append(make([]byte, 0, room), s.buf...)
		return nil
	}
	if n > slotSize {
		return s.spill()
	}
	f, off, err := s.opt.Pool.take()
	if err != nil {
		return fmt.Errorf("open spool file: %w", err)
	}
	s.slot = off
	return s.move(f, off)
}

// spill moves all to a file of its own.
func (s *Spool) spill() error {
	open := s.opt.File
	if open == nil {
		open = func() (*os.File, error) { return UnnamedFile(s.opt.Dir) }
	}
	f, err := open()
	if err != nil {
		return fmt.Errorf("open spool file: %w", err)
	}
	if err := s.move(f, 0); err != nil {
		f.Close()
		return err
	}
	s.own = true
	return nil
}

// move copies what there is to a file, from base on. Views of buf that readers hold stay valid.
func (s *Spool) move(f *os.File, base int64) error {
	b := s.buf
	if s.file != nil {
		b = make([]byte, s.size)
		if _, err := s.file.ReadAt(b, s.base); err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
	}
	if _, err := f.WriteAt(b, base); err != nil {
		return fmt.Errorf("write spool: %w", err)
	}
	s.opt.Pool.release(int64(cap(s.buf)))
	s.file, s.base, s.buf = f, base, nil
	return nil
}

// UnnamedFile opens a file that no directory lists, so it is gone with its last descriptor. An empty
// dir is os.TempDir().
func UnnamedFile(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "spool"), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f, err := os.CreateTemp(dir, "rastel-spool-") // a file system without O_TMPFILE
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// CloseWrite ends the spool: readers get io.EOF at its end, or err if that is not nil. Only
// the first call counts.
func (s *Spool) CloseWrite(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.done, s.err = true, err
		s.more.Broadcast()
	}
}

// Size is the number of bytes written so far.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// wait waits for CloseWrite and returns the size, or the error of the writer.
func (s *Spool) wait() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.done {
		s.more.Wait()
	}
	return s.size, s.err
}

// ReadAt reads as io.ReaderAt does, and waits where the bytes are still to be written.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read spool: negative offset")
	}
	s.mu.Lock()
	for !s.done && s.size < off+int64(len(p)) {
		s.more.Wait()
	}
	return s.readLocked(p, off)
}

// readSome reads at least one byte at off, waiting for it, or returns how the spool ended.
func (s *Spool) readSome(p []byte, off int64) (int, error) {
	s.mu.Lock()
	for !s.done && s.size <= off {
		s.more.Wait()
	}
	n, err := s.readLocked(p, off)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// readLocked reads what is there and unlocks s.mu.
func (s *Spool) readLocked(p []byte, off int64) (int, error) {
	buf, file, base, size, end := s.buf, s.file, s.base, s.size, s.err
	s.mu.Unlock()
	if end == nil {
		end = io.EOF
	}
	if off >= size {
		return 0, end
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	var n int
	var err error
	if file == nil {
		n = copy(p, buf[off:size])
	} else {
		n, err = file.ReadAt(p, base+off)
	}
	if err == nil && short {
		err = end
	}
	return n, err
}

// A spoolReader reads a Spool from its start while it is written.
type spoolReader struct {
	s   *Spool
	off int64
}

// NewReader reads from the start; it waits for bytes that are still to be written.
func (s *Spool) NewReader() io.Reader { return &spoolReader{s: s} }

func (r *spoolReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.s.readSome(p, r.off)
	r.off += int64(n)
	return n, err
}

// File gives a descriptor of all bytes, at offset 0, to be passed to another process. The
// caller closes it. It must not be called before CloseWrite.
func (s *Spool) File() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return memfd(s.buf)
	}
	if s.own {
		// A new open file description, so that offsets are not shared.
		return os.Open(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()))
	}
	b := make([]byte, s.size)
	if _, err := s.file.ReadAt(b, s.base); err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	return memfd(b)
}

// Close gives back memory and file. Reads after it fail.
func (s *Spool) Close() error {
	s.CloseWrite(os.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.Pool.release(int64(cap(s.buf)))
	if s.slot >= 0 {
		s.opt.Pool.give(s.slot)
	}
	f, own := s.file, s.own
	s.buf, s.size, s.err = nil, 0, os.ErrClosed
	s.file, s.own, s.slot = nil, false, -1
	if !own {
		return nil
	}
	return f.Close()
}
