package cache

import "time"

// entrySize is what an entry takes besides its findings: itself and its place in the map, as the test
// measures it.
const entrySize = 256

// memory keeps verdicts by their keys, up to a number of bytes. Those that were asked for longest ago go
// first. The zero value keeps nothing.
type memory struct {
	max, size int64
	by        map[key]*entry
	ends      entry // of the ring of all entries: next is the one used last, prev the one used first
}

type entry struct {
	prev, next *entry
	key        key
	verdict    verdict
	until      time.Time
}

func (e *entry) size() int64 {
	n := int64(entrySize)
	for _, f := range e.verdict.found {
		n += 64 + int64(len(f.Check)+len(f.Detail))
	}
	return n
}

// get gives what is kept under the key and has not expired.
func (m *memory) get(k key, now time.Time) (verdict, bool) {
	e := m.by[k]
	if e == nil {
		return verdict{}, false
	}
	m.unlink(e)
	if !now.Before(e.until) {
		m.forget(e)
		return verdict{}, false
	}
	m.link(e)
	return e.verdict, true
}

// put keeps a verdict for a time.
func (m *memory) put(k key, v verdict, until time.Time) {
	if e := m.by[k]; e != nil {
		m.unlink(e)
		m.forget(e)
	}
	if m.by == nil {
		m.clear()
	}
	e := &entry{key: k, verdict: v, until: until}
	m.by[k] = e
	m.size += e.size()
	m.link(e)
	for m.size > m.max {
		oldest := m.ends.prev
		m.unlink(oldest)
		m.forget(oldest)
	}
}

func (m *memory) clear() {
	m.by, m.size = map[key]*entry{}, 0
	m.ends.prev, m.ends.next = &m.ends, &m.ends
}

func (m *memory) link(e *entry) {
	e.prev, e.next = &m.ends, m.ends.next
	e.prev.next, e.next.prev = e, e
}

func (m *memory) unlink(e *entry) { e.prev.next, e.next.prev = e.next, e.prev }

// forget forgets an entry that is not linked.
func (m *memory) forget(e *entry) {
	delete(m.by, e.key)
	m.size -= e.size()
}
