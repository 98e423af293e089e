package browser

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// html is the type that pages have in these tests.
const html = "text/html; charset=utf-8"

// wrap makes a message whose body is a page. Base64, so that the page arrives as it is.
func wrap(page []byte) []byte {
	var b bytes.Buffer
	b.WriteString("From: <sender@example.test>\r\nTo: <reader@example.test>\r\nSubject: test\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n" +
		"Message-ID: <1@example.test>\r\nMIME-Version: 1.0\r\nContent-Type: " + html + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(page)
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	b.WriteString(text + "\r\n")
	return b.Bytes()
}

// A delivered is what the program made of a page.
type delivered struct {
	Page
	action   string   // "accept", "quarantine" ...
	patched  bool     // the message was changed
	findings []string // "html/script: <script>..."
}

// A scanned is what "rastel scan -json" prints of one message.
type scanned struct {
	File, Action string
	Patched      bool
	Findings     []struct{ Check, Detail string }
}

// wrapAll makes a message of each page.
func wrapAll(pages [][]byte) [][]byte {
	out := make([][]byte, len(pages))
	for i, p := range pages {
		out[i] = wrap(p)
	}
	return out
}

// An opener gives what a reader opens of a message.
type opener func(message []byte) (Page, error)

// through sends pages as mail through the program, all in one call, with a policy or, if that is
// empty, the default one. What is not delivered has no content.
func through(t *testing.T, pages [][]byte, policy string) []delivered {
	t.Helper()
	return mailThrough(t, wrapAll(pages), policy, shown)
}

// mailThrough sends messages through the program likewise, and opens what comes out.
func mailThrough(t *testing.T, messages [][]byte, policy string, open opener) []delivered {
	t.Helper()
	in, out := t.TempDir(), t.TempDir()
	for i, m := range messages {
		writeFile(t, filepath.Join(in, strconv.Itoa(i)), m)
	}
	args := []string{"scan", "-json", "-out", out}
	if policy != "" {
		name := filepath.Join(t.TempDir(), "policy.yaml")
		writeFile(t, name, []byte(policy))
		args = append(args, "-policy", name)
	}
	var errOut bytes.Buffer
	cmd := exec.Command(rastel, append(args, in)...)
	cmd.Stderr = &errOut
	printed, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("rastel scan: %v\n%s", err, errOut.String())
	}
	all := make([]delivered, len(messages))
	n := 0
	for d := json.NewDecoder(bytes.NewReader(printed)); ; n++ {
		var s scanned
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		i, err := strconv.Atoi(filepath.Base(s.File))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = s.delivered(t, out, open)
	}
	if n != len(messages) {
		t.Fatalf("%d results for %d messages", n, len(messages))
	}
	return all
}

func (s *scanned) delivered(t *testing.T, dir string, open opener) delivered {
	t.Helper()
	d := delivered{action: s.Action, patched: s.Patched}
	for _, f := range s.Findings {
		d.findings = append(d.findings, fmt.Sprintf("%s: %.80q", f.Check, f.Detail))
	}
	if s.Action != "accept" {
		return d
	}
	raw, err := os.ReadFile(filepath.Join(dir, filepath.Base(s.File)))
	if err != nil {
		t.Fatal(err)
	}
	if d.Page, err = open(raw); err != nil {
		t.Fatalf("message %s: %v\n%.2000s", s.File, err, raw)
	}
	return d
}

// shown is the part of a message that a mail client shows: the last text of a multipart
// (RFC 2046, section 5.1.4), or the first of a mixed one.
func shown(raw []byte) (Page, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Page{}, err
	}
	return shownOf(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
}

func shownOf(contentType, encoding string, r io.Reader) (Page, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return Page{}, fmt.Errorf("Content-Type %q: %w", contentType, err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		return shownIn(kind, multipart.NewReader(r, params["boundary"]))
	}
	switch strings.ToLower(encoding) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	b, err := io.ReadAll(r)
	return Page{Type: contentType, Content: b}, err
}

func shownIn(kind string, r *multipart.Reader) (Page, error) {
	var last Page
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) && last.Type != "" {
			return last, nil
		}
		if err != nil {
			return Page{}, err
		}
		last, err = shownOf(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
		if err != nil || kind != "multipart/alternative" {
			return last, err
		}
	}
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
