package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"rastel/contrib/rig"
)

// A sample is one message of the demonstration and what the default policy makes of it.
type sample struct {
	name    string
	raw     []byte
	outcome string // "delivered", "defanged" or "quarantined"
}

// program is the beginning of a Windows program that does nothing: enough to be one by content.
func program() []byte {
	b := make([]byte, 1024)
	copy(b, "MZ")
	b[0x3c] = 0x80
	copy(b[0x80:], "PE\x00\x00\x4c\x01")
	return b
}

// samples are the messages of the demonstration.
func samples(dir string) ([]sample, error) {
	zipped, err := zipOf("eicar.com", rig.EICAR())
	if err != nil {
		return nil, err
	}
	nested, err := zipOf("inner.zip", zipped)
	if err != nil {
		return nil, err
	}
	tgz, err := tarGzOf("eicar.com", rig.EICAR())
	if err != nil {
		return nil, err
	}
	sevenZip, err := sevenZipOf(dir, "a.7z", "eicar.com", rig.EICAR())
	if err != nil {
		return nil, err
	}
	secret, err := sevenZipOf(dir, "a.zip", "report.txt", []byte("nobody can see this\n"), "-psecret")
	if err != nil {
		return nil, err
	}
	exeZip, err := zipOf("setup.exe", program())
	if err != nil {
		return nil, err
	}
	return []sample{
		{"plain text", plain(), "delivered"},
		{"newsletter", newsletter(), "delivered"},
		{"photo", attachment("photo.png", "image/png", []byte("\x89PNG\r\n\x1a\n0123456789")), "delivered"},
		{"EICAR", attachment("eicar.com", "application/octet-stream", rig.EICAR()), "quarantined"},
		{"EICAR in zip", attachment("a.zip", "application/zip", zipped), "quarantined"},
		{"EICAR in tar.gz", attachment("a.tar.gz", "application/gzip", tgz), "quarantined"},
		{"EICAR in 7z", attachment("a.7z", "application/x-7z-compressed", sevenZip), "quarantined"},
		{"EICAR in zip in zip", attachment("b.zip", "application/zip", nested), "quarantined"},
		{"program", attachment("setup.exe", "application/octet-stream", program()), "quarantined"},
		{"program in zip", attachment("setup.zip", "application/zip", exeZip), "quarantined"},
		{"double extension", attachment("invoice.pdf.scr", "application/pdf", program()), "quarantined"},
		{"script in HTML", scripted(), "defanged"},
		{"encrypted zip", attachment("report.zip", "application/zip", secret), "quarantined"},
	}, nil
}

func header(subject, contentType string) string {
	return "From: Alice <alice@sender.test>\r\nTo: Bob <bob@example.test>\r\nSubject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: " + contentType + "\r\n"
}

func plain() []byte {
	return []byte(header("plain text", "text/plain; charset=utf-8") + "\r\nHello Bob,\r\n\r\nnothing to see here.\r\n.leading dot\r\n\r\nAlice\r\n")
}

func newsletter() []byte {
	var b strings.Builder
	b.WriteString(header("newsletter", `multipart/alternative; boundary="=_news"`) + "List-Unsubscribe: <https://sender.test/u>\r\n\r\n")
	b.WriteString("--=_news\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nNews in November: =E2=9C=93 all well.\r\n")
	b.WriteString("--=_news\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<!DOCTYPE html><html><head><style>p { color: #333 }</style></head>\r\n")
	b.WriteString("<body><table width=\"600\"><tr><td><p style=\"margin: 0\">News in November</p><a href=\"https://sender.test/1\">Read on</a></td></tr></table></body></html>\r\n--=_news--\r\n")
	return []byte(b.String())
}

func scripted() []byte {
	return []byte(header("script in HTML", "text/html; charset=utf-8") +
		"\r\n<html><body onload=\"steal()\"><p>Your parcel is waiting.</p><script>location='http://evil.test/'</script>\r\n<a href=\"javascript:go()\">Track it</a></body></html>\r\n")
}

// attachment is a message with a text and one file.
func attachment(name, mediaType string, content []byte) []byte {
	var b bytes.Buffer
	b.WriteString(header("attachment "+name, `multipart/mixed; boundary="=_mixed"`) + "\r\n--=_mixed\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n")
	fmt.Fprintf(&b, "--=_mixed\r\nContent-Type: %s; name=%q\r\nContent-Disposition: attachment; filename=%q\r\nContent-Transfer-Encoding: base64\r\n\r\n", mediaType, name, name)
	for enc := base64.StdEncoding.EncodeToString(content); enc != ""; {
		n := min(76, len(enc))
		b.WriteString(enc[:n] + "\r\n")
		enc = enc[n:]
	}
	b.WriteString("--=_mixed--\r\n")
	return b.Bytes()
}

func zipOf(name string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

func tarGzOf(name string, content []byte) ([]byte, error) {
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	t := tar.NewWriter(g)
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := t.Write(content); err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	err := g.Close()
	return b.Bytes(), err
}

// sevenZipOf packs with the program 7zz or 7z, because no Go library writes these.
func sevenZipOf(dir, archive, name string, content []byte, options ...string) ([]byte, error) {
	tool, err := exec.LookPath("7zz")
	if err != nil {
		if tool, err = exec.LookPath("7z"); err != nil {
			return nil, fmt.Errorf("package 7zip is missing: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(tool, append(append([]string{"a"}, options...), archive, name)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", tool, err, out)
	}
	return os.ReadFile(filepath.Join(dir, archive))
}
