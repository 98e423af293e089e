package sanitize

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// TestUTF8IsDecodedAsByTheLibrary: what is UTF-8 is only copied.
func TestUTF8IsDecodedAsByTheLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	parts := []string{"x", "é", "日", "\U0001f600", "\xff", "\xc3", "\xe6\x97", "\xf0\x9f\x98", "\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x00", strings.Repeat("a", 4090), strings.Repeat("é", 2047)}
	for range 3000 {
		var b bytes.Buffer
		for range rnd.IntN(12) {
			b.WriteString(parts[rnd.IntN(len(parts))])
		}
		in := b.Bytes()
		want, _, err := transform.Bytes(unicode.UTF8.NewDecoder(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in)), iotest.DataErrReader(bytes.NewReader(in))} {
			got, err := io.ReadAll(transform.NewReader(r, utf8Decoder{unicode.UTF8.NewDecoder()}))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%.100q: got %.100q, %v; want %.100q", in, got, err, want)
			}
		}
		for _, r := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in)), iotest.DataErrReader(bytes.NewReader(in))} {
			if got := isUTF8(r); got != utf8.Valid(in) {
				t.Fatalf("%.100q: is UTF-8: %v", in, got)
			}
		}
	}
	if isUTF8(iotest.ErrReader(io.ErrUnexpectedEOF)) {
		t.Error("what cannot be read is UTF-8")
	}
}
