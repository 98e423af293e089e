package archive

import (
	"bufio"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"rastel/scanners"
	"rastel/scanners/archive/zipcrypt"
)

// zipExtraAES is the extra field that tells how a member is encrypted (WinZip, AES encryption
// information).
const zipExtraAES = 0x9901

// A zipLock is how a member of a zip archive is encrypted.
type zipLock struct {
	aes      bool
	version  uint16 // 2: there is no checksum
	strength byte
	method   uint16 // of compression
}

// lock tells how a member is encrypted; false if not in a way that is known.
func (h *zipHeader) lock() (zipLock, bool) {
	switch {
	case h.flags&zipMasked != 0, h.flags&zipStrong != 0 && h.method != zipAES:
		return zipLock{}, false
	case h.method != zipAES:
		return zipLock{method: h.method}, true
	}
	return h.aes, h.aes.aes
}

// zipLocked yields a member that is encrypted: opened if a password is found, and closed if not.
func (o *opening) zipLocked(names []string, data int64, h *zipHeader) error {
	lock, ok := h.lock()
	if !ok {
		return o.closed(names, encrypted, "encrypted")
	}
	m := &zipLockedMember{o: o, h: h, lock: lock, data: data, n: h.extent(o.p.Size - data)}
	password, err := m.password()
	if err != nil {
		return err
	}
	if password == nil {
		return o.closed(names, encrypted, o.lockedDetail())
	}
	late := &lateReader{open: func() (io.Reader, error) { return m.reader(password) }}
	defer late.close()
	_, err = o.member(names, newChecked(late, h.size, m.crc()))
	return err
}

// A zipLockedMember is an encrypted member.
type zipLockedMember struct {
	o       *opening
	h       *zipHeader
	lock    zipLock
	data, n int64
}

// crc is the checksum, if there is one.
func (m *zipLockedMember) crc() *uint32 {
	if m.h.packed < 0 || m.lock.aes && m.lock.version != 1 {
		return nil
	}
	return &m.h.crc
}

// password gives the bytes of the password; nil if none is found. Those that have opened other members
// come first.
func (m *zipLockedMember) password() (found []byte, err error) {
	for _, p := range slices.Backward(m.o.locks.open) {
		if found, err = m.opens(p); found != nil || err != nil {
			return found, err
		}
	}
	_, err = m.o.guess(func(p string) (bool, error) {
		found, err = m.opens(p)
		return found != nil, err
	})
	return found, err
}

// opens tries a password, and gives it as the bytes that open the member; nil if it does not.
func (m *zipLockedMember) opens(password string) ([]byte, error) {
	for _, p := range encoded(password) {
		if !m.mayBe(p) {
			continue
		}
		if ok := m.verify(p); ok {
			return p, nil
		}
		if err := m.o.fatal(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// mayBe looks at what stands before the data to tell a wrong password.
func (m *zipLockedMember) mayBe(p []byte) bool {
	src := io.NewSectionReader(m.o.src, m.data, m.n)
	if m.lock.aes {
		a, err := zipcrypt.NewAES(m.lock.strength, src)
		return err == nil && a.Opens(p)
	}
	var head [zipcrypt.ClassicHead]byte
	if _, err := io.ReadFull(src, head[:]); err != nil {
		return false
	}
	c := zipcrypt.NewClassic(p)
	return c.Open(head, m.checks()...)
}

// checks are what the last byte before the data may be: of the checksum, or of the time if the
// checksum was not known when the member was written.
func (m *zipLockedMember) checks() []byte {
	return []byte{byte(m.h.crc >> 24), byte(m.h.time >> 8)}
}

// verify reports whether the member unpacks with the password. Decompression soon fails on what is
// not right; what is stored is read to its end, for its checksum.
func (m *zipLockedMember) verify(p []byte) bool {
	late := &lateReader{open: func() (io.Reader, error) { return m.reader(p) }}
	defer late.close()
	sum := crc32.NewIEEE()
	r := io.Reader(&decoder{r: late})
	if m.lock.method != zipStore {
		r = io.LimitReader(r, maxVerify)
	}
	n, err := io.Copy(sum, r)
	switch {
	case err != nil || m.o.ctx.Err() != nil:
		return false
	case n == maxVerify && m.lock.method != zipStore:
		return true
	}
	crc := m.crc()
	return (m.h.size < 0 || n == m.h.size) && (crc == nil || sum.Sum32() == *crc)
}

// reader decrypts and unpacks the member.
func (m *zipLockedMember) reader(p []byte) (io.Reader, error) {
	in := m.o.input(m.data, m.n)
	if !m.lock.aes {
		var head [zipcrypt.ClassicHead]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return nil, noEOF(err)
		}
		c := zipcrypt.NewClassic(p)
		c.Decrypt(head[:])
		return m.unpack(c.Reader(in), m.n-zipcrypt.ClassicHead)
	}
	a, err := zipcrypt.NewAES(m.lock.strength, in)
	if err != nil {
		return nil, err
	}
	before, behind := a.Overhead()
	n := m.n - before - behind
	r, err := a.Reader(p, in, n)
	if err != nil {
		return nil, err
	}
	packed := bufio.NewReader(r)
	out, err := m.unpack(packed, n)
	return &toEnd{r: out, packed: packed}, err
}

func (m *zipLockedMember) unpack(r io.Reader, n int64) (io.Reader, error) {
	h := *m.h
	h.method = m.lock.method
	in, ok := r.(*bufio.Reader)
	if !ok {
		in = bufio.NewReader(r)
	}
	return m.o.zipReader(in, n, &h)
}

// A toEnd reads what is left of the packed data once all is unpacked, so that all of it is
// authenticated.
type toEnd struct {
	r      io.Reader
	packed io.Reader
}

func (t *toEnd) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err == io.EOF {
		if _, e := io.Copy(io.Discard, t.packed); e != nil {
			return n, e
		}
	}
	if errors.Is(err, zipcrypt.ErrMAC) {
		err = zipcrypt.ErrMAC
	}
	return n, err
}

// easiest is the encrypted member by which passwords are tried: the smallest that holds anything.
func (z *zipFile) easiest() *zipLockedMember {
	var best *zipLockedMember
	for _, e := range z.entries {
		if e.data < 0 {
			continue
		}
		for _, h := range e.readings() {
			lock, ok := h.lock()
			n := h.extent(z.o.p.Size - e.data)
			if ok && h.flags&zipEncrypted != 0 && h.packed > 0 && h.size > 0 && (best == nil || n < best.n || n == best.n && e.data < best.data) {
				best = &zipLockedMember{o: z.o, h: h, lock: lock, data: e.data, n: n}
			}
		}
	}
	return best
}

// unlock looks for the password of the members, unless none is encrypted or they only say so.
func (z *zipFile) unlock() error {
	m := z.easiest()
	if m == nil || !m.lock.aes && z.o.zipPlain(m.data, m.h) {
		return nil
	}
	z.o.locks.own = scanners.WordsOf(z.comment)
	_, err := m.password()
	return err
}
