package ole

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // the format says so
	"crypto/rc4"  //nolint:gosec // the format says so
	"crypto/sha1" //nolint:gosec // the format says so
	"encoding/binary"
)

// An rc4Lock is RC4 encryption of a document of Office up to 2003: by itself (MS-OFFCRYPTO 2.3.6), or
// by the CryptoAPI (2.3.5).
type rc4Lock struct {
	api  bool
	bits int // of the CryptoAPI
	v    verifier
	size int64 // of a block that has a key of its own
	make func(k *rc4Key) key
}

// rc4LockOf reads a header of encryption from its version on.
func rc4LockOf(b []byte, size int64, makes func(*rc4Key) key) lock {
	if len(b) < 4 {
		return nil
	}
	major, minor := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	b = b[4:]
	switch {
	case major == 1 && minor == 1 && len(b) >= 48:
		return &rc4Lock{v: verifier{b[:16], b[16:32], b[32:48]}, size: size, make: makes}
	case minor == 2 && major >= 2 && major <= 4 && len(b) >= 4:
		algorithm, bits, v, ok := cryptoHeader(b[4:], sha1.Size)
		if bits == 0 {
			bits = 40
		}
		if !ok || algorithm != 0x6801 && algorithm != 0 || bits < 40 || bits > 128 || bits%8 != 0 {
			return nil
		}
		return &rc4Lock{api: true, bits: bits, v: v, size: size, make: makes}
	}
	return nil
}

func (l *rc4Lock) opens(password string) key {
	k := &rc4Key{api: l.api, bits: l.bits, size: l.size}
	if l.api {
		k.base = hashed(sha1.New(), l.v.salt, utf16Bytes(password)) //nolint:gosec // as above
	} else {
		sum := md5.Sum(utf16Bytes(password)) //nolint:gosec // as above
		mixed := bytes.Repeat(append(sum[:5:5], l.v.salt...), 16)
		sum = md5.Sum(mixed) //nolint:gosec // as above
		k.base = sum[:5]
	}
	c := k.cipher(0)
	input, value := make([]byte, len(l.v.input)), make([]byte, len(l.v.value))
	c.XORKeyStream(input, l.v.input)
	c.XORKeyStream(value, l.v.value)
	if !bytes.Equal(value, k.hash(input)) {
		return nil
	}
	return l.make(k)
}

// An rc4Key is what the keys of the blocks are made of.
type rc4Key struct {
	api  bool
	bits int
	base []byte
	size int64
}

func (k *rc4Key) hash(b []byte) []byte {
	if k.api {
		return hashed(sha1.New(), b) //nolint:gosec // as above
	}
	return hashed(md5.New(), b) //nolint:gosec // as above
}

// cipher is that of a block.
func (k *rc4Key) cipher(block uint32) *rc4.Cipher {
	sum := k.hash(binary.LittleEndian.AppendUint32(bytes.Clone(k.base), block))
	if k.api {
		sum = sum[:k.bits/8]
		if k.bits == 40 { // the rest is 0 (2.3.5.2)
			sum = append(sum, make([]byte, 11)...)
		}
	}
	c, err := rc4.NewCipher(sum) //nolint:gosec // as above
	if err != nil {
		panic(err) // a programmer's mistake: the sizes were looked at
	}
	return c
}

// An rc4Stream decrypts a stream from its beginning on.
type rc4Stream struct {
	k   *rc4Key
	at  int64
	c   *rc4.Cipher
	cut [512]byte // is passed over
}

// decrypt decrypts what comes next, in place.
func (s *rc4Stream) decrypt(p []byte) {
	for len(p) > 0 {
		if s.at%s.k.size == 0 {
			s.c = s.k.cipher(uint32(s.at / s.k.size))
		}
		n := int(min(int64(len(p)), s.k.size-s.at%s.k.size))
		s.c.XORKeyStream(p[:n], p[:n])
		p, s.at = p[n:], s.at+int64(n)
	}
}

// skip passes over n bytes that are not encrypted.
func (s *rc4Stream) skip(n int) {
	for n > 0 {
		k := min(n, len(s.cut))
		s.decrypt(s.cut[:k])
		n -= k
	}
}
