package zipcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format says so
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

const (
	rounds = 1000 // of PBKDF2 (RFC 2898)
	// maxSalt is the length of the longest salt.
	maxSalt = 16
	// verifyLen is how many bytes tell a wrong password, and macLen how many authenticate the data.
	verifyLen, macLen = 2, 10
)

// ErrMAC says that data is not what was encrypted.
var ErrMAC = errors.New("authentication code does not match")

// errStrength says that there is no such strength.
var errStrength = errors.New("unknown strength of AES")

// An AES is a member that is encrypted by the method of WinZip.
type AES struct {
	key    int // bytes
	salt   []byte
	verify [verifyLen]byte
}

// NewAES reads what stands before the data of a member: the salt and what tells a wrong password.
// The strength is 1, 2 or 3.
func NewAES(strength byte, r io.Reader) (*AES, error) {
	if strength < 1 || strength > 3 {
		return nil, errStrength
	}
	a := &AES{key: 8 + 8*int(strength)}
	var b [maxSalt + verifyLen]byte
	head := b[:a.key/2+verifyLen]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	a.salt = head[:a.key/2]
	copy(a.verify[:], head[a.key/2:])
	return a, nil
}

// Overhead is how many bytes a member takes besides its data: before and behind it.
func (a *AES) Overhead() (before, behind int64) { return int64(a.key/2 + verifyLen), macLen }

// Opens reports whether the password may be right. A wrong one passes in one of 65536 cases. It costs
// a quarter of what Reader does.
func (a *AES) Opens(password []byte) bool {
	at := 2 * a.key
	t := block(password, a.salt, at/sha1.Size)
	if got := t[at%sha1.Size:]; len(got) >= verifyLen {
		return [verifyLen]byte(got) == a.verify
	}
	t = append(t, block(password, a.salt, at/sha1.Size+1)...) // what is looked for lies across two blocks
	return [verifyLen]byte(t[at%sha1.Size:]) == a.verify
}

// block is one block of PBKDF2, counted from 0.
func block(password, salt []byte, i int) []byte {
	prf := hmac.New(sha1.New, password)
	prf.Write(salt)
	prf.Write(binary.BigEndian.AppendUint32(nil, uint32(i)+1))
	t := prf.Sum(nil)
	u := append([]byte(nil), t...)
	for range rounds - 1 {
		prf.Reset()
		prf.Write(u)
		u = prf.Sum(u[:0])
		for k := range t {
			t[k] ^= u[k]
		}
	}
	return t
}

// Reader decrypts the n bytes of data that r gives, behind which the authentication code follows. It
// gives ErrMAC at the end if that does not match.
func (a *AES) Reader(password []byte, r io.Reader, n int64) (io.Reader, error) {
	var keys []byte
	for i := 0; len(keys) < 2*a.key; i++ {
		keys = append(keys, block(password, a.salt, i)...)
	}
	c, err := aes.NewCipher(keys[:a.key])
	if err != nil {
		return nil, err
	}
	return &aesReader{r: r, left: max(n, 0), c: c, mac: hmac.New(sha1.New, keys[a.key:2*a.key])}, nil
}

type aesReader struct {
	r    io.Reader
	left int64
	c    cipher.Block
	mac  hash.Hash

	count  uint64 // of blocks
	stream [aes.BlockSize]byte
	used   int // bytes of the stream; 0: a new one is needed
	err    error
}

func (r *aesReader) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.left == 0 {
		r.err = r.end()
		return 0, r.err
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.mac.Write(p[:n])
	for i := range p[:n] {
		if r.used == 0 {
			r.count++
			var counter [aes.BlockSize]byte // counts from the first byte on, unlike what others do
			binary.LittleEndian.PutUint64(counter[:], r.count)
			r.c.Encrypt(r.stream[:], counter[:])
		}
		p[i] ^= r.stream[r.used]
		r.used = (r.used + 1) % aes.BlockSize
	}
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		err = nil // the code follows
	}
	r.err = err
	return n, err
}

// end compares the authentication code.
func (r *aesReader) end() error {
	var code [macLen]byte
	if _, err := io.ReadFull(r.r, code[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	if !hmac.Equal(code[:], r.mac.Sum(nil)[:macLen]) {
		return ErrMAC
	}
	return io.EOF
}
