package eml

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"
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

func benchmarkParse(b *testing.B, n int) {
	raw := benchMessage(n)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		s := NewSpool(SpoolOptions{})
		s.Write(raw)
		s.CloseWrite(nil)
		m, _, err := Parse(context.Background(), &Envelope{}, s, Limits{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
		s.Close()
	}
}

func BenchmarkParseSmall(b *testing.B) { benchmarkParse(b, 1000) }
func BenchmarkParseBig(b *testing.B)   { benchmarkParse(b, 5<<20) }
