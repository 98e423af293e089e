package blob

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	secretLen = 32
	// maxKeys is more than anybody rotates before messages expire.
	maxKeys = 50
)

// ErrKey is returned for a message that was sealed with a key that is not among the keys.
var ErrKey = errors.New("sealed with a key that is not in the key file")

// Keys are those that messages are sealed with: the first seals, all open.
type Keys struct{ list []*key }

// A key is a secret and what is made of it.
type key struct {
	secret []byte
	id     [idLen]byte // names it in the head of a message
	name   []byte      // makes addresses
}

// ParseKeys reads keys, one a line: 64 hexadecimal digits. Empty lines, and what follows a "#", do not count.
// Errors name the line, never what is in it.
func ParseKeys(text string) (*Keys, error) {
	var k Keys
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := k.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if len(k.list) == 0 {
		return nil, errors.New("there is no key in it; 'openssl rand -hex 32' makes one")
	}
	return &k, nil
}

func (k *Keys) add(line string) error {
	secret, err := hex.DecodeString(line)
	if err != nil || len(secret) != secretLen {
		return fmt.Errorf("a key is %d hexadecimal digits; 'openssl rand -hex %d' makes one", 2*secretLen, secretLen)
	}
	if bytes.Count(secret, secret[:1]) == len(secret) {
		return errors.New("a key of one digit is none")
	}
	made := newKey(secret)
	for _, other := range k.list {
		if other.id == made.id {
			return errors.New("the key is there twice")
		}
	}
	if len(k.list) == maxKeys {
		return fmt.Errorf("there are more than %d keys", maxKeys)
	}
	k.list = append(k.list, made)
	return nil
}

func newKey(secret []byte) *key {
	return &key{
		secret: secret,
		id:     [idLen]byte(derive(secret, nil, "rastel blob 1: id", idLen)),
		name:   derive(secret, nil, "rastel blob 1: address", sha256.Size),
	}
}

// derive makes keys of a secret that tell nothing of it, nor of one another (RFC 5869).
func derive(secret, salt []byte, info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, secret, salt, info, n)
	if err != nil {
		panic(err) // n is small enough
	}
	return b
}

func (k *Keys) first() *key { return k.list[0] }

// of is the key that a head names.
func (k *Keys) of(head []byte) (*key, error) {
	id := head[frameLen : frameLen+idLen]
	if k != nil {
		for _, key := range k.list {
			if bytes.Equal(key.id[:], id) {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%w (it is %x)", ErrKey, id)
}

// open reads the head of a sealed message, and returns the key and a reader of what was sealed.
func (k *Keys) open(r *bufio.Reader) (*key, io.Reader, error) {
	head := make([]byte, headLen)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, corrupt(err)
	}
	key, err := k.of(head)
	if err != nil {
		return nil, nil, err
	}
	return key, newOpener(r, key, head), nil
}

// address is that of a message with that hash, sealed with the key.
func (k *key) address(hash address) address {
	h := hmac.New(sha256.New, k.name)
	h.Write(hash[:])
	return address(h.Sum(nil))
}
