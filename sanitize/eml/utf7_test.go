package eml

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"
)

// plainUTF7 decodes what is encoded behind a "+" bit by bit.
func plainUTF7(s string) (out string, size int) {
	var units []uint16
	bits := ""
	for size = 1; size < len(s) && strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", s[size]) >= 0; size++ {
		v := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", s[size])
		for i := 5; i >= 0; i-- {
			bits += string(rune('0' + v>>i&1))
		}
		if len(bits) >= 16 {
			unit := uint16(0)
			for _, c := range bits[:16] {
				unit = unit<<1 | uint16(c-'0')
			}
			units, bits = append(units, unit), bits[16:]
		}
	}
	out = string(utf16.Decode(units))
	if size < len(s) && s[size] == '-' {
		if size++; size == 2 {
			out = "+"
		}
	}
	return out, size
}

func TestUTF7IsDecodedAsBitByBit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"2D3eAA", "3gDYPQ", "2AA", "AAAA", "AGE", "2NjZ", "-", " ", "<", "\xff", "=", "_", "+", "/", "Qk1"}
	for range 20_000 {
		in := "+"
		for range rnd.IntN(30) {
			in += pieces[rnd.IntN(len(pieces))]
		}
		want, size := plainUTF7(in)
		if got, n := appendUTF7([]byte("x"), in); string(got) != "x"+want || n != size {
			t.Fatalf("%q: got %q of %d bytes, want %q of %d", in, got, n, want, size)
		}
		if got, n := appendUTF7(nil, []byte(in)); string(got) != want || n != size {
			t.Fatalf("%q: got %q of %d bytes, want %q of %d", in, got, n, want, size)
		}
	}
}

// TestChangesAreThoseOfAReader holds the changes of a text to what comes of it, as a whole and from any byte on.
func TestChangesAreThoseOfAReader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"+ADw-", "+", "+-", "-", "a", "<", "\r\n", "+2D3eAA", "+ADwAPg", strings.Repeat("x", 700), strings.Repeat("b ", 300), strings.Repeat("AGEAYg", 90)}
	for range 3000 {
		in := ""
		for range 1 + rnd.IntN(12) {
			in += pieces[rnd.IntN(len(pieces))]
		}
		from := rnd.IntN(len(in) + 1)
		for from < len(in) && strings.IndexByte("<\r", in[from]) < 0 { // where nothing is encoded
			from++
		}
		for _, by := range Wrappings() {
			for n := range 4 {
				broken, utf7 := n&1 > 0, n&2 > 0
				whole := func(s string) string {
					if broken {
						s = string(NewBreaks([]byte(s), by).Append(nil, 0, len(s)))
					}
					if utf7 {
						s = decodeUTF7(s)
					}
					return s
				}
				want := whole(in)
				c := NewChanges([]byte(in), broken, by, utf7)
				if got := c.Append(nil, 0, len(in)); string(got) != want {
					t.Fatalf("%d, %q: got\n%q, want\n%q", n, in, got, want)
				}
				c = NewChanges([]byte(in), broken, by, utf7)
				c.Found = make([]Change, 0, 3)
				_, added := c.After(from)
				if from == len(in) {
					if len(in)+added != len(want) {
						t.Fatalf("%d, %q: %d bytes are added, want %d", n, in, added, len(want)-len(in))
					}
					continue
				}
				if got := c.Append(nil, from, len(in)); string(got) != want[from+added:] {
					t.Fatalf("%d, %q: from %d on got\n%q, want\n%q", n, in, from, got, want[from+added:])
				}
				for _, f := range c.Found {
					rest := f.Changes.Append(bytes.Clone(f.Text), f.End, len(in))
					if string(rest) != want[f.Place:] {
						t.Fatalf("%d, %q: found %q at %d, want %q", n, in, rest, f.Place, want[f.Place:])
					}
				}
			}
		}
	}
}
