package ole

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// The kinds of encrypted documents, by what says so.
const (
	// KindPackage is a document of Office 2007 or later (a zip), encrypted as a whole into the stream
	// EncryptedPackage; EncryptionInfo says how (MS-OFFCRYPTO 2.3).
	KindPackage = "EncryptedPackage"
	// KindWorkbook is an .xls whose stream Workbook, or Book, has a record FILEPASS (MS-XLS 2.4.117).
	KindWorkbook = "FILEPASS"
	// KindWord is a .doc whose stream WordDocument says fEncrypted (MS-DOC 2.5.1).
	KindWord = "fEncrypted"
	// KindSlides is a .ppt whose stream Current User says so (MS-PPT 2.3.2).
	KindSlides = "CryptSession10Container"
)

// An Encryption is an encrypted document, which is a compound file or a storage in one.
type Encryption struct {
	Kind string
	c    *compound
	n    *node
}

// Stream gives the stream of that name beside the encrypted one, such as EncryptionInfo; nil if there
// is none. Not all of it may be there.
func (e *Encryption) Stream(name string) *io.SectionReader {
	n := e.n.find(name)
	if n == nil || n.storage {
		return nil
	}
	s, _ := e.c.section(n)
	return s
}

// Encrypted finds the encrypted documents in a compound file, those in storages after the one that
// they are in. It finds none in what is no compound file. The readers of what it gives read r. The
// error is one of reading.
func Encrypted(r io.ReaderAt, size int64) ([]*Encryption, error) {
	c, err := open(r, size)
	if err != nil && !errors.Is(err, errFormat) || c == nil {
		if errors.Is(err, errFormat) {
			err = nil
		}
		return nil, err
	}
	var found []*Encryption
	todo := []*node{c.root}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], n.children...)
		if n.storage {
			if e := c.encryption(n, func(r io.Reader) io.Reader { return r }); e != nil && len(found) < maxEncryptions {
				found = append(found, e)
			}
		}
	}
	return found, nil
}

const (
	// maxEncryptions is how many encrypted documents in one file are told of.
	maxEncryptions = 16
	// maxRecords is how many records of a workbook are looked at for the one that says that it is
	// encrypted. It comes second, or third behind one about writing (MS-XLS 2.1.7.20.3).
	maxRecords = 100
)

// encryption tells how the document in a storage is encrypted; nil if it is not, or none is there.
func (c *compound) encryption(n *node, read func(io.Reader) io.Reader) *Encryption {
	for _, k := range []struct {
		stream, kind string
		is           func(io.Reader) bool
	}{
		{"EncryptedPackage", KindPackage, func(io.Reader) bool { return true }},
		{"DRMContent", KindPackage, func(io.Reader) bool { return true }},
		{"\x09DRMContent", KindPackage, func(io.Reader) bool { return true }},
		{"Workbook", KindWorkbook, workbookIsEncrypted},
		{"Book", KindWorkbook, workbookIsEncrypted},
		{"WordDocument", KindWord, wordIsEncrypted},
		{"Current User", KindSlides, slidesAreEncrypted},
		{"EncryptedSummary", KindSlides, func(io.Reader) bool { return true }},
	} {
		if s := n.find(k.stream); s != nil && !s.storage && k.is(read(c.content(s))) {
			return &Encryption{Kind: k.kind, c: c, n: n}
		}
	}
	return nil
}

// workbookIsEncrypted looks for FILEPASS among the first records.
func workbookIsEncrypted(r io.Reader) bool {
	const filePass, sheet, end = 0x2f, 0x85, 0x0a
	in := bufio.NewReader(r)
	for range maxRecords {
		var h [4]byte
		if _, err := io.ReadFull(in, h[:]); err != nil {
			return false
		}
		switch binary.LittleEndian.Uint16(h[:]) {
		case filePass:
			return true
		case sheet, end:
			return false
		}
		if _, err := in.Discard(int(binary.LittleEndian.Uint16(h[2:]))); err != nil {
			return false
		}
	}
	return false
}

// wordIsEncrypted looks into the FIB.
func wordIsEncrypted(r io.Reader) bool {
	var fib [12]byte
	_, err := io.ReadFull(r, fib[:])
	return err == nil && binary.LittleEndian.Uint16(fib[10:])&0x0100 != 0
}

// encryptedToken is that of an encrypted presentation (MS-PPT 2.3.2).
const encryptedToken = 0xf3d1c4df

// slidesAreEncrypted looks at the token of the CurrentUserAtom.
func slidesAreEncrypted(r io.Reader) bool {
	var atom [16]byte
	_, err := io.ReadFull(r, atom[:])
	return err == nil && binary.LittleEndian.Uint32(atom[12:]) == encryptedToken
}
