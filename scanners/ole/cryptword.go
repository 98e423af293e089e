package ole

import (
	"encoding/binary"
	"io"
)

const (
	// wordPlain is how much of WordDocument is never encrypted (MS-DOC 2.2.6.2, 2.2.6.3).
	wordPlain = 68
	// wordBlock is how much of a document is encrypted with one key.
	wordBlock = 512
	// maxWordHead is how long the header of the encryption is at most.
	maxWordHead = 4 << 10

	wordFlags = 10 // offset in the FIB
	wordKey   = 14 // the length of the header of encryption

	wordEncrypted, wordTable1, wordObfuscated = 0x0100, 0x0200, 0x8000
)

// wordLock reads the header of encryption, which is at the beginning of the table stream.
func wordLock(e *Encryption) lock {
	doc := e.n.find("WordDocument")
	if doc == nil {
		return nil
	}
	fib := limited(e.c.content(doc), wordPlain)
	if len(fib) < wordPlain {
		return nil
	}
	flags := binary.LittleEndian.Uint16(fib[wordFlags:])
	if flags&wordObfuscated != 0 { // by exclusive or, which Word 97 has written last
		return nil
	}
	name := "0Table"
	if flags&wordTable1 != 0 {
		name = "1Table"
	}
	table := e.n.find(name)
	if table == nil || table.storage {
		return nil
	}
	head := limited(e.c.content(table), min(int64(binary.LittleEndian.Uint32(fib[wordKey:])), maxWordHead))
	return rc4LockOf(head, wordBlock, func(k *rc4Key) key { return &wordKeys{k, doc, table} })
}

// A wordKeys decrypts a document of Word.
type wordKeys struct {
	k          *rc4Key
	doc, table *node
}

func (k *wordKeys) plain(f *file, e *Encryption) error {
	streams := []*node{k.doc, k.table}
	if data := e.n.find("Data"); data != nil && !data.storage {
		streams = append(streams, data)
	}
	var changes []change
	for _, n := range streams {
		s, err := f.spooled(e.c.content(n), func(w io.Writer, r io.Reader) error { return k.copy(w, r, n == k.doc) })
		if err != nil {
			return f.failed(err)
		}
		defer s.Close()
		changes = append(changes, change{n, s, s.Size()})
	}
	return f.copied(e.c, changes)
}

// copy decrypts a stream, of the document all but its beginning, which then says that nothing is
// encrypted.
func (k *wordKeys) copy(w io.Writer, r io.Reader, doc bool) error {
	s := &rc4Stream{k: k.k}
	if doc {
		var fib [wordPlain]byte
		n, err := io.ReadFull(r, fib[:])
		s.skip(n)
		flags := binary.LittleEndian.Uint16(fib[wordFlags:]) &^ wordEncrypted
		binary.LittleEndian.PutUint16(fib[wordFlags:], flags)
		binary.LittleEndian.PutUint32(fib[wordKey:], 0)
		if _, e := w.Write(fib[:n]); e != nil || err != nil {
			return endOf(firstOf(e, err))
		}
	}
	var buf [wordBlock * 16]byte
	for {
		n, err := io.ReadFull(r, buf[:])
		s.decrypt(buf[:n])
		if _, e := w.Write(buf[:n]); e != nil || err != nil {
			return endOf(firstOf(e, err))
		}
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
