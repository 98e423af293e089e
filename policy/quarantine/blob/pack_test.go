package blob

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// What is cut off between chunks is noticed by the chunks themselves, before what they hold is known to end.
func TestTheLastChunkIsMarked(t *testing.T) {
	k, err := ParseKeys(strings.Repeat("0a1b2c3d", 8))
	if err != nil {
		t.Fatal(err)
	}
	var sealed bytes.Buffer
	s := newSealer(&sealed, k.first())
	if _, err := s.Write(make([]byte, 3*chunkLen)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for chunks := range 4 {
		b := sealed.Bytes()[:headLen+chunks*(chunkLen+tagLen)]
		_, r, err := k.open(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); (err == nil) != (chunks == 3) {
			t.Errorf("%d of 3 chunks: %d bytes, %v", chunks, n, err)
		}
	}
}

// BenchmarkPack is what the work of the processor costs for a message of 100 KB, an attachment in base64 and
// some text, plain and sealed, there and back.
func BenchmarkPack(b *testing.B) {
	k, err := ParseKeys(strings.Repeat("0a1b2c3d", 8))
	if err != nil {
		b.Fatal(err)
	}
	file := make([]byte, 60<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(file)
	raw := []byte(strings.Repeat("Please find attached what was agreed on.\r\n", 400) + base64.StdEncoding.EncodeToString(file))
	for name, c := range map[string]*codec{"plain": {}, "sealed": {keys: k}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for range b.N {
				var out bytes.Buffer
				if _, err := c.pack(&out, bytes.NewReader(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"-read", func(b *testing.B) {
			var out bytes.Buffer
			if _, err := c.pack(&out, bytes.NewReader(raw)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(raw)))
			for range b.N {
				r, err := c.unpack(io.NopCloser(bytes.NewReader(out.Bytes())))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
