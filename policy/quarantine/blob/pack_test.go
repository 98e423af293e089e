package blob

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

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
