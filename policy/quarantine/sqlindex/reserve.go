package sqlindex

import (
	"bytes"
	"errors"
	"os"
	"sync"

	"modernc.org/sqlite"
)

// reserveSize is what a few updates need in the write-ahead log.
const reserveSize = 128 << 10

// A reserve is a file that is given up when the disk is full, so that items can be changed then: to delete one
// needs room before it makes room.
type reserve struct {
	name  string
	mu    sync.Mutex
	there bool // as far as this process knows
}

// fill makes the file, if it is not there. On a full disk it stays away until there is room.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.there {
		return
	}
	if info, err := os.Stat(r.name); err == nil && info.Size() == reserveSize {
		r.there = true
		return
	}
	// Not zeros, which some file systems do not store.
	if err := os.WriteFile(r.name, bytes.Repeat([]byte("reserve\n"), reserveSize/8), 0o600); err != nil {
		_ = os.Remove(r.name)
		return
	}
	r.there = true
}

// use gives the file up, and reports whether that made room.
func (r *reserve) use() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.there = false
	return os.Remove(r.name) == nil
}

// Primary result codes of SQLite (sqlite.org/rescode.html).
const (
	sqliteIOErr = 10
	sqliteFull  = 13
)

// isFull reports whether an error is that of a disk without room.
func isFull(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqliteFull || e.Code()&0xff == sqliteIOErr)
}
