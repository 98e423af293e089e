package ole

import (
	"encoding/binary"
	"io"
	"math"
	"slices"

	"rastel/sanitize/eml"
)

const (
	// maxEdits is how many edits of a presentation are followed, and maxObjects how many of its objects.
	maxEdits, maxObjects = 100, 100_000

	typeEdit      = 0x0ff5 // UserEditAtom
	typeDirectory = 0x1772 // PersistDirectoryAtom
	typeSession   = 0x2f14 // CryptSession10Container

	currentEdit = 16 // offset in the stream Current User
)

// A slideObject is a piece of the document that is encrypted for itself, up to the next one.
type slideObject struct {
	at    int64
	id    uint32
	plain bool
}

// slides are what must be known of an encrypted presentation (MS-PPT 2.1.2, 2.3.3 to 2.3.5).
type slides struct {
	doc     *io.SectionReader
	objects []slideObject
}

// slidesLock finds the header of encryption: an object that the last edit names.
func slidesLock(e *Encryption) lock {
	user, doc := e.Stream("Current User"), e.Stream("PowerPoint Document")
	if user == nil || doc == nil {
		return nil
	}
	head := limited(user, currentEdit+4)
	if len(head) < currentEdit+4 || binary.LittleEndian.Uint32(head[12:]) != encryptedToken {
		return nil
	}
	s := &slides{doc: doc}
	session, ok := s.edits(int64(binary.LittleEndian.Uint32(head[currentEdit:])))
	if !ok {
		return nil
	}
	b := s.record(session, typeSession)
	// An object is encrypted with one key from its beginning to its end.
	return rc4LockOf(b, math.MaxInt64, func(k *rc4Key) key { return &slidesKey{k, s} })
}

// record is the content of the record at that offset, if it is one of that type.
func (s *slides) record(at int64, kind uint16) []byte {
	var h [recordHeader]byte
	if _, err := s.doc.ReadAt(h[:], at); err != nil || binary.LittleEndian.Uint16(h[2:]) != kind {
		return nil
	}
	n := int64(binary.LittleEndian.Uint32(h[4:]))
	at += recordHeader
	return limited(io.NewSectionReader(s.doc, at, max(min(n, s.doc.Size()-at, 4*maxObjects), 0)), 4*maxObjects)
}

// edits lists all objects, and gives the offset of the header of encryption.
func (s *slides) edits(at int64) (session int64, ok bool) {
	wanted, found := uint32(0), map[uint32]bool{}
	for i := range maxEdits {
		b := s.record(at, typeEdit)
		if len(b) < 28 {
			break
		}
		if i == 0 && len(b) >= 32 {
			wanted = binary.LittleEndian.Uint32(b[28:])
		}
		directory := int64(binary.LittleEndian.Uint32(b[12:]))
		s.objects = append(s.objects, slideObject{at: at, plain: true}, slideObject{at: directory, plain: true})
		s.directory(directory, found, func(o slideObject) {
			if o.id == wanted {
				session, ok, o.plain = o.at, true, true
			}
			s.objects = append(s.objects, o)
		})
		if at = int64(binary.LittleEndian.Uint32(b[8:])); at == 0 {
			break
		}
	}
	slices.SortStableFunc(s.objects, func(a, b slideObject) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	return session, ok
}

// directory calls add with each object of a directory that no later edit has.
func (s *slides) directory(at int64, found map[uint32]bool, add func(slideObject)) {
	b := s.record(at, typeDirectory)
	for len(b) >= 4 {
		first := binary.LittleEndian.Uint32(b)
		id, n := first&0xfffff, int(first>>20)
		b = b[4:]
		for ; n > 0 && len(b) >= 4 && len(found) < maxObjects; n-- {
			if !found[id] {
				found[id] = true
				add(slideObject{at: int64(binary.LittleEndian.Uint32(b)), id: id})
			}
			b, id = b[4:], id+1
		}
		if n > 0 {
			return
		}
	}
}

// A slidesKey decrypts a presentation.
type slidesKey struct {
	k *rc4Key
	s *slides
}

// plain yields the document, and what is embedded in it. (Its pictures stay encrypted.)
func (k *slidesKey) plain(f *file, _ *Encryption) error {
	s, err := f.spooled(io.NewSectionReader(k.s.doc, 0, k.s.doc.Size()), k.copy)
	if err != nil {
		return f.failed(err)
	}
	defer s.Close()
	if err := f.member([]string{"PowerPoint Document"}, "", section(s)); err != nil {
		return err
	}
	return f.objects(section(s))
}

func section(s *eml.Spool) *io.SectionReader { return io.NewSectionReader(s, 0, s.Size()) }

// copy decrypts each object with its own key.
func (k *slidesKey) copy(w io.Writer, r io.Reader) error {
	at := int64(0)
	for i := -1; i < len(k.s.objects); i++ {
		end := k.s.doc.Size()
		if i+1 < len(k.s.objects) {
			end = min(end, k.s.objects[i+1].at)
		}
		if end <= at {
			continue
		}
		from := io.LimitReader(r, end-at)
		if i >= 0 && !k.s.objects[i].plain {
			from = &streamDecrypter{from, k.k.cipher(k.s.objects[i].id)}
		}
		n, err := io.Copy(w, from)
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// A streamDecrypter decrypts what r gives.
type streamDecrypter struct {
	r io.Reader
	c interface{ XORKeyStream(dst, src []byte) }
}

func (d *streamDecrypter) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.c.XORKeyStream(p[:n], p[:n])
	return n, err
}
