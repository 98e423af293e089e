// Package zipcrypt decrypts members of zip archives: by the method of PKZIP 2 (APPNOTE.TXT 6.1), and
// by that of WinZip (AE-1 and AE-2, "AES Encryption Information"). It knows nothing of archives.
package zipcrypt

import (
	"hash/crc32"
	"io"
)

// ClassicHead is how many bytes stand before the data that is encrypted by the classic method.
const ClassicHead = 12

var table = crc32.MakeTable(crc32.IEEE)

// A Classic is the state of the classic method (APPNOTE.TXT 6.1.5).
type Classic struct{ k0, k1, k2 uint32 }

// NewClassic is the state after the password.
func NewClassic(password []byte) Classic {
	c := Classic{0x12345678, 0x23456789, 0x34567890}
	for _, b := range password {
		c.update(b)
	}
	return c
}

func (c *Classic) update(b byte) {
	c.k0 = table[byte(c.k0)^b] ^ c.k0>>8
	c.k1 = (c.k1+c.k0&0xff)*134775813 + 1
	c.k2 = table[byte(c.k2)^byte(c.k1>>24)] ^ c.k2>>8
}

// stream is the next byte that is mixed with the data.
func (c *Classic) stream() byte {
	t := uint16(c.k2) | 2
	return byte((uint32(t) * uint32(t^1)) >> 8)
}

// Decrypt decrypts in place.
func (c *Classic) Decrypt(p []byte) {
	for i, b := range p {
		b ^= c.stream()
		c.update(b)
		p[i] = b
	}
}

// Encrypt encrypts in place.
func (c *Classic) Encrypt(p []byte) {
	for i, b := range p {
		p[i] = b ^ c.stream()
		c.update(b)
	}
}

// Open decrypts the head and reports whether its last byte, all that it is good for, is one of those
// that tell the right password. A wrong one passes in one of 256 cases. Decrypt then goes on with the
// data.
func (c *Classic) Open(head [ClassicHead]byte, checks ...byte) bool {
	c.Decrypt(head[:])
	for _, check := range checks {
		if head[ClassicHead-1] == check {
			return true
		}
	}
	return false
}

// Reader decrypts what r gives.
func (c *Classic) Reader(r io.Reader) io.Reader { return &classicReader{c, r} }

type classicReader struct {
	c *Classic
	r io.Reader
}

func (r *classicReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.c.Decrypt(p[:n])
	return n, err
}
