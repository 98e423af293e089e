package pdf

import (
	"bytes"
	"compress/zlib"
	"io"
	"testing"
)

// FuzzDeflate holds the short end of what is compressed to what zlib makes of it.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("a"))
	f.Add(noise(300))
	for n := range 70 {
		f.Add(bytes.Repeat([]byte("ab <</S/Launch>> "), n))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b := deflate(text)
		r, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
	})
}
