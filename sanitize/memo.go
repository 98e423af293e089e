package sanitize

import "hash/maphash"

const (
	// memoSlots is how many answers a memo keeps.
	memoSlots = 128
	// maxMemoKey is how long a question may be whose answer is kept.
	maxMemoKey = 512
)

// A memo keeps answers to questions that come again and again in one page. A newer one takes the place of
// an older. Its zero value is empty.
type memo[T any] struct {
	seed  maphash.Seed
	slots []memoSlot[T]
}

type memoSlot[T any] struct {
	key   []byte
	value T
}

// at is the slot of a question, and whether it has the answer. If it has not, the caller puts it there. It
// is nil for a question that is too long.
func (m *memo[T]) at(key []byte) (*T, bool) {
	if len(key) > maxMemoKey {
		return nil, false
	}
	if m.slots == nil {
		m.seed, m.slots = maphash.MakeSeed(), make([]memoSlot[T], memoSlots)
	}
	s := &m.slots[maphash.Bytes(m.seed, key)%memoSlots]
	if len(key) > 0 && string(s.key) == string(key) {
		return &s.value, true
	}
	s.key = append(s.key[:0], key...)
	return &s.value, false
}
