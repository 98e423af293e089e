package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// maxWord is how many bytes of a word are looked at. None that is known is longer.
	maxWord = 48
	// maxLine is how many bytes of a line are looked at for what only a whole line says.
	maxLine = 4 << 10
	// maxHead is how much of the beginning is kept, for XML.
	maxHead = 64 << 10
	// maxEvidence is how many words or places stand behind a deed; maxDeeds is how many deeds of
	// one kind that are told by their lines are told.
	maxEvidence = 4
	maxDeeds    = 6
	// maxSearched is how many lines are searched for places and IRC servers.
	maxSearched = 1000
	// longCode is how many bytes of base64 or hexadecimal in a row are encoded content rather than a
	// long name or a hash.
	longCode = 400
)

// A text is what was seen in one text. It is read once, as it comes; NULs are passed over, so UTF-16
// is read as what it stands for where that is ASCII.
type text struct {
	head []byte // the beginning, as it stands but for NULs

	word    []byte // in lower case; what is too long is cut
	line    []byte
	code    int // bytes of base64 in a row
	encoded int // bytes of all that was long
	section string

	seen     []bool // of knownWords
	counts   [languages]int
	evidence [deeds][]string
	lines    map[string][]string // deeds that a line tells, by check
	places   []string            // URLs and servers
	sawIRC   bool                // a word that a name of an IRC server may begin with
	irc      int                 // lines that name an IRC server

	searched, ircSearched int // lines that were searched for places, and for IRC servers

	hidden [disguises]int // signs of a script that is not to be read
	marked int            // lines that were searched for them
}

func newText() *text {
	return &text{seen: make([]bool, len(knownWords)), lines: map[string][]string{}}
}

// read takes all of r in.
func (t *text) read(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		t.take(withoutNULs(buf[:n]))
		switch {
		case errors.Is(err, io.EOF):
			t.endWord()
			t.endCode()
			t.endLine()
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// withoutNULs takes zeros out of b, in place.
func withoutNULs(b []byte) []byte {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return b
	}
	kept := b[:i]
	for _, c := range b[i:] {
		if c != 0 {
			kept = append(kept, c)
		}
	}
	return kept
}

func (t *text) take(b []byte) {
	t.head = append(t.head, b[:min(len(b), maxHead-len(t.head))]...)
	t.takeWords(b)
	t.takeLines(b)
}

// classes of bytes.
const (
	inWord = 1 << iota
	inCode
	passed // by the command processor: it escapes what follows
)

var classes = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if letter || strings.IndexByte("_-.$%@~", b) >= 0 {
			t[c] |= inWord
		}
		if letter || b == '+' || b == '/' || b == '=' {
			t[c] |= inCode
		}
		if b == '^' || b == '`' {
			t[c] |= passed
		}
	}
	return t
}()

func (t *text) takeWords(b []byte) {
	for _, c := range b {
		class := classes[c]
		switch {
		case class&inWord != 0:
			if len(t.word) <= maxWord {
				t.word = append(t.word, lower(c))
			}
		case class&passed == 0 && len(t.word) > 0:
			t.endWord()
		}
		if class&inCode != 0 {
			t.code++
		} else if t.code > 0 {
			t.endCode()
		}
	}
}

func (t *text) takeLines(b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			end = len(b)
		}
		for line := b[:end]; ; {
			cr := bytes.IndexByte(line, '\r')
			if cr < 0 {
				t.addToLine(line)
				break
			}
			t.addToLine(line[:cr])
			t.endLine()
			line = line[cr+1:]
		}
		if end == len(b) {
			return
		}
		t.endLine()
		b = b[end+1:]
	}
}

func (t *text) addToLine(b []byte) {
	t.line = append(t.line, b[:min(len(b), maxLine-len(t.line))]...)
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func (t *text) endCode() {
	if t.code >= longCode {
		t.encoded += t.code
	}
	t.code = 0
}

// endWord looks a word up, and what is behind its last dot.
func (t *text) endWord() {
	if len(t.word) < 2 || len(t.word) > maxWord {
		t.word = t.word[:0]
		return
	}
	w := bytes.Trim(t.word, ".")
	t.sawIRC = t.sawIRC || bytes.HasPrefix(w, []byte("irc"))
	if !t.lookUp(w) {
		if i := bytes.LastIndexByte(w, '.'); i >= 0 {
			t.lookUp(w[i+1:])
		}
	}
	t.word = t.word[:0]
}

func (t *text) lookUp(w []byte) bool {
	list, ok := vocabulary[string(w)]
	for _, i := range list {
		if t.seen[i] {
			continue
		}
		t.seen[i] = true
		k := &knownWords[i]
		for _, l := range k.in {
			t.counts[l]++
		}
		if k.deed != noDeed && len(t.evidence[k.deed]) < maxEvidence && !slices.Contains(t.evidence[k.deed], k.text) {
			t.evidence[k.deed] = append(t.evidence[k.deed], k.text)
		}
	}
	return ok
}

// language is the kind of script that a text is by its words; nil if it is none, or may be several.
func (t *text) language() *kind {
	best := slices.Max(t.counts[:])
	for l, n := range t.counts {
		if k := kindOf(languageChecks[l]); n == best && n >= k.words {
			return k
		}
	}
	return nil
}

// deeds tells what is done: what whole lines say first, then what words say, then where to.
func (t *text) deeds(check string) []string {
	out := slices.Clone(t.lines[check])
	if check == autorun || check == folder || check == shortcut || check == registry || check == remoteDesktop || check == webQuery {
		return out // their words are values, not commands; what they start is in the lines
	}
	for d, words := range t.evidence {
		if len(words) > 0 {
			out = append(out, fmt.Sprintf("%s (%s)", deedNames[d], strings.Join(words, ", ")))
		}
	}
	if t.irc > 0 {
		out = append(out, fmt.Sprintf("names %d IRC servers", t.irc))
	}
	if t.encoded > 0 {
		out = append(out, fmt.Sprintf("carries %d bytes of encoded content", t.encoded))
	}
	if len(t.places) > 0 {
		out = append(out, "names "+strings.Join(t.places, ", "))
	}
	return out
}

// did notes a deed that a line tells.
func (t *text) did(check, what string) {
	if list := t.lines[check]; len(list) < maxDeeds && !slices.Contains(list, what) {
		t.lines[check] = append(list, what)
	}
}

// short makes what the sender wrote short enough for a finding.
func short(s string) string {
	const most = 160
	s = strings.TrimSpace(s)
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
