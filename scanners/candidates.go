package scanners

import (
	"context"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"rastel/sanitize/eml"
)

const (
	// maxCandidates is how many words Candidates gives.
	maxCandidates = 1000
	// maxCandidate is how many bytes a word may have.
	maxCandidate = 64
	// maxCandidateText is how much of the text of a message is looked at.
	maxCandidateText = 256 << 10
)

// Candidates are the words of a message that may be a password, each once: of the subject, of file
// names, and of the texts that are shown.
func Candidates(m *eml.Message) []string {
	c := candidates{seen: map[string]bool{}}
	c.add(m.Root.Header.Text("Subject"))
	left := int64(maxCandidateText)
	m.Root.Walk(func(p *eml.Part) bool {
		if p.Leaf() && !p.Member() && p.Is("text") && left > 0 {
			b := make([]byte, min(left, p.Size))
			n, _ := p.Content().ReadAt(b, 0) // what cannot be read has no words
			left -= int64(n)
			c.addText(p, b[:n])
		}
		return true
	})
	m.Root.Walk(func(p *eml.Part) bool {
		for _, name := range p.Names {
			c.add(name)
		}
		return true
	})
	return c.list
}

// candidates collects words.
type candidates struct {
	list []string
	seen map[string]bool
}

// addText adds the words of a text; of a page, those outside of its tags.
func (c *candidates) addText(p *eml.Part, b []byte) {
	text := eml.ToUTF8(p.Params["charset"], string(b))
	if !p.Is("html") && p.MediaType != "text/html" {
		c.add(text)
		return
	}
	for piece := range strings.SplitSeq(text, "<") {
		_, shown, inTag := strings.Cut(piece, ">")
		if !inTag {
			shown = piece
		}
		c.add(shown)
	}
}

// add adds the words of a text: as they stand, and without the punctuation around them.
func (c *candidates) add(text string) {
	for word := range strings.FieldsSeq(text) {
		c.word(word)
		c.word(strings.TrimFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }))
	}
}

func (c *candidates) word(w string) {
	if w == "" || len(w) > maxCandidate || len(c.list) == maxCandidates || c.seen[w] || !utf8.ValidString(w) {
		return
	}
	c.seen[w] = true
	c.list = append(c.list, w)
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
