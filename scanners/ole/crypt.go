package ole

import (
	"io"
	"unicode/utf16"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const (
	inMessage = "ole/password-in-message"
	known     = "ole/password-known"
	listed    = "ole/password-listed"
	byDefault = "ole/default-password"
)

// openedChecks are the checks for documents that were encrypted and could be opened.
var openedChecks = []eml.Check{
	{ID: inMessage, Doc: "An Office document is encrypted, and the message says its password: that keeps programs from looking into it, and nobody else. It was opened and examined."},
	{ID: known, Doc: "An Office document is encrypted with a password that everybody knows, and the message does not say it. It was opened and examined."},
	{ID: listed, Doc: "An Office document is encrypted with one of the passwords in the configuration. It was opened and examined."},
	{ID: byDefault, Doc: "An Office document is encrypted with the password that Office tries by itself, as for protection against changes. It was opened and examined."},
}

// examined are the checks that do not mean that something was not seen.
var examined = map[string]bool{rtfAmbiguous: true, inMessage: true, known: true, listed: true, byDefault: true}

// defaultPassword is that with which Office encrypts, and opens without asking, what is only protected
// against changes (MS-OFFCRYPTO 4.1, MS-XLS 2.2.10).
const defaultPassword = "VelvetSweatshop"

// maxEncryptionInfo is how long the description of an encryption may be.
const maxEncryptionInfo = 64 << 10

// A lock is an encryption that is understood. opens makes what decrypts with a password; nil if it is
// the wrong one.
type lock interface {
	opens(password string) key
}

// A key decrypts a document. plain gives it as it is without its password, and yields it.
type key interface {
	plain(f *file, e *Encryption) error
}

// lock reads how the document is encrypted; nil if that is not known.
func (e *Encryption) lock() lock {
	switch e.Kind {
	case KindPackage:
		if s := e.Stream("EncryptionInfo"); s != nil && e.Stream("EncryptedPackage") != nil {
			return packageLock(s)
		}
	case KindWorkbook:
		return workbookLock(e)
	case KindWord:
		return wordLock(e)
	case KindSlides:
		return slidesLock(e)
	}
	return nil
}

// unlock yields an encrypted document without its encryption, if a password is found, and says so.
func (f *file) unlock(e *Encryption) error {
	closed := func(why string) error {
		f.report(encrypted, "a document that needs a password ("+e.Kind+")"+why)
		return nil
	}
	l := e.lock()
	if l == nil {
		return closed("")
	}
	if k := l.opens(defaultPassword); k != nil {
		f.report(byDefault, "opened with the password that Office tries by itself")
		return k.plain(f, e)
	}
	var found key
	g, err := f.b.Guess(f.ctx, nil, func(password string) (bool, error) {
		found = l.opens(password)
		return found != nil, nil
	})
	if err != nil {
		return err
	}
	if found == nil {
		return closed(": " + g.Detail())
	}
	f.report(map[scanners.Source]string{scanners.FromMessage: inMessage, scanners.FromList: listed, scanners.FromKnown: known}[g.From], g.Detail())
	return found.plain(f, e)
}

// limited reads a stream that should be short; nil if it cannot be read.
func limited(r io.Reader, n int64) []byte {
	b, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil
	}
	return b
}

// utf16Bytes is a password as Office hashes it.
func utf16Bytes(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}
