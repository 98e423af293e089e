package eml

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const (
	// windowSize is how much of the message the parser has before it at a time.
	windowSize = 64 << 10
	// maxDelimiter is the longest line that is compared with boundaries. RFC 2046 allows
	// 70 characters, Postfix 2048.
	maxDelimiter = 4 << 10
)

var windowPool = sync.Pool{New: func() any { return new([windowSize]byte) }}

// A window walks over a spool from its start to its end, waiting for the writer.
type window struct {
	s      *Spool
	mem    *[windowSize]byte
	lo, hi int   // mem[lo:hi] was read and not passed yet
	off    int64 // of mem[lo] in the spool
	end    int64 // the window ends there, as if it were the end of the spool; -1 for that itself
	eof    bool
	err    error // of the spool, other than io.EOF

	crEndsLine bool // lines also end with a bare CR
}

func newWindow(s *Spool) *window {
	return &window{s: s, mem: windowPool.Get().(*[windowSize]byte), end: -1}
}

func (w *window) close() {
	windowPool.Put(w.mem)
	w.mem = nil
}

// bytes are those before us that have been read.
func (w *window) bytes() []byte { return w.mem[w.lo:w.hi] }

// skip passes over n bytes of bytes().
func (w *window) skip(n int) {
	w.lo += n
	w.off += int64(n)
}

// fill reads more, waiting for it. It reports false at the end of the spool, on an error, and
// when the window is full.
func (w *window) fill() bool {
	if w.eof || w.err != nil {
		return false
	}
	if w.lo > 0 {
		copy(w.mem[:], w.mem[w.lo:w.hi])
		w.lo, w.hi = 0, w.hi-w.lo
	}
	if w.hi == len(w.mem) {
		return false
	}
	room := w.mem[w.hi:]
	if w.end >= 0 {
		room = room[:min(int64(len(room)), max(w.end-w.off-int64(w.hi), 0))]
		if len(room) == 0 {
			w.eof = true
			return false
		}
	}
	n, err := w.s.readSome(room, w.off+int64(w.hi))
	w.hi += n
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		w.eof = true
	default:
		w.err = err
	}
	return n > 0
}

// peek gives the n bytes before us; fewer at the end of the message, and never more than fit in
// the window.
func (w *window) peek(n int) []byte {
	for w.hi-w.lo < n && w.fill() {
	}
	return w.mem[w.lo:min(w.lo+n, w.hi)]
}

// line is the line before us, with its line break if it has one within limit bytes. It does
// not pass over it.
func (w *window) line(limit int) []byte {
	for from := 0; ; {
		b := w.bytes()
		b = b[:min(len(b), limit+1)] // what is behind does not matter: it may be thousands of times as long
		if n := w.lineEnd(b, from); n > 0 {
			return b[:min(n, limit)]
		}
		if len(b) >= limit {
			return b[:limit]
		}
		from = len(b)
		if !w.fill() {
			return w.bytes()
		}
	}
}

// lineEnd is where the line that b begins with ends; 0 if it does not end in b. No line break ends
// before from.
func (w *window) lineEnd(b []byte, from int) int {
	if !w.crEndsLine {
		if n := bytes.IndexByte(b[from:], '\n'); n >= 0 {
			return from + n + 1
		}
		return 0
	}
	// In steps, because one of the two bytes may be near and the other one far.
	const step = 512
	for at := max(from-1, 0); at < len(b); at += step {
		near := b[at:min(at+step, len(b))]
		lf := bytes.IndexByte(near, '\n')
		if lf >= 0 {
			near = near[:lf]
		}
		for i := 0; ; i++ {
			cr := bytes.IndexByte(near[i:], '\r')
			if cr < 0 {
				break
			}
			if i += cr; at+i+1 < len(b) && b[at+i+1] != '\n' {
				return at + i + 1
			}
		}
		if lf >= 0 {
			return at + lf + 1
		}
	}
	return 0
}

// drain waits for the end of the spool and returns its size.
func (w *window) drain() (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	return w.s.wait()
}
