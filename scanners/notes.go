package scanners

import (
	"context"
	"strings"
	"sync"

	"rastel/sanitize/eml"
)

const (
	// maxNotesOf is how many members of one container are looked at for passwords of the others, and
	// maxNote how many bytes of each.
	maxNotesOf, maxNote = 50, 4 << 10
)

// notes are what members of a container say that may be a password of other members: texts and names.
type notes struct {
	mu    sync.Mutex
	parts int
	words candidates
}

// take reads a member.
func (n *notes) take(m *eml.Part) {
	isText := m.Is("text") || strings.HasPrefix(m.MediaType, "text/")
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.parts >= maxNotesOf || !isText && !m.Is("container") {
		return
	}
	n.parts++
	for _, name := range m.Names {
		n.words.name(name)
	}
	if isText {
		b := make([]byte, min(maxNote, m.Size))
		k, _ := m.Content().ReadAt(b, 0) // what cannot be read has no words
		n.words.content(m, b[:k])
	}
}

func (n *notes) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.words.list()
}

// A text is that of the message which a run examines, once it is known.
type text struct {
	once  sync.Once
	known chan struct{} // closed when m is set
	m     *eml.Message  // nil: there is none

	read sync.Once
	list []string
}

// set tells the message; only the first call counts.
func (t *text) set(m *eml.Message) {
	t.once.Do(func() {
		t.m = m
		close(t.known)
	})
}

// words are the Candidates of the message. It waits until they are known, or ctx ends.
func (t *text) words(ctx context.Context) []string {
	select {
	case <-ctx.Done():
		return nil
	case <-t.known:
	}
	t.read.Do(func() {
		if t.m != nil {
			t.list = Candidates(t.m)
		}
	})
	return t.list
}

// words are the passwords that what is being opened under ctx may have: what other members of the
// containers around it say, and the message. It waits for both. Those containers are opened by other
// goroutines, which never wait for what is in them.
func (r *Run) words(ctx context.Context) Words {
	w := Words{Listed: r.set.opt.Passwords}
	var inner []string
	if c, ok := ctx.Value(clockKey{}).(*clock); ok && c.it != nil {
		for it := c.it.parent; it != nil; it = it.parent {
			select {
			case <-ctx.Done():
				return Words{}
			case <-it.opened:
			}
			inner = append(inner, it.notes.list()...)
		}
	}
	outer := r.text.words(ctx)
	// What stands first is the likeliest on either side.
	near := min(len(inner), firstWords/2)
	w.Message = append(append(append(w.Message, inner[:near]...), outer...), inner[near:]...)
	w.Message = w.Message[:min(len(w.Message), maxCandidates)]
	return w
}
