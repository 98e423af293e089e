package e2e

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// An exchange is one message as it went between an MTA and the filter.
type exchange struct {
	seen   []byte // the message, byte for byte as the filter was given it
	fields int    // of its header
	edits  []packet
	end    byte   // the packet that ended it; zero if none did
	reply  string // of an end that is a reply
}

// count is how many of the edits have that code.
func (x *exchange) count(code byte) int {
	n := 0
	for _, p := range x.edits {
		if p.code == code {
			n++
		}
	}
	return n
}

// A recorder is a hook for a tap, behind which one message goes at a time.
type recorder struct {
	mu    sync.Mutex
	x     exchange
	ended bool // the MTA has sent all of the message
}

// take returns the last message, and forgets it.
func (r *recorder) take() exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.x
	r.x, r.ended = exchange{}, false
	return x
}

func (r *recorder) note(p packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.way == toFilter {
		r.message(p)
		return
	}
	if !r.ended || p.code == 'p' || r.x.end != 0 {
		return
	}
	switch p.code {
	case 'a', 'c', 'd', 'r', 't':
		r.x.end = p.code
	case 'y':
		r.x.end, r.x.reply = p.code, strings.TrimRight(string(p.data), "\x00")
	default:
		r.x.edits = append(r.x.edits, packet{p.way, p.code, slices.Clone(p.data)})
	}
}

// message notes what the MTA tells of the message. Folds are LF there.
func (r *recorder) message(p packet) {
	switch p.code {
	case 'M':
		r.x, r.ended = exchange{}, false
	case 'L':
		name, value, _ := bytes.Cut(p.data, []byte{0})
		value = bytes.TrimSuffix(value, []byte{0})
		value = bytes.ReplaceAll(bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		r.x.seen = append(append(append(append(r.x.seen, name...), ':'), value...), "\r\n"...)
		r.x.fields++
	case 'N':
		r.x.seen = append(r.x.seen, "\r\n"...)
	case 'B':
		r.x.seen = append(r.x.seen, p.data...)
	case 'E':
		r.x.seen = append(r.x.seen, p.data...)
		r.ended = true
	}
}
