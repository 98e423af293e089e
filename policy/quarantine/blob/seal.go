package blob

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
)

// A message is sealed in chunks with AES-256-GCM, so that it need not be in memory, and nothing of it is
// given out that is not authentic. As in the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár,
// 2015) the nonce of a chunk is its number and whether it is the last: chunks that are missing, in another
// order, or from another message, are noticed, and so is an end that was cut off. The head is
// authenticated with every chunk.
//
// The head names the key and has a salt, of which, with the key, the key of this one message is made. So no
// nonce is ever used twice with a key, and the numbers may begin at 0.
const (
	chunkLen = 64 << 10
	idLen    = 8
	saltLen  = 32
	headLen  = frameLen + idLen + saltLen
	tagLen   = 16 // of GCM
)

// A nonce numbers the chunks.
type nonce [12]byte

func chunkNonce(n uint64, last bool) (c nonce) {
	binary.BigEndian.PutUint64(c[3:11], n)
	if last {
		c[11] = 1
	}
	return c
}

// A sealer writes what it is given, sealed.
type sealer struct {
	w     io.Writer
	aead  cipher.AEAD
	head  []byte
	out   []byte // the head as long as it was not written, and room for a chunk
	plain []byte // of the chunk that is being filled
	n     uint64
}

func newSealer(w io.Writer, k *key) *sealer {
	head := append(k.id[:], make([]byte, saltLen)...)
	rand.Read(head[idLen:]) // never fails: crypto/rand
	s := &sealer{w: w, head: frame(headMagic, head...), plain: make([]byte, 0, chunkLen)}
	s.aead = k.aead(s.head)
	s.out = append(make([]byte, 0, headLen+chunkLen+tagLen), s.head...)
	return s
}

// Write fills chunks. A full one is kept until there is more: it may be the last.
func (s *sealer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(s.plain) == chunkLen {
			if err := s.flush(false); err != nil {
				return total - len(p), err
			}
		}
		n := min(len(p), chunkLen-len(s.plain))
		s.plain, p = append(s.plain, p[:n]...), p[n:]
	}
	return total, nil
}

// Close writes the last chunk, which is empty only if nothing was written. It does not close w.
func (s *sealer) Close() error { return s.flush(true) }

func (s *sealer) flush(last bool) error {
	nonce := chunkNonce(s.n, last)
	s.n++
	_, err := s.w.Write(s.aead.Seal(s.out, nonce[:], s.plain, s.head))
	s.out, s.plain = s.out[:0], s.plain[:0]
	return err
}

var errChunk = errors.New("a part of it is missing, or is not what was sealed")

// An opener reads what was sealed.
type opener struct {
	r      *bufio.Reader
	aead   cipher.AEAD
	head   []byte
	sealed []byte
	plain  []byte // of the chunk, what was not read yet
	n      uint64
	last   bool
}

// newOpener reads what comes after the head.
func newOpener(r *bufio.Reader, k *key, head []byte) *opener {
	return &opener{r: r, aead: k.aead(head), head: bytes.Clone(head), sealed: make([]byte, chunkLen+tagLen)}
}

func (o *opener) Read(p []byte) (int, error) {
	for len(o.plain) == 0 {
		if o.last {
			return 0, io.EOF
		}
		if err := o.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.plain)
	o.plain = o.plain[n:]
	return n, nil
}

func (o *opener) next() error {
	n, err := io.ReadFull(o.r, o.sealed)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	_, err = o.r.Peek(1)
	if err != nil && err != io.EOF {
		return err
	}
	o.last = err == io.EOF
	nonce := chunkNonce(o.n, o.last)
	o.n++
	if o.plain, err = o.aead.Open(o.sealed[:0], nonce[:], o.sealed[:n], o.head); err != nil {
		return errChunk
	}
	return nil
}

// aead is the cipher of the message with that head.
func (k *key) aead(head []byte) cipher.AEAD {
	block, err := aes.NewCipher(derive(k.secret, head[frameLen+idLen:], "rastel blob 1: message", 32))
	if err != nil {
		panic(err) // the length is right
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the size of the block is right
	}
	return a
}
