package blob

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"rastel/policy/quarantine"
)

// The form of a stored message, in the order of its bytes:
//
//	sealed only: a head, then chunks of ciphertext (seal.go)
//	the message, packed with zstd (RFC 8878); if sealed, this is what the chunks hold
//	a tail: its address
//
// Head and tail have the form of skippable frames (RFC 8878 section 3.1.2). So what is not sealed is a file
// that any zstd unpacks, a rastel of before there were tails too; and what that one has written is a stored
// message without a tail.
const (
	headMagic = 0x184D2A52
	tailMagic = 0x184D2A53
	tag       = "rastel\x00\x01" // in both, before all else

	frameLen   = 4 + 4 + len(tag)
	addressLen = sha256.Size
	tailLen    = frameLen + addressLen

	// window is how far back the packing looks; it bounds the memory of each writer, and of each reader of
	// what somebody has put in the place of a message.
	window = 1 << 20
)

// An address is where a message belongs by its content: equal for equal messages. It is the SHA-256 of the
// message, or if the message is sealed, a MAC of that: so it tells nobody without the key whether some
// message is there.
type address [addressLen]byte

func (a address) String() string { return hex.EncodeToString(a[:]) }

// frame is a skippable frame of ours.
func frame(magic uint32, content ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(tag)+len(content)))
	return append(append(b, tag...), content...)
}

// isFrame reports whether b begins with such a frame, with a content of n bytes.
func isFrame(b []byte, magic uint32, n int) bool {
	return len(b) >= frameLen+n && bytes.Equal(b[:frameLen], frame(magic, make([]byte, n)...)[:frameLen])
}

// readTail takes the address from the last bytes of a stored message. It is not authenticated: see unpack.
func readTail(b []byte) (a address, ok bool) {
	if len(b) != tailLen || !isFrame(b, tailMagic, addressLen) {
		return a, false
	}
	return address(b[frameLen:]), true
}

// A codec makes stored messages, and reads them. It is safe for concurrent use.
type codec struct {
	keys     *Keys // nil: nothing is sealed
	tailed   bool  // there are no messages of before there were tails
	encoders sync.Pool
}

// pack writes what r gives to w, in the form of a stored message, and returns its address.
func (c *codec) pack(w io.Writer, r io.Reader) (a address, err error) {
	enc, ok := c.encoders.Get().(*zstd.Encoder)
	if !ok {
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return a, err
		}
	}
	defer c.encoders.Put(enc)
	defer enc.Reset(nil) // so that the pool does not keep w
	out, done := c.sealing(w)
	enc.Reset(out)
	sum := sha256.New()
	if _, err := io.Copy(enc, io.TeeReader(r, sum)); err != nil {
		return a, err
	}
	if err := errors.Join(enc.Close(), done()); err != nil {
		return a, err
	}
	if a = address(sum.Sum(nil)); c.keys != nil {
		a = c.keys.first().address(a)
	}
	_, err = w.Write(frame(tailMagic, a[:]...))
	return a, err
}

// sealing is a writer to w that seals, if there are keys. Done writes what is left.
func (c *codec) sealing(w io.Writer) (out io.Writer, done func() error) {
	if c.keys == nil {
		return w, func() error { return nil }
	}
	s := newSealer(w, c.keys.first())
	return s, s.Close
}

// unpack reads a stored message from r, which Close closes. On an error r stays the caller's.
//
// The last Read returns ErrCorrupt instead of io.EOF if the message is not the one that the tail tells of.
// Who can write to the store can have put another message there, with its tail: whoever reads compares with
// the record. But what is sealed can come only from who has the key.
func (c *codec) unpack(r io.ReadCloser) (*reader, error) {
	u := &reader{in: r, tailed: c.tailed, tail: &tailReader{r: r}, sum: sha256.New()}
	b := bufio.NewReaderSize(u.tail, 32<<10)
	var packed io.Reader = b
	if head, _ := b.Peek(headLen); isFrame(head, headMagic, headLen-frameLen) { // an error comes again
		var err error
		if u.key, packed, err = c.keys.open(b); err != nil {
			return nil, err
		}
	}
	var err error
	u.dec, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return nil, corrupt(err)
	}
	return u, nil
}

// A reader gives a message that was stored.
type reader struct {
	in     io.Closer
	tailed bool
	dec    *zstd.Decoder
	tail   *tailReader
	key    *key // nil: it is not sealed
	sum    hash.Hash
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.dec.Read(p)
	r.sum.Write(p[:n])
	switch {
	case err == nil:
		return n, nil
	case r.tail.err != nil && r.tail.err != io.EOF: // the disk's, or the server's
		return n, r.tail.err
	case err != io.EOF:
		return n, corrupt(err)
	case r.changed():
		return n, corrupt(errors.New("it has another hash"))
	}
	return n, io.EOF
}

// changed reports whether all that was read is something else than the tail tells of. A message without a
// tail is one of before there were any.
func (r *reader) changed() bool {
	want, ok := r.tail.address()
	if !ok {
		return r.tailed || r.key != nil // there were none that were sealed
	}
	return want != r.address()
}

// address is that of what was read.
func (r *reader) address() address {
	a := address(r.sum.Sum(nil))
	if r.key != nil {
		return r.key.address(a)
	}
	return a
}

// Close closes what it reads from.
func (r *reader) Close() error {
	r.dec.Close()
	return r.in.Close()
}

// verify reports why a stored message is not the one of that address, reading all of it.
func (c *codec) verify(r io.ReadCloser, want address) error {
	u, err := c.unpack(r)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = io.Copy(io.Discard, u)
	if err := errors.Join(err, u.Close()); err != nil {
		return err
	}
	if u.address() != want {
		return corrupt(fmt.Errorf("it is not %s", want))
	}
	return nil
}

// upToDate reports whether a stored message, of which r gives the first bytes, is sealed with the first key,
// or need not be.
func (c *codec) upToDate(r io.Reader) (bool, error) {
	head := make([]byte, headLen)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	if !isFrame(head[:n], headMagic, headLen-frameLen) {
		return c.keys == nil, nil
	}
	k, err := c.keys.of(head)
	return err == nil && k == c.keys.first(), err
}

func corrupt(err error) error { return fmt.Errorf("%w: %w", quarantine.ErrCorrupt, err) }

// A tailReader reads a stored message without its tail. What does not end with one it gives whole.
type tailReader struct {
	r    io.Reader
	held []byte // of what was read: always the last bytes, as many as a tail has
	err  error  // of r
	buf  []byte
	last address
	ok   bool
}

func (t *tailReader) Read(p []byte) (int, error) {
	if t.buf == nil {
		t.buf = make([]byte, 32<<10)
	}
	for t.err == nil && len(t.held) <= tailLen {
		var n int
		n, t.err = t.r.Read(t.buf[copy(t.buf, t.held):])
		t.held = t.buf[:len(t.held)+n]
		if t.err == io.EOF && len(t.held) >= tailLen {
			t.cut()
		}
	}
	free := len(t.held)
	if t.err == nil {
		free -= tailLen
	}
	n := copy(p, t.held[:free])
	t.held = t.held[n:]
	if n == 0 && len(p) > 0 {
		return 0, t.err
	}
	return n, nil
}

// cut takes off the tail, if there is one.
func (t *tailReader) cut() {
	at := len(t.held) - tailLen
	if t.last, t.ok = readTail(t.held[at:]); t.ok {
		t.held = t.held[:at]
	}
}

// address is what the tail says, once all was read.
func (t *tailReader) address() (address, bool) { return t.last, t.ok }

// A ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one Put
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
