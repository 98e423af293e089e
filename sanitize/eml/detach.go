package eml

import (
	"os"

	"golang.org/x/sys/unix"
)

// A Detached is what another process is told of a leaf, so that it can look into it: enough for an
// Expander, and nothing of the message around it.
type Detached struct {
	ID        string
	MediaType string
	Names     []string
	Type      string
	Size      int64
	SHA256    [32]byte
	Depth     int
	Member    bool
}

// Detach tells what is known of a leaf. Its content is passed on by File.
func (p *Part) Detach() Detached {
	return Detached{
		ID: p.ID, MediaType: p.MediaType, Names: p.Names, Type: p.Type, Size: p.Size, SHA256: p.SHA256, Depth: p.Depth, Member: p.member,
	}
}

// Attach makes a part of what Detach told, in a process that has its content in a file. There is
// nothing around the part, and no bytes of a message. The caller closes the file.
func (d Detached) Attach(f *os.File) *Part {
	return &Part{
		ID: d.ID, MediaType: d.MediaType, Names: d.Names, Type: d.Type, Size: d.Size, SHA256: d.SHA256, Depth: d.Depth,
		leaf: true, member: d.Member, content: fileSpool(f, d.Size),
	}
}

// Forget gives back the disk of the first n bytes of a member, which nobody may read any more. It may
// do nothing.
func (p *Part) Forget(n int64) {
	if !p.member || p.content == nil {
		return
	}
	s := p.content
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own && n > 0 {
		_ = unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, n) // not all file systems can
	}
}

// fileSpool is a spool that is completely written, of which the bytes are in a file.
func fileSpool(f *os.File, size int64) *Spool {
	s := NewSpool(SpoolOptions{})
	s.file, s.own, s.size, s.done = f, true, size, true
	return s
}
