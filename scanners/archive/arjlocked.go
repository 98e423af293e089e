package archive

import (
	"io"
	"slices"
)

// An arjGarble is what ARJ calls encryption: each byte is mixed with one of the password, to which a
// byte of the header is added (ARJ technical information).
type arjGarble struct {
	r        io.Reader
	password []byte
	modifier byte
	i        int
}

func (g *arjGarble) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	for k := range p[:n] {
		p[k] ^= g.password[g.i] + g.modifier
		if g.i++; g.i == len(g.password) {
			g.i = 0
		}
	}
	return n, err
}

// arjPassword gives the password of a member that is garbled; nil if none is found. Only its checksum
// tells a wrong one.
func (o *opening) arjPassword(h *arjHeader) (found []byte, err error) {
	if h.size == 0 || o.arjReader(h, []byte{0}) == nil {
		return nil, nil
	}
	opens := func(password string) (bool, error) {
		for _, p := range encoded(password) {
			_, err := io.Copy(io.Discard, newChecked(&decoder{r: o.arjReader(h, p)}, h.size, &h.crc))
			if err == nil {
				found = p
				return true, nil
			}
			if fatal := o.fatal(); fatal != nil {
				return false, fatal
			}
		}
		return false, nil
	}
	for _, p := range slices.Backward(o.locks.open) {
		if ok, err := opens(p); ok || err != nil {
			return found, err
		}
	}
	_, err = o.guess(opens)
	return found, err
}
