package ole

import (
	"math/bits"

	"golang.org/x/text/encoding/charmap"
)

// maxXORPassword is how many bytes a password has at most (MS-OFFCRYPTO 2.3.7.2).
const maxXORPassword = 15

// What the key is made of (MS-OFFCRYPTO 2.3.7.2).
var (
	xorInitial = [...]uint16{0xe1f0, 0x1d0f, 0xcc9c, 0x84c0, 0x110c, 0x0e10, 0xf1ce, 0x313e, 0x1872, 0xe139, 0xd40f, 0x84f9, 0x280c, 0xa96a, 0x4ec3}
	xorMatrix  = [...]uint16{
		0xaefc, 0x4dd9, 0x9bb2, 0x2745, 0x4e8a, 0x9d14, 0x2a09,
		0x7b61, 0xf6c2, 0xfda5, 0xeb6b, 0xc6f7, 0x9dcf, 0x2bbf,
		0x4563, 0x8ac6, 0x05ad, 0x0b5a, 0x16b4, 0x2d68, 0x5ad0,
		0x0375, 0x06ea, 0x0dd4, 0x1ba8, 0x3750, 0x6ea0, 0xdd40,
		0xd849, 0xa0b3, 0x5147, 0xa28e, 0x553d, 0xaa7a, 0x44d5,
		0x6f45, 0xde8a, 0xad35, 0x4a4b, 0x9496, 0x390d, 0x721a,
		0xeb23, 0xc667, 0x9cef, 0x29ff, 0x53fe, 0xa7fc, 0x5fd9,
		0x47d3, 0x8fa6, 0x0f6d, 0x1eda, 0x3db4, 0x7b68, 0xf6d0,
		0xb861, 0x60e3, 0xc1c6, 0x93ad, 0x377b, 0x6ef6, 0xddec,
		0x45a0, 0x8b40, 0x06a1, 0x0d42, 0x1a84, 0x3508, 0x6a10,
		0xaa51, 0x4483, 0x8906, 0x022d, 0x045a, 0x08b4, 0x1168,
		0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c,
		0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad,
		0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc,
		0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4,
	}
	xorPad = [...]byte{0xbb, 0xff, 0xff, 0xba, 0xff, 0xff, 0xb9, 0x80, 0x00, 0xbe, 0x0f, 0x00, 0xbf, 0x0f, 0x00}
)

// An xorLock is obfuscation by exclusive or (MS-OFFCRYPTO 2.3.7): the key, and what tells a wrong
// password.
type xorLock struct{ key, verifier uint16 }

func (l xorLock) opens(password string) key {
	for _, p := range [][]byte{[]byte(password), windows1252(password)} {
		if len(p) == 0 || len(p) > maxXORPassword || xorVerifierOf(p) != l.verifier || xorKeyOf(p) != l.key {
			continue
		}
		return bookKey{&xorBook{array: xorArray(p, l.key)}}
	}
	return nil
}

func windows1252(s string) []byte {
	b, err := charmap.Windows1252.NewEncoder().Bytes([]byte(s))
	if err != nil {
		return nil
	}
	return b
}

// xorVerifierOf is what tells a wrong password (CreatePasswordVerifier_Method1).
func xorVerifierOf(p []byte) (v uint16) {
	step := func(b byte) { v = (v<<1&0x7fff | v>>14&1) ^ uint16(b) }
	for i := len(p) - 1; i >= 0; i-- {
		step(p[i])
	}
	step(byte(len(p)))
	return v ^ 0xce4b
}

// xorKeyOf is the key (CreateXorKey_Method1).
func xorKeyOf(p []byte) uint16 {
	k := xorInitial[len(p)-1]
	e := len(xorMatrix) - 1
	for i := len(p) - 1; i >= 0; i-- {
		b := p[i]
		for range 7 {
			if b&0x40 != 0 {
				k ^= xorMatrix[e]
			}
			b <<= 1
			e--
		}
	}
	return k
}

// xorArray is what the data is mixed with (CreateXorArray_Method1).
func xorArray(p []byte, k uint16) (a [16]byte) {
	half := [2]byte{byte(k), byte(k >> 8)}
	for i := range a {
		b := xorPad[max(i-len(p), 0)]
		if i < len(p) {
			b = p[i]
		}
		a[i] = bits.RotateLeft8(b^half[i%2], -1)
	}
	return a
}

// An xorBook decrypts records; where in the array each begins depends on its place and its size.
type xorBook struct {
	array [16]byte
	i     int
}

func (x *xorBook) record(at int64, size int) { x.i = int((at + int64(size)) & 15) }

func (x *xorBook) skip(n int) { x.i += n }

func (x *xorBook) decrypt(p []byte) {
	for k := range p {
		p[k] = bits.RotateLeft8(p[k]^x.array[x.i&15], 3)
		x.i++
	}
}
