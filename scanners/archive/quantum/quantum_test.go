package quantum

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// An encoder encodes one stream, with the models of a Decoder.
type encoder struct {
	d         *Decoder
	history   []byte
	last      map[[3]byte]int // where three bytes were last
	low, high uint32
	pending   int
	shifts    int
	code      []byte // bits of the coder
	plain     []run  // bits between them
}

// A run of bits is where the decoder takes them that has taken so many bits of the coder.
type run struct {
	at, v, n int
}

func newEncoder(window int) *encoder {
	return &encoder{d: New(window), last: map[[3]byte]int{}}
}

// symbol encodes a symbol of a model, which learns as that of the decoder does.
func (e *encoder) symbol(m *model, sym int) {
	i := bytes.IndexByte(m.symbols[:m.n], byte(sym)) + 1
	width, total := e.high-e.low+1, m.share[0]
	e.high = e.low + m.share[i-1]*width/total - 1
	e.low += m.share[i] * width / total
	for k := range i {
		m.share[k] += gain
	}
	if m.share[0] > maxTotal {
		m.halve()
	}
	for {
		switch {
		case (e.low^e.high)&0x8000 == 0:
			e.bit(byte(e.low >> 15))
		case e.low&0x4000 != 0 && e.high&0x4000 == 0:
			e.pending++
			e.low &= 0x3fff
			e.high |= 0x4000
		default:
			return
		}
		e.shifts++
		e.low, e.high = e.low<<1&0xffff, (e.high<<1|1)&0xffff
	}
}

func (e *encoder) bit(b byte) {
	e.code = append(e.code, b)
	for ; e.pending > 0; e.pending-- {
		e.code = append(e.code, 1-b)
	}
}

func (e *encoder) bits(v, n int) { e.plain = append(e.plain, run{16 + e.shifts, v, n}) }

// frame encodes a frame.
func (e *encoder) frame(content []byte) []byte {
	e.low, e.high, e.pending, e.shifts, e.code, e.plain = 0, 0xffff, 0, 0, nil, nil
	at := len(e.history)
	e.history = append(e.history, content...)
	for at < len(e.history) {
		n := e.match(at)
		if n == 0 {
			c := int(e.history[at])
			e.symbol(&e.d.selector, c/64)
			e.symbol(&e.d.literal[c/64], c)
			n = 1
		}
		for ; n > 0; n-- {
			if at+3 <= len(e.history) {
				e.last[[3]byte(e.history[at:])] = at
			}
			at++
		}
	}
	e.pending++
	e.bit(byte(e.low >> 14 & 1))
	return e.merge()
}

// merge puts the bits in the order in which the decoder takes them.
func (e *encoder) merge() (out []byte) {
	for len(e.code) < 16+e.shifts {
		e.code = append(e.code, 0)
	}
	var all []byte
	done := 0
	for _, r := range e.plain {
		all = append(all, e.code[done:r.at]...)
		done = r.at
		for k := r.n - 1; k >= 0; k-- {
			all = append(all, byte(r.v>>k&1))
		}
	}
	all = append(all, e.code[done:]...)
	for len(all)%8 != 0 {
		all = append(all, 0)
	}
	for ; len(all) > 0; all = all[8:] {
		var b byte
		for _, bit := range all[:8] {
			b = b<<1 | bit
		}
		out = append(out, b)
	}
	return out
}

// match encodes a match for what is at that place, if there is one, and gives its length.
func (e *encoder) match(at int) int {
	if at+3 > len(e.history) {
		return 0
	}
	from, ok := e.last[[3]byte(e.history[at:])]
	if !ok || at-from > len(e.d.window) {
		return 0
	}
	n := 3
	for n < 259 && at+n < len(e.history) && e.history[from+n] == e.history[at+n] {
		n++
	}
	kind := min(n, 5) - 3
	slots := e.d.slot[kind].n
	slot, extra := 0, 0
	for v := at - from - 1; ; slot++ {
		base := slot
		if slot >= 2 {
			extra = slot/2 - 1
			base = (2 + slot%2) << extra
		}
		if slot >= slots {
			return 0
		}
		if v < base+1<<extra {
			e.write(kind, n, slot, v-base, extra)
			return n
		}
	}
}

func (e *encoder) write(kind, n, slot, rest, extra int) {
	e.symbol(&e.d.selector, 4+kind)
	if kind == 2 {
		for code := range lengthCodes {
			base, bits := lengthOf(code)
			if n-5 < base+1<<bits {
				e.symbol(&e.d.length, code)
				e.bits(n-5-base, int(bits))
				break
			}
		}
	}
	e.symbol(&e.d.slot[kind], slot)
	e.bits(rest, extra)
}

// text is n bytes with matches of many lengths and offsets.
func text(n int) []byte {
	b, x := make([]byte, 0, n+400), uint32(1)
	for len(b) < n {
		x = x*1664525 + 1013904223
		size := int(x >> 24)
		if x>>16&3 == 0 && len(b) > 1000 {
			from := int(x>>3) % (len(b) - 300)
			b = append(b, b[from:from+size]...)
			continue
		}
		b = append(b, strings.Repeat(string(rune('a'+x>>28)), size%9)...)
		b = append(b, byte(x>>20), byte(x>>12))
	}
	return b[:n]
}

func TestDecodesFramesInAllWindows(t *testing.T) {
	for window := MinWindow; window <= MaxWindow; window++ {
		d := New(window)
		for _, size := range []int{1, 1000, 32 << 10, 200_000} {
			d.Reset()
			content, e := text(size), newEncoder(window)
			for i := 0; i < size; i += 32 << 10 {
				want := content[i:min(i+32<<10, size)]
				got := make([]byte, len(want))
				if err := d.Decode(got, e.frame(want)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("window %d, %d bytes, at %d: got %v, and the same is %v", window, size, i, err, bytes.Equal(got, want))
				}
			}
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	content := text(20_000)
	frame := newEncoder(15).frame(content)
	for name, f := range map[string][]byte{"cut": frame[:len(frame)-20], "empty": nil, "ones": bytes.Repeat([]byte{255}, 9)} {
		if err := New(15).Decode(make([]byte, len(content)), f); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, want %v", name, err, ErrDamaged)
		}
	}
}

// FuzzDecode holds the decoder to its promise: no panic, an end, and an error of the package.
func FuzzDecode(f *testing.F) {
	e := newEncoder(12)
	f.Add(e.frame(text(2000)), e.frame(text(900)), 2000, uint8(2))
	f.Fuzz(func(t *testing.T, a, b []byte, n int, window uint8) {
		if n < 0 || n > 32<<10 {
			return
		}
		d, out := New(MinWindow+int(window)%12), make([]byte, n)
		for _, in := range [][]byte{a, b} {
			if err := d.Decode(out, in); err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		}
	})
}
