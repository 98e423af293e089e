package journal

import "time"

// Retry has what could not be reached tried again at once.
func (j *Journal) Retry() {
	for _, r := range []*reach{&j.index, &j.blobs} {
		r.mu.Lock()
		r.until = time.Time{}
		r.mu.Unlock()
	}
}
