package pdf

import (
	"bytes"
	"compress/lzw"
	"compress/zlib"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/ascii85"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A builder writes a document.
type builder struct {
	bytes.Buffer
	offs map[int]int
	prev int
	lock *testLock
	skip map[int]bool // objects that are not encrypted
}

func newBuilder() *builder {
	b := &builder{offs: map[int]int{}, skip: map[int]bool{}}
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	return b
}

// page writes a document of one empty page, with more in its catalog.
func (b *builder) page(catalog string) {
	b.object(1, "<</Type/Catalog/Pages 2 0 R "+catalog+">>")
	b.object(2, "<</Type/Pages/Kids[3 0 R]/Count 1>>")
	b.object(3, "<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Resources<<>>>>")
}

func (b *builder) object(num int, text string) {
	b.offs[num] = b.Len()
	if b.lock != nil && !b.skip[num] {
		text = b.lock.strings(text, num)
	}
	fmt.Fprintf(b, "%d 0 obj\n%s\nendobj\n", num, text)
}

func (b *builder) stream(num int, dict, data string) {
	b.offs[num] = b.Len()
	if b.lock != nil && !b.skip[num] {
		data = string(b.lock.seal([]byte(data), num))
		dict = b.lock.strings(dict, num)
	}
	fmt.Fprintf(b, "%d 0 obj\n<<%s/Length %d>>\nstream\n%s\nendstream\nendobj\n", num, dict, len(data), data)
}

// end writes a table of what was written since the last one, and a trailer.
func (b *builder) end(trailer string) *builder {
	at := b.Len()
	b.WriteString("xref\n0 1\n0000000000 65535 f \n")
	nums := make([]int, 0, len(b.offs))
	for n := range b.offs {
		nums = append(nums, n)
	}
	slices.Sort(nums)
	for _, n := range nums {
		fmt.Fprintf(b, "%d 1\n%010d 00000 n \n", n, b.offs[n])
	}
	fmt.Fprintf(b, "trailer\n<</Size 100/Root 1 0 R%s", trailer)
	if b.prev > 0 {
		fmt.Fprintf(b, "/Prev %d", b.prev)
	}
	fmt.Fprintf(b, ">>\nstartxref\n%d\n%%%%EOF\n", at)
	b.prev = at
	b.offs = map[int]int{}
	return b
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func hexed(s string) string { return hex.EncodeToString([]byte(s)) + ">" }

func ascii85ed(s string) string {
	b := make([]byte, ascii85.MaxEncodedLen(len(s)))
	return "<~"[2:] + string(b[:ascii85.Encode(b, []byte(s))]) + "~>"
}

func runs(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(len(s), 128)
		b.WriteByte(byte(n - 1))
		b.WriteString(s[:n])
		s = s[n:]
	}
	return b.String() + "\x80"
}

// lzwed is LZW with codes that do not grow early, as Go writes it.
func lzwed(s string) string {
	var b bytes.Buffer
	w := lzw.NewWriter(&b, lzw.MSB, 8)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// lzwEarly is LZW that defines nothing: a clear code before each 200 bytes.
func lzwEarly(s string) string {
	var out []byte
	bits, have := uint64(0), 0
	put := func(code, width int) {
		bits, have = bits<<width|uint64(code), have+width
		for have >= 8 {
			have -= 8
			out = append(out, byte(bits>>have))
		}
	}
	for i := range len(s) {
		if i%200 == 0 {
			put(256, 9)
		}
		put(int(s[i]), 9)
	}
	put(257, 9)
	put(0, 7)
	return string(out)
}

// pngRows applies the filter of PNG with that number to rows of n bytes of pixels of 1 byte.
func pngRows(s string, n int, kind byte) string {
	for len(s)%n != 0 {
		s += "\n"
	}
	var out []byte
	above := make([]byte, n)
	for row := []byte(s); len(row) > 0; row = row[n:] {
		out = append(out, kind)
		for i := range n {
			var left, corner byte
			if i > 0 {
				left, corner = row[i-1], above[i-1]
			}
			pred := []byte{0, left, above[i], byte((int(left) + int(above[i])) / 2), paeth(left, above[i], corner)}[kind]
			out = append(out, row[i]-pred)
		}
		above = row[:n]
	}
	return string(out)
}

// tiffRow applies the predictor of TIFF to one row.
func tiffRow(s string) string {
	b := []byte(s)
	for i := len(b) - 1; i > 0; i-- {
		b[i] -= b[i-1]
	}
	return string(b)
}

// objStm is what is in an object stream.
func objStm(objects map[int]string) (dict, data string) {
	var head, body string
	nums := []int{}
	for n := range objects {
		nums = append(nums, n)
	}
	slices.Sort(nums)
	for _, n := range nums {
		head += fmt.Sprintf("%d %d ", n, len(body))
		body += objects[n] + " "
	}
	return fmt.Sprintf("/Type/ObjStm/N %d/First %d", len(nums), len(head)), head + body
}

// A testLock encrypts documents.
type testLock struct {
	l      *Lock
	method method
	dict   string
}

const testID = "0123456789abcdef"

// testLocks are the kinds of encryption that there are.
var testLocks = []string{"V1", "V2", "V4-RC4", "V4-AES", "V5-R5", "V5-R6"}

// newLock makes an encryption with passwords of user and owner.
func newLock(t testing.TB, kind, user, owner string) *testLock {
	l := &Lock{standard: true, rights: 0xfffffffc, id: []byte(testID), metadata: true, size: 16}
	k := &testLock{l: l}
	head := "/V 2/R 3/Length 128"
	switch kind {
	case "V1":
		l.revision, l.size, k.method, head = 2, 5, methodRC4, "/V 1/R 2"
	case "V2":
		l.revision, k.method = 3, methodRC4
	case "V4-RC4":
		l.revision, k.method, head = 4, methodRC4, "/V 4/R 4/Length 128/CF<</StdCF<</CFM/V2/Length 16/AuthEvent/DocOpen>>>>/StmF/StdCF/StrF/StdCF"
	case "V4-AES":
		l.revision, k.method, head = 4, methodAES, "/V 4/R 4/Length 128/CF<</StdCF<</CFM/AESV2/Length 16/AuthEvent/DocOpen>>>>/StmF/StdCF/StrF/StdCF"
	case "V5-R5", "V5-R6":
		l.revision, k.method = 5+int64(kind[4]-'5'), methodAES256
		head = fmt.Sprintf("/V 5/R %d/Length 256/CF<</StdCF<</CFM/AESV3/Length 32/AuthEvent/DocOpen>>>>/StmF/StdCF/StrF/StdCF", l.revision)
	default:
		t.Fatal(kind)
	}
	perms := ""
	if k.method == methodAES256 {
		perms = k.newKeys(t, user, owner)
	} else {
		k.oldKeys(user, owner)
	}
	k.dict = fmt.Sprintf("<</Filter/Standard%s/P -4/O<%x>/U<%x>%s>>", head, l.owner, l.user, perms)
	return k
}

func (k *testLock) oldKeys(user, owner string) {
	l := k.l
	sum := md5.Sum(padded([]byte(owner)))
	if l.revision >= 3 {
		for range 50 {
			sum = md5.Sum(sum[:])
		}
	}
	l.owner = crypt4(sum[:l.size], padded([]byte(user)))
	for i := 1; i < 20 && l.revision >= 3; i++ {
		l.owner = crypt4(xored(sum[:l.size], byte(i)), l.owner)
	}
	l.key = l.oldKey([]byte(user))
	if l.revision == 2 {
		l.user = crypt4(l.key, []byte(padding))
		return
	}
	sum = md5.Sum([]byte(padding + testID))
	out := sum[:]
	for i := range 20 {
		out = crypt4(xored(l.key, byte(i)), out)
	}
	l.user = append(out, make([]byte, 16)...)
}

func (k *testLock) newKeys(t testing.TB, user, owner string) string {
	l := k.l
	l.key = []byte("a key of thirty-two bytes, known")
	wrap := func(key []byte) []byte {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 32)
		cipher.NewCBCEncrypter(block, make([]byte, 16)).CryptBlocks(out, l.key)
		return out
	}
	const salts = "saltsaltSALTSALT"
	l.user = append(l.hash([]byte(user), []byte(salts[:8]), nil), salts...)
	l.userKey = wrap(l.hash([]byte(user), []byte(salts[8:]), nil))
	l.owner = append(l.hash([]byte(owner), []byte(salts[:8]), l.user), salts...)
	l.ownerKey = wrap(l.hash([]byte(owner), []byte(salts[8:]), l.user))
	perms := binary.LittleEndian.AppendUint32(nil, l.rights)
	perms = append(perms, "\xff\xff\xff\xffTadbrand"...)
	block, err := aes.NewCipher(l.key)
	if err != nil {
		t.Fatal(err)
	}
	block.Encrypt(perms, perms)
	return fmt.Sprintf("/UE<%x>/OE<%x>/Perms<%x>", l.userKey, l.ownerKey, perms)
}

// seal encrypts what is in an object.
func (k *testLock) seal(b []byte, num int) []byte {
	key := k.l.objectKey(k.method, uint32(num), 0)
	if k.method == methodRC4 {
		return crypt4(key, b)
	}
	pad := 16 - len(b)%16
	b = append(bytes.Clone(b), bytes.Repeat([]byte{byte(pad)}, pad)...)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	iv := []byte("any initial vect")
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(b, b)
	return append(iv, b...)
}

// strings encrypts the strings in parentheses of an object, in which there are none.
func (k *testLock) strings(text string, num int) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "(")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		var s string
		s, text, _ = strings.Cut(rest, ")")
		fmt.Fprintf(&out, "<%x>", k.seal([]byte(s), num))
	}
}

// attached is a document with a file attached, as the text says.
func attached(k *testLock) *builder {
	b := newBuilder()
	trailer := ""
	if k != nil {
		b.skip[9] = true
		b.lock = k
		b.object(9, k.dict)
		trailer = fmt.Sprintf("/Encrypt 9 0 R/ID[<%x><%x>]", testID, testID)
	}
	b.page("/Names<</EmbeddedFiles<</Names[(tree.txt) 4 0 R]>>/JavaScript<</Names[(a) 6 0 R]>>>>")
	b.object(4, "<</Type/Filespec/F(letter.txt)/UF(letter.txt)/Desc(a letter)/EF<</F 5 0 R>>>>")
	b.stream(5, "/Type/EmbeddedFile/Filter/FlateDecode", deflated(payload))
	b.object(6, "<</S/JavaScript/JS(app.alert 1;)>>")
	return b.end(trailer)
}

// inAttached is what is in it.
var inAttached = []string{"letter.txt, tree.txt: " + payload, ": app.alert 1;\n"}
