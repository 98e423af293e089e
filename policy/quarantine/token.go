package quarantine

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"rastel/sanitize/eml"
)

// TokenField is the header field by which a released message is known again when it comes
// back through the filter. Whoever verifies it removes all fields of that name, whatever they
// hold: the one that is genuine is the first.
const TokenField = "X-Rastel-Release"

// ErrToken is returned, wrapped with the reason, by Verify for every token that does not
// stand for this message. The message is then examined as any other.
var ErrToken = errors.New("release token is not valid")

const (
	tokenVersion = "v1"
	copyVersion  = "v2" // of a copy: an older version examines it like any other message
	maxToken     = 160
	keySize      = 32
)

// token is the value of TokenField for an item that is being released: version, id, end of
// its validity in Unix seconds, and a MAC over those and what the item is. So it is good for
// this attempt to release this message of this sender, and can only be made with our key.
func (s *Store) token(it *Item) string {
	expiry := strconv.FormatInt(it.Lease.Unix(), 10)
	return strings.Join([]string{
		tokenVersion, it.ID, expiry, base64.RawURLEncoding.EncodeToString(s.mac(it, expiry)),
	}, ".")
}

// copyToken is token for a copy in place of the message. It has the digest of the copy in it, which no record
// has, and is bound to the recipients by its MAC too.
func (s *Store) copyToken(it *Item, digest string) (string, error) {
	sum, err := hex.DecodeString(digest)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	expiry, short := strconv.FormatInt(it.Lease.Unix(), 10), base64.RawURLEncoding.EncodeToString(sum)
	return strings.Join([]string{
		copyVersion, it.ID, expiry, short, base64.RawURLEncoding.EncodeToString(s.copyMAC(it, expiry, short)),
	}, "."), nil
}

func (s *Store) copyMAC(it *Item, expiry, digest string) []byte {
	h := hmac.New(sha256.New, s.key)
	writeStrings(h, "rastel release", copyVersion, it.ID, expiry, it.Attempt, it.Sender, it.SHA256, digest)
	writeStrings(h, slices.Sorted(slices.Values(it.ReleaseTo))...)
	return h.Sum(nil)
}

func (s *Store) mac(it *Item, expiry string) []byte {
	h := hmac.New(sha256.New, s.key)
	writeStrings(h, "rastel release", tokenVersion, it.ID, expiry, it.Attempt, it.Sender, it.SHA256, it.Digest)
	return h.Sum(nil)
}

// Verify returns the item that a message is, if the value of its first TokenField is genuine:
// we made it, the item is being released or sent at this moment, the envelope has the same sender and
// no recipient that it is not released to, and the content is the same (see DigestOf). Raw is
// the message as it came in, TokenField included; it is read only if all else is right.
//
// Such a message is accepted without being examined. The error is ErrToken, or that of ctx,
// raw or the index; then nothing is known.
func (s *Store) Verify(ctx context.Context, token string, env *eml.Envelope, raw io.Reader) (*Item, error) {
	it, want, err := s.tokenItem(ctx, strings.TrimSpace(token))
	if err != nil {
		return nil, err
	}
	if !sameAddress(env.Sender, it.Sender) {
		return nil, fmt.Errorf("%w: the sender is another", ErrToken)
	}
	if len(env.Recipients) == 0 {
		return nil, fmt.Errorf("%w: no recipient", ErrToken)
	}
	for _, r := range env.Recipients {
		if !slices.ContainsFunc(it.ReleaseTo, func(to string) bool { return sameAddress(r, to) }) {
			return nil, fmt.Errorf("%w: it is not released to all recipients", ErrToken)
		}
	}
	digest, err := DigestOf(raw)
	if err != nil {
		return nil, fmt.Errorf("read released message: %w", err)
	}
	if digest != want {
		return nil, fmt.Errorf("%w: the content is another", ErrToken)
	}
	return it, nil
}

// tokenItem finds the item of a token that we made and that is good now, and the digest of what it stands for.
func (s *Store) tokenItem(ctx context.Context, token string) (_ *Item, digest string, err error) {
	f := strings.Split(token[:min(len(token), maxToken+1)], ".")
	whole, isCopy := len(f) == 4 && f[0] == tokenVersion, len(f) == 5 && f[0] == copyVersion
	if len(token) > maxToken || !whole && !isCopy || !ValidID(f[1]) {
		return nil, "", fmt.Errorf("%w: it has another form", ErrToken)
	}
	it, err := s.index.Get(ctx, f[1])
	if errors.Is(err, ErrNotFound) {
		return nil, "", fmt.Errorf("%w: no such item", ErrToken)
	}
	if err != nil {
		return nil, "", err
	}
	var mine []byte
	if digest = it.Digest; isCopy {
		mine = s.copyMAC(it, f[2], f[3])
		sum, _ := base64.RawURLEncoding.DecodeString(f[3]) // we wrote it if the MAC is right
		digest = hex.EncodeToString(sum)
	} else {
		mine = s.mac(it, f[2])
	}
	mac, err := base64.RawURLEncoding.Strict().DecodeString(f[len(f)-1])
	if err != nil || !hmac.Equal(mac, mine) {
		return nil, "", fmt.Errorf("%w: it is forged, or of another attempt", ErrToken)
	}
	if it.State != Releasing && it.State != Sending || !s.now().Before(it.Lease) || f[2] != strconv.FormatInt(it.Lease.Unix(), 10) {
		return nil, "", fmt.Errorf("%w: the item is not being released", ErrToken)
	}
	return it, digest, nil
}

// sameAddress compares addresses. An MTA may have changed the case of the domain; that of the
// local part matters to nobody who has the right token.
func sameAddress(a, b string) bool { return strings.EqualFold(a, b) }

// loadKey reads the key of the release tokens, or makes it at the first start.
func loadKey(name string) ([]byte, error) {
	key, err := readKey(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make release key: %w", err)
	}
	return readKey(name) // ours, or that of a process that was quicker
}

func readKey(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read release key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read release key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("release key %s: others may read it (mode %v); remove it, a new one is made", name, info.Mode().Perm())
	}
	if info.Size() != keySize {
		return nil, fmt.Errorf("release key %s: %d bytes instead of %d; remove it, a new one is made", name, info.Size(), keySize)
	}
	key := make([]byte, keySize)
	if _, err := io.ReadFull(f, key); err != nil {
		return nil, fmt.Errorf("read release key: %w", err)
	}
	return key, nil
}

// makeKey makes the file at once, with all its bytes: a crash leaves either none or a whole
// one. It returns fs.ErrExist if there is one already.
func makeKey(name string) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keySize)
	rand.Read(key) // never fails: crypto/rand
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil { // unlike Rename it replaces nothing
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
