package ole

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

const payload = "RASTEL HARMLESS TEST PAYLOAD 5d1f8c72"

// unlocked gives the members of an encrypted document, and the checks of its findings with what they
// say, where the message has those words.
func unlocked(t testing.TB, content []byte, words ...string) (members [][]byte, checks []string) {
	t.Helper()
	b := scanners.NewBudget(scanners.BudgetLimits{}, eml.SpoolOptions{})
	b.SetWords(func(context.Context) scanners.Words { return scanners.Words{Message: words} })
	list, err := Files{}.Expand(t.Context(), part(t, content, "a.doc"), b, func(m *eml.Part) error {
		defer m.Release()
		b, err := io.ReadAll(m.Content())
		members = append(members, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		checks = append(checks, f.Check)
		if f.Unexamined != (f.Check == encrypted || f.Check == damaged) {
			t.Errorf("finding %+v", f)
		}
	}
	return members, checks
}

func wantUnlocked(t *testing.T, content []byte, check, want string, words ...string) {
	t.Helper()
	members, checks := unlocked(t, content, words...)
	if !slices.Equal(checks, []string{check}) {
		t.Errorf("got %q, want %s", checks, check)
	}
	if !slices.ContainsFunc(members, func(m []byte) bool { return bytes.Contains(m, []byte(want)) }) {
		t.Errorf("no member with %.60q in %.200q", want, members)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// These were written by Office, with the passwords that stand here.
func TestTellsThePasswordsOfRealDocuments(t *testing.T) {
	for name, tt := range map[string]struct {
		l        lock
		password string
	}{
		"agile": {agileLock([]byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<encryption xmlns="http://schemas.microsoft.com/office/2006/encryption" xmlns:p="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><keyData saltSize="16" blockSize="16" keyBits="256" hashSize="64" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="SHA512" saltValue="1dL/f4NMFlPo3XdFcahzJw=="/><keyEncryptors><keyEncryptor uri="http://schemas.microsoft.com/office/2006/keyEncryptor/password"><p:encryptedKey spinCount="100000" saltSize="16" blockSize="16" keyBits="256" hashSize="64" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="SHA512" saltValue="y8ocmZND+62SB1Y0FQA0sA==" encryptedVerifierHashInput="Oe6lTiblFHmMKEvHcU04rA==" encryptedVerifierHashValue="FDdtbYFzNOaw/0/YIhp8Z45dinhOj5mfTBiJMMNqSynFszNgW1zUA7BQA63PGMyoy6uN6+NzxlYEoL7PrlwK0A==" encryptedKeyValue="TM3GMHGYDMVDT/el5ozEU00Qb4v1X2JfKtCUQNqK8po="/></keyEncryptor></keyEncryptors></encryption>`)), "Password1234_"},
		"standard":  {packageLock(bytes.NewReader(unhex(t, "03000200240000008c00000024000000000000000e66000004800000800000001800000000000000000000004d006900630072006f0073006f0066007400200045006e00680061006e006300650064002000520053004100200061006e00640020004100450053002000430072007900700074006f0067007200610070006800690063002000500072006f0076006900640065007200000010000000e88266490c5bd1eebd2b4394e3f830ef516f732e966fac17b1c5d7d8cc36c928140000002b6168dabe2911ad2bd37c1746745c14d3cf1bb140a48f4e6f3d23880872b16a"))), "Password1234_"},
		"CryptoAPI": {rc4LockOf(unhex(t, "040002000c0000007e0000000c000000000000000168000004800000800000000100000000000000000000004d006900630072006f0073006f0066007400200045006e00680061006e006300650064002000430072007900700074006f0067007200610070006800690063002000500072006f00760069006400650072002000760031002e003000000010000000389eb85ba016979b45872262bd473d33ae9b4378c00439b8b41d20a7e60d54721400000055f5f2601bc97515cb1908e1ad706e50c3734500"), wordBlock, func(k *rc4Key) key { return bookKey{&rc4Book{rc4Stream{k: k}}} }), "Password1234_"},
		"RC4":       {rc4LockOf([]byte("\x01\x00\x01\x00"+"\xe8w,\x1d\x91\xc5j7\x96Ga\xb2\x80\x182\x17"+"\xc9\xe9\x97\xd4T\x97=1\x0b\xb1\xbap\x14&\x83~"+"\xb1\xde\x17\x8f\x07\xe9\x89\xc4M\xae^L\xf9j\xc4\x07"), bookBlock, func(k *rc4Key) key { return bookKey{&rc4Book{rc4Stream{k: k}}} }), "password1"},
		"XOR":       {xorLock{33381, 40625}, "123456789012345"},
	} {
		if tt.l == nil {
			t.Errorf("%s: not read", name)
			continue
		}
		if tt.l.opens(tt.password) == nil {
			t.Errorf("%s: the password does not open it", name)
		}
		for _, wrong := range []string{"", "Password1234", "password", strings.Repeat("x", 1000)} {
			if tt.l.opens(wrong) != nil {
				t.Errorf("%s: %.20q opens it", name, wrong)
			}
		}
	}
}

func TestTellsThePasswordsOfTheCorpus(t *testing.T) {
	for file, password := range map[string]string{"document_bug53475-password-is-pass.docx": "pass", "document_bug53475-password-is-solrcell.docx": "solrcell",
		"spreadsheet_protected_passtika.xlsx": "tika", "spreadsheet_protected_passtika.xlsb": "tika"} {
		content, err := os.ReadFile(filepath.Join("../../../shared/corpus/office/poi", file))
		if err != nil {
			t.Skip("the corpus of documents is not there")
		}
		t.Run(file, func(t *testing.T) { wantUnlocked(t, content, inMessage, "[Content_Types].xml", "a", password) })
	}
}

// agilePackage is a document of Office in agile encryption.
func agilePackage(password, content string) []byte {
	salt, secret, h := []byte("0123456789abcdef"), []byte("0123456789abcdef0123456789abcdef"), hashNamed("SHA512")
	sum := spun(h, salt, password, 10)
	seal := func(key, iv, data []byte) []byte {
		c, _ := aes.NewCipher(key)
		out := append(bytes.Clone(data), make([]byte, -len(data)&15)...)
		cipher.NewCBCEncrypter(c, iv).CryptBlocks(out, out)
		return out
	}
	attr := func(use, data []byte) string {
		return base64.StdEncoding.EncodeToString(seal(hashed(h, sum, use)[:32], salt, data))
	}
	params := `saltSize="16" blockSize="16" keyBits="256" hashSize="64" cipherAlgorithm="AES" cipherChaining="ChainingModeCBC" hashAlgorithm="SHA512" saltValue="` + base64.StdEncoding.EncodeToString(salt) + `"`
	input := []byte("fedcba9876543210")
	info := "\x04\x00\x04\x00\x40\x00\x00\x00" + `<encryption xmlns="e"><keyData ` + params + `/><keyEncryptors><keyEncryptor uri="p"><encryptedKey xmlns="p" spinCount="10" ` + params +
		fmt.Sprintf(` encryptedVerifierHashInput=%q encryptedVerifierHashValue=%q encryptedKeyValue=%q/></keyEncryptor></keyEncryptors></encryption>`,
			attr(forInput, input), attr(forValue, hashed(h, input)), attr(forKey, secret))
	data := binary.LittleEndian.AppendUint64(nil, uint64(len(content)))
	for i, s := 0, []byte(content); len(s) > 0; i++ {
		n := min(len(s), segment)
		data = append(data, seal(secret, hashed(h, salt, binary.LittleEndian.AppendUint32(nil, uint32(i)))[:16], s[:n])...)
		s = s[n:]
	}
	return compoundFile(dir{"EncryptionInfo": info, "EncryptedPackage": string(data)})
}

func TestOpensAgilePackages(t *testing.T) {
	content := "PK\x03\x04" + strings.Repeat("padding ", 2000) + payload
	wantUnlocked(t, agilePackage("hugo", content), inMessage, content, "paul", "hugo")
	wantUnlocked(t, agilePackage("infected", content), known, content)
	wantUnlocked(t, agilePackage(defaultPassword, content), byDefault, content)
	members, checks := unlocked(t, agilePackage("hugo", content), "paul")
	if !slices.Equal(checks, []string{encrypted}) || len(members) > 0 {
		t.Errorf("got %q and %.60q", checks, members)
	}
}

// rc4Header is that of RC4 by itself.
func rc4Header(password string) ([]byte, *rc4Key) {
	b := append([]byte("\x01\x00\x01\x000123456789abcdef"), make([]byte, 32)...)
	l := rc4LockOf(b, 0, nil).(*rc4Lock)
	sum := hashed(hashNamed("MD5"), utf16Bytes(password))
	k := &rc4Key{base: hashed(hashNamed("MD5"), bytes.Repeat(append(sum[:5:5], l.v.salt...), 16))[:5]}
	c := k.cipher(0)
	input := []byte("fedcba9876543210")
	c.XORKeyStream(b[20:], input)
	c.XORKeyStream(b[36:], k.hash(input))
	return b, k
}

// workbook is one whose records are encrypted by c, behind FILEPASS with that content.
func workbook(filePass string, c bookCipher, encrypt func(p []byte)) []byte {
	var out []byte
	add := func(id uint16, data string) {
		h := binary.LittleEndian.AppendUint16(nil, id)
		h = binary.LittleEndian.AppendUint16(h, uint16(len(data)))
		out = append(out, h...)
		c.skip(4)
		c.record(int64(len(out)), len(data))
		p, plain := []byte(data), 0
		if plainRecords[id] {
			plain = len(p)
		} else if id == recordSheet {
			plain = 4
		}
		c.skip(plain)
		encrypt(p[plain:])
		out = append(out, p...)
	}
	add(0x0809, "\x00\x06\x05\x00"+strings.Repeat("x", 12))
	add(recordFilePass, filePass)
	add(recordSheet, "\x01\x02\x03\x04a sheet")
	for range 40 {
		add(0x00fc, strings.Repeat("filler ", 70))
	}
	add(0x00fc, payload)
	add(0x000a, "")
	return out
}

func TestOpensWorkbooks(t *testing.T) {
	head, k := rc4Header("hugo")
	k.size = bookBlock
	c := &rc4Book{rc4Stream{k: k}}
	book := workbook("\x01\x00"+string(head), c, c.decrypt)
	wantUnlocked(t, compoundFile(dir{"Workbook": string(book)}), inMessage, payload, "paul", "hugo")
	wantUnlocked(t, compoundFile(dir{"Workbook": string(book)}), inMessage, "\x01\x02\x03\x04a sheet", "hugo")

	for _, password := range []string{"hugo", "franz", defaultPassword} {
		p := []byte(password)
		x := &xorBook{array: xorArray(p, xorKeyOf(p))}
		pass := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16([]byte{0, 0}, xorKeyOf(p)), xorVerifierOf(p))
		book := workbook(string(pass), x, func(p []byte) {
			for i := range p {
				p[i] = bits.RotateLeft8(p[i], 5) ^ x.array[x.i&15]
				x.i++
			}
		})
		check := inMessage
		if password == defaultPassword {
			check = byDefault
		}
		wantUnlocked(t, compoundFile(dir{"Book": string(book)}), check, payload, "hugo", "franz")
	}
}

func TestOpensWord(t *testing.T) {
	head, k := rc4Header("hugo")
	k.size = wordBlock
	seal := func(s string) string {
		b := []byte(s)
		(&rc4Stream{k: k}).decrypt(b)
		return string(b)
	}
	fib := make([]byte, wordPlain)
	binary.LittleEndian.PutUint16(fib[wordFlags:], wordEncrypted|wordTable1)
	binary.LittleEndian.PutUint32(fib[wordKey:], uint32(len(head)))
	text := strings.Repeat("text ", 2000) + payload
	doc := compoundFile(dir{
		"WordDocument": string(fib) + seal(string(fib) + text)[wordPlain:],
		"1Table":       string(head) + seal(strings.Repeat("t", 3000))[len(head):],
		"Data":         seal("data " + payload),
	})
	wantUnlocked(t, doc, inMessage, text, "hugo")
	wantUnlocked(t, doc, inMessage, "data "+payload, "hugo")
	members, _ := unlocked(t, doc, "hugo")
	if len(members) != 1 {
		t.Fatalf("%d members, want 1", len(members))
	}
	if again, checks := unlocked(t, members[0], "hugo"); len(checks) > 0 {
		t.Errorf("the copy is still encrypted: %q, %.60q", checks, again)
	}
}

func FuzzUnlock(f *testing.F) {
	f.Add(agilePackage("1234", payload))
	head, k := rc4Header("1234")
	k.size = bookBlock
	c := &rc4Book{rc4Stream{k: k}}
	f.Add(compoundFile(dir{"Workbook": string(workbook("\x01\x00"+string(head), c, c.decrypt))}))
	f.Add(compoundFile(dir{"Current User": "\x00\x00\xf6\x0f\x14\x00\x00\x00\x14\x00\x00\x00\xdf\xc4\xd1\xf3\x00\x00\x00\x00", "PowerPoint Document": "\x00\x00\xf5\x0f\x20\x00\x00\x00" + strings.Repeat("\x00", 64)}))
	f.Fuzz(func(t *testing.T, content []byte) {
		b := scanners.NewBudget(scanners.BudgetLimits{Bytes: 1 << 20, PasswordTime: 1}, eml.SpoolOptions{})
		size := int64(0)
		_, err := Files{}.Expand(t.Context(), part(t, content, "a.xls"), b, func(m *eml.Part) error {
			size += m.Size
			m.Release()
			return nil
		})
		if size > 1<<20 {
			t.Errorf("%d bytes, %v", size, err)
		}
	})
}

func BenchmarkPasswords(b *testing.B) {
	head, _ := rc4Header("hugo")
	agile := func(spins string) lock {
		return agileLock([]byte(strings.Replace(infoOf(b, agilePackage("hugo", payload)), `spinCount="10"`, `spinCount="`+spins+`"`, 1)))
	}
	for name, l := range map[string]lock{"agile": agile("100000"), "rc4": rc4LockOf(head, bookBlock, nil), "xor": xorLock{1, 2}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				l.opens("wrong")
			}
		})
	}
}

func infoOf(t testing.TB, content []byte) string {
	list, err := Encrypted(bytes.NewReader(content), int64(len(content)))
	if err != nil || len(list) != 1 {
		t.Fatal(err, list)
	}
	info, err := io.ReadAll(list[0].Stream("EncryptionInfo"))
	if err != nil {
		t.Fatal(err)
	}
	return string(info[8:])
}
