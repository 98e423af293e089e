package archive

import (
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"

	"rastel/scanners"
)

const (
	// maxVerify is how much of a member is unpacked to see whether a password is right, where the
	// method of compression would have found out by then that it is not.
	maxVerify = 1 << 20
	// maxGuesses is how often passwords are looked for in one archive: its members may have several.
	maxGuesses = 3
	// maxComment is how much of the comment of an archive is looked at for a password.
	maxComment = 2 << 10
)

// The checks for what was encrypted and could be opened.
const (
	inMessage = "archive/password-in-message"
	known     = "archive/password-known"
	listed    = "archive/password-listed"
)

// locks are what is known of the passwords of one archive.
type locks struct {
	own     []string // words that the archive itself says
	open    []string // passwords that were found
	guesses int
	failed  bool   // the last guess found none: another one would not either
	detail  string // of that
}

// guess looks for a password, and says in a finding where it was. Empty if there is none.
func (o *opening) guess(opens func(password string) (bool, error)) (string, error) {
	if o.locks.guesses++; o.locks.guesses > maxGuesses || o.locks.failed {
		return "", nil
	}
	dicts := o.dicts
	g, err := o.b.Guess(o.ctx, o.locks.own, func(password string) (ok bool, err error) {
		o.dicts = dicts // those of other tries are garbage
		err = guard(func() error { ok, err = opens(password); return err })
		if fatal := o.fatal(); fatal != nil {
			return false, fatal
		}
		return ok && err == nil, nil // an error is one more way to say no
	})
	o.dicts = dicts
	if err != nil {
		return "", err
	}
	if !g.Found() {
		o.locks.failed, o.locks.detail = true, g.Detail()
		return "", nil
	}
	o.locks.open = append(o.locks.open, g.Password)
	o.report(o.p, map[scanners.Source]string{scanners.FromMessage: inMessage, scanners.FromList: listed, scanners.FromKnown: known}[g.From], g.Detail())
	return g.Password, nil
}

// lockedDetail says why something stays closed.
func (o *opening) lockedDetail() string {
	if o.locks.detail == "" {
		return "encrypted"
	}
	return o.locks.detail
}

// encodings are those in which programs have taken a password for bytes, besides UTF-8.
var encodings = []encoding.Encoding{charmap.Windows1252, charmap.CodePage437, charmap.Windows1251, charmap.CodePage866,
	japanese.ShiftJIS, simplifiedchinese.GBK, korean.EUCKR}

// encoded are the bytes that a password may be.
func encoded(password string) [][]byte {
	out := [][]byte{[]byte(password)}
	if isASCII(password) {
		return out
	}
	for _, e := range encodings {
		if b, err := e.NewEncoder().Bytes([]byte(password)); err == nil {
			out = append(out, b)
		}
	}
	return out
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
