package lzx_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"rastel/scanners/archive/lzx"
	"rastel/scanners/archive/lzx/lzxtest"
)

// text is n bytes with matches of many lengths and offsets, and calls of x86.
func text(n int) []byte {
	b, x := make([]byte, 0, n+400), uint32(1)
	for len(b) < n {
		x = x*1664525 + 1013904223
		switch size := int(x >> 24); {
		case x>>16&3 == 0 && len(b) > 1000:
			from := int(x>>3) % (len(b) - 300)
			b = append(b, b[from:from+size]...)
		case x>>16&3 == 1:
			b = append(b, 0xe8, byte(x), byte(x>>8), 0, 0)
		default:
			b = append(b, strings.Repeat(string(rune('a'+x>>28)), size%9)...)
			b = append(b, byte(x>>20), byte(x>>12))
		}
	}
	return b[:n]
}

// decode decodes frames to n bytes.
func decode(d *lzx.Decoder, frames [][]byte, n int) ([]byte, error) {
	out := make([]byte, n)
	for rest := out; len(frames) > 0; frames = frames[1:] {
		k := min(len(rest), lzx.Frame)
		if err := d.Decode(rest[:k], frames[0]); err != nil {
			return nil, err
		}
		rest = rest[k:]
	}
	return out, nil
}

func TestDecodesBlocksOfAllKindsInAllWindows(t *testing.T) {
	for window := lzx.MinWindow; window <= lzx.MaxWindow; window++ {
		for _, size := range []int{1, 2, 32 << 10, 100_001, 3 << 17} {
			for _, e8 := range []int32{0, 50_000, 1 << 30} {
				content := text(size)
				e := lzxtest.Encoder{Window: window, E8: e8}
				var frames [][]byte
				for i := 0; i < len(content); i += lzx.Frame {
					e.Kind = 1 + (i/lzx.Frame+window)%3
					frames = append(frames, e.Frame(content[i:min(i+lzx.Frame, len(content))]))
				}
				got, err := decode(lzx.New(window), frames, size)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("window %d, %d bytes, calls %d: got %v, and the same is %v", window, size, e8, err, bytes.Equal(got, content))
				}
			}
		}
	}
}

func TestStreamsBeginAnew(t *testing.T) {
	d, content := lzx.New(16), text(50_000)
	for range 3 {
		e := lzxtest.Encoder{Window: 16, Kind: lzxtest.Verbatim}
		got, err := decode(d, e.Stream(content), len(content))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("got %v, and the same is %v", err, bytes.Equal(got, content))
		}
		d.Reset()
	}
}

func TestDecodesChunksOfImages(t *testing.T) {
	d := lzx.NewWIM(15)
	for _, kind := range []int{lzxtest.Verbatim, lzxtest.Aligned, lzxtest.Uncompressed} {
		for _, size := range []int{1, 11, 9999, 32 << 10} {
			content := text(size)
			e := lzxtest.Encoder{Window: 15, Kind: kind, WIM: true, E8: 12_000_000}
			d.Reset()
			got, err := decode(d, e.Stream(content), size)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("kind %d, %d bytes: got %v, and the same is %v", kind, size, err, bytes.Equal(got, content))
			}
		}
	}
}

func TestOddBlocksAreFilledUp(t *testing.T) {
	e := lzxtest.Encoder{Window: 15, Kind: lzxtest.Uncompressed}
	first, second := e.Frame([]byte("abc")), e.Frame([]byte("defgh"))
	for name, frames := range map[string][][]byte{
		"as they are":            {first, second},
		"in the frame behind":    {first[:len(first)-1], append([]byte{0}, second...)},
		"not at all, in the end": {first, second[:len(second)-1]},
	} {
		d, got := lzx.New(15), make([]byte, 8)
		err := errors.Join(d.Decode(got[:3], frames[0]), d.Decode(got[3:], frames[1]))
		if err != nil || string(got) != "abcdefgh" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	content := text(20_000)
	for _, kind := range []int{lzxtest.Verbatim, lzxtest.Aligned, lzxtest.Uncompressed} {
		e := lzxtest.Encoder{Window: 15, Kind: kind}
		frame, out := e.Frame(content), make([]byte, len(content))
		for name, f := range map[string][]byte{
			"cut": frame[:len(frame)-20], "empty": nil, "a kind that is not": {0, 0xf0, 0, 0, 0}, "no block": make([]byte, 100),
		} {
			if err := lzx.New(15).Decode(out, f); !errors.Is(err, lzx.ErrDamaged) {
				t.Errorf("kind %d, %s: got %v, want %v", kind, name, err, lzx.ErrDamaged)
			}
		}
		if err := lzx.New(15).Decode(make([]byte, len(content)+1), frame); !errors.Is(err, lzx.ErrDamaged) {
			t.Errorf("kind %d: got %v for more than there is, want %v", kind, err, lzx.ErrDamaged)
		}
	}
	e := lzxtest.Encoder{Window: 15, Kind: lzxtest.Verbatim}
	frames := e.Stream(append(content, content...))
	if err := lzx.New(15).Decode(make([]byte, 7232), frames[1]); !errors.Is(err, lzx.ErrDamaged) {
		t.Errorf("got %v for what refers to a frame that was not there, want %v", err, lzx.ErrDamaged)
	}
}

// FuzzDecode holds the decoders to their promise: no panic, an end, no memory but the window, and an
// error of the package.
func FuzzDecode(f *testing.F) {
	content := text(2000)
	for kind := 1; kind <= 3; kind++ {
		e := lzxtest.Encoder{Window: 15, Kind: kind, E8: 5000}
		f.Add(e.Frame(content), e.Frame(content), 2000, uint8(kind))
		e = lzxtest.Encoder{Window: 15, Kind: kind, WIM: true, E8: 12_000_000}
		f.Add(e.Frame(content), e.Frame(content), 2000, uint8(15))
	}
	f.Add(xpressOf(content), []byte{}, 2000, uint8(0))
	f.Fuzz(func(t *testing.T, a, b []byte, n int, window uint8) {
		if n < 0 || n > lzx.Frame {
			return
		}
		d := lzx.New(lzx.MinWindow + int(window)%7)
		if window&8 != 0 {
			d = lzx.NewWIM(lzx.MinWindow + int(window)%7)
		}
		out := make([]byte, n)
		for _, err := range []error{d.Decode(out, a), d.Decode(out, b), lzx.Xpress(out, a)} {
			if err != nil && !errors.Is(err, lzx.ErrDamaged) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// xpressOf packs content with literals alone, each of which has a word of 8 bits.
func xpressOf(content []byte) []byte {
	b := append(bytes.Repeat([]byte{0x88}, 128), make([]byte, 128)...)
	for i := 0; i < len(content); i += 2 {
		if i+1 == len(content) {
			return append(b, 0, content[i], 0, 0)
		}
		b = append(b, content[i+1], content[i])
	}
	return append(b, 0, 0)
}

func TestXpressLiterals(t *testing.T) {
	for _, n := range []int{1, 2, 999, 65536} {
		content := text(n)
		got := make([]byte, n)
		if err := lzx.Xpress(got, xpressOf(content)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: got %v, and the same is %v", n, err, bytes.Equal(got, content))
		}
		if err := lzx.Xpress(got, xpressOf(content)[:256]); !errors.Is(err, lzx.ErrDamaged) {
			t.Errorf("%d bytes: got %v for what is cut, want %v", n, err, lzx.ErrDamaged)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	content := text(1 << 20)
	e := lzxtest.Encoder{Window: 21, Kind: lzxtest.Aligned}
	frames, d := e.Stream(content), lzx.New(21)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		d.Reset()
		if _, err := decode(d, frames, len(content)); err != nil {
			b.Fatal(err)
		}
	}
}
