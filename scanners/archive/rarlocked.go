package archive

import (
	"errors"
	"io"
	"math"

	"github.com/nwaples/rardecode/v2"
)

const (
	// maxRARLookahead is how many members are looked at for a small one to try passwords on.
	maxRARLookahead = 1000
	// maxRARPassword is how many bytes of a password the decoder takes.
	maxRARPassword = 128
)

// A rarKey is what is known of the password of a RAR archive.
type rarKey struct {
	tried    bool
	password string // empty if none was found
}

// guess looks for the password, by the member of that number or, if that is 0, by the headers.
func (w *rarWalk) guess(number int) (err error) {
	w.tried = true
	w.password, err = w.o.guess(func(password string) (bool, error) { return w.opens(password, number) })
	return err
}

// opens tries a password. RAR 5 tells a wrong one at the headers, older ones by the checksum of the
// member alone.
func (w *rarWalk) opens(password string, number int) (bool, error) {
	if len(password) > maxRARPassword {
		return false, nil
	}
	t := &rarWalk{o: w.o, off: w.off}
	if err := t.open(password); err != nil {
		return false, err
	}
	for range max(number, 1) {
		if _, err := t.next(); err != nil {
			return number == 0 && errors.Is(err, io.EOF), err
		}
	}
	if number == 0 { // the headers have checksums
		return true, nil
	}
	_, err := io.Copy(io.Discard, &decoder{r: t.rr})
	return err == nil, err
}

// unlock looks for the password of the member that the walk has come to, by the smallest of those that
// follow, and opens the archive again there, with the password.
func (w *rarWalk) unlock(h *rardecode.FileHeader) error {
	here, number, size := w.index, w.index, h.PackedSize
	if h.UnPackedSize == 0 { // every password is right
		size = math.MaxInt64
	}
	for range maxRARLookahead {
		g, err := w.next()
		if err != nil {
			break
		}
		if g.Encrypted && !g.IsDir && !g.Solid && g.PackedSize < size && g.UnPackedSize > 0 {
			number, size = w.index, g.PackedSize
		}
	}
	if w.tried = true; size < math.MaxInt64 {
		if err := w.guess(number); err != nil {
			return err
		}
	}
	if err := w.open(w.password); err != nil {
		return w.o.failed(w.o.p, err)
	}
	for range here {
		if _, err := w.next(); err != nil {
			return w.o.failed(w.o.p, err)
		}
	}
	return nil
}
