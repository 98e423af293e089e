package lzh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// A bitWriter writes bits, the highest first.
type bitWriter struct {
	b   []byte
	acc uint64
	n   uint
}

func (w *bitWriter) put(v int, n uint) {
	w.acc = w.acc<<n | uint64(v)
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.b = append(w.b, byte(w.acc>>(w.n-8)))
	}
}

func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		w.put(0, 8-w.n)
	}
	return w.b
}

// A step of LZ77: a byte, or a match of n bytes that far behind.
type step struct {
	c           byte
	n, distance int
}

// steps packs content greedily.
func steps(content []byte, longest, farthest int) []step {
	var out []step
	last := map[string]int{}
	for i := 0; i < len(content); {
		s := step{c: content[i]}
		if i+minMatch <= len(content) {
			if at, ok := last[string(content[i:i+minMatch])]; ok && i-at <= farthest {
				for s.n < longest && i+s.n < len(content) && content[at+s.n] == content[i+s.n] {
					s.n++
				}
				s.distance = i - at - 1
			}
		}
		end := i + max(s.n, 1)
		for ; i < end; i++ {
			if i+minMatch <= len(content) {
				last[string(content[i:i+minMatch])] = i
			}
		}
		out = append(out, s)
	}
	return out
}

// codeOf gives the codes of a canonical code by its lengths.
func codeOf(lengths []uint8) (codes []int) {
	codes = make([]int, len(lengths))
	code := 0
	for l := uint8(1); l <= maxCodeLength; l++ {
		for s, sl := range lengths {
			if sl == l {
				codes[s] = code
				code++
			}
		}
		code <<= 1
	}
	return codes
}

// flat are lengths of n symbols that differ by one bit at most.
func flat(n int) []uint8 {
	bits := uint8(1)
	for 1<<bits < n {
		bits++
	}
	lengths := make([]uint8, n)
	for i := range lengths {
		lengths[i] = bits
		if i < 1<<bits-n {
			lengths[i]--
		}
	}
	return lengths
}

// blocksOf packs in blocks of at most that many symbols.
func blocksOf(m Method, content []byte, block int) []byte {
	b := newBlocks(m)
	farthest := 1 << (b.distances - 1)
	if m == ARJ {
		farthest = 26624
	}
	list := steps(content, symbols-1-literals+minMatch, farthest-1)
	w := &bitWriter{}
	code, pointers := flat(symbols), flat(b.distances)
	for len(list) > 0 {
		part := list[:min(block, len(list))]
		list = list[len(part):]
		w.put(len(part), 16)
		// Lengths 8 and 9 are symbols 10 and 11 of a code of two symbols of one bit.
		w.put(12, 5)
		w.put(0, 9) // three zeros, then the pause:
		w.put(3, 2) // three more
		for range 4 {
			w.put(0, 3)
		}
		w.put(1, 3)
		w.put(1, 3)
		w.put(symbols, 9)
		for _, l := range code {
			w.put(int(l)-8, 1)
		}
		w.put(b.distances, b.distanceBits)
		for _, l := range pointers {
			w.put(int(l), 3)
		}
		codes, pcodes := codeOf(code), codeOf(pointers)
		for _, s := range part {
			if s.n < minMatch {
				w.put(codes[s.c], uint(code[s.c]))
				continue
			}
			c := literals + s.n - minMatch
			w.put(codes[c], uint(code[c]))
			p, low := 0, 0
			for v := s.distance; v > 0; v >>= 1 {
				p++
			}
			if p > 1 {
				low = p - 1
			}
			w.put(pcodes[p], uint(pointers[p]))
			w.put(s.distance&(1<<low-1), uint(low))
		}
	}
	return w.bytes()
}

// adaptiveOf packs as -lh1- does.
func adaptiveOf(content []byte) []byte {
	a, w := newAdaptive(), &bitWriter{}
	var pointers []uint8
	for _, c := range pointerCounts {
		for range c.n {
			pointers = append(pointers, uint8(c.length))
		}
	}
	pcodes := codeOf(pointers)
	for _, s := range steps(content, adaptiveMatch, 1<<12-1) {
		c := int(s.c)
		if s.n >= minMatch {
			c = literals + s.n - minMatch
		}
		var path []int
		for n := a.parent[c+adaptiveNodes]; n != adaptiveRoot; n = a.parent[n] {
			path = append(path, n-a.child[a.parent[n]])
		}
		for i := len(path) - 1; i >= 0; i-- {
			w.put(path[i], 1)
		}
		a.update(c)
		if s.n >= minMatch {
			high := s.distance >> pointerLow
			w.put(pcodes[high], uint(pointers[high]))
			w.put(s.distance&(1<<pointerLow-1), pointerLow)
		}
	}
	return w.bytes()
}

// fastOf packs as method 4 of ARJ does.
func fastOf(content []byte) []byte {
	w := &bitWriter{}
	unary := func(v int, least, most uint) {
		width, base := least, 0
		for ; width < most && v >= base+1<<width; width++ {
			base += 1 << width
			w.put(1, 1)
		}
		if width < most {
			w.put(0, 1)
		}
		w.put(v-base, width)
	}
	for _, s := range steps(content, 255, 10_000) {
		if s.n < minMatch {
			unary(0, 0, 7)
			w.put(int(s.c), 8)
			continue
		}
		unary(s.n-2, 0, 7)
		unary(s.distance, 9, 13)
	}
	return w.bytes()
}

// contents are what is packed and unpacked.
func contents() map[string][]byte {
	noise, x := make([]byte, 100_000), uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	var text strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&text, "line %d of a text, %d\n", i, i*7919%1000)
	}
	return map[string][]byte{"noise": noise, "text": []byte(text.String()), "zeros": make([]byte, 200_000), "one": {'a'},
		"mixed": append(append(noise[:5000:5000], text.String()[:50_000]...), noise[:5000]...)}
}

func pack(m Method, content []byte) []byte {
	switch m {
	case LH1:
		return adaptiveOf(content)
	case ARJ4:
		return fastOf(content)
	}
	return blocksOf(m, content, 10_000)
}

func TestWhatWasPackedIsUnpacked(t *testing.T) {
	for name, content := range contents() {
		for m := LH1; m <= ARJ4; m++ {
			got, err := io.ReadAll(New(bytes.NewReader(pack(m, content)), m, int64(len(content))))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s, method %d: %d bytes, error %v, want %d bytes", name, m, len(got), err, len(content))
			}
		}
	}
}

func TestWhatIsCutOffIsAnError(t *testing.T) {
	content := contents()["text"]
	for m := LH1; m <= ARJ4; m++ {
		packed := pack(m, content)
		got, err := io.ReadAll(New(bytes.NewReader(packed[:len(packed)/2]), m, int64(len(content))))
		if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("method %d: error %v", m, err)
		}
		if n := len(content) / 10; len(got) < n || !bytes.Equal(got[:n], content[:n]) {
			t.Errorf("method %d: of what came before the end %d bytes were given", m, len(got))
		}
	}
}

// FuzzReader holds all input to the promise: no panic, an end, no more than the size, and an error or
// all of it.
func FuzzReader(f *testing.F) {
	for _, content := range contents() {
		content = content[:min(len(content), 2000)]
		for m := LH1; m <= ARJ4; m++ {
			f.Add(pack(m, content), int(m), int64(len(content)))
		}
	}
	f.Fuzz(func(t *testing.T, packed []byte, method int, size int64) {
		m := Method((method%int(ARJ4+1) + int(ARJ4+1)) % int(ARJ4+1))
		size = min(max(size, 0), 1<<20)
		n, err := io.Copy(io.Discard, New(bytes.NewReader(packed), m, size))
		if n > size || err == nil && n != size {
			t.Errorf("%d bytes of %d, error %v", n, size, err)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v", err)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	content := contents()["text"]
	for m, name := range map[Method]string{LH1: "lh1", LH5: "lh5", ARJ4: "arj4"} {
		packed := pack(m, content)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := io.Copy(io.Discard, New(bytes.NewReader(packed), m, int64(len(content)))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
