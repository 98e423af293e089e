package ole

import (
	"bufio"
	"crypto/sha256"
	"io"
	"slices"
)

// The kinds of tokens.
const (
	endOfText = iota
	openGroup
	closeGroup
	controlWord
	controlSymbol
	character
	binary8 // what is behind \bin
)

// A token is one of RTF.
type token struct {
	kind  int
	word  string // of a control word
	value int    // its parameter
	char  byte   // a character, the symbol, or the byte of \'
}

// A words reads tokens, whatever there is: no document is so broken that it has none.
type words struct {
	in  *bufio.Reader
	at  int64 // of the next byte in the document
	end int64 // of the document
	bin int64 // bytes left of binary data

	binBad bool  // binary data was said to be longer than the document, and was taken for none
	err    error // of reading, but for its end
}

func (w *words) byte() (byte, bool) {
	c, err := w.in.ReadByte()
	if err != nil {
		if err != io.EOF {
			w.err = err
		}
		return 0, false
	}
	w.at++
	return c, true
}

func (w *words) unread() {
	_ = w.in.UnreadByte() // what was read just now
	w.at--
}

// next reads a token.
func (w *words) next() token {
	c, ok := w.byte()
	switch {
	case !ok:
		return token{}
	case w.bin > 0:
		w.bin--
		return token{kind: binary8, char: c}
	case c == '{':
		return token{kind: openGroup}
	case c == '}':
		return token{kind: closeGroup}
	case c == '\\':
		return w.control()
	}
	return token{kind: character, char: c}
}

// control reads what is behind a backslash.
func (w *words) control() token {
	c, ok := w.byte()
	if !ok {
		return token{}
	}
	if !isLetter(c) {
		if c != '\'' {
			return token{kind: controlSymbol, char: c}
		}
		return w.hexSymbol()
	}
	t := token{kind: controlWord}
	word := []byte{c}
	for {
		if c, ok = w.byte(); !ok || !isLetter(c) {
			break
		}
		if len(word) <= maxWord {
			word = append(word, c)
		}
	}
	t.word = string(word)
	if ok {
		t.value = w.parameter(c)
	}
	if t.word == "bin" && t.value > 0 {
		if int64(t.value) > w.end-w.at {
			w.binBad = true
		} else {
			w.bin = int64(t.value)
		}
	}
	return t
}

// parameter reads the number behind a control word, whose first character is c, and the blank that may
// be behind that.
func (w *words) parameter(c byte) (value int) {
	negative, ok := c == '-', true
	if negative {
		c, ok = w.byte()
	}
	for ; ok && c >= '0' && c <= '9'; c, ok = w.byte() {
		value = min(value*10+int(c-'0'), 1<<31-1)
	}
	if ok && c != ' ' {
		w.unread()
	}
	if negative {
		value = -value
	}
	return value
}

// hexSymbol reads the two digits of \'; what is no digit is not part of it.
func (w *words) hexSymbol() token {
	t := token{kind: controlSymbol, char: '\''}
	for range 2 {
		c, ok := w.byte()
		if !ok {
			return t
		}
		d := hexDigit(c)
		if d < 0 {
			w.unread()
			return t
		}
		t.value = t.value<<4 | d
		t.word += string(c)
	}
	return t
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// A reading is one way to read the digits of a destination.
type reading struct {
	groups  int // which groups in it count
	escapes int // what \' stands for
}

// Groups in a destination: programs pass over those that are marked as ignorable and have no meaning;
// over all that begin with a control word; or over none.
const (
	groupsNotIgnorable = iota
	groupsNone
	groupsAll
	groupWays
)

// Escapes in a destination: nothing, the two digits, or the character that they stand for.
const (
	escapesNothing = iota
	escapesDigits
	escapesCharacter
	escapeWays
)

// readings calls take with the data of the destination that begins at an offset, in each reading that
// differs from those before.
func (d *richText) readings(at int64, take func(*io.SectionReader, *hexReader) error) error {
	if d.tooMuch() {
		return nil
	}
	var seen [][sha256.Size]byte
	first := &hexReader{}
	for groups := range groupWays {
		for escapes := range escapeWays {
			if groups > 0 && !first.sawGroups || escapes > 0 && !first.sawEscapes {
				continue
			}
			r := &hexReader{w: d.words(at), how: reading{groups, escapes}, sum: sha256.New()}
			err := d.reading(r, func(s *io.SectionReader) error {
				sum := [sha256.Size]byte(r.sum.Sum(nil))
				if slices.Contains(seen, sum) {
					return nil
				}
				seen = append(seen, sum)
				return take(s, r)
			})
			if err != nil {
				return err
			}
			if d.left -= r.w.at - at; d.tooMuch() {
				return nil
			}
			if len(seen) > 1 {
				d.report(rtfAmbiguous, "an object that may be read in several ways")
			}
			first.sawGroups, first.sawEscapes = first.sawGroups || r.sawGroups, first.sawEscapes || r.sawEscapes
		}
	}
	return nil
}

// tooMuch reports whether no more may be read for objects, and says so.
func (d *richText) tooMuch() bool {
	if d.left < 0 {
		d.report(rtfDamaged, "objects in one another that may be read in too many ways")
	}
	return d.left < 0
}

// reading decodes the data of a destination in one way.
func (d *richText) reading(r *hexReader, take func(*io.SectionReader) error) error {
	s := d.b.Spool()
	defer s.Close()
	_, err := io.Copy(s, d.read(r))
	if err != nil {
		s.CloseWrite(err)
		return err
	}
	s.CloseWrite(nil)
	return take(io.NewSectionReader(s, 0, s.Size()))
}

// A hexReader decodes the digits of a destination, to the end of its group.
type hexReader struct {
	w   *words
	how reading
	sum interface {
		io.Writer
		Sum([]byte) []byte
	}

	depth   int // groups that are open in the destination
	ignored int // the depth of the group that is passed over; 0 if there is none
	star    bool
	begins  bool // nothing but \* was read in the group
	digit   int  // the first of two, and 1<<4
	over    bool

	sawGroups, sawEscapes, cutOff bool
}

func (r *hexReader) Read(p []byte) (n int, err error) {
	for n < len(p) && !r.over {
		b, ok := r.step()
		if ok {
			p[n] = b
			n++
		}
	}
	if n == 0 && r.over {
		if r.w.err != nil {
			return 0, r.w.err
		}
		return 0, io.EOF
	}
	_, _ = r.sum.Write(p[:n]) // a hash does not fail
	return n, nil
}

// step reads one token, and gives the byte that it completes.
func (r *hexReader) step() (byte, bool) {
	t := r.w.next()
	begins, star := r.begins, r.star
	r.begins, r.star = false, false
	switch t.kind {
	case endOfText:
		r.over, r.cutOff = true, true
	case openGroup:
		if r.depth++; r.depth > maxGroups {
			r.over, r.cutOff = true, true
		}
		r.begins, r.sawGroups = true, true
	case closeGroup:
		if r.depth--; r.depth < 0 {
			r.over = true
		}
		if r.depth < r.ignored {
			r.ignored = 0
		}
	case controlWord:
		if begins && r.ignored == 0 && (r.how.groups == groupsNone || r.how.groups == groupsNotIgnorable && star) {
			r.ignored = r.depth
		}
	case controlSymbol:
		if t.char == '*' && begins {
			r.begins, r.star = true, true
			break
		}
		return r.escape(t)
	case binary8:
		if r.ignored == 0 {
			r.digit = 0
			return t.char, true
		}
	case character:
		if t.char == '\r' || t.char == '\n' { // nothing, anywhere
			r.begins, r.star = begins, star
		}
		return r.character(t.char)
	}
	return 0, false
}

// character takes a digit; all else between them is passed over.
func (r *hexReader) character(c byte) (byte, bool) {
	d := hexDigit(c)
	if d < 0 || r.ignored > 0 {
		return 0, false
	}
	if r.digit == 0 {
		r.digit = 1<<4 | d
		return 0, false
	}
	b := byte(r.digit<<4 | d)
	r.digit = 0
	return b, true
}

// escape takes \' as its digits, or as the character that it stands for.
func (r *hexReader) escape(t token) (b byte, ok bool) {
	if t.char != '\'' || t.word == "" {
		return 0, false
	}
	r.sawEscapes = true
	switch r.how.escapes {
	case escapesDigits:
		for _, c := range []byte(t.word) {
			if v, is := r.character(c); is {
				b, ok = v, true
			}
		}
		return b, ok
	case escapesCharacter:
		if len(t.word) == 2 {
			return r.character(byte(t.value))
		}
	}
	return 0, false
}
