package quarantine_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"rastel/policy/quarantine"
)

func digest(t *testing.T, r io.Reader) string {
	t.Helper()
	d, err := quarantine.DigestOf(r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const digestBase = "From: a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;\r\n\tcharset=utf-8\r\nSubject: s\r\n\r\none\r\n\r\ntwo\r\n"

func TestDigestAllowsWhatMTAsDo(t *testing.T) {
	want := digest(t, strings.NewReader(digestBase))
	for name, raw := range map[string]string{
		"token on top":              quarantine.TokenField + ": v1.x\r\n" + digestBase,
		"trace, date, message id":   "Received: from x\r\n by y\r\nMessage-ID: <1>\r\nDate: now\r\n" + digestBase,
		"rewritten address":         strings.Replace(digestBase, "From: a", "From: a@example.org", 1),
		"bare LF":                   strings.ReplaceAll(digestBase, "\r\n", "\n"),
		"no final line end":         strings.TrimSuffix(digestBase, "\r\n"),
		"final CR alone":            strings.TrimSuffix(digestBase, "\n"),
		"empty lines at the end":    digestBase + "\r\n\r\n",
		"CR before CRLF":            strings.Replace(digestBase, "one\r\n", "one\r\r\n", 1),
		"unfolded":                  strings.Replace(digestBase, ";\r\n\tcharset", "; charset", 1),
		"folded elsewhere":          strings.Replace(digestBase, "Type: ", "Type:\r\n   ", 1),
		"no blank after the colon":  strings.Replace(digestBase, "Version: ", "Version:", 1),
		"names in another case":     strings.Replace(digestBase, "MIME-Version", "Mime-version", 1),
		"Content-Length, added":     "Content-Length: 3\r\n" + digestBase,
		"blank before the colon":    strings.Replace(digestBase, "MIME-Version:", "MIME-Version :", 1),
		"trailing blank in a field": strings.Replace(digestBase, "1.0", "1.0 \t", 1),
	} {
		if got := digest(t, strings.NewReader(raw)); got != want {
			t.Errorf("%s: digest of %q = %s, want %s as of the original", name, raw, got, want)
		}
	}
}

func TestDigestTellsContentApart(t *testing.T) {
	seen := map[string]string{digest(t, strings.NewReader(digestBase)): "original"}
	for name, raw := range map[string]string{
		"other body":               strings.Replace(digestBase, "two", "twp", 1),
		"line more":                digestBase + "three\r\n",
		"line less":                strings.Replace(digestBase, "two\r\n", "", 1),
		"empty line less":          strings.Replace(digestBase, "one\r\n\r\n", "one\r\n", 1),
		"bare CR in a line":        strings.Replace(digestBase, "one", "o\rne", 1),
		"blank at the end":         strings.Replace(digestBase, "one", "one ", 1),
		"other type":               strings.Replace(digestBase, "text/plain", "text/html", 1),
		"other parameter":          strings.Replace(digestBase, "utf-8", "utf-7", 1),
		"blank in a value":         strings.Replace(digestBase, "utf-8", "utf -8", 1),
		"type missing":             strings.Replace(digestBase, "Content-Type", "X-Type", 1),
		"type twice":               "Content-Type: text/html\r\n" + digestBase,
		"encoding":                 "Content-Transfer-Encoding: base64\r\n" + digestBase,
		"continuation of no field": strings.Replace(digestBase, ";\r\n\tcharset", ";\r\nX: y\r\n\tcharset", 1),
		"header in the body":       strings.Replace(digestBase, "Subject: s\r\n\r\n", "\r\nSubject: s\r\n", 1),
		"no header":                "\r\n" + digestBase,
		"nothing":                  "",
		"type alone":               "Content-Type: a",
		"type in the body":         "\r\nContent-Type: a",
		"type after a bare CR":     "\rContent-Type: a\r\n\r\n\r\nx",
	} {
		d := digest(t, strings.NewReader(raw))
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		seen[d] = name
	}
}

// FuzzDigest wants one digest for a message however it is cut, and with fields on top.
func FuzzDigest(f *testing.F) {
	for _, s := range []string{digestBase, "", "\r\n", "a", "\n\n\r\r\n", "Content-Type: x\r\n y", "\rContent-X: y\r\n\r\nz"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		want := digest(t, bytes.NewReader(raw))
		if got := digest(t, iotest.OneByteReader(bytes.NewReader(raw))); got != want {
			t.Errorf("digest of %q byte by byte = %s, want %s", raw, got, want)
		}
		if len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
			return // would belong to the field on top
		}
		if got := digest(t, strings.NewReader(quarantine.TokenField+": x\r\n"+string(raw))); got != want {
			t.Errorf("digest of %q with a field on top = %s, want %s", raw, got, want)
		}
	})
}
