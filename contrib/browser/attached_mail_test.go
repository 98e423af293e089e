package browser

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// An attachment is a file that a message carries.
type attachment struct {
	name, label string
	content     []byte
}

// boundary divides the messages that attach makes.
const boundary = "=_boundary_of_the_tests"

// attach makes a message with an attachment, in base64, so that the file arrives as it is.
func attach(a attachment) []byte {
	var b bytes.Buffer
	b.WriteString("From: <sender@example.test>\r\nTo: <reader@example.test>\r\nSubject: test\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n" +
		"Message-ID: <1@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"" + boundary + "\"\r\n\r\n--" + boundary +
		"\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nSee the attachment.\r\n--" + boundary + "\r\nContent-Type: " + a.label + "; name=\"" + a.name + "\"\r\n" +
		"Content-Disposition: attachment; filename=\"" + a.name + "\"\r\n")
	if strings.HasPrefix(a.label, "message/") { // RFC 2046, section 5.2.1: as it is
		b.WriteString("\r\n")
		b.Write(a.content)
	} else {
		b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
		b.WriteString(inBase64(a.content))
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
	return b.Bytes()
}

func inBase64(data []byte) string {
	var b strings.Builder
	text := base64.StdEncoding.EncodeToString(data)
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	return b.String() + text
}

// notice is the page that stands for an attachment that is gone: what is in its place is the text
// of the program's own.
var notice = Page{Type: "text/plain"}

// saved is the attachment of a message that attach made, as a reader saves it: under its name.
func saved(raw []byte) (Page, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Page{}, err
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		return Page{}, fmt.Errorf("type %q of the message: %w", kind, err)
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	for n := 0; ; n++ {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) && n == 2 {
			return notice, nil
		}
		if err != nil {
			return Page{}, fmt.Errorf("part %d: %w", n, err)
		}
		_, disposition, _ := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		if name := disposition["filename"]; name != "" {
			return file(name, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
		}
	}
}

func file(name, label, encoding string, r io.Reader) (Page, error) {
	switch strings.ToLower(encoding) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	b, err := io.ReadAll(r)
	return Page{Type: label, Content: b, File: name}, err
}
