package sanitize

import (
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// A utf8Decoder decodes UTF-8, in which what is none becomes U+FFFD, as the transformer does that it wraps:
// that looks at each byte, and is needed only where there is such.
type utf8Decoder struct{ transform.Transformer }

func (d utf8Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	n := fullRunes(src[:min(len(src), len(dst))])
	if !utf8.Valid(src[:n]) {
		n = 0
	}
	copy(dst, src[:n])
	if n == len(src) {
		return n, n, nil
	}
	nDst, nSrc, err = d.Transformer.Transform(dst[n:], src[n:], atEOF)
	return n + nDst, n + nSrc, err //nolint:wrapcheck // transform.Reader compares it
}

// fullRunes is the length of b without a character at its end that is not all there.
func fullRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// isUTF8 reports whether all that is read is UTF-8.
func isUTF8(r io.Reader) bool {
	buf := make([]byte, 32<<10)
	have := 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		whole := have
		if err == nil {
			whole = fullRunes(buf[:have])
		}
		if !utf8.Valid(buf[:whole]) {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		have = copy(buf, buf[whole:have])
	}
}
