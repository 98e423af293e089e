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
	maxNotesOf, maxNote = 50, 1 << 10
)

// notes are the members of a container that may say a password of other members: texts, and whatever
// has a name that may be one. They are read when somebody asks, which is seldom.
type notes struct {
	mu    sync.Mutex
	parts []note
}

// A note is a member and how it begins, if it is a text.
type note struct {
	part *eml.Part
	text []byte
}

// take keeps what a member says.
func (n *notes) take(m *eml.Part) {
	isText := m.Is("text") || strings.HasPrefix(m.MediaType, "text/")
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.parts) >= maxNotesOf || !isText && !m.Is("container") {
		return
	}
	var b []byte
	if isText {
		b = make([]byte, min(maxNote, m.Size))
		k, _ := m.Content().ReadAt(b, 0) // what cannot be read has no words
		b = b[:k]
	}
	n.parts = append(n.parts, note{m, b})
}

// list is the words of all notes.
func (n *notes) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var c candidates
	for _, p := range n.parts {
		for _, name := range p.part.Names {
			c.name(name)
		}
		c.content(p.part, p.text)
	}
	return c.list()
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
