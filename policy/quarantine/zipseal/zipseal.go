// Package zipseal writes a file into a zip that opens with a password only: by AES-256, as WinZip has specified
// it (AE-2) and 7-Zip, WinRAR and the like read it. It knows nothing of mail.
package zipseal

import (
	"archive/zip"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the format says so
	"encoding/binary"
	"hash"
	"io"
	"slices"
	"time"
)

const (
	method   = 99     // in place of the method, which is in the extra field
	extraID  = 0x9901 // of that field
	strength = 3      // AES-256
	keyLen   = 32
	saltLen  = 16
	checkLen = 2  // what tells a wrong password
	macLen   = 10 // of the 20 bytes of HMAC-SHA1
	rounds   = 1000
)

// A Spool is where the member is kept while its size is not known.
type Spool interface {
	io.Writer
	NewReader() io.Reader
	CloseWrite(err error)
	Close() error
}

// Write writes a zip with one member to w: what r gives until io.EOF. The name is that of the member, and must be
// ASCII. The spool is for the member and is the caller's to close.
func Write(w io.Writer, name, password string, at time.Time, r io.Reader, spool Spool) error {
	size, packed, err := seal(spool, password, r)
	spool.CloseWrite(err)
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	// AE-2 has no CRC: it would tell of the content. Version 5.1 is needed (APPNOTE 4.4.3.2).
	h := &zip.FileHeader{Name: name, Method: method, Flags: 1, ReaderVersion: 51, Modified: at,
		UncompressedSize64: uint64(size), CompressedSize64: uint64(packed), Extra: extra()} //nolint:gosec // neither is negative
	member, err := z.CreateRaw(h)
	if err != nil {
		return err
	}
	if _, err := io.Copy(member, spool.NewReader()); err != nil {
		return err
	}
	return z.Close()
}

func extra() []byte {
	b := binary.LittleEndian.AppendUint16(nil, extraID)
	b = binary.LittleEndian.AppendUint16(b, 7)
	b = binary.LittleEndian.AppendUint16(b, 2) // AE-2
	b = append(b, 'A', 'E', strength)
	return binary.LittleEndian.AppendUint16(b, zip.Deflate)
}

// seal writes the data of the member: salt, what tells a wrong password, what is encrypted, and its MAC.
func seal(w io.Writer, password string, r io.Reader) (size, packed int64, err error) {
	salt := make([]byte, saltLen)
	rand.Read(salt) // never fails: crypto/rand
	keys, err := pbkdf2.Key(sha1.New, password, salt, rounds, 2*keyLen+checkLen)
	if err != nil {
		return 0, 0, err
	}
	block, err := aes.NewCipher(keys[:keyLen])
	if err != nil {
		return 0, 0, err
	}
	if _, err := w.Write(slices.Concat(salt, keys[2*keyLen:])); err != nil {
		return 0, 0, err
	}
	e := &encrypter{w: w, block: block, mac: hmac.New(sha1.New, keys[keyLen:2*keyLen]), at: aes.BlockSize}
	f, err := flate.NewWriter(e, flate.DefaultCompression)
	if err != nil {
		return 0, 0, err
	}
	if size, err = io.Copy(f, r); err != nil {
		return 0, 0, err
	}
	if err := f.Close(); err != nil {
		return 0, 0, err
	}
	if _, err := w.Write(e.mac.Sum(nil)[:macLen]); err != nil {
		return 0, 0, err
	}
	return size, saltLen + checkLen + e.n + macLen, nil
}

// An encrypter is AES in counter mode, but with a counter whose first byte is its lowest, and that begins at 1.
type encrypter struct {
	w       io.Writer
	block   cipher.Block
	mac     hash.Hash
	counter uint64
	stream  [aes.BlockSize]byte
	at      int // in stream
	n       int64
}

func (e *encrypter) Write(p []byte) (int, error) {
	out := make([]byte, len(p))
	for i, c := range p {
		if e.at == aes.BlockSize {
			e.counter++
			var in [aes.BlockSize]byte
			binary.LittleEndian.PutUint64(in[:], e.counter)
			e.block.Encrypt(e.stream[:], in[:])
			e.at = 0
		}
		out[i] = c ^ e.stream[e.at]
		e.at++
	}
	e.mac.Write(out)
	n, err := e.w.Write(out)
	e.n += int64(n)
	return n, err
}
