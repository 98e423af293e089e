package eml

import "bytes"

// Changes are the places at which a text reads otherwise for those who get it, one after the other: where an
// MTA breaks its lines, and where something is encoded in UTF-7. A copy goes on for itself, in the same
// goroutine. Nothing that they take away holds a byte that is not of the alphabet of base64, "+" or "-".
type Changes struct {
	breaks Breaks
	broken bool // lines are broken
	utf7   bool
	text   []byte
	at     int // the next change; the length of the text if there is none
	pos    int // how much of the text was passed
	plus   int // the next "+", if what is encoded in UTF-7 is decoded
	added  int // how many bytes are put in before the next change, less those that are taken away
	room   []byte

	Found []Change // Append appends those that put in a "<", as long as there is room
}

// A Change is one that was passed.
type Change struct {
	Text    []byte  // what there is instead
	Place   int     // where that begins, as it reads
	End     int     // the byte of the text behind it
	Changes Changes // those behind it
}

// NewChanges gives those of a text that is sent as it stands: broken by an MTA, read in UTF-7 then, or both.
func NewChanges(text []byte, broken bool, by Wrapping, utf7 bool) Changes {
	c := Changes{text: text, broken: broken, utf7: utf7, plus: len(text), breaks: Breaks{next: len(text)}}
	if broken {
		c.breaks = NewBreaks(text, by)
	}
	if utf7 {
		c.plus = -1
	}
	c.find()
	return c
}

// find finds the next change.
func (c *Changes) find() {
	if c.plus < c.pos {
		n := bytes.IndexByte(c.text[c.pos:], '+')
		if n < 0 {
			n = len(c.text)
		}
		c.plus = min(len(c.text), c.pos+n)
	}
	c.at = min(c.breaks.next, c.plus)
}

// Next gives the byte at which, or before which, the next change is; the length of the text if there is none. added
// is how many bytes are put in before, less those that are taken away.
func (c *Changes) Next() (at, added int) { return c.at, c.added }

// Pass appends what there is instead of the next change, and goes on to the one behind it. It gives the byte of the text
// that follows.
func (c *Changes) Pass(out []byte) (_ []byte, end int) {
	before := len(out)
	if c.at == c.breaks.next {
		out, end = append(out, wrapRules[c.breaks.lines.by].mark...), c.at
		c.breaks.advance()
	} else {
		var n int
		out, n = appendUTF7(out, c.text[c.at:c.breaks.next])
		end = c.at + n
	}
	c.added += len(out) - before - (end - c.at)
	c.pos = end
	c.find()
	return out, end
}

// After passes all changes up to byte i, and gives what Next gives.
func (c *Changes) After(i int) (at, added int) {
	for c.at <= i && c.at < len(c.text) {
		c.room, _ = c.Pass(c.room[:0])
	}
	return c.Next()
}

// Append appends the bytes [from, to) as they read, and passes the changes in them. No change before byte from must be
// left, and if the last one goes on behind byte to, so does what is appended.
func (c *Changes) Append(out []byte, from, to int) []byte {
	for from < to {
		end := min(c.at, to)
		out = append(out, c.text[from:end]...)
		if end == to {
			break
		}
		n, place := len(out), c.at+c.added
		if out, from = c.Pass(out); len(c.Found) < cap(c.Found) && bytes.IndexByte(out[n:], '<') >= 0 {
			c.Found = append(c.Found, Change{Text: bytes.Clone(out[n:]), Place: place, End: from, Changes: *c})
			c.Found[len(c.Found)-1].Changes.Found = nil
		}
	}
	return out
}
