package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rc4"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

// errEncrypted says that something can be decrypted by nobody who has not the password.
var errEncrypted = errors.New("encrypted")

// padding fills up passwords (PDF 32000-1, 7.6.3.3, algorithm 2).
const padding = "\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A"

// A method is how something is encrypted.
type method uint8

const (
	methodNone method = iota
	methodRC4
	methodAES     // with keys made for each object
	methodAES256  // with the key of the file
	methodUnknown // which nobody has described
)

// A Lock is the encryption of a document by passwords (PDF 32000-1, 7.6, and 32000-2, 7.6). The
// password of the owner opens it too.
type Lock struct {
	standard  bool // the handler that all programs have
	revision  int64
	size      int // bytes of the key
	owner     []byte
	user      []byte
	ownerKey  []byte
	userKey   []byte
	rights    uint32
	id        []byte
	metadata  bool // encrypted too
	filters   map[string]method
	streams   method
	strings   method
	embedded  method
	key       []byte // nil: not known
	encrypted bool   // anything is encrypted
}

// lock reads an encryption dictionary.
func (d *document) lock(dict value, id []byte) (*Lock, error) {
	get := func(key string) value {
		v, _ := d.deref(dict.get(key)) // what cannot be read is not there
		return v
	}
	l := &Lock{revision: get("R").int(0), id: bytes.Clone(id), filters: map[string]method{"Identity": methodNone}}
	l.standard = get("Filter").is("Standard")
	l.owner, l.user = bytes.Clone(get("O").bytes()), bytes.Clone(get("U").bytes())
	l.ownerKey, l.userKey = bytes.Clone(get("OE").bytes()), bytes.Clone(get("UE").bytes())
	l.rights = uint32(get("P").int(0))
	l.metadata = true
	if v := get("EncryptMetadata"); v.kind() == kindBool {
		l.metadata = v.node().num != 0
	}
	version, bits := get("V").int(0), get("Length").int(40)
	if bits < 40 { // some say bytes
		bits *= 8
	}
	l.size = int(clamp(bits/8, 16))
	switch {
	case version == 1 || version == 0:
		l.size = 5
		l.streams = methodRC4
	case version == 2 || version == 3:
		l.streams = methodRC4
	case version == 4 || version == 5:
		l.size = 16
		l.named(d, get)
		return l, d.file.err
	default:
		l.streams = methodUnknown
	}
	if l.size < 5 {
		l.size = 5
	}
	l.strings, l.embedded, l.encrypted = l.streams, l.streams, true
	return l, d.file.err
}

// named reads the crypt filters (7.6.5).
func (l *Lock) named(d *document, get func(string) value) {
	for name, v := range get("CF").pairs {
		v, _ = d.deref(v)
		m := methodUnknown
		switch cfm, _ := d.deref(v.get("CFM")); cfm.name() {
		case "V2":
			m = methodRC4
		case "AESV2":
			m = methodAES
		case "AESV3":
			m = methodAES256
		case "None":
			m = methodNone
		}
		if name.name() != "Identity" {
			l.filters[name.name()] = m
		}
	}
	of := func(key string, def method) method {
		v := get(key)
		if v.kind() != kindName {
			return def
		}
		return l.filter(v.name())
	}
	l.streams, l.strings = of("StmF", methodNone), of("StrF", methodNone)
	l.embedded = of("EFF", l.streams)
	l.encrypted = l.streams != methodNone || l.strings != methodNone || l.embedded != methodNone
}

func (l *Lock) filter(name string) method {
	m, ok := l.filters[name]
	if !ok {
		return methodUnknown
	}
	return m
}

// Opens reports whether a password opens the document, that of its user or its owner. If it does, the
// document is decrypted with it from then on.
func (l *Lock) Opens(password string) bool {
	if !l.standard {
		return false
	}
	var key []byte
	if l.revision >= 5 {
		key = l.openNew(password)
	} else {
		for _, word := range oldPasswords(password) {
			if key = l.openOld(word); key != nil {
				break
			}
		}
	}
	if key != nil {
		l.key = key
	}
	return key != nil
}

// oldPasswords are the bytes that a password may be in the encodings of old documents: Latin-1 as
// PDFDocEncoding has it, and UTF-8 as some programs do it.
func oldPasswords(password string) [][]byte {
	var latin []byte
	for _, r := range password {
		if r > 0xff {
			return [][]byte{[]byte(password)}
		}
		latin = append(latin, byte(r))
	}
	if string(latin) == password {
		return [][]byte{latin}
	}
	return [][]byte{latin, []byte(password)}
}

// padded is a password of 32 bytes.
func padded(password []byte) []byte {
	return append(append(make([]byte, 0, 64), password...), padding...)[:32]
}

// openOld gives the key that a password makes, up to revision 4; nil if it is the wrong one.
func (l *Lock) openOld(password []byte) []byte {
	if len(l.owner) < 32 || len(l.user) < 16 || l.revision < 2 {
		return nil
	}
	if key := l.oldKey(password); l.isUser(key) {
		return key
	}
	if key := l.oldKey(l.userPassword(password)); l.isUser(key) {
		return key
	}
	return nil
}

// oldKey is algorithm 2.
func (l *Lock) oldKey(password []byte) []byte {
	h := md5.New()
	h.Write(padded(password))
	h.Write(l.owner[:32])
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], l.rights)
	h.Write(p[:])
	h.Write(l.id)
	if l.revision >= 4 && !l.metadata {
		h.Write([]byte("\xff\xff\xff\xff"))
	}
	key := h.Sum(nil)
	if l.revision >= 3 {
		for range 50 {
			sum := md5.Sum(key[:l.size])
			copy(key, sum[:])
		}
	}
	return key[:l.size]
}

// isUser compares what algorithms 4 and 5 make of a key with what is in the document.
func (l *Lock) isUser(key []byte) bool {
	if l.revision == 2 {
		out := crypt4(key, []byte(padding))
		return bytes.HasPrefix(l.user, out[:16])
	}
	h := md5.New()
	h.Write([]byte(padding))
	h.Write(l.id)
	out := h.Sum(nil)
	for i := range 20 {
		out = crypt4(xored(key, byte(i)), out)
	}
	return bytes.HasPrefix(l.user, out)
}

// userPassword is the password of the user that one of the owner decrypts (algorithm 7).
func (l *Lock) userPassword(owner []byte) []byte {
	sum := md5.Sum(padded(owner))
	key := sum[:]
	if l.revision >= 3 {
		for range 50 {
			sum = md5.Sum(key)
		}
	}
	key = key[:l.size]
	if l.revision == 2 {
		return crypt4(key, l.owner[:32])
	}
	out := l.owner[:32]
	for i := 19; i >= 0; i-- {
		out = crypt4(xored(key, byte(i)), out)
	}
	return out
}

func xored(key []byte, b byte) []byte {
	out := bytes.Clone(key)
	for i := range out {
		out[i] ^= b
	}
	return out
}

func crypt4(key, b []byte) []byte {
	c, err := rc4.NewCipher(key)
	if err != nil {
		return make([]byte, len(b))
	}
	out := make([]byte, len(b))
	c.XORKeyStream(out, b)
	return out
}

// openNew gives the key that a password opens, from revision 5 on (32000-2, algorithm 2.A).
func (l *Lock) openNew(password string) []byte {
	if len(l.user) < 48 || len(l.owner) < 48 || len(l.userKey) < 32 || len(l.ownerKey) < 32 {
		return nil
	}
	word := []byte(password)
	word = word[:min(len(word), 127)]
	u := l.user[:48]
	if bytes.Equal(l.hash(word, l.user[32:40], nil), l.user[:32]) {
		return unwrap(l.hash(word, l.user[40:48], nil), l.userKey)
	}
	if bytes.Equal(l.hash(word, l.owner[32:40], u), l.owner[:32]) {
		return unwrap(l.hash(word, l.owner[40:48], u), l.ownerKey)
	}
	return nil
}

func unwrap(key, wrapped []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil
	}
	out := make([]byte, 32)
	cipher.NewCBCDecrypter(block, make([]byte, 16)).CryptBlocks(out, wrapped[:32])
	return out
}

// maxRounds is how many rounds the hash of passwords may take. Each has one chance in 8 to be the last
// one at the beginning, and a better one later.
const maxRounds = 64 + 1024

// hash is algorithm 2.B, and in revision 5 nothing but SHA-256.
func (l *Lock) hash(password, salt, user []byte) []byte {
	sum := sha256.Sum256(bytes.Join([][]byte{password, salt, user}, nil))
	k := sum[:]
	if l.revision < 6 {
		return k
	}
	for i := 0; i < maxRounds; i++ {
		one := bytes.Join([][]byte{password, k, user}, nil)
		e := bytes.Repeat(one, 64)
		block, err := aes.NewCipher(k[:16])
		if err != nil {
			return nil
		}
		cipher.NewCBCEncrypter(block, k[16:32]).CryptBlocks(e, e)
		rest := 0
		for _, b := range e[:16] {
			rest += int(b)
		}
		h := []func() hash.Hash{sha256.New, sha512.New384, sha512.New}[rest%3]()
		h.Write(e)
		k = h.Sum(nil)
		if i >= 63 && int(e[len(e)-1]) <= i-31 {
			break
		}
	}
	return k[:32]
}

// objectKey is the key of one object (algorithm 1).
func (l *Lock) objectKey(m method, num uint32, gen uint16) []byte {
	if m == methodAES256 {
		return l.key
	}
	b := append(bytes.Clone(l.key), byte(num), byte(num>>8), byte(num>>16), byte(gen), byte(gen>>8))
	if m == methodAES {
		b = append(b, "sAlT"...)
	}
	sum := md5.Sum(b)
	return sum[:min(len(l.key)+5, 16)]
}

// reader decrypts a stream.
func (l *Lock) reader(r io.Reader, m method, num uint32, gen uint16) (io.Reader, error) {
	if m == methodNone {
		return r, nil
	}
	if l.key == nil || m == methodUnknown {
		return nil, errEncrypted
	}
	key := l.objectKey(m, num, gen)
	if m == methodRC4 {
		c, err := rc4.NewCipher(key)
		return &cipher.StreamReader{S: c, R: r}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errEncrypted
	}
	return &cbcReader{r: r, block: block}, nil
}

// seal encrypts what an object stream becomes, which has that much room; more than that if it has not
// enough. What was encrypted in blocks gets just its old length, with zeros behind what is compressed.
func (l *Lock) seal(b []byte, s *objectStream, room int64) []byte {
	if l == nil || s.method == methodNone {
		return b
	}
	num := s.e.num
	if s.e.alias != 0 {
		num = s.e.alias
	}
	key := l.objectKey(s.method, num, s.e.gen)
	if s.method == methodRC4 {
		return crypt4(key, append(b, make([]byte, max(room-int64(len(b)), 0))...))
	}
	// an initialization vector, the content, and one byte of padding
	if room%aes.BlockSize != 0 || int64(len(b))+aes.BlockSize+1 > room {
		return make([]byte, room+1)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return make([]byte, room+1)
	}
	out := make([]byte, room)
	sum := sha256.Sum256(b) // the same document is always written the same
	copy(out, sum[:aes.BlockSize])
	copy(out[aes.BlockSize:], b)
	out[room-1] = 1
	cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], out[aes.BlockSize:])
	return out
}

// text decrypts a string.
func (l *Lock) text(b []byte, num uint32, gen uint16) ([]byte, error) {
	r, err := l.reader(bytes.NewReader(b), l.strings, num, gen)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// A cbcReader decrypts AES in CBC mode, with the initialization vector before it, and takes the padding
// off (7.6.2). Of a last block that is not whole nothing can be made.
type cbcReader struct {
	r     io.Reader
	block cipher.Block
	mode  cipher.BlockMode
	buf   [4096]byte // decrypted; the last block is kept back, for it may be padding
	out   []byte
	kept  [16]byte
	has   bool // something is in kept
	err   error
}

func (c *cbcReader) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.fill()
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

func (c *cbcReader) fill() {
	if c.mode == nil {
		var iv [16]byte
		if _, err := io.ReadFull(c.r, iv[:]); err != nil {
			c.end(err)
			return
		}
		c.mode = cipher.NewCBCDecrypter(c.block, iv[:])
	}
	in := c.buf[16:]
	n, err := io.ReadFull(c.r, in)
	n &^= 15
	c.mode.CryptBlocks(in[:n], in[:n])
	if c.has {
		copy(c.buf[:16], c.kept[:])
		c.out = c.buf[:16+n]
	} else {
		c.out = in[:n]
	}
	if err != nil {
		c.end(err)
		return
	}
	copy(c.kept[:], c.out[len(c.out)-16:])
	c.has, c.out = true, c.out[:len(c.out)-16]
}

// end takes the padding off what is left.
func (c *cbcReader) end(err error) {
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	c.err = err
	if n := len(c.out); n >= 16 {
		if pad := int(c.out[n-1]); pad >= 1 && pad <= 16 {
			c.out = c.out[:n-pad]
		}
	}
}
