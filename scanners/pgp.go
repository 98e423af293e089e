package scanners

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"rastel/sanitize/eml"
)

// Packet types (RFC 9580 section 5).
const (
	pgpSessionKey  = 1 // encrypted with a public key
	pgpSignature   = 2
	pgpPasswordKey = 3 // encrypted with a password
	pgpOnePass     = 4
	pgpCompressed  = 8
	pgpOldSealed   = 9
	pgpMarker      = 10
	pgpLiteral     = 11
	pgpSealed      = 18
	pgpAEAD        = 20 // of GnuPG
	pgpPadding     = 21
)

const (
	// maxPGPDepth is how many compressed packets may lie in one another. GnuPG allows 32 of all
	// kinds, and makes one.
	maxPGPDepth = 8
	// maxPGPOpened is how many compressed packets of one part are opened: each costs a decoder.
	maxPGPOpened = 100
	// maxPGPBlocks is how many blocks of armour in one part are read.
	maxPGPBlocks = 1000
)

var (
	errNotPGP     = errors.New("no packet of PGP")
	errPGPMethod  = errors.New("unknown compression")
	errPGPTooMany = errors.New("too many packets or blocks")
)

// isPGPLabel reports whether clients take the part for PGP by its label.
func isPGPLabel(p *eml.Part) bool {
	if strings.HasPrefix(p.MediaType, "application/pgp") {
		return true
	}
	return slices.ContainsFunc(p.Names, func(n string) bool {
		ext := strings.ToLower(path.Ext(n))
		return ext == ".pgp" || ext == ".gpg" || ext == ".asc"
	})
}

// isPGPType reports whether content of that type may be packets: they need not hold a byte that text
// does not have.
func isPGPType(p *eml.Part) bool { return p.Type == "data" || p.Type == "text" }

// pgp opens PGP: packets that are the whole content, or in armour anywhere in text.
func (o *cryptoOpening) pgp() error {
	labelled := isPGPLabel(o.p)
	if head := o.p.Head(64); isPGPType(o.p) && (labelled && head[0]&0x80 != 0 || looksPGP(head)) {
		if err := o.packets(ContextReader(o.ctx, o.p.Content()), labelled); err != nil {
			return err
		}
	}
	if o.p.Type == "data" || o.p.Type == "pgp" || o.p.Is("text") {
		return o.armor()
	}
	return nil
}

var armorBegins = []byte("-----BEGIN PGP ")

// armor looks for ASCII armour at the beginning of lines. What it is called does not matter: GnuPG
// reads the packets in a public key block too.
func (o *cryptoOpening) armor() error {
	if found, err := Contains(ContextReader(o.ctx, o.p.Content()), armorBegins); !found {
		return err
	}
	l := newLineScanner(ContextReader(o.ctx, o.p.Content()))
	for {
		line, begins, err := l.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		label, ok := bytes.CutPrefix(line, armorBegins)
		switch {
		case !ok || !begins:
		case bytes.HasPrefix(label, []byte("SIGNED MESSAGE")):
			o.covered(signedPGP, o.p)
		case o.blocks == maxPGPBlocks:
			return o.damaged("PGP", errPGPTooMany)
		default:
			o.blocks++
			if err := o.packets(newBlockReader(l), true); err != nil {
				return err
			}
		}
	}
}

// packets reads packets. Surely says that it is PGP, so that damage is worth a finding.
func (o *cryptoOpening) packets(r io.Reader, surely bool) error {
	w := &pgpWalk{cryptoOpening: o}
	err := w.walk(r, 0)
	switch {
	case err == nil:
	case errors.Is(err, ErrBudget), o.ctx.Err() != nil:
		return err
	case surely && w.broken:
		return o.damaged("PGP", err)
	}
	switch {
	case w.sealed && w.password:
		o.report(pgpEncrypted, "with a password")
	case w.sealed:
		o.report(pgpEncrypted, "")
	}
	return nil
}

// A pgpWalk is what is known of one sequence of packets.
type pgpWalk struct {
	*cryptoOpening
	signed   bool // a signature comes before what follows
	password bool
	sealed   bool
	broken   bool // what is damaged could be read otherwise
}

// walk reads packets to their end. The error is that of the first that is none, or is damaged.
func (w *pgpWalk) walk(r io.Reader, depth int) error {
	in := bufio.NewReaderSize(r, 4<<10)
	for {
		tag, body, err := nextPacket(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.packet(tag, body, depth); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
	}
}

func (w *pgpWalk) packet(tag byte, body *packetBody, depth int) error {
	switch tag {
	case pgpPasswordKey:
		w.password = true
	case pgpSealed, pgpOldSealed, pgpAEAD:
		w.sealed = true
	case pgpSignature, pgpOnePass:
		w.signed = true
	case pgpCompressed:
		r, err := w.decompress(body, depth)
		if err == nil {
			err = w.walk(r, depth+1)
		}
		if err != nil {
			w.broken = true
			return fmt.Errorf("compressed packet: %w", err)
		}
	case pgpLiteral:
		return w.literal(body)
	case 0:
		return errNotPGP // reserved
	}
	return nil
}

// decompress opens a compressed packet (RFC 9580 section 5.6).
func (w *pgpWalk) decompress(body io.Reader, depth int) (io.Reader, error) {
	if w.opened++; depth >= maxPGPDepth || w.opened > maxPGPOpened {
		return nil, errPGPTooMany
	}
	var method [1]byte
	if _, err := io.ReadFull(body, method[:]); err != nil {
		return nil, noEOF(err)
	}
	switch method[0] {
	case 0:
		return body, nil
	case 1:
		body = flate.NewReader(body)
	case 2:
		z, err := zlib.NewReader(body)
		if err != nil {
			return nil, noEOF(err)
		}
		body = z
	case 3:
		body = bzip2.NewReader(body)
	default:
		return nil, errPGPMethod
	}
	return w.b.Reader(w.ctx, w.p, body), nil
}

// literal yields what a literal packet (RFC 9580 section 5.9) holds: text, a file or, in mail of
// RFC 3156, a MIME entity.
func (w *pgpWalk) literal(body io.Reader) error {
	var head [2 + 255 + 4]byte // format, name, date
	n, err := io.ReadFull(body, head[:2])
	if err == nil {
		n, err = io.ReadFull(body, head[2:2+int(head[1])+4])
	}
	if err != nil {
		return noEOF(err)
	}
	names := w.names(string(head[2 : 2+n-4]))
	m, err := w.member(names, body)
	if m == nil {
		return err
	}
	if isEntity(m) {
		m.MediaType = "message/rfc822"
	}
	if w.signed {
		w.covered(signedPGP, w.p)
		w.covered(signedPGP, m)
	}
	if e := w.yield(m); e != nil {
		return e
	}
	w.broken = err != nil
	return err
}

// names are those under which a file is saved: the one within, and that of the part without what
// PGP has put behind it.
func (w *pgpWalk) names(within string) []string {
	var names []string
	if within != "" && within != "_CONSOLE" {
		names = append(names, within)
	}
	for _, n := range w.p.Names {
		switch ext := path.Ext(n); strings.ToLower(ext) {
		case ".pgp", ".gpg", ".asc":
			names = append(names, strings.TrimSuffix(n, ext))
		}
	}
	return names
}

// nextPacket reads the header of a packet (RFC 9580 section 4.2). At the end the error is io.EOF.
func nextPacket(r *bufio.Reader) (tag byte, body *packetBody, err error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	body = &packetBody{r: r}
	if c&0x80 == 0 {
		return 0, nil, errNotPGP
	}
	if c&0x40 != 0 {
		return c & 0x3f, body, noEOF(body.newLength())
	}
	return c >> 2 & 0xf, body, noEOF(body.oldLength(c & 3))
}

// A packetBody is the body of a packet. It must be read to its end before the next one.
type packetBody struct {
	r       *bufio.Reader
	left    int64
	partial bool // another length follows
	toEnd   bool // it has no length: it is the last
}

// newLength reads a length of RFC 9580 section 4.2.1.
func (b *packetBody) newLength() error {
	var l [4]byte
	if _, err := io.ReadFull(b.r, l[:1]); err != nil {
		return err
	}
	b.partial = false
	switch c := l[0]; {
	case c < 192:
		b.left = int64(c)
	case c < 224:
		_, err := io.ReadFull(b.r, l[1:2])
		b.left = int64(c-192)<<8 + int64(l[1]) + 192
		return err
	case c < 255:
		b.left, b.partial = 1<<(c&0x1f), true
	default:
		_, err := io.ReadFull(b.r, l[:])
		b.left = int64(binary.BigEndian.Uint32(l[:]))
		return err
	}
	return nil
}

// oldLength reads a length of RFC 9580 section 4.2.2.
func (b *packetBody) oldLength(kind byte) error {
	if kind == 3 {
		b.toEnd = true
		return nil
	}
	var l [4]byte
	_, err := io.ReadFull(b.r, l[4-1<<kind:])
	b.left = int64(binary.BigEndian.Uint32(l[:]))
	return err
}

func (b *packetBody) Read(p []byte) (int, error) {
	if b.toEnd {
		return b.r.Read(p)
	}
	for b.left == 0 {
		if !b.partial {
			return 0, io.EOF
		}
		if err := b.newLength(); err != nil {
			return 0, noEOF(err)
		}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, noEOF(err)
}

// looksPGP reports whether content without a label begins with a packet that a message of PGP
// begins with. There is no magic; so the packet must make sense.
func looksPGP(head []byte) bool {
	tag, body, err := nextPacket(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return false
	}
	var b [3]byte
	n, _ := io.ReadFull(body, b[:])
	if n < len(b) {
		return false
	}
	switch tag {
	case pgpSessionKey:
		return (b[0] == 3 || b[0] == 6) && body.left < 4<<10
	case pgpPasswordKey:
		return b[0] >= 4 && b[0] <= 6 && body.left < 256
	case pgpOnePass:
		return (b[0] == 3 || b[0] == 6) && body.left < 256
	case pgpCompressed:
		return b[0] >= 1 && b[0] <= 3
	case pgpMarker:
		return string(b[:]) == "PGP"
	case pgpLiteral:
		return strings.IndexByte("btuml1", b[0]) >= 0
	case pgpSealed:
		return b[0] == 1 || b[0] == 2
	}
	return false
}
