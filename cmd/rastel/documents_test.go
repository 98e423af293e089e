package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rastel/policy"
)

// TestHonestDocuments holds the policy that is built in to what ../shared/corpus/office says: it acts on no
// document that is benign, and of PDF documents what is in them is told.
func TestHonestDocuments(t *testing.T) {
	const corpus = "../../../shared/corpus/office"
	list, err := os.Open(filepath.Join(corpus, "expect.jsonl"))
	if err != nil {
		t.Skip("needs ../shared/corpus")
	}
	defer list.Close()
	e := defaultEngine(t)
	told := map[string]string{"js": "pdf/javascript", "embedded-file": "pdf/embedded-file"}
	benign, others := 0, 0
	for lines := bufio.NewScanner(list); lines.Scan(); {
		var want struct {
			File   string
			Benign bool
			Facts  []string
		}
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(corpus, want.File))
		if err != nil {
			t.Fatal(err)
		}
		raw := "From: a@example.org\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n" +
			"Content-Disposition: attachment; filename=\"" + filepath.Base(want.File) + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			wrapped(base64.StdEncoding.EncodeToString(content))
		x, _ := deliver(t, e, []byte(raw))
		found := map[string]bool{}
		for _, f := range x.Report.Findings {
			found[f.Check] = true
		}
		if want.Benign {
			benign++
			if x.Verdict.Action != policy.Accept || !x.Verdict.Patch.Empty() {
				t.Errorf("%s: %s by rule %q; findings %v", want.File, x.Verdict.Action, x.Verdict.Rule, found)
			}
			continue
		}
		others++
		for fact, check := range told {
			if slices.Contains(want.Facts, "pdf") && slices.Contains(want.Facts, fact) && !found[check] {
				t.Errorf("%s: has %s, but no %s: %v", want.File, fact, check, found)
			}
		}
	}
	t.Logf("%d benign documents, %d others", benign, others)
	if benign < 50 {
		t.Errorf("only %d benign documents", benign)
	}
}

// wrapped is text in lines.
func wrapped(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s + "\r\n"
}
