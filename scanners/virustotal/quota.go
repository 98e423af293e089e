package virustotal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxPerMinute bounds the questions that are remembered.
const maxPerMinute = 100_000

// A quota tells whether one more question may be asked.
type quota struct {
	perMinute, perDay int
	file              string // of the count of the day; empty: none

	mu     sync.Mutex
	recent []time.Time // of the questions of the last minute
	day    string      // of UTC
	asked  int         // on that day
}

// errQuota says that no more may be asked for now.
var errQuota = errors.New("the questions that the key may ask are used up")

const dayFormat = "2006-01-02"

// load reads how many were asked on the day of the file. What makes no sense counts as none: the server
// has the last word.
func (q *quota) load() error {
	if q.file == "" {
		return nil
	}
	data, err := os.ReadFile(q.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var day string
	var asked int
	if n, _ := fmt.Sscanf(string(data), "%10s %d", &day, &asked); n == 2 && asked >= 0 {
		q.day, q.asked = day, asked
	}
	return nil
}

// take counts a question, if it may be asked. An error of the file is one to be told; the question may be
// asked all the same.
func (q *quota) take(now time.Time) (ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.recent) > 0 && now.Sub(q.recent[0]) >= time.Minute {
		q.recent = q.recent[1:]
	}
	if day := now.UTC().Format(dayFormat); day != q.day {
		q.day, q.asked = day, 0
	}
	if len(q.recent) >= q.perMinute || q.asked >= q.perDay {
		return false, nil
	}
	q.recent = append(q.recent, now)
	q.asked++
	return true, q.save()
}

// save writes the count of the day in place of the one before.
func (q *quota) save() error {
	if q.file == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(q.file), ".virustotal-")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %d\n", q.day, q.asked)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), q.file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
