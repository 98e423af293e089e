package rig

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// What the built-in policy makes of a message.
const (
	Delivered   = "delivered"   // as it was sent
	Defanged    = "defanged"    // delivered, without what was unsafe to open
	Quarantined = "quarantined" // held, and not delivered
)

// A Sample is a message, and what is to become of it.
type Sample struct {
	Name    string
	Raw     []byte
	Outcome string // Delivered, Defanged or Quarantined
}

// Samples are the messages of the demonstration and of the end-to-end tests. All of them are
// harmless. They need the program 7zz, because no library of Go writes what it writes.
func Samples() ([]Sample, error) {
	f, err := sampleFiles()
	if err != nil {
		return nil, err
	}
	bad := func(name, file, mediaType string) Sample {
		return Sample{name, Attachment(name, file, mediaType, f[file]), Quarantined}
	}
	return []Sample{
		{"plain text", Text("plain text", "Hello Bob,\r\n\r\n.a line with a dot\r\nna\xc3\xafve, \xe2\x9c\x93\r\n"), Delivered},
		{"newsletter", newsletter(), Delivered},
		{"picture", Attachment("picture", "photo.png", "image/png", f["photo.png"]), Delivered},
		{"clean zip", Attachment("clean zip", "notes.zip", "application/zip", f["notes.zip"]), Delivered},
		bad("EICAR", "eicar.com", "application/octet-stream"),
		bad("EICAR in zip", "eicar.zip", "application/zip"),
		bad("EICAR in tar.gz", "eicar.tar.gz", "application/gzip"),
		bad("EICAR in 7z", "eicar.7z", "application/x-7z-compressed"),
		bad("EICAR in zip in 7z in zip", "nested.zip", "application/zip"),
		bad("program", "setup.exe", "application/octet-stream"),
		bad("program called a picture", "holiday.png", "image/png"),
		bad("program in zip", "setup.zip", "application/zip"),
		bad("double extension", "invoice.pdf.exe", "application/pdf"),
		bad("encrypted zip", "secret.zip", "application/zip"),
		{"script in HTML", scripted(), Defanged},
	}, nil
}

// sampleFiles are the attachments, by name.
func sampleFiles() (map[string][]byte, error) {
	photo, err := picture()
	if err != nil {
		return nil, err
	}
	f := map[string][]byte{
		"eicar.com": EICAR(), "notes.txt": []byte("nothing to see here\n"), "photo.png": photo,
		"setup.exe": windowsProgram(), "holiday.png": windowsProgram(), "invoice.pdf.exe": []byte("not even a program\n"),
	}
	for _, p := range []struct {
		file, member string
		pack         func(name string, content []byte) ([]byte, error)
	}{
		{"notes.zip", "notes.txt", zipped},
		{"setup.zip", "setup.exe", zipped},
		{"eicar.zip", "eicar.com", zipped},
		{"eicar.tar.gz", "eicar.com", tarred},
		{"eicar.7z", "eicar.com", sevenZipped("eicar.7z")},
		{"inner.7z", "eicar.zip", sevenZipped("inner.7z")},
		{"nested.zip", "inner.7z", zipped},
		{"secret.zip", "notes.txt", sevenZipped("secret.zip", "-psecret")},
	} {
		if f[p.file], err = p.pack(p.member, f[p.member]); err != nil {
			return nil, fmt.Errorf("make %s: %w", p.file, err)
		}
	}
	return f, nil
}

// windowsProgram has the two headers of a Windows program, and nothing behind them.
func windowsProgram() []byte {
	b := make([]byte, 1024)
	copy(b, "MZ")
	b[0x3c] = 0x80 // where the second one begins
	copy(b[0x80:], "PE\x00\x00\x4c\x01")
	return b
}

func picture() ([]byte, error) {
	var b bytes.Buffer
	err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 64)))
	return b.Bytes(), err
}

// head is the header of a message, up to its Content-Type. Its Message-ID comes from the
// subject, so that no MTA has to make one.
func head(subject, contentType string) string {
	return "From: Alice <alice@sender.test>\r\nTo: Bob <bob@example.test>\r\nSubject: " + subject +
		"\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" +
		base64.RawURLEncoding.EncodeToString([]byte(subject)) + "@sender.test>\r\nMIME-Version: 1.0\r\nContent-Type: " + contentType + "\r\n"
}

// Text is a message of plain text, in UTF-8. Its lines must end with CRLF.
func Text(subject, body string) []byte {
	return []byte(head(subject, "text/plain; charset=utf-8") + "Content-Transfer-Encoding: 8bit\r\n\r\n" + body)
}

// HTML is a message of HTML.
func HTML(subject, body string) []byte {
	return []byte(head(subject, "text/html; charset=utf-8") + "\r\n" + body)
}

// Attachment is a message with a text and one file.
func Attachment(subject, name, mediaType string, content []byte) []byte {
	var b bytes.Buffer
	b.WriteString(head(subject, `multipart/mixed; boundary="=_mixed"`))
	b.WriteString("\r\n--=_mixed\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n\r\n--=_mixed\r\n")
	fmt.Fprintf(&b, "Content-Type: %s; name=%q\r\nContent-Disposition: attachment; filename=%q\r\n", mediaType, name, name)
	b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
	text := []byte(base64.StdEncoding.EncodeToString(content))
	for line := range slices.Chunk(text, 76) {
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString("--=_mixed--\r\n")
	return b.Bytes()
}

// newsletter has what newsletters have, and a careless filter takes for unsafe.
func newsletter() []byte {
	return []byte(head("newsletter", `multipart/alternative; boundary="=_news"`) +
		"List-Unsubscribe: <https://sender.test/u>\r\nPrecedence: bulk\r\n\r\n" +
		"--=_news\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
		"News in November: =E2=9C=93 all is =\r\nwell.\r\n" +
		"--=_news\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" +
		"<!DOCTYPE html>\r\n<html><head><title>News</title><style>p { color: #333 } @media screen { p { margin: 0 } }</style></head>\r\n" +
		"<body bgcolor=\"#ffffff\"><!--[if mso]><table><tr><td><![endif]-->\r\n" +
		"<table width=\"600\" align=\"center\"><tr><td><p style=\"margin: 0\">News in November</p>\r\n" +
		"<a href=\"https://sender.test/1?a=b&amp;c=d\">Read on</a> <img src=\"https://sender.test/i.png\" width=\"1\" height=\"1\" alt=\"\"></td></tr></table>\r\n" +
		"<!--[if mso]></td></tr></table><![endif]--></body></html>\r\n--=_news--\r\n")
}

func scripted() []byte {
	return HTML("script in HTML", "<html><body onload=\"steal()\"><p>Your parcel is waiting.</p>\r\n"+
		"<script>location='http://evil.test/'</script>\r\n<a href=\"javascript:go()\">Track it</a></body></html>\r\n")
}

func zipped(name string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	err = errors.Join(err, z.Close())
	return b.Bytes(), err
}

func tarred(name string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	t := tar.NewWriter(g)
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	_, err := t.Write(content)
	err = errors.Join(err, t.Close(), g.Close())
	return b.Bytes(), err
}

// sevenZipped packs with 7zz; the name of the archive tells it the format.
func sevenZipped(archive string, options ...string) func(string, []byte) ([]byte, error) {
	return func(name string, content []byte) ([]byte, error) {
		tool, err := program("7zz")
		if err != nil {
			return nil, fmt.Errorf("missing: Debian package 7zip: %w", err)
		}
		dir, err := os.MkdirTemp("", "rig-7z-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
		cmd := exec.Command(tool, append(append([]string{"a"}, options...), archive, name)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("7zz: %w: %s", err, out)
		}
		return os.ReadFile(filepath.Join(dir, archive))
	}
}
