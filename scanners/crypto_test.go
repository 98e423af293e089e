package scanners_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rastel/sanitize/eml"
	"rastel/scanners"
)

// hang is how long something may take before it is held for one that never ends. It bounds no
// speed: other programs may have the processor, and benchmarks measure.
const hang = time.Minute

// tlv is one element of DER.
func tlv(tag byte, content ...[]byte) []byte {
	c := bytes.Join(content, nil)
	if len(c) < 0x80 {
		return append([]byte{tag, byte(len(c))}, c...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{tag, 0x84}, uint32(len(c))), c...)
}

// endless is one element of BER that has no length.
func endless(tag byte, content ...[]byte) []byte {
	return slices.Concat([]byte{tag, 0x80}, bytes.Join(content, nil), []byte{0, 0})
}

var (
	oidPKCS7  = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07}
	oidSMIME  = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01}
	sha256ID  = tlv(0x30, []byte("\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"))
	dataID    = tlv(6, oidPKCS7, []byte{1})
	signedID  = tlv(6, oidPKCS7, []byte{2})
	zlibID    = tlv(0x30, tlv(6, oidSMIME[:9], []byte{3, 8}))
	version1  = tlv(2, []byte{1})
	signerSet = tlv(0x31)
)

// signedDER wraps content as it is signed, in DER.
func signedDER(content []byte) []byte {
	return tlv(0x30, signedID, tlv(0xa0, tlv(0x30, version1, tlv(0x31, sha256ID), tlv(0x30, dataID, tlv(0xa0, tlv(4, content))), signerSet)))
}

// signedBER does the same in BER, with a string in pieces.
func signedBER(content []byte, piece int) []byte {
	var pieces [][]byte
	for p := range slices.Chunk(content, piece) {
		pieces = append(pieces, tlv(4, p))
	}
	return endless(0x30, signedID, endless(0xa0, endless(0x30, version1, tlv(0x31, sha256ID),
		endless(0x30, dataID, endless(0xa0, endless(0x24, endless(0x24, pieces...)))), signerSet)))
}

func compressedDER(t testing.TB, content []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	write(t, w, content)
	return tlv(0x30, tlv(6, oidSMIME, []byte{9}), tlv(0xa0, tlv(0x30, tlv(2, []byte{0}), zlibID, tlv(0x30, dataID, tlv(0xa0, tlv(4, z.Bytes()))))))
}

func write(t testing.TB, w io.WriteCloser, content []byte) {
	t.Helper()
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// member is a part with that content and label.
func member(t testing.TB, content []byte, mediaType string, names ...string) *eml.Part {
	t.Helper()
	s := eml.NewSpool(eml.SpoolOptions{})
	if _, err := s.Write(content); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite(nil)
	p, err := eml.NewMember(&eml.Part{ID: "1"}, 1, names, s)
	if err != nil {
		t.Fatal(err)
	}
	p.MediaType = mediaType
	t.Cleanup(p.Release)
	return p
}

// opened is what came of one call of Expand.
type opened struct {
	contents, types []string
	names           [][]string
	findings        []string // check and part
}

var cryptoLimits = scanners.BudgetLimits{Bytes: 1 << 20, Members: 100}

// open expands p with what is within the limits, and holds it to the contract of Expand.
func open(t testing.TB, e scanners.Expander, p *eml.Part) opened {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var o opened
	size, start := int64(0), time.Now()
	findings, err := e.Expand(ctx, p, scanners.NewBudget(cryptoLimits, eml.SpoolOptions{}), func(m *eml.Part) error {
		defer m.Release()
		b, err := io.ReadAll(m.Content())
		if err != nil {
			t.Fatal(err)
		}
		o.contents, o.types, o.names = append(o.contents, string(b)), append(o.types, m.MediaType), append(o.names, m.Names)
		size += m.Size
		return nil
	})
	if err != nil && !errors.Is(err, scanners.ErrBudget) {
		t.Errorf("got %v, want no error but that of the budget", err)
	}
	if took := time.Since(start); size > cryptoLimits.Bytes || len(o.contents) > cryptoLimits.Members || took > hang {
		t.Errorf("%d members, %d bytes, %v", len(o.contents), size, took)
	}
	for _, f := range findings {
		if !slices.ContainsFunc(e.Checks(), func(c eml.Check) bool { return c.ID == f.Check }) {
			t.Errorf("%s is none of its checks", f.Check)
		}
		o.findings = append(o.findings, f.Check+" "+f.Part.ID)
	}
	return o
}

func TestOpensSMIME(t *testing.T) {
	const entity = "Content-Type: text/plain\r\n\r\nhello\r\n"
	for name, c := range map[string]struct {
		content  []byte
		want     string
		findings string
	}{
		"DER":                        {signedDER([]byte(entity)), entity, "signed/smime 1/1"},
		"BER":                        {signedBER([]byte(entity), 3), entity, "signed/smime 1/1"},
		"compressed":                 {compressedDER(t, []byte(entity)), entity, ""},
		"base64":                     {[]byte(base64.StdEncoding.EncodeToString(signedDER([]byte(entity)))), entity, "signed/smime 1/1"},
		"nothing in it":              {tlv(0x30, signedID), "", ""},
		"signature only":             {tlv(0x30, signedID, tlv(0xa0, tlv(0x30, version1, tlv(0x31, sha256ID), tlv(0x30, dataID), signerSet))), "", ""},
		"enveloped":                  {tlv(0x30, tlv(6, oidPKCS7, []byte{3}), tlv(0xa0, tlv(0x30, version1))), "", "crypto/smime-encrypted 1/1"},
		"auth-enveloped":             {tlv(0x30, tlv(6, oidSMIME, []byte{0x17}), tlv(0xa0, tlv(0x30, version1))), "", "crypto/smime-encrypted 1/1"},
		"encrypted":                  {tlv(0x30, tlv(6, oidPKCS7, []byte{6}), tlv(0xa0, tlv(0x30, version1))), "", "crypto/smime-encrypted 1/1"},
		"unknown":                    {tlv(0x30, tlv(6, oidSMIME, []byte{4}), tlv(0xa0, tlv(0x30, version1))), "", "crypto/damaged 1/1"},
		"a string that is a number":  {tlv(0x30, dataID, tlv(0xa0, version1)), "", "crypto/damaged 1/1"},
		"longer than around it":      {tlv(0x30, dataID, tlv(0xa0, []byte{4, 9, 1})), "", "crypto/damaged 1/1"},
		"a length of nine bytes":     {slices.Concat([]byte{0x30, 0x80}, dataID, []byte("\xa0\x89\x01\x00\x00\x00\x00\x00\x00\x00\x00")), "", "crypto/damaged 1/1"},
		"an end without a beginning": {tlv(0x30, dataID, tlv(0xa0, []byte{0, 0})), "", "crypto/damaged 1/1"},
		"ends too soon":              {signedBER([]byte(entity), 100)[:90], entity[:0], "crypto/damaged 1/1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := open(t, scanners.Crypto{}, member(t, c.content, "application/pkcs7-mime", "smime.p7m"))
			if c.want != "" && (len(got.contents) != 1 || got.contents[0] != c.want || got.types[0] != "message/rfc822") {
				t.Errorf("got members %q of types %q, want %q", got.contents, got.types, c.want)
			}
			if c.want == "" && strings.Join(got.contents, "") != "" && name != "ends too soon" {
				t.Errorf("got members %q, want none", got.contents)
			}
			if found := strings.Join(got.findings, ", "); !strings.HasSuffix(found, c.findings) || c.findings == "" && found != "" {
				t.Errorf("got findings %q, want %q", found, c.findings)
			}
		})
	}
}

// A compressed message of zeros must end at the budget, whatever wraps it.
func TestBombsOfSMIMEAndPGPEndAtTheBudget(t *testing.T) {
	zeros := make([]byte, 40<<20)
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, 9)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, append([]byte("\xcb\xff\x10\x00\x00\x00b\x00\x00\x00\x00\x00"), zeros...))
	for name, content := range map[string][]byte{
		"S/MIME": compressedDER(t, zeros),
		"PGP":    append([]byte{0xa3, 1}, z.Bytes()...),
	} {
		p := member(t, content, "", "a.gpg")
		_, err := scanners.Crypto{}.Expand(t.Context(), p, scanners.NewBudget(cryptoLimits, eml.SpoolOptions{}), func(m *eml.Part) error { m.Release(); return nil })
		if !errors.Is(err, scanners.ErrBudget) {
			t.Errorf("%s: got %v, want that of the budget", name, err)
		}
	}
}

// What is made of the smallest pieces that there can be must not take longer than the rest.
func TestSmallPiecesAreNoBurden(t *testing.T) {
	var partial bytes.Buffer
	partial.WriteString("\xcb")
	for range 6_000_000 {
		partial.WriteString("\xe0b")
	}
	partial.WriteString("\x00")
	manySkipped := tlv(0x30, signedID, tlv(0xa0, tlv(0x30, version1, tlv(0x31, bytes.Repeat(sha256ID, 1_200_000)), tlv(0x30, dataID, tlv(0xa0, tlv(4, []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n"+strings.Repeat("--b\r\n\r\nx\r\n", 1000))))), signerSet)))
	for name, content := range map[string][]byte{
		"BER":            signedBER(make([]byte, 6_000_000), 1),
		"PGP":            partial.Bytes(),
		"blocks":         bytes.Repeat([]byte("-----BEGIN PGP MESSAGE-----\n\nywA=\n"), 100_000),
		"long algorithm": manySkipped,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			set := scanners.NewSet(scanners.Options{}, scanners.Named{Name: "crypto", Scanner: scanners.Crypto{}}, scanners.Named{Name: "mail", Scanner: scanners.Mail{}})
			run := set.Start(t.Context())
			run.Add(member(t, content, "", "a.p7m", "a.gpg"))
			run.Wait()
			if took := time.Since(start); took > hang {
				t.Errorf("took %v", took)
			}
		})
	}
}

// literal is a literal packet whose body comes in parts, the first of 512 bytes at least (RFC 9580
// section 4.2.1.4).
func literal(content []byte) []byte {
	body := append([]byte("b\x03a.b\x00\x00\x00\x00"), content...)
	out := []byte{0xcb}
	for len(body) >= 512 {
		out = append(append(out, 0xe9), body[:512]...)
		body = body[512:]
	}
	out = append(out, 0xff)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
	return append(out, body...)
}

func compressed(t testing.TB, packets []byte) []byte {
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, 1)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, packets)
	return append([]byte{0xa3, 1}, z.Bytes()...)
}

func armored(packets []byte) []byte {
	return []byte("Hello,\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n" + base64.StdEncoding.EncodeToString(packets) + "\r\n=abcd\r\n-----END PGP MESSAGE-----\r\nBye\r\n")
}

func TestOpensPGP(t *testing.T) {
	nested := literal([]byte("hello"))
	for range 20 {
		nested = compressed(t, nested)
	}
	session := append([]byte{0x85, 0x01, 0x0c, 3}, make([]byte, 0x10b)...)
	onePass := []byte{0x90, 13, 3, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	for name, c := range map[string]struct{ content, want, findings string }{
		"armour":          {string(armored(literal([]byte("hello")))), "hello", ""},
		"two of them":     {string(append(armored(literal([]byte("hello"))), armored(literal([]byte("you")))...)), "hello,you", ""},
		"one has no end":  {"-----BEGIN PGP MESSAGE-----\n\niQ\n" + string(armored(literal([]byte("hello"))))[8:], "hello", ""},
		"compressed":      {string(armored(compressed(t, literal([]byte("hello"))))), "hello", ""},
		"packets":         {string(compressed(t, literal([]byte("hello")))), "hello", ""},
		"like text":       {"\xcb\x7fb " + strings.Repeat("x", 125), strings.Repeat("x", 89), ""},
		"signed":          {string(append(slices.Clone(onePass), literal([]byte("hello"))...)), "hello", "signed/pgp 1/1,signed/pgp 1/1/1"},
		"encrypted":       {string(append(slices.Clone(session), 0xd2, 2, 1, 2)), "", "crypto/pgp-encrypted 1/1"},
		"first encrypted": {string(slices.Concat(session, []byte{0xd2, 2, 1, 2}, literal([]byte("hello")))), "hello", "crypto/pgp-encrypted 1/1"},
		"too deep":        {string(nested), "", "crypto/damaged 1/1"},
		"unknown method":  {string(armored([]byte{0xa3, 9, 1})), "", "crypto/damaged 1/1"},
		"ends too soon":   {string(armored([]byte{0xac, 50, 'b', 0, 0, 0, 0, 0, 'h'})), "h", "crypto/damaged 1/1"},
		"too many blocks": {strings.Repeat("-----BEGIN PGP SIGNATURE-----\n\niQ\n", 1001), "", "crypto/damaged 1/1"},
		"many blocks":     {strings.Repeat("-----BEGIN PGP SIGNATURE-----\n\niQ\n", 1000), "", ""},
		"no packet":       {string(armored([]byte("hello"))), "", ""},
		"signature":       {"-----BEGIN PGP SIGNATURE-----\n\niQEz\n-----END PGP SIGNATURE-----\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := open(t, scanners.Crypto{}, member(t, []byte(c.content), "", "a.pgp"))
			if s := strings.Join(got.contents, ","); s != c.want {
				t.Errorf("got members %q, want %q", s, c.want)
			}
			if s := strings.Join(got.findings, ","); s != c.findings {
				t.Errorf("got findings %q, want %q", s, c.findings)
			}
		})
	}
}

// seeds are the contents of the cases about S/MIME and PGP, as they stand there.
func seeds(f *testing.F, pattern string) {
	files, err := filepath.Glob("../testdata/cases/" + pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, raw, _ := bytes.Cut(data, []byte("\n\n"))
		_, body, _ := bytes.Cut(raw, []byte("\n\n"))
		if der, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(bytes.TrimSpace(body), []byte("\n"), nil))); err == nil {
			body = der
		}
		f.Add(body, byte(7))
	}
}

// FuzzPKCS7 holds whatever is taken for S/MIME to the contract of Expand, and wraps it: what is
// wrapped comes out again, whatever it is and in whatever pieces.
func FuzzPKCS7(f *testing.F) {
	seeds(f, "*-smime-*.case")
	f.Fuzz(func(t *testing.T, content []byte, piece byte) {
		open(t, scanners.Crypto{}, member(t, content, "application/pkcs7-mime"))
		if len(content) > 64<<10 {
			return
		}
		for _, wrapped := range [][]byte{signedDER(content), signedBER(content, int(piece)+1), compressedDER(t, content)} {
			got := open(t, scanners.Crypto{}, member(t, wrapped, "application/pkcs7-mime"))
			if len(got.contents) != 1 || got.contents[0] != string(content) {
				t.Errorf("%x gave %q, want what it wraps: %q", wrapped, got.contents, content)
			}
		}
	})
}

// FuzzPGP does the same for PGP.
func FuzzPGP(f *testing.F) {
	seeds(f, "*-pgp-*.case")
	f.Fuzz(func(t *testing.T, content []byte, _ byte) {
		open(t, scanners.Crypto{}, member(t, content, "", "a.gpg"))
		if len(content) > 64<<10 {
			return
		}
		for _, wrapped := range [][]byte{literal(content), compressed(t, literal(content)), armored(literal(content)), armored(compressed(t, literal(content)))} {
			got := open(t, scanners.Crypto{}, member(t, wrapped, "", "a.gpg"))
			if !slices.Contains(got.contents, string(content)) {
				t.Errorf("%x gave %q, want what it wraps: %q", wrapped, got.contents, content)
			}
		}
	})
}
