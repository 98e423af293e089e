package eml

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/emersion/go-message"
)

// benchMessage is a message as they come: some 20 fields, a text in two forms, and an
// attachment of n bytes.
func benchMessage(n int) []byte {
	var b bytes.Buffer
	for range 15 {
		b.WriteString("Received: from a.example (a.example [192.0.2.1]) by b.example with ESMTPS id 1234567890;\r\n\tTue, 24 Nov 2026 00:00:00 +0000\r\n")
	}
	b.WriteString("From: A <a@example.org>\r\nTo: B <b@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=\"=_outer_1234567890\"\r\n\r\n")
	b.WriteString("--=_outer_1234567890\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("Some text with =C3=BC and so on, as people write it.\r\n", 40))
	b.WriteString("--=_outer_1234567890\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>" + strings.Repeat("<p>Some text as people write it.</p>\r\n", 40) + "</body></html>\r\n")
	b.WriteString("--=_outer_1234567890\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.png\r\n\r\n")
	l := &lineWriter{w: &b}
	l.Write([]byte(base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0x5a, 0x11, 0xf0}, n/3)...))))
	b.WriteString("\r\n--=_outer_1234567890--\r\n")
	return b.Bytes()
}

// arrived is a spool that holds a message.
func arrived(raw []byte) *Spool {
	s := NewSpool(SpoolOptions{})
	s.Write(raw)
	s.CloseWrite(nil)
	return s
}

func benchmarkParse(b *testing.B, n int) {
	raw := benchMessage(n)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		s := arrived(raw)
		m, _, err := Parse(context.Background(), &Envelope{}, s, Limits{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
		s.Close()
	}
}

// The cost of a message from its bytes in memory to all that is known of its parts.
func BenchmarkParseSmall(b *testing.B)  { benchmarkParse(b, 1000) }
func BenchmarkParseBig(b *testing.B)    { benchmarkParse(b, 10<<20) }
func BenchmarkParseLarger(b *testing.B) { benchmarkParse(b, 40<<20) }

// BenchmarkStructure finds the structure of a message with a big attachment, and no more: the
// parser goes over it, and leaves are not decoded.
func BenchmarkStructure(b *testing.B) {
	raw := benchMessage(10 << 20)
	s := arrived(raw)
	defer s.Close()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		leaves := 0
		p := newParser(context.Background(), &Part{src: s, ID: "1"}, s, Limits{}.withDefaults(), func(*Part) { leaves++ })
		p.undecoded = true
		if err := p.run(); err != nil || leaves != 3 {
			b.Fatalf("%d leaves, %v", leaves, err)
		}
	}
}

// BenchmarkDecode decodes content of 10 MB: what each decoder does alone, and together with all
// that is done at the end of a leaf, which is hashing it, keeping it and telling its type.
func BenchmarkDecode(b *testing.B) {
	for _, enc := range []Encoding{Base64, QuotedPrintable, UUEncode, Identity} {
		for _, kind := range []string{"usual", "odd"} {
			raw := encoded(enc, kind, 10<<20)
			b.Run(enc.String()+"/"+kind+"/alone", func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				buf := getBuffer()
				defer putBuffer(buf)
				for b.Loop() {
					if err := decodeTo(io.Discard, bytes.NewReader(raw), newDecoder(enc, lenient), buf); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(enc.String()+"/"+kind+"/leaf", func(b *testing.B) {
				s := arrived(raw)
				defer s.Close()
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					p := &Part{src: s, end: int64(len(raw)), Encoding: enc}
					if _, err := p.finishLeaf(SpoolOptions{}); err != nil {
						b.Fatal(err)
					}
					p.close()
				}
			})
		}
	}
}

// encoded is content of n bytes as it comes, or as few programs write it.
func encoded(enc Encoding, kind string, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(data)
	var b bytes.Buffer
	switch {
	case enc == Base64 && kind == "usual":
		(&lineWriter{w: &b}).Write([]byte(base64.StdEncoding.EncodeToString(data)))
	case enc == Base64: // lines of 61 characters, which cut groups apart
		text := base64.StdEncoding.EncodeToString(data)
		for i := 0; i < len(text); i += 61 {
			b.WriteString(text[i:min(i+61, len(text))] + "\n")
		}
	case enc == QuotedPrintable && kind == "usual":
		for b.Len() < n {
			b.WriteString("Some text with =C3=BC and so on, as people write it in lines that are as=\r\n long as this one.\r\n")
		}
	case enc == QuotedPrintable:
		for _, c := range data[:n/3] {
			fmt.Fprintf(&b, "=%02X", c)
		}
	case enc == UUEncode:
		b.WriteString("begin 644 a\r\n")
		for b.Len() < n {
			b.WriteString("M" + strings.Repeat("AB#$", 15) + "\r\n")
		}
		b.WriteString("`\r\nend\r\n")
	default:
		return data
	}
	return b.Bytes()
}

// BenchmarkPeer walks the same message as BenchmarkParseBig with another library, which decodes
// each leaf, and hashes it as we do.
func BenchmarkPeer(b *testing.B) {
	raw := benchMessage(10 << 20)
	b.Run("go-message", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		b.ReportAllocs()
		for b.Loop() {
			e, err := message.Read(bytes.NewReader(raw))
			if err != nil {
				b.Fatal(err)
			}
			leaves := 0
			err = e.Walk(func(_ []int, e *message.Entity, err error) error {
				if err != nil || e.MultipartReader() != nil {
					return err
				}
				leaves++
				_, err = io.Copy(sha256.New(), e.Body)
				return err
			})
			if err != nil || leaves != 3 {
				b.Fatalf("%d leaves, %v", leaves, err)
			}
		}
	})
	b.Run("rastel", func(b *testing.B) { benchmarkParse(b, 10<<20) })
}
