package archive

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"

	"github.com/bodgit/sevenzip"
)

const (
	// maxSzCycles is the logarithm of how many rounds the derivation of a key may take: 7-Zip itself
	// uses 19, and takes no more than this either.
	maxSzCycles = 24
	// szNoRounds is the number that stands for none.
	szNoRounds = 0x3f
)

// A szKey is how the key of an encrypted stream is made (7zAES.cpp of 7-Zip): the SHA-256 of salt,
// password and a counter, again and again.
type szKey struct {
	cycles   uint
	salt, iv []byte
}

// szKeyOf reads the properties of the method.
func szKeyOf(props []byte) (k szKey, err error) {
	if len(props) < 2 || props[0]&0xc0 == 0 {
		return k, fmt.Errorf("%w: properties of encryption", errCorrupt)
	}
	k.cycles = uint(props[0] & 0x3f)
	salt := int(props[0]>>7) + int(props[1]>>4)
	iv := int(props[0]>>6&1) + int(props[1]&15)
	if len(props) != 2+salt+iv || iv > aes.BlockSize {
		return k, fmt.Errorf("%w: properties of encryption", errCorrupt)
	}
	if k.cycles > maxSzCycles && k.cycles != szNoRounds {
		return k, fmt.Errorf("encryption of 2^%d rounds: %w", k.cycles, errTooMany)
	}
	k.salt, k.iv = props[2:2+salt], make([]byte, aes.BlockSize)
	copy(k.iv, props[2+salt:])
	return k, nil
}

// derive makes the key. Many rounds are hashed at a time, which is most of the speed.
func (k szKey) derive(password string) []byte {
	secret := slices.Clone(k.salt)
	for _, u := range utf16.Encode([]rune(password)) {
		secret = binary.LittleEndian.AppendUint16(secret, u)
	}
	if k.cycles == szNoRounds {
		key := make([]byte, sha256.Size)
		copy(key, secret)
		return key
	}
	const most = 256
	rounds, n := uint64(1)<<k.cycles, len(secret)+8
	many := min(rounds, most)
	buf := make([]byte, 0, int(many)*n)
	for range many {
		buf = append(append(buf, secret...), 0, 0, 0, 0, 0, 0, 0, 0)
	}
	h := sha256.New()
	for i := uint64(0); i < rounds; i += many {
		for j := range many {
			binary.LittleEndian.PutUint64(buf[(int(j)+1)*n-8:], i+j)
		}
		h.Write(buf)
	}
	return h.Sum(nil)
}

// szDecrypt decrypts a stream of that size, without what fills its last block.
func szDecrypt(props []byte, password string, r io.Reader, size uint64) (io.Reader, error) {
	k, err := szKeyOf(props)
	if err != nil {
		return nil, err
	}
	c, err := aes.NewCipher(k.derive(password))
	if err != nil {
		return nil, err
	}
	return io.LimitReader(&cbcReader{r: r, mode: cipher.NewCBCDecrypter(c, k.iv)}, int64(min(size, maxSzHeader))), nil
}

// A cbcReader decrypts whole blocks.
type cbcReader struct {
	r    io.Reader
	mode cipher.BlockMode
	buf  [4 << 10]byte
	left []byte // of buf, decrypted
	err  error
}

func (c *cbcReader) Read(p []byte) (int, error) {
	if len(c.left) == 0 && c.err == nil {
		var n int
		n, c.err = io.ReadFull(c.r, c.buf[:])
		if c.err == io.ErrUnexpectedEOF {
			c.err = io.EOF
		}
		c.left = c.buf[:n-n%aes.BlockSize]
		c.mode.CryptBlocks(c.left, c.left)
	}
	if len(c.left) == 0 {
		return 0, c.err
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// szUnlocked reads the header, with a password if the archive has one and it is found. Without it, an
// encrypted header is errEncrypted, and so are the folders.
func (o *opening) szUnlocked(off int64) (*szHeader, string, error) {
	h, err := o.szHeader(off, "")
	if errors.Is(err, errEncrypted) {
		password, _ := o.guess(func(password string) (bool, error) {
			g, err := o.szHeader(off, password)
			return err == nil && g.files > 0, err
		})
		if password == "" {
			return nil, "", err
		}
		h, err = o.szHeader(off, password)
		return h, password, err
	}
	if err != nil || !slices.ContainsFunc(h.folders, func(f szFolder) bool { return f.locked && errors.Is(f.err, errEncrypted) }) {
		return h, "", err
	}
	if h.files > o.b.Members() {
		return h, "", nil // is told later
	}
	password, _ := o.guess(func(password string) (bool, error) { return o.szOpens(off, password) })
	if password == "" {
		return h, "", nil
	}
	h, err = o.szHeader(off, password)
	return h, password, err
}

// szOpens tries a password on the smallest first member of an encrypted folder. The header must have
// been bounded before.
func (o *opening) szOpens(off int64, password string) (bool, error) {
	h, err := o.szHeader(off, password)
	if err != nil {
		return false, err
	}
	r, err := sevenzip.NewReaderWithPassword(io.NewSectionReader(o.src, off, o.p.Size-off), o.p.Size-off, password)
	if err != nil {
		return false, err
	}
	f := szEasiest(h, r.File)
	if f == nil {
		return false, nil
	}
	in, err := f.Open()
	if err != nil {
		return false, err
	}
	defer in.Close()
	var want *uint32
	if f.CRC32 != 0 {
		want = &f.CRC32
	}
	_, err = io.Copy(io.Discard, newChecked(&decoder{r: in}, int64(f.UncompressedSize), want))
	return err == nil, err
}

// szEasiest is the smallest of the members that come first in an encrypted folder; nil if there is
// none.
func szEasiest(h *szHeader, files []*sevenzip.File) (best *sevenzip.File) {
	seen := map[int]bool{}
	for _, f := range files {
		if f.UncompressedSize == 0 || seen[f.Stream] || f.Stream >= len(h.folders) {
			continue
		}
		seen[f.Stream] = true
		folder := h.folders[f.Stream]
		if folder.locked && folder.err == nil && (best == nil || f.UncompressedSize < best.UncompressedSize) {
			best = f
		}
	}
	return best
}
