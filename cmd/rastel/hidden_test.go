package main

import (
	"bytes"
	"strings"
	"testing"

	"rastel/policy"
)

// TestStripsWhatCarriesAHiddenFile: what a policy does to a file in an encoding within text, it does
// to the entity that carries it, and nothing else changes.
func TestStripsWhatCarriesAHiddenFile(t *testing.T) {
	e := lenientEngine(t)
	uu := "begin 644 x.com\n&:&5L;&\\*\n`\nend\n"
	for _, tt := range []struct{ name, raw, stays, gone string }{
		{"the whole message", "\nHello\n" + uu, "removed a part", ":&5L;&"},
		{"one part of several", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nkept\n--b\n\nHello\n" + uu + "--b--\n", "kept", ":&5L;&"},
		{"one in a message", "Content-Type: message/rfc822\n\nSubject: inner\n\nHello\n" + uu, "Subject: inner", ":&5L;&"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, out := deliver(t, e, []byte(strings.ReplaceAll("Subject: s\nMIME-Version: 1.0\n"+tt.raw, "\n", "\r\n")))
			if x.Verdict.Action != policy.Accept || !bytes.Contains(out, []byte(tt.stays)) || bytes.Contains(out, []byte(tt.gone)) {
				t.Fatalf("%s, delivered\n%s", x.Verdict.Action, out)
			}
			if _, twice := deliver(t, e, out); !bytes.Equal(out, twice) {
				t.Errorf("a second pass changes\n%s\nto\n%s", out, twice)
			}
		})
	}
}
