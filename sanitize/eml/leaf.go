package eml

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"
)

// A copyBuffer is room to read encoded bytes and to decode them.
type copyBuffer struct {
	in  [32 << 10]byte
	out []byte
}

var bufPool = sync.Pool{New: func() any { return &copyBuffer{out: make([]byte, 0, 33<<10)} }}

func getBuffer() *copyBuffer  { return bufPool.Get().(*copyBuffer) }
func putBuffer(b *copyBuffer) { bufPool.Put(b) }

// finishLeaf decodes the content of an entity and fills in what is known of a leaf: size,
// hash and type. It returns what is wrong with the encoding, for people.
func (p *Part) finishLeaf(opt SpoolOptions) (damage string, err error) {
	p.leaf = true
	buf := getBuffer()
	defer putBuffer(buf)
	h := sha256.New()
	lines := &lineMeter{r: io.NewSectionReader(p.src, p.body, p.end-p.body)}
	if p.Encoding == Identity {
		err = copyBuf(h, lines, buf.in[:])
	} else {
		p.content = NewSpool(opt)
		if err := p.content.expect(expected(p.Encoding, p.end-p.body)); err != nil {
			return "", err
		}
		d := newDecoder(p.Encoding, p.strict)
		err = decodeTo(&hashWriter{p.content, h}, lines, d, buf)
		damage = d.damage()
		p.content.CloseWrite(nil)
	}
	if err != nil {
		return "", err
	}
	p.long = lines.long && (p.Encoding == Identity || p.Encoding == QuotedPrintable)
	p.Size = p.end - p.body
	if p.content != nil {
		p.Size = p.content.Size()
	}
	h.Sum(p.SHA256[:0])
	p.Type = sniff(p.Content(), p.Size)
	return damage, nil
}

// expected is about how many bytes that many encoded bytes come to, rather more than less.
func expected(e Encoding, n int64) int64 {
	if e == Base64 {
		return n/4*3 + 3
	}
	return n
}

// copyBuf copies with a buffer, whatever else the reader and writer can do.
func copyBuf(w io.Writer, r io.Reader, buf []byte) error {
	for {
		n, err := r.Read(buf)
		if _, e := w.Write(buf[:n]); e != nil {
			return e
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A hashWriter writes to a spool and a hash.
type hashWriter struct {
	s *Spool
	h hash.Hash
}

func (w *hashWriter) Write(p []byte) (int, error) {
	w.h.Write(p)
	return w.s.Write(p)
}

// newMember is NewMember.
func newMember(p *Part, index int, names []string, content *Spool) (*Part, error) {
	m := &Part{
		ID:     p.memberID(index),
		Parent: p, Names: names, Depth: p.Depth + 1,
		leaf: true, member: true, content: content, Size: content.Size(),
	}
	buf := getBuffer()
	defer putBuffer(buf)
	h := sha256.New()
	if err := copyBuf(h, content.NewReader(), buf.in[:]); err != nil {
		return nil, fmt.Errorf("read member %s: %w", m.ID, err)
	}
	h.Sum(m.SHA256[:0])
	m.Type = sniff(content, m.Size)
	return m, nil
}

func (p *Part) memberID(index int) string { return p.ID + "/" + strconv.Itoa(index) }
