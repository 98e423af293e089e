package ole

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"  //nolint:gosec // the format says so
	"crypto/sha1" //nolint:gosec // the format says so
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash"
	"io"
)

const (
	// maxSpins is how many rounds the derivation of a key may take (MS-OFFCRYPTO 2.3.4.10).
	maxSpins = 10_000_000
	// standardSpins is how many it takes where the document does not say (2.3.4.7).
	standardSpins = 50_000
	// segment is how much is encrypted together (2.3.4.15).
	segment = 4096
	// packageHead is what stands before the data: its size.
	packageHead = 8
)

// packageLock reads the stream EncryptionInfo (MS-OFFCRYPTO 2.3.4.5, 2.3.4.10).
func packageLock(r io.Reader) lock {
	b := limited(r, maxEncryptionInfo)
	if len(b) < 8 {
		return nil
	}
	major, minor := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	switch {
	case major == 4 && minor == 4:
		return agileLock(b[8:])
	case minor == 2 && major >= 2 && major <= 4:
		return standardLock(b)
	}
	return nil
}

// base64Bytes is binary in an attribute.
type base64Bytes []byte

// UnmarshalText reads an attribute.
func (b *base64Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = base64.StdEncoding.DecodeString(string(text))
	return err
}

// agileParams are how something is encrypted.
type agileParams struct {
	BlockSize int         `xml:"blockSize,attr"`
	KeyBits   int         `xml:"keyBits,attr"`
	Cipher    string      `xml:"cipherAlgorithm,attr"`
	Chaining  string      `xml:"cipherChaining,attr"`
	Hash      string      `xml:"hashAlgorithm,attr"`
	Salt      base64Bytes `xml:"saltValue,attr"`
}

// An agile is agile encryption (MS-OFFCRYPTO 2.3.4.10).
type agile struct {
	Data      agileParams `xml:"keyData"`
	Passwords []struct {
		agileParams
		Spins int         `xml:"spinCount,attr"`
		Input base64Bytes `xml:"encryptedVerifierHashInput,attr"`
		Value base64Bytes `xml:"encryptedVerifierHashValue,attr"`
		Key   base64Bytes `xml:"encryptedKeyValue,attr"`
	} `xml:"keyEncryptors>keyEncryptor>encryptedKey"`
}

func agileLock(text []byte) lock {
	a := &agile{}
	if xml.Unmarshal(text, a) != nil || len(a.Passwords) == 0 || !a.Data.fit() {
		return nil
	}
	p := &a.Passwords[0]
	whole := func(b []byte) bool { return len(b) > 0 && len(b)%aes.BlockSize == 0 }
	if !p.fit() || p.Spins < 0 || p.Spins > maxSpins || !whole(p.Input) || !whole(p.Value) || !whole(p.Key) {
		return nil
	}
	return a
}

// fit reports whether the methods are known.
func (p *agileParams) fit() bool {
	bits := p.KeyBits == 128 || p.KeyBits == 192 || p.KeyBits == 256
	return p.Cipher == "AES" && p.Chaining == "ChainingModeCBC" && p.BlockSize == aes.BlockSize && bits && hashNamed(p.Hash) != nil && len(p.Salt) > 0
}

// hashNamed makes a hash; nil if the name is not known.
func hashNamed(name string) hash.Hash {
	switch name {
	case "SHA1", "SHA-1":
		return sha1.New() //nolint:gosec // as above
	case "SHA256", "SHA-256":
		return sha256.New()
	case "SHA384", "SHA-384":
		return sha512.New384()
	case "SHA512", "SHA-512":
		return sha512.New()
	case "MD5":
		return md5.New() //nolint:gosec // as above
	}
	return nil
}

// hashed is the hash of several things behind one another.
func hashed(h hash.Hash, parts ...[]byte) []byte {
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// spun is a password hashed many times.
func spun(h hash.Hash, salt []byte, password string, spins int) []byte {
	sum := hashed(h, salt, utf16Bytes(password))
	var n [4]byte
	for i := range spins {
		binary.LittleEndian.PutUint32(n[:], uint32(i))
		h.Reset()
		h.Write(n[:])
		h.Write(sum)
		sum = h.Sum(sum[:0])
	}
	return sum
}

// fitted is b in that many bytes.
func fitted(b []byte, n int) []byte {
	for len(b) < n {
		b = append(b, 0x36)
	}
	return b[:n]
}

func cbc(key, iv, data []byte) []byte {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, len(data))
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(out, data)
	return out
}

// What a password is hashed with for each of its uses (2.3.4.13).
var (
	forInput = []byte{0xfe, 0xa7, 0xd2, 0x76, 0x3b, 0x4b, 0x9e, 0x79}
	forValue = []byte{0xd7, 0xaa, 0x0f, 0x6d, 0x30, 0x61, 0x34, 0x4e}
	forKey   = []byte{0x14, 0x6e, 0x0b, 0xe7, 0xab, 0xac, 0xd0, 0xd6}
)

func (a *agile) opens(password string) key {
	p := &a.Passwords[0]
	h := hashNamed(p.Hash)
	sum := spun(h, p.Salt, password, p.Spins)
	iv := fitted(bytes.Clone(p.Salt), p.BlockSize)
	open := func(use, data []byte) []byte { return cbc(fitted(hashed(h, sum, use), p.KeyBits/8), iv, data) }
	input := open(forInput, p.Input)
	input = input[:min(len(input), len(p.Salt))]
	if want := hashed(h, input); !bytes.HasPrefix(open(forValue, p.Value), want) {
		return nil
	}
	secret := open(forKey, p.Key)
	if len(secret) < a.Data.KeyBits/8 {
		return nil
	}
	return &agileKey{&a.Data, secret[:a.Data.KeyBits/8]}
}

type agileKey struct {
	p   *agileParams
	key []byte
}

func (k *agileKey) plain(f *file, e *Encryption) error {
	h := hashNamed(k.p.Hash)
	return f.openPackage(e, func(i uint32, data []byte) []byte {
		return cbc(k.key, fitted(hashed(h, k.p.Salt, binary.LittleEndian.AppendUint32(nil, i)), k.p.BlockSize), data)
	})
}

// openPackage yields what is in EncryptedPackage, decrypted segment by segment.
func (f *file) openPackage(e *Encryption, decrypt func(i uint32, data []byte) []byte) error {
	s := e.Stream("EncryptedPackage")
	var head [packageHead]byte
	if n, err := s.ReadAt(head[:], 0); n < len(head) {
		return f.failed(fmt.Errorf("EncryptedPackage: %w", err))
	}
	size := binary.LittleEndian.Uint64(head[:])
	r := &packageReader{r: io.NewSectionReader(s, packageHead, s.Size()-packageHead), decrypt: decrypt}
	if size > uint64(s.Size()-packageHead) {
		f.damaged("EncryptedPackage is shorter than it says")
		size = uint64(s.Size() - packageHead)
	}
	return f.member(f.p.Names, "", io.LimitReader(r, int64(size)))
}

// A packageReader decrypts segments.
type packageReader struct {
	r       io.Reader
	decrypt func(i uint32, data []byte) []byte
	i       uint32
	buf     [segment]byte
	left    []byte
}

func (p *packageReader) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		n, err := io.ReadFull(p.r, p.buf[:])
		if n -= n % aes.BlockSize; n == 0 {
			if err == nil || err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			return 0, err
		}
		p.left = p.decrypt(p.i, p.buf[:n])
		p.i++
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// A standard is standard encryption (MS-OFFCRYPTO 2.3.4.5 to 2.3.4.9).
type standard struct {
	bits     int
	verifier verifier
}

// A verifier is what tells a wrong password (2.3.3).
type verifier struct {
	salt, input, value []byte
}

// cryptoHeader reads EncryptionHeader and EncryptionVerifier, which begin with the size of the first.
func cryptoHeader(b []byte, valueLen int) (algorithm uint32, bits int, v verifier, ok bool) {
	if len(b) < 4 {
		return 0, 0, v, false
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if n < 32 || uint64(n) > uint64(len(b)) {
		return 0, 0, v, false
	}
	algorithm, bits = binary.LittleEndian.Uint32(b[8:]), int(min(binary.LittleEndian.Uint32(b[16:]), 1<<16))
	b = b[n:]
	const saltLen, inputLen = 16, 16
	if len(b) < 4+saltLen+inputLen+4+valueLen || binary.LittleEndian.Uint32(b) != saltLen {
		return 0, 0, v, false
	}
	b = b[4:]
	v = verifier{salt: b[:saltLen], input: b[saltLen : saltLen+inputLen], value: b[saltLen+inputLen+4:][:valueLen]}
	return algorithm, bits, v, true
}

func standardLock(b []byte) lock {
	const valueLen = 32
	algorithm, bits, v, ok := cryptoHeader(b[8:], valueLen)
	if !ok || algorithm < 0x660e || algorithm > 0x6610 || bits != 128 && bits != 192 && bits != 256 {
		return nil
	}
	return &standard{bits, v}
}

func (s *standard) opens(password string) key {
	h := sha1.New() //nolint:gosec // as above
	sum := hashed(h, spun(h, s.verifier.salt, password, standardSpins), make([]byte, 4))
	pad := func(with byte) []byte {
		b := bytes.Repeat([]byte{with}, 64)
		for i := range sum {
			b[i] ^= sum[i]
		}
		return b
	}
	k := append(hashed(h, pad(0x36)), hashed(h, pad(0x5c))...)[:s.bits/8]
	input, value := ecb(k, s.verifier.input), ecb(k, s.verifier.value)
	if !bytes.HasPrefix(value, hashed(h, input)) {
		return nil
	}
	return standardKey(k)
}

func ecb(key, data []byte) []byte {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, len(data))
	for i := 0; i+aes.BlockSize <= len(data); i += aes.BlockSize {
		c.Decrypt(out[i:], data[i:])
	}
	return out
}

type standardKey []byte

func (k standardKey) plain(f *file, e *Encryption) error {
	return f.openPackage(e, func(_ uint32, data []byte) []byte { return ecb(k, data) })
}
