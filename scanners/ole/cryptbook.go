package ole

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// The records of a workbook that matter here (MS-XLS 2.3.1).
const (
	recordFilePass = 0x2f
	recordSheet    = 0x85
	// maxFilePass is how long FILEPASS is at most.
	maxFilePass = 1 << 10
	// bookBlock is how much of a workbook is encrypted with one key (MS-XLS 2.2.10).
	bookBlock = 1024
)

// plainRecords are those that are never encrypted (MS-XLS 2.2.10): BOF of all versions, FILEPASS,
// USREXCL, FILELOCK, INTERFACEHDR, RRDINFO, RRDHEAD.
var plainRecords = map[uint16]bool{0x0009: true, 0x0209: true, 0x0409: true, 0x0809: true, recordFilePass: true, 0x0194: true, 0x0195: true, 0x00e1: true, 0x0196: true, 0x0138: true}

// book is the stream of a workbook; nil if there is none.
func (e *Encryption) book() *node {
	for _, name := range []string{"Workbook", "Book"} {
		if n := e.n.find(name); n != nil && !n.storage {
			return n
		}
	}
	return nil
}

// workbookLock reads FILEPASS.
func workbookLock(e *Encryption) lock {
	n := e.book()
	if n == nil {
		return nil
	}
	in := bufio.NewReader(e.c.content(n))
	for range maxRecords {
		var h [4]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return nil
		}
		size := int(binary.LittleEndian.Uint16(h[2:]))
		if binary.LittleEndian.Uint16(h[:]) != recordFilePass {
			if _, err := in.Discard(size); err != nil {
				return nil
			}
			continue
		}
		b := limited(in, int64(min(size, maxFilePass)))
		switch {
		case len(b) == 4: // before Excel 97
			return xorLock{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])}
		case len(b) >= 6 && binary.LittleEndian.Uint16(b) == 0:
			return xorLock{binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint16(b[4:])}
		case len(b) > 6 && binary.LittleEndian.Uint16(b) == 1:
			return rc4LockOf(b[2:], bookBlock, func(k *rc4Key) key { return bookKey{&rc4Book{rc4Stream{k: k}}} })
		}
		return nil
	}
	return nil
}

// A bookCipher decrypts records, each after the one before it.
type bookCipher interface {
	record(at int64, size int) // begins with the data of a record at that offset
	skip(n int)                // passes over what is not encrypted
	decrypt(p []byte)
}

type rc4Book struct{ rc4Stream }

func (*rc4Book) record(int64, int) {}

// A bookKey decrypts a workbook.
type bookKey struct{ c bookCipher }

func (k bookKey) plain(f *file, e *Encryption) error {
	n := e.book()
	s, err := f.spooled(e.c.content(n), k.records)
	if err != nil {
		return f.failed(err)
	}
	defer s.Close()
	return f.copied(e.c, []change{{n, s, s.Size()}})
}

// failed says that a stream could not be decrypted, unless the reason is not in it.
func (f *file) failed(err error) error {
	if isFatal(f.ctx, err) {
		return err
	}
	f.damaged("a stream: " + err.Error())
	return nil
}

// records copies a workbook from r to w, without its encryption. In place of FILEPASS comes a record
// that means nothing.
func (k bookKey) records(w io.Writer, r io.Reader) error {
	in, at := bufio.NewReader(r), int64(0)
	var buf [1 << 16]byte
	for {
		var h [4]byte
		n, err := io.ReadFull(in, h[:])
		if err != nil {
			if _, e := w.Write(h[:n]); e != nil {
				return e
			}
			return endOf(err)
		}
		id, size := binary.LittleEndian.Uint16(h[:]), int(binary.LittleEndian.Uint16(h[2:]))
		at += int64(len(h))
		k.c.skip(len(h))
		k.c.record(at, size)
		data := buf[:size]
		n, err = io.ReadFull(in, data)
		data = data[:n]
		k.data(id, data)
		if id == recordFilePass {
			h[0], h[1] = 0, 0
		}
		at += int64(n)
		if _, e := w.Write(append(h[:], data...)); e != nil {
			return e
		}
		if err != nil {
			return endOf(err)
		}
	}
}

// data decrypts the data of a record, of which some begin with what is not encrypted.
func (k bookKey) data(id uint16, data []byte) {
	plain := 0
	switch {
	case plainRecords[id]:
		plain = len(data)
	case id == recordSheet:
		plain = min(4, len(data))
	}
	k.c.skip(plain)
	k.c.decrypt(data[plain:])
}

// endOf is nil if a stream only came to its end.
func endOf(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
